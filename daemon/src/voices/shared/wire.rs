//! The form in which a version travels, before it is sealed; what is read is checked.

use diarized_models::voiceprint::ModelId;
use serde::{Deserialize, Serialize};

use super::version::{Alive, Deed, Stamp, Version};
use crate::voices::checks::{check_content, is_id};
use crate::voices::name::checked_name;

/// Version of the form.
const FORMAT: u32 = 1;
/// Longest text of a line of the trail, in bytes.
const MAX_WORD: usize = 1024;
/// Largest count of changes or deletions that is accepted; real ones stay far below.
const MAX_COUNT: u64 = 1 << 53;

/// Why a version of another node cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VersionError {
    /// Written by another version of the program.
    #[error(
        "it has format {got}, and this version of diarized reads format {FORMAT}: use one version at all nodes"
    )]
    Format {
        /// Format of the value.
        got: u32,
    },
    /// It is no version of a voice.
    #[error("{reason}")]
    Malformed {
        /// What is wrong.
        reason: String,
    },
}

#[derive(Deserialize)]
struct Form {
    format: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    format: u32,
    model: String,
    model_sha256: String,
    version: Version,
}

impl Version {
    /// The version as JSON, with the model that made its recordings.
    #[must_use]
    pub fn to_json(&self, model: &ModelId) -> Vec<u8> {
        let ModelId { name, sha256 } = model.clone();
        let wire = Wire { format: FORMAT, model: name, model_sha256: sha256, version: self.clone() };
        serde_json::to_vec(&wire).expect("texts and finite numbers always serialise")
    }

    /// Reads a version and its model.
    ///
    /// # Errors
    /// [`VersionError`]
    pub fn parse(json: &[u8]) -> Result<(ModelId, Self), VersionError> {
        let malformed = |error: serde_json::Error| VersionError::Malformed { reason: error.to_string() };
        let Form { format: got } = serde_json::from_slice(json).map_err(malformed)?;
        if got != FORMAT {
            return Err(VersionError::Format { got });
        }
        let wire: Wire = serde_json::from_slice(json).map_err(malformed)?;
        check(&wire.version).map_err(|reason| VersionError::Malformed { reason })?;
        Ok((ModelId { name: wire.model, sha256: wire.model_sha256 }, wire.version))
    }
}

fn check(version: &Version) -> Result<(), String> {
    check_count(version.n_deleted)?;
    for (mark, deed) in &version.trail {
        check_mark(mark)?;
        let Deed { action, detail, actor, node, .. } = deed;
        [action, detail, actor, node].into_iter().try_for_each(|text| check_word(text))?;
    }
    version.alive.as_ref().map_or(Ok(()), check_alive)
}

fn check_alive(alive: &Alive) -> Result<(), String> {
    for Stamp { n, node } in [&alive.name.stamp, &alive.consent.stamp] {
        check_count(*n)?;
        check_word(node)?;
    }
    match checked_name(&alive.name.value) {
        Ok(name) if name == alive.name.value => {}
        Ok(_) => return Err("white space around a name".to_owned()),
        Err(error) => return Err(error.to_string()),
    }
    for (id, recording) in &alive.recordings {
        check_mark(id)?;
        check_content(id, &recording.content)?;
    }
    Ok(())
}

fn check_mark(mark: &str) -> Result<(), String> {
    if is_id(mark) { Ok(()) } else { Err(format!("id {mark:?} must be 1 to 32 letters and digits")) }
}

fn check_word(text: &str) -> Result<(), String> {
    let is_fine = text.len() <= MAX_WORD && !text.chars().any(char::is_control);
    if is_fine { Ok(()) } else { Err(format!("a text of the trail is no line of at most {MAX_WORD} bytes")) }
}

fn check_count(n: u64) -> Result<(), String> {
    if n < MAX_COUNT { Ok(()) } else { Err(format!("a count ({n}) must be below {MAX_COUNT}")) }
}
