//! A print: the mean embeddings of several recordings of one person, and their common direction.

use super::model_id::ModelId;
use crate::embedding::Embedding;

/// The voice of a person in one recording.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// Direction of the mean of the recording's window embeddings.
    pub embedding: Embedding,
    /// Speech that it was made from, in seconds, above 0.
    pub seconds: f32,
    /// How much a second of it counts against a second of another recording, above 0 and at most 1: 1 for what a
    /// person enrolled, less for what was learned unasked.
    pub weight: f32,
}

/// A print that cannot be made.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PrintError {
    /// Nothing to make it from.
    #[error("a voiceprint needs at least one recording")]
    Empty,
    /// Embeddings of different sizes.
    #[error("recording {index} has {got} values, the first one has {expected}: they are of different models")]
    Dimension {
        /// The recording, counted from 0.
        index: usize,
        /// Size of the first one.
        expected: usize,
        /// Size of this one.
        got: usize,
    },
    /// A length or weight out of range.
    #[error("{name} ({got}) of recording {index} must be {rule}")]
    Value {
        /// The recording, counted from 0.
        index: usize,
        /// `seconds` or `weight`.
        name: &'static str,
        /// The value.
        got: f32,
        /// What it must be.
        rule: &'static str,
    },
    /// The recordings point in opposite directions.
    #[error("the recordings cancel each other out: they cannot be of one person")]
    Contradiction,
}

/// A person's voice as far as it is known. See [`Recording`].
#[derive(Debug, Clone, PartialEq)]
pub struct Print {
    model: ModelId,
    recordings: Vec<Recording>,
    centre: Embedding,
    seconds: f32,
}

/// A recording counts for at most this many seconds, so that one long one does not drown the others: rooms and
/// microphones differ between recordings and not within one.
const MAX_SECONDS_EACH: f32 = 60.0;

impl Print {
    /// A print of `recordings`, all embedded by `model`.
    ///
    /// # Errors
    /// [`PrintError`] names the recording and the rule.
    pub fn try_new(model: ModelId, recordings: Vec<Recording>) -> Result<Self, PrintError> {
        let first = recordings.first().ok_or(PrintError::Empty)?;
        let dim = first.embedding.dim();
        let mut sum = vec![0.0_f32; dim];
        let mut seconds = 0.0;
        for (index, recording) in recordings.iter().enumerate() {
            let got = recording.embedding.dim();
            if got != dim {
                return Err(PrintError::Dimension { index, expected: dim, got });
            }
            let value = |name, got, rule| Err(PrintError::Value { index, name, got, rule });
            if !(recording.seconds > 0.0 && recording.seconds.is_finite()) {
                return value("seconds", recording.seconds, "above 0");
            }
            if !(recording.weight > 0.0 && recording.weight <= 1.0) {
                return value("weight", recording.weight, "above 0 and at most 1");
            }
            let counts = recording.weight * recording.seconds.min(MAX_SECONDS_EACH);
            seconds += counts;
            for (mine, other) in sum.iter_mut().zip(recording.embedding.as_slice()) {
                *mine += counts * other;
            }
        }
        // Of recordings that agree the sum is about as long as their seconds; of strangers it is far shorter.
        if sum.iter().map(|v| v * v).sum::<f32>().sqrt() < 0.05 * seconds {
            return Err(PrintError::Contradiction);
        }
        let centre = Embedding::from_raw(&sum).map_err(|_| PrintError::Contradiction)?;
        Ok(Self { model, recordings, centre, seconds })
    }

    /// The model that made the embeddings.
    #[must_use]
    pub fn model(&self) -> &ModelId {
        &self.model
    }

    /// What it was made from.
    #[must_use]
    pub fn recordings(&self) -> &[Recording] {
        &self.recordings
    }

    /// Direction of the weighted mean of the recordings.
    #[must_use]
    pub fn centre(&self) -> &Embedding {
        &self.centre
    }

    /// Speech that counts, in seconds.
    #[must_use]
    pub fn seconds(&self) -> f32 {
        self.seconds
    }
}
