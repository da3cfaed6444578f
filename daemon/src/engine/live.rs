//! Diarizers of live sessions, embedded for by the shared pool.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Select, Sender, bounded};
use diarized_config::Config;
use diarized_dsp::SampleIndex;
use diarized_models::diarizer::{
    Continuation, CorrectionError as Refusal, DiarizerError, SpeakerVoice, VoiceMemory, VoicesMark,
};
use diarized_models::events::GapReason;
use diarized_models::{Diarizer, DiarizerParams, EmbedError, Embedder, ModelCard, SpeakerId, TimedEvent};

use super::options::{SetUpError, diarizer_params, load_embedder};
use super::pool::{Answer, InferencePool};
use super::queue::{Schedule, WindowDecimation};
use super::second::{SecondModel, SecondSession};
use crate::protocol::{Latency, SessionOptions};
use crate::session::InferenceStats;
use crate::session::restoration;
use crate::session::{Before, Correction, CorrectionError, Engine, EngineError, EngineFactory, GoingOn};
use crate::voices::Registry;

/// Windows of one session that may be with the pool: enough to keep every core busy, few enough that no session
/// fills the queue of all.
const MAX_OUT: usize = 16;

/// Makes a diarizer for each session; all share one model and one pool, and a second one of each where that is configured.
#[derive(Debug)]
pub struct LiveEngines {
    pool: Arc<InferencePool>,
    params: DiarizerParams,
    card: ModelCard,
    embedder: Arc<Embedder>,
    second: Option<SecondModel>,
    /// Threads of each model for recordings; 0 is one a core.
    n_threads: usize,
    voices: Option<Arc<Registry>>,
    thins: bool,
    whole_frames: usize,
}

impl LiveEngines {
    /// Loads and warms the configured models and starts the configured number of threads.
    ///
    /// # Errors
    /// The model, a parameter, or a thread.
    pub fn start(config: &Config) -> Result<Self, SetUpError> {
        let params = diarizer_params(&config.diarization)?;
        let embedder = Arc::new(load_embedder(&config.model, &params)?);
        let card = embedder.card().clone();
        let second = SecondModel::load(config, &params)?;
        let voices = match config.voices.enabled {
            true => {
                let registry =
                    Registry::new(&config.voices, second.as_ref().map_or(&card, SecondModel::card));
                registry.refresh()?;
                Some(Arc::new(registry))
            }
            false => None,
        };
        let n_threads = config.inference.threads;
        let pool = Arc::new(InferencePool::new("inference", Arc::clone(&embedder), n_threads)?);
        let thins = config.inference.thin_when_late;
        let whole_frames = Diarizer::window_frames(&params).into_iter().max().unwrap_or(0);
        Ok(Self { pool, params, card, embedder, second, n_threads, voices, thins, whole_frames })
    }

    /// The same for recordings: no window is skipped, however slow the machine is, and labels wait for the second model.
    ///
    /// # Errors
    /// [`SetUpError::Thread`]
    pub fn for_recordings(self) -> Result<Self, SetUpError> {
        let n_threads = crate::threads::n_threads(self.n_threads);
        let second = self.second.map(|second| second.for_recordings(n_threads)).transpose()?;
        Ok(Self { thins: false, second, ..self })
    }

    /// The voice model.
    #[must_use]
    pub fn embedder(&self) -> &Arc<Embedder> {
        &self.embedder
    }

    /// The model of voiceprints: the second one where there is one.
    #[must_use]
    pub fn print_embedder(&self) -> &Arc<Embedder> {
        self.second.as_ref().map_or(&self.embedder, SecondModel::embedder)
    }

    /// Who is known, if voices are enabled.
    #[must_use]
    pub fn voices(&self) -> Option<&Arc<Registry>> {
        self.voices.as_ref()
    }

    /// The diarizer's parameters.
    #[must_use]
    pub fn params(&self) -> &DiarizerParams {
        &self.params
    }

    /// A diarizer for a clip of a client: it skips no window, names no speaker and changes no voiceprint.
    #[must_use]
    pub fn engine_of_clip(&self) -> Box<dyn Engine> {
        let engine = self.live_engine(Diarizer::new(self.params.clone(), &self.card), None);
        Box::new(LiveEngine { voices: None, decimation: None, ..engine })
    }

    fn params_for(&self, wanted: SessionOptions) -> Result<DiarizerParams, EngineError> {
        if wanted.is_empty() {
            return Ok(self.params.clone());
        }
        let mut options = self.params.options().clone();
        let speakers = wanted.speakers;
        if !speakers.is_empty() {
            options.expected_speakers = speakers.expected.map(|n| n as usize);
            options.max_speakers = speakers.max.map(|n| n as usize);
        }
        if let Some(ms) = wanted.latency.and_then(Latency::label_delay_ms) {
            options.label_delay_ms = ms.min(options.settle_ms);
        }
        DiarizerParams::try_new(options).map_err(|faults| {
            let reason = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            EngineError { reason }
        })
    }
}

impl LiveEngines {
    fn engine_of(&self, diarizer: Diarizer) -> Box<dyn Engine> {
        let (diarizer, second) = match &self.second {
            Some(second) => {
                let (diarizer, session) = second.join(diarizer);
                (diarizer, Some(session))
            }
            None => (diarizer, None),
        };
        Box::new(self.live_engine(diarizer, second))
    }

    fn live_engine(&self, diarizer: Diarizer, second: Option<SecondSession>) -> LiveEngine {
        let (to_us, answers) = bounded(MAX_OUT);
        LiveEngine {
            diarizer,
            pool: Arc::clone(&self.pool),
            to_us,
            answers,
            n_out: 0,
            second,
            busy: Duration::ZERO,
            voices: self.voices.clone(),
            known_version: None,
            has_learned: false,
            schedule: Schedule::default(),
            decimation: self.thins.then(WindowDecimation::default),
            whole_frames: self.whole_frames,
        }
    }
}

impl EngineFactory for LiveEngines {
    fn engine_for(&self, options: SessionOptions) -> Result<Box<dyn Engine>, EngineError> {
        Ok(self.engine_of(Diarizer::new(self.params_for(options)?, &self.card)))
    }

    fn engine_going_on(&self, options: SessionOptions, before: Before) -> Result<GoingOn, EngineError> {
        let params = self.params_for(options)?;
        let Before { state, at, last_segment, last_speaker, voices } = before;
        let read = |bytes: Vec<u8>| {
            let second = self.second.as_ref().map(SecondModel::card);
            VoiceMemory::parse(&bytes, &self.card, second).map_err(|fault| fault.to_string())
        };
        let (voices, voices_lost) = match voices.and_then(read) {
            Ok(voices) => (Some(voices), None),
            Err(reason) => (None, Some(reason)),
        };
        let before = Continuation { state, at, last_segment, last_speaker, voices };
        let engine = self.engine_of(Diarizer::continuing(params, &self.card, before));
        Ok(GoingOn { engine, voices_lost })
    }

    fn model(&self) -> &str {
        &self.card.name
    }

    fn inference(&self) -> InferenceStats {
        self.pool.stats()
    }
}

struct LiveEngine {
    diarizer: Diarizer,
    pool: Arc<InferencePool>,
    to_us: Sender<Answer>,
    answers: Receiver<Answer>,
    /// Windows that are with the pool; never more than `answers` has room for.
    n_out: usize,
    /// Windows that are with the second model, if there is one.
    second: Option<SecondSession>,
    busy: Duration,
    voices: Option<Arc<Registry>>,
    /// Version of the registry that the diarizer knows.
    known_version: Option<u64>,
    has_learned: bool,
    /// When windows are due.
    schedule: Schedule,
    /// Which of them are left out while the machine is too slow, if that is allowed.
    decimation: Option<WindowDecimation>,
    /// Frames of a window of full length.
    whole_frames: usize,
}

impl LiveEngine {
    /// Gives the diarizer a changed gallery.
    fn sync_gallery(&mut self) {
        let Some(registry) = &self.voices else { return };
        let version = registry.version();
        if self.known_version != Some(version) {
            self.known_version = Some(version);
            self.diarizer.set_gallery(registry.gallery());
        }
    }

    /// Lets voiceprints learn from a stream that is over, if they may. Writes to the disk.
    fn adapt_voiceprints(&mut self) {
        let Some(registry) = self.voices.as_ref().filter(|r| r.learns() && !self.has_learned) else { return };
        self.has_learned = true;
        let recognised = self.diarizer.state().speakers().filter_map(|s| Some((s.id, s.voice.clone()?)));
        for (speaker, known) in recognised {
            let Some(voice) = self.diarizer.voice_of(speaker) else { continue };
            match registry.learn(&known.id, known.probability, &voice) {
                Ok(true) => tracing::info!(voice = &*known.id, "a voiceprint learned from the session"),
                Ok(false) => {}
                Err(error) => tracing::warn!(voice = &*known.id, %error, "a voiceprint could not learn"),
            }
        }
    }
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
        self.second.iter_mut().for_each(SecondSession::finish);
        Ok(())
    }

    fn correct(&mut self, correction: &Correction) -> Result<(), CorrectionError> {
        match correction {
            Correction::Rename { speaker, name } => self.diarizer.rename(*speaker, name)?,
            Correction::Merge { from, into } => self.diarizer.merge(*from, *into)?,
            Correction::Reassign { segment, speaker } => self.diarizer.reassign(*segment, *speaker)?,
            Correction::Split { speaker, segments } => drop(self.diarizer.split(*speaker, segments)?),
            Correction::Restore(step) => self.diarizer.restore(&restoration(step)?)?,
            // These are no labels: the session's thread sees to them itself.
            Correction::Title { .. } | Correction::Note { .. } | Correction::Again { .. } => {}
            Correction::Voice { speaker, voice, name } => self.diarizer.set_voice(*speaker, voice, name)?,
        }
        Ok(())
    }

    fn voice_of(&self, speaker: SpeakerId) -> Option<SpeakerVoice> {
        self.diarizer.voice_of(speaker)
    }

    fn labelled_until(&self) -> SampleIndex {
        self.diarizer.labelled_until()
    }

    fn voices_mark(&self) -> VoicesMark {
        self.diarizer.voices_mark()
    }

    fn voices(&self) -> Vec<u8> {
        self.diarizer.voice_memory().to_bytes()
    }

    fn drive(&mut self, out: &mut Vec<TimedEvent>) -> Result<(), EngineError> {
        self.sync_gallery();
        while let Ok(answer) = self.answers.try_recv() {
            self.n_out -= 1;
            self.busy += answer.busy;
            if let Some(decimation) = &mut self.decimation {
                decimation.observe(answer.late);
            }
            if let Err(error) = &answer.result {
                tracing::warn!(%error, "a window could not be embedded and is left out of the labels");
            }
            self.diarizer.provide(answer.id, answer.result)?;
        }
        while self.n_out < MAX_OUT
            && let Some(request) = self.diarizer.poll_work()
        {
            if let Some(decimation) = &mut self.decimation
                && decimation.leaves_out(request.n_frames == self.whole_frames)
            {
                let left_out = EmbedError::Inference("left out, because the machine is too slow".to_owned());
                self.diarizer.provide(request.id, Err(left_out))?;
                continue;
            }
            self.n_out += 1;
            let position = Duration::from_secs_f64(request.range.end().seconds());
            let due = self.schedule.due(position, Instant::now());
            self.pool.submit(due, request, &self.to_us);
        }
        if let Some(second) = &mut self.second {
            self.busy += second.drive(&mut self.diarizer)?;
        }
        while let Some(emitted) = self.diarizer.poll_event() {
            out.push(emitted);
        }
        if self.diarizer.is_finished() {
            self.adapt_voiceprints();
        }
        Ok(())
    }

    fn n_pending(&self) -> usize {
        let second = self.second.as_ref().map_or(0, |second| second.n_pending(&self.diarizer));
        self.diarizer.n_unanswered() + second
    }

    fn register<'a>(&'a self, select: &mut Select<'a>) {
        select.recv(&self.answers);
        if let Some(second) = &self.second {
            second.register(select);
        }
    }

    fn level_dbfs(&self) -> f32 {
        self.diarizer.level_dbfs()
    }

    fn is_speech(&self) -> bool {
        self.diarizer.is_speech()
    }

    fn n_left_out(&self) -> u64 {
        self.decimation.as_ref().map_or(0, |decimation| decimation.n_left_out)
    }

    fn take_busy(&mut self) -> Duration {
        std::mem::take(&mut self.busy)
    }
}
