//! Interface of a session's thread to a diarizer and its inference workers.

use crossbeam_channel::Select;
use diarized_dsp::SampleIndex;
use diarized_models::diarizer::{SpeakerVoice, VoicesMark};
use diarized_models::events::{GapReason, SegmentId, SpeakerId};
use diarized_models::{SessionState, TimedEvent};

use super::correction_error::CorrectionError;
use super::ledger::Again;
use super::state_at::StateAt;
use crate::metrics::HistogramSnapshot;
use crate::protocol::SessionOptions;
use crate::protocol::Step;

/// A correction by a person.
#[derive(Debug, Clone, PartialEq)]
pub enum Correction {
    /// Gives a speaker a name; an empty one takes it away.
    Rename {
        /// The speaker.
        speaker: SpeakerId,
        /// The name.
        name: String,
    },
    /// Two speakers are one person.
    Merge {
        /// The label that is given up.
        from: SpeakerId,
        /// The label that stays.
        into: SpeakerId,
    },
    /// A segment belongs to another speaker.
    Reassign {
        /// The segment.
        segment: SegmentId,
        /// Its speaker.
        speaker: SpeakerId,
    },
    /// A speaker is two people.
    Split {
        /// The speaker.
        speaker: SpeakerId,
        /// The second person's segments; if there are none, those that sound like a second person.
        segments: Vec<SegmentId>,
    },
    /// The session has this title, which was checked; empty takes it away.
    Title {
        /// The title.
        title: String,
    },
    /// A note is added, changed or, with an empty text, removed.
    Note {
        /// The note that changes; none adds one.
        id: Option<u64>,
        /// The segment that a new one is about.
        segment: Option<u64>,
        /// The text, which was checked.
        text: String,
    },
    /// A correction is undone or made again.
    Again {
        /// Which of the two.
        again: Again,
        /// The correction that is meant.
        wanted: Option<u64>,
    },
    /// Labels are as a step says; what an engine gets for [`Self::Again`].
    Restore(Step),
    /// A speaker is a known voice.
    Voice {
        /// The speaker.
        speaker: SpeakerId,
        /// Id of the voice.
        voice: String,
        /// Its name.
        name: String,
    },
}

impl Correction {
    /// The word for what it does.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Rename { .. } => "rename",
            Self::Merge { .. } => "merge",
            Self::Reassign { .. } => "reassign",
            Self::Split { .. } => "split",
            Self::Title { .. } => "title",
            Self::Note { .. } => "note",
            Self::Again { again, .. } => again.kind(),
            Self::Restore(_) => "restore",
            Self::Voice { .. } => "voice",
        }
    }
}

/// A fault that ends the session.
#[derive(Debug, thiserror::Error)]
#[error("the diarizer failed: {reason}")]
pub struct EngineError {
    /// What happened.
    pub reason: String,
}

/// A diarizer together with the workers that compute its embeddings; driven by one thread.
pub trait Engine: Send {
    /// Takes audio, 16 kHz mono.
    ///
    /// # Errors
    /// [`EngineError`] ends the session.
    fn push(&mut self, samples: &[f32]) -> Result<(), EngineError>;

    /// The clock moves on by `n_samples` without audio.
    ///
    /// # Errors
    /// [`EngineError`] ends the session.
    fn gap(&mut self, n_samples: u64, reason: GapReason) -> Result<(), EngineError>;

    /// Settles pending labels, as far as the audio so far allows.
    ///
    /// # Errors
    /// [`EngineError`] ends the session.
    fn flush(&mut self) -> Result<(), EngineError>;

    /// No more audio comes.
    ///
    /// # Errors
    /// [`EngineError`] ends the session.
    fn finish(&mut self) -> Result<(), EngineError>;

    /// Makes a correction.
    ///
    /// # Errors
    /// [`CorrectionError`]; the session goes on as it was.
    fn correct(&mut self, correction: &Correction) -> Result<(), CorrectionError>;

    /// Speech of a speaker so far, if enough for an embedding.
    fn voice_of(&self, speaker: SpeakerId) -> Option<SpeakerVoice>;

    /// Everything before this position is labelled by the events so far: where the session can go on in another process.
    fn labelled_until(&self) -> SampleIndex;

    /// What tells whether [`Self::voices`] have changed.
    fn voices_mark(&self) -> VoicesMark {
        VoicesMark::default()
    }

    /// What is known of the voices, for an engine that goes on with the session. Biometric data.
    fn voices(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Submits pending work, takes finished results, and appends the events; never waits.
    ///
    /// # Errors
    /// [`EngineError`] ends the session.
    fn drive(&mut self, out: &mut Vec<TimedEvent>) -> Result<(), EngineError>;

    /// Windows handed out whose results are not back.
    fn n_pending(&self) -> usize;

    /// Adds the channels on which results come back to `select`, so that a thread can wait for them.
    fn register<'a>(&'a self, select: &mut Select<'a>);

    /// Level of the last audio in dB below full scale.
    fn level_dbfs(&self) -> f32;

    /// Whether speech is detected now.
    fn is_speech(&self) -> bool;

    /// Windows left out so far because the machine was too slow.
    fn n_left_out(&self) -> u64 {
        0
    }

    /// Time that workers spent on this session's windows since the last call.
    fn take_busy(&mut self) -> std::time::Duration;
}

/// How the workers that embed for all sessions are doing.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct InferenceStats {
    /// Time that each window took.
    pub seconds: HistogramSnapshot,
    /// Windows without an embedding because the network failed.
    pub failed: u64,
    /// Windows that wait for a thread.
    pub waiting: usize,
    /// Threads that there shall be.
    pub threads: usize,
    /// Threads that run.
    pub alive: usize,
    /// Whether windows waited so long just now that first labels come late.
    pub overloaded: bool,
}

/// A session of another process, as an engine goes on with it.
#[derive(Debug)]
pub struct Before {
    /// Its labels.
    pub state: SessionState,
    /// Everything before this is labelled; the next sample lies here.
    pub at: SampleIndex,
    /// Highest id of a segment that was ever given.
    pub last_segment: SegmentId,
    /// Highest label of a speaker that was ever given.
    pub last_speaker: SpeakerId,
    /// What was known of the voices, or why nothing is.
    pub voices: Result<Vec<u8>, String>,
}

impl Before {
    /// A session as it was at this moment. Everything before `labelled` is labelled; no label lies behind where it goes on.
    pub(crate) fn of(moment: &StateAt, labelled: SampleIndex, voices: Result<Vec<u8>, String>) -> Self {
        let ends = moment.state.segments().map(|segment| segment.range.end());
        let gaps = moment.state.gaps().iter().map(|(range, _)| range.end());
        Self {
            at: ends.chain(gaps).chain([labelled]).max().unwrap_or(SampleIndex::ZERO),
            state: (*moment.state).clone(),
            last_segment: SegmentId(moment.last_segment),
            last_speaker: SpeakerId(moment.last_speaker),
            voices,
        }
    }
}

/// An engine that goes on with a session.
pub struct GoingOn {
    /// The engine.
    pub engine: Box<dyn Engine>,
    /// Why people who speak again are not recognised, if so.
    pub voices_lost: Option<String>,
}

impl std::fmt::Debug for GoingOn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GoingOn").field("voices_lost", &self.voices_lost).finish_non_exhaustive()
    }
}

/// Makes one [`Engine`] a session; shared by all connections.
pub trait EngineFactory: Send + Sync {
    /// A diarizer at the start of a stream, as configured.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be made.
    fn engine(&self) -> Result<Box<dyn Engine>, EngineError> {
        self.engine_for(SessionOptions::default())
    }

    /// Creates a diarizer with per-session options. If any speaker hint is set, both configured hints are replaced.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be made.
    fn engine_for(&self, options: SessionOptions) -> Result<Box<dyn Engine>, EngineError>;

    /// Creates a diarizer that goes on with a session of another process.
    ///
    /// # Errors
    /// [`EngineError`] if it cannot be made.
    fn engine_going_on(&self, options: SessionOptions, before: Before) -> Result<GoingOn, EngineError>;

    /// Name of the voice model that the engines use.
    fn model(&self) -> &str;

    /// How the workers that all engines share are doing.
    fn inference(&self) -> InferenceStats {
        InferenceStats::default()
    }
}
