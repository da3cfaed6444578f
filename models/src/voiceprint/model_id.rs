//! The identity of a voice model.

use crate::model_card::ModelCard;

/// Which voice model made an embedding: embeddings of different models have nothing in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ModelId {
    /// Name of the model, for people.
    pub name: String,
    /// SHA-256 of its weights in lower-case hexadecimal, which identifies a model.
    pub sha256: String,
}

impl ModelId {
    /// The identity of the model that `card` describes.
    #[must_use]
    pub fn of(card: &ModelCard) -> Self {
        Self { name: card.name.clone(), sha256: card.onnx_sha256.clone() }
    }
}

impl std::fmt::Display for ModelId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({}…)", self.name, self.sha256.get(..8).unwrap_or(&self.sha256))
    }
}
