//! A session that goes on in another process: its labels as they stand, and what it has learned of its voices, as bytes.

use diarized_dsp::SampleIndex;
use serde::{Deserialize, Serialize};

use super::Diarizer;
use super::clustering::KeptMemory;
use super::front_end::FrontEnd;
use super::labelling::KeptNames;
use super::params::DiarizerParams;
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
}

impl VoiceMemory {
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
    /// Speakers of whom something is known.
    pub n_speakers: usize,
}

impl Diarizer {
    /// A diarizer that goes on with a session. Segments that were not final become so at once.
    #[must_use]
    pub fn continuing(params: DiarizerParams, card: &ModelCard, before: Continuation) -> Self {
        let mut diarizer = Self::new(params, card);
        diarizer.front_end = FrontEnd::beginning_at(&diarizer.params, card, before.at);
        diarizer.labeller.go_on(before);
        diarizer
    }

    /// What is known of the voices now. Allocates a copy.
    #[must_use]
    pub fn voice_memory(&self) -> VoiceMemory {
        let ModelId { name, sha256 } = ModelId::of(&self.card);
        let head = Head { version: VERSION, model_name: name, model_sha256: sha256 };
        VoiceMemory { head, body: self.labeller.keep() }
    }

    /// Whether it has changed since another mark.
    #[must_use]
    pub fn voices_mark(&self) -> VoicesMark {
        self.labeller.voices_mark()
    }

    /// Everything before this position is labelled by the events so far, or is no speech: where a session can go on.
    #[must_use]
    pub fn labelled_until(&self) -> SampleIndex {
        let labelled = self.labeller.labelled_until();
        let is_idle = self.steps.is_empty() && !self.front_end.in_speech();
        if is_idle { labelled.max(self.front_end.decided_until()) } else { labelled }
    }
}
