//! What a session hands on to another process: its labels as they stand, and what it has learned of its voices, as bytes.

use diarized_dsp::SampleIndex;
use serde::{Deserialize, Serialize};

use super::clustering::{KeptMemory, SecondView};
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
    /// The second model, where one has seen windows: its views follow the rest.
    second: Option<SecondHead>,
}

/// What tells whether the rest can be read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Head {
    version: u32,
    model_name: String,
    model_sha256: String,
}

/// A second model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct SecondHead {
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
    pub(crate) fn new(card: &ModelCard, second: Option<&ModelId>, body: KeptVoices) -> Self {
        let ModelId { name, sha256 } = ModelId::of(card);
        let head = Head { version: VERSION, model_name: name, model_sha256: sha256 };
        let second = second
            .cloned()
            .map(|ModelId { name, sha256 }| SecondHead { model_name: name, model_sha256: sha256 });
        Self { head, body, second }
    }

    /// As bytes: at most about 1.5 MB for the built-in model, and as much again for a second one of its size.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes =
            postcard::to_allocvec(&(&self.head, &self.body)).expect("plain data always serialises");
        if let Some(second) = &self.second {
            let views = (second, &self.body.memory.second);
            bytes.extend(postcard::to_allocvec(&views).expect("plain data always serialises"));
        }
        bytes
    }

    /// Reads bytes back for the model that `card` describes, and the second one, if there is one. What another second model
    /// made is left out.
    ///
    /// # Errors
    /// [`VoiceMemoryError`]
    pub fn parse(
        bytes: &[u8],
        card: &ModelCard,
        second: Option<&ModelCard>,
    ) -> Result<Self, VoiceMemoryError> {
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
        let (mut body, rest) =
            postcard::take_from_bytes::<KeptVoices>(rest).map_err(|e| damaged(e.to_string()))?;
        if let Some(fault) = body.memory.fault(card.embedding_dim, card.plda.dim()) {
            return Err(damaged(fault));
        }
        let second = match rest {
            [] => None,
            rest => Self::take_second(rest, second, &mut body)?,
        };
        Ok(Self { head, body, second })
    }

    /// Reads what follows the rest: the views of a second model.
    fn take_second(
        bytes: &[u8],
        card: Option<&ModelCard>,
        body: &mut KeptVoices,
    ) -> Result<Option<SecondHead>, VoiceMemoryError> {
        let damaged =
            || VoiceMemoryError::Damaged { reason: format!("{} bytes follow its end", bytes.len()) };
        let read = postcard::take_from_bytes::<(SecondHead, Vec<SecondView>)>(bytes);
        let ((head, views), rest) = read.map_err(|_| damaged())?;
        if !rest.is_empty() {
            return Err(damaged());
        }
        let Some(card) = card.filter(|card| card.onnx_sha256 == head.model_sha256) else { return Ok(None) };
        body.memory.second = views;
        if !body.memory.fits_second(card.embedding_dim, card.plda.dim()) {
            let reason = "what the second model made of it does not fit".to_owned();
            return Err(VoiceMemoryError::Damaged { reason });
        }
        Ok(Some(head))
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
