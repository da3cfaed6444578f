//! Keys and sealed values of the bucket of voices.

use bytes::Bytes;
use diarized_models::voiceprint::ModelId;
use sha2::{Digest as _, Sha256};

use crate::voices::{Key, Seal, Version};

/// The key of the value that shows whose key the others are sealed with.
pub(super) const CHECK: &str = "key";
const CHECK_TEXT: &[u8] = b"diarized shared voices";
/// Bytes of a model's mark.
const MARK_BYTES: usize = 8;

/// The key of a voice by a model: a mark of the model and the id of the voice, both without meaning for others.
pub(super) fn key_of(model: &ModelId, voice: &str) -> String {
    format!("{}.{voice}", mark_of(model))
}

/// The mark of a model in a key.
pub(super) fn mark_of(model: &ModelId) -> String {
    let hash = Sha256::digest(format!("{}\n{}", model.sha256, model.name));
    hex::encode(&hash[..MARK_BYTES])
}

/// Mark of the model and id of the voice in a key; nothing for what is no key of a voice.
pub(super) fn parts_of(key: &str) -> Option<(&str, &str)> {
    let (mark, id) = key.split_once('.')?;
    let is_mark = mark.len() == 2 * MARK_BYTES && mark.bytes().all(|b| b.is_ascii_hexdigit());
    let is_id = (1..=32).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric());
    (is_mark && is_id).then_some((mark, id))
}

/// Seals and opens the values of one bucket.
pub(super) struct Cabinet {
    seal: Seal,
    bucket: String,
}

impl Cabinet {
    pub(super) fn new(key: &Key, bucket: String) -> Self {
        Self { seal: Seal::new(key), bucket }
    }

    /// A value opens in the place only that it was sealed for.
    fn place_of(&self, key: &str) -> String {
        format!("{} {key}", self.bucket)
    }

    /// The value that shows which key this is.
    pub(super) fn check(&self) -> Bytes {
        self.seal.seal(CHECK_TEXT, &self.place_of(CHECK)).into()
    }

    /// Whether this is the key of `check`.
    pub(super) fn opens(&self, check: &[u8]) -> bool {
        self.seal.open(check, &self.place_of(CHECK)).is_some_and(|text| text == CHECK_TEXT)
    }

    pub(super) fn seal(&self, key: &str, model: &ModelId, version: &Version) -> Bytes {
        self.seal.seal(&version.to_json(model), &self.place_of(key)).into()
    }

    /// Opens the value of a key.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub(super) fn open(&self, key: &str, sealed: &[u8]) -> Result<(ModelId, Version), String> {
        let json = self.seal.open(sealed, &self.place_of(key));
        let json = json.ok_or("it was changed outside of diarized, or sealed with another key")?;
        let (model, version) = Version::parse(&json).map_err(|error| error.to_string())?;
        match parts_of(key) {
            Some((mark, _)) if mark == mark_of(&model) => Ok((model, version)),
            _ => Err("it is of another model than its key".to_owned()),
        }
    }
}
