//! Diarizers of live sessions, embedded for by the shared pool.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Select, Sender, bounded};
use diarized_config::Config;
use diarized_models::diarizer::{CorrectionError as Refusal, DiarizerError};
use diarized_models::events::GapReason;
use diarized_models::{Diarizer, DiarizerParams, ModelCard, Said};

use super::{Answer, EngineError as SetUpError, InferencePool, diarizer_params, load_embedder};
use crate::protocol::SpeakerHints;
use crate::session::{Correction, CorrectionError, Engine, EngineError, EngineFactory};

/// Windows of one session that may be with the pool: enough to keep every core busy, few enough that no session
/// fills the queue of all.
const MAX_OUT: usize = 16;

/// Makes a diarizer for each session; all share one model and one pool.
#[derive(Debug)]
pub struct LiveEngines {
    pool: Arc<InferencePool>,
    params: DiarizerParams,
    card: ModelCard,
}

impl LiveEngines {
    /// Loads and warms the configured model and starts the configured number of threads.
    ///
    /// # Errors
    /// The model, a parameter, or a thread.
    pub fn start(config: &Config) -> Result<Self, SetUpError> {
        let params = diarizer_params(&config.diarization)?;
        let embedder = Arc::new(load_embedder(&config.model, &params)?);
        let card = embedder.card().clone();
        let pool = Arc::new(InferencePool::new(embedder, config.inference.threads)?);
        Ok(Self { pool, params, card })
    }

    fn params_for(&self, speakers: SpeakerHints) -> Result<DiarizerParams, EngineError> {
        if speakers.is_empty() {
            return Ok(self.params.clone());
        }
        let mut options = self.params.options().clone();
        options.expected_speakers = speakers.expected.map(|n| n as usize);
        options.max_speakers = speakers.max.map(|n| n as usize);
        DiarizerParams::try_new(options).map_err(|faults| {
            let reason = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            EngineError { reason }
        })
    }
}

impl EngineFactory for LiveEngines {
    fn engine_for(&self, speakers: SpeakerHints) -> Result<Box<dyn Engine>, EngineError> {
        let (to_us, answers) = bounded(MAX_OUT);
        Ok(Box::new(LiveEngine {
            diarizer: Diarizer::new(self.params_for(speakers)?, &self.card),
            pool: Arc::clone(&self.pool),
            to_us,
            answers,
            n_out: 0,
            busy: Duration::ZERO,
        }))
    }

    fn model(&self) -> &str {
        &self.card.name
    }
}

struct LiveEngine {
    diarizer: Diarizer,
    pool: Arc<InferencePool>,
    to_us: Sender<Answer>,
    answers: Receiver<Answer>,
    /// Windows that are with the pool; never more than `answers` has room for.
    n_out: usize,
    busy: Duration,
}

impl From<DiarizerError> for EngineError {
    fn from(error: DiarizerError) -> Self {
        Self { reason: error.to_string() }
    }
}

impl From<Refusal> for CorrectionError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoSuchSpeaker(id) => Self::UnknownSpeaker(id),
            Refusal::NoSuchSegment(id) => Self::UnknownSegment(id),
            other => Self::Refused { reason: other.to_string() },
        }
    }
}

impl Engine for LiveEngine {
    fn push(&mut self, samples: &[f32]) -> Result<(), EngineError> {
        Ok(self.diarizer.push(samples)?)
    }

    fn gap(&mut self, n_samples: u64, reason: GapReason) -> Result<(), EngineError> {
        Ok(self.diarizer.gap(n_samples, reason)?)
    }

    fn flush(&mut self) -> Result<(), EngineError> {
        Ok(self.diarizer.flush()?)
    }

    fn finish(&mut self) -> Result<(), EngineError> {
        self.diarizer.finish();
        Ok(())
    }

    fn correct(&mut self, correction: &Correction) -> Result<(), CorrectionError> {
        match correction {
            Correction::Rename { speaker, name } => self.diarizer.rename(*speaker, name)?,
            Correction::Merge { from, into } => self.diarizer.merge(*from, *into)?,
            Correction::Reassign { segment, speaker } => self.diarizer.reassign(*segment, *speaker)?,
        }
        Ok(())
    }

    fn drive(&mut self, out: &mut Vec<Said>) -> Result<(), EngineError> {
        while let Ok(answer) = self.answers.try_recv() {
            self.n_out -= 1;
            self.busy += answer.busy;
            if let Err(error) = &answer.result {
                tracing::warn!(%error, "a window could not be embedded and is left out of the labels");
            }
            self.diarizer.provide(answer.id, answer.result)?;
        }
        while self.n_out < MAX_OUT
            && let Some(request) = self.diarizer.poll_work()
        {
            self.n_out += 1;
            self.pool.submit(request, &self.to_us);
        }
        while let Some(said) = self.diarizer.poll_event() {
            out.push(said);
        }
        Ok(())
    }

    fn n_pending(&self) -> usize {
        self.diarizer.n_unanswered()
    }

    fn register<'a>(&'a self, select: &mut Select<'a>) {
        select.recv(&self.answers);
    }

    fn level_dbfs(&self) -> f32 {
        self.diarizer.level_dbfs()
    }

    fn is_speech(&self) -> bool {
        self.diarizer.is_speech()
    }

    fn take_busy(&mut self) -> Duration {
        std::mem::take(&mut self.busy)
    }
}
