//! The second voice model: its own threads beside those of the first, and what one session has with them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Select, Sender, bounded};
use diarized_config::Config;
use diarized_models::diarizer::{DiarizerError, SecondPace};
use diarized_models::{Diarizer, DiarizerParams, EmbedRequest, Embedder, ModelCard, ModelSource};

use super::options::SetUpError;
use super::pool::{Answer, InferencePool};
use super::queue::Schedule;

/// Windows of one live session that may be with the threads: they are few, and serve all sessions.
const MAX_OUT_LIVE: usize = 2;
/// The same for a recording.
const MAX_OUT_RECORDING: usize = 16;
/// How long the last pass of a live session waits for missing windows.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// The second model of all sessions.
#[derive(Debug)]
pub(super) struct SecondModel {
    embedder: Arc<Embedder>,
    pool: Arc<InferencePool>,
    pace: SecondPace,
}

impl SecondModel {
    /// Loads the configured second model, if there is one, with one thread for all live sessions: so it never takes more than
    /// one core from them.
    pub(super) fn load(config: &Config, params: &DiarizerParams) -> Result<Option<Self>, SetUpError> {
        let Some(folder) = &config.model.second else { return Ok(None) };
        let source = ModelSource::Folder(folder.clone());
        let loaded = Embedder::load(&source, &Diarizer::window_frames(params));
        let embedder = Arc::new(loaded.map_err(SetUpError::Second)?);
        let pool = Arc::new(InferencePool::new("second", Arc::clone(&embedder), 1)?);
        Ok(Some(Self { embedder, pool, pace: SecondPace::Behind }))
    }

    /// The same for recordings: labels wait for it, on `n_threads` threads.
    pub(super) fn for_recordings(self, n_threads: usize) -> std::io::Result<Self> {
        let pool = Arc::new(InferencePool::new("second", Arc::clone(&self.embedder), n_threads)?);
        Ok(Self { pool, pace: SecondPace::InStep, ..self })
    }

    pub(super) fn embedder(&self) -> &Arc<Embedder> {
        &self.embedder
    }

    pub(super) fn card(&self) -> &ModelCard {
        self.embedder.card()
    }

    /// Gives a diarizer at the start of its stream this model.
    pub(super) fn join(&self, diarizer: Diarizer) -> (Diarizer, SecondSession) {
        let max_out = match self.pace {
            SecondPace::InStep => MAX_OUT_RECORDING,
            SecondPace::Behind => MAX_OUT_LIVE,
        };
        let (to_us, answers) = bounded(max_out);
        let session = SecondSession {
            pool: Arc::clone(&self.pool),
            pace: self.pace,
            max_out,
            n_out: 0,
            to_us,
            answers,
            schedule: Schedule::default(),
            held: None,
            gives_up: None,
        };
        (diarizer.with_second_model(self.card(), self.pace), session)
    }
}

/// The windows of one session that are with the second model.
pub(super) struct SecondSession {
    pool: Arc<InferencePool>,
    pace: SecondPace,
    /// Room in `answers`.
    max_out: usize,
    n_out: usize,
    to_us: Sender<Answer>,
    answers: Receiver<Answer>,
    schedule: Schedule,
    /// A window that found the threads' queue full.
    held: Option<EmbedRequest>,
    /// When the end of a live stream waits no longer.
    gives_up: Option<Receiver<Instant>>,
}

impl SecondSession {
    /// Takes results and hands out windows; waits for room only where labels wait, too. Returns the time that the threads
    /// spent.
    pub(super) fn drive(&mut self, diarizer: &mut Diarizer) -> Result<Duration, DiarizerError> {
        let mut busy = Duration::ZERO;
        while let Ok(answer) = self.answers.try_recv() {
            self.n_out -= 1;
            busy += answer.busy;
            if let Err(error) = &answer.result {
                tracing::warn!(%error, "the second model could not embed a window");
            }
            diarizer.provide_second(answer.id, answer.result)?;
        }
        while self.n_out < self.max_out
            && let Some(request) = self.held.take().or_else(|| diarizer.poll_second())
        {
            let position = Duration::from_secs_f64(request.range.end().seconds());
            let due = self.schedule.due(position, Instant::now());
            match self.pace {
                SecondPace::InStep => self.pool.submit(due, request, &self.to_us),
                SecondPace::Behind => {
                    if let Some(request) = self.pool.try_submit(due, request, &self.to_us) {
                        self.held = Some(request);
                        break;
                    }
                }
            }
            self.n_out += 1;
        }
        if self.gives_up.as_ref().is_some_and(|at| at.try_recv().is_ok()) {
            let n_missing = diarizer.n_second_unanswered();
            tracing::warn!(
                n_missing,
                "the last pass does without windows that the second model has not embedded in time"
            );
            diarizer.leave_out_second();
        }
        Ok(busy)
    }

    /// No more audio comes: a live stream waits for what is missing for a few seconds.
    pub(super) fn finish(&mut self) {
        if self.pace == SecondPace::Behind && self.gives_up.is_none() {
            self.gives_up = Some(crossbeam_channel::after(LONGEST_WAIT));
        }
    }

    /// Windows that the session has to wait for.
    pub(super) fn n_pending(&self, diarizer: &Diarizer) -> usize {
        let waits = self.pace == SecondPace::InStep || self.gives_up.is_some();
        if waits { diarizer.n_second_unanswered() } else { 0 }
    }

    pub(super) fn register<'a>(&'a self, select: &mut Select<'a>) {
        select.recv(&self.answers);
        if let Some(gives_up) = &self.gives_up {
            select.recv(gives_up);
        }
    }
}
