//! What a session hands on to another process: its labels as they stand, and what it has learned of its voices, as bytes.

use diarized_dsp::SampleIndex;
use serde::{Deserialize, Serialize};

use super::clustering::KeptMemory;
use crate::events::{SegmentId, SessionState, SpeakerId};
use crate::model_card::ModelCard;
use crate::voiceprint::ModelId;

/// Version of the bytes; another one is not read.
const VERSION: u32 = 1;

/// What a session has learned of its voices. Biometric data: encrypt it wherever it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct VoiceMemory {
    head: Head,
    body: KeptVoices,
}

/// What tells whether the rest can be read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Head {
    version: u32,
    model_name: String,
    model_sha256: String,
}

/// What the labeller keeps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeptVoices {
    pub(crate) memory: KeptMemory,
    pub(crate) names: KeptNames,
    pub(crate) next_segment: u64,
    pub(crate) next_speaker: u32,
}

/// What of the names goes on: those of speakers that may come back, and who has borrowed the name of which of them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct KeptNames {
    pub(crate) away: Vec<KeptName>,
    pub(crate) borrowed: Vec<(u32, u32)>,
}

/// A [`SpeakerInfo`](crate::events::SpeakerInfo).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeptName {
    pub(crate) speaker: u32,
    pub(crate) first: u64,
    pub(crate) name: Option<String>,
    pub(crate) voice: Option<(String, f32)>,
}

/// Bytes that are no memory of voices, or none for this model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VoiceMemoryError {
    /// They are damaged.
    #[error("the voices of the session cannot be read: {reason}")]
    Damaged {
        /// What is wrong.
        reason: String,
    },
    /// Another version of the program wrote them.
    #[error("the voices of the session are of version {got}, this program reads version {VERSION}")]
    Version {
        /// Version of the bytes.
        got: u32,
    },
    /// Another voice model made them.
    #[error("the voices of the session are of the model {got}, this one is {expected}")]
    Model {
        /// Model of the bytes.
        got: String,
        /// Model in use.
        expected: String,
    },
}

impl VoiceMemory {
    pub(crate) fn new(card: &ModelCard, body: KeptVoices) -> Self {
        let ModelId { name, sha256 } = ModelId::of(card);
        Self { head: Head { version: VERSION, model_name: name, model_sha256: sha256 }, body }
    }

    /// As bytes: at most about 1.5 MB for the built-in model.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        postcard::to_allocvec(&(&self.head, &self.body)).expect("plain data always serialises")
    }

    /// Reads bytes back for the model that `card` describes.
    ///
    /// # Errors
    /// [`VoiceMemoryError`]
    pub fn parse(bytes: &[u8], card: &ModelCard) -> Result<Self, VoiceMemoryError> {
        let damaged = |reason: String| VoiceMemoryError::Damaged { reason };
        let (version, _) = postcard::take_from_bytes::<u32>(bytes).map_err(|e| damaged(e.to_string()))?;
        if version != VERSION {
            return Err(VoiceMemoryError::Version { got: version });
        }
        let (head, rest) = postcard::take_from_bytes::<Head>(bytes).map_err(|e| damaged(e.to_string()))?;
        let got = ModelId { name: head.model_name.clone(), sha256: head.model_sha256.clone() };
        let expected = ModelId::of(card);
        if got != expected {
            let shown = |id: &ModelId| id.to_string().chars().take(100).collect();
            return Err(VoiceMemoryError::Model { got: shown(&got), expected: shown(&expected) });
        }
        let (body, rest) =
            postcard::take_from_bytes::<KeptVoices>(rest).map_err(|e| damaged(e.to_string()))?;
        if !rest.is_empty() {
            return Err(damaged(format!("{} bytes follow its end", rest.len())));
        }
        match body.memory.fault(card.embedding_dim, card.plda.dim()) {
            Some(fault) => Err(damaged(fault)),
            None => Ok(Self { head, body }),
        }
    }

    pub(crate) fn into_body(self) -> KeptVoices {
        self.body
    }
}

/// Where a session stands that goes on.
#[derive(Debug, Clone)]
pub struct Continuation {
    /// Its labels.
    pub state: SessionState,
    /// Everything before this is labelled; the next sample lies here.
    pub at: SampleIndex,
    /// Highest id of a segment that was ever given, 0 for none.
    pub last_segment: SegmentId,
    /// Highest label of a speaker that was ever given, 0 for none.
    pub last_speaker: SpeakerId,
    /// What it has learned of its voices; without it who speaks again is somebody new.
    pub voices: Option<VoiceMemory>,
}

/// How much is known of the voices, to see whether it has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VoicesMark {
    /// Rises with every change.
    pub version: u64,
    /// Number of speakers whose voice is known.
    pub n_speakers: usize,
}
