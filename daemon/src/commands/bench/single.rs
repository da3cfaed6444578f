//! One stream on one thread at full speed: time of each stage, of each window, and latency of the first label.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use diarized_config::Config;
use diarized_dsp::log_mel::LogMel;
use diarized_dsp::{ChannelSelect, Intake, IntakeParams, SAMPLE_RATE_HZ, Vad};
use diarized_models::diarizer::SpeechDetector;
use diarized_models::{Diarizer, DiarizerParams, EmbedRequest, Embedder, Segmenter, segmenter};
use serde::Serialize;

use super::audio::{BLOCK, BenchAudio};
use super::first_label::FirstLabels;
use super::machine::{self, thread_times, time_between};
use super::memory::{Answers, Point, Replay};
use super::progress::Progress;
use super::spread::Spread;
use crate::engine::{diarizer_params, load_embedder};

/// Audio of which the time is taken as one measurement, in samples: a second.
const SECOND: u64 = SAMPLE_RATE_HZ as u64;
/// Points at which memory is looked at along a stream.
const N_POINTS: u64 = 100;
/// Audio that the stages are measured with each, in seconds.
const STAGE_S: f64 = 30.0;
/// Embeddings that are kept to feed the sessions whose memory is measured, in seconds of audio.
const REPLAY_S: f64 = 900.0;

/// What was measured. Times are in seconds unless the name has another unit; factors are seconds of work for a second of
/// audio.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Figures {
    /// Name and version of the voice model.
    #[serde(skip)]
    pub(super) model: String,
    /// Audio that was labelled.
    pub(super) audio_s: f64,
    /// Time from reading the model's bytes to its first answer.
    pub(super) model_load_s: f64,
    pub(super) rtf: Factors,
    pub(super) stage_rtf: Stages,
    /// Milliseconds of work for each second of audio, the last pass not included.
    pub(super) second_ms: Spread,
    /// Time of the last pass at the end of the stream.
    pub(super) last_pass_ms: f64,
    /// One window through the network, by its length.
    pub(super) windows: Vec<WindowFigures>,
    /// Audio processed from the onset of speech to its first label.
    pub(super) onset_to_label_s: Spread,
    /// The same where the speech follows other speech, or its label takes another's place.
    pub(super) change_to_label_s: Spread,
    /// Segments and speakers at the end.
    pub(super) n_segments: usize,
    pub(super) n_speakers: usize,
}

/// Real-time factors of the whole path.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Factors {
    /// All of it; `embedder + rest`.
    pub(super) total: f64,
    /// The network.
    pub(super) embedder: f64,
    /// All but the network.
    pub(super) rest: f64,
    /// Processor time of the thread, if the system reports it: well below `total` on a busy machine.
    pub(super) processor: Option<f64>,
}

/// Real-time factors of single stages, each measured alone.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Stages {
    /// The recording from its container to mono at 16 kHz.
    pub(super) decode: f64,
    /// Stereo at 48 kHz to mono at 16 kHz.
    pub(super) resample_48k_stereo: f64,
    /// Speech detection with its features.
    pub(super) speech_detection: f64,
    /// Log-mel features of the voice model.
    pub(super) log_mel: f64,
    /// What is left of `rest`: windows, clustering, labels.
    pub(super) labelling: f64,
}

/// Windows of one length.
#[derive(Debug, Clone, Serialize)]
pub(super) struct WindowFigures {
    /// Length in frames of 10 ms.
    pub(super) n_frames: usize,
    /// Time of one, in milliseconds.
    pub(super) ms: Spread,
}

/// A loaded model and what a diarizer is made with.
pub(super) struct Bench {
    params: DiarizerParams,
    embedder: Embedder,
    model_load: Duration,
}

/// What is taken down while a stream runs.
struct Record {
    embedding: Duration,
    window_ms: BTreeMap<usize, Vec<f64>>,
    labels: FirstLabels,
    onset_to_label_s: Vec<f64>,
    change_to_label_s: Vec<f64>,
    answers: Answers,
    /// Until here answers are kept, in samples.
    answers_until: u64,
}

impl Bench {
    /// Loads the configured model.
    ///
    /// # Errors
    /// The model or a parameter is wrong.
    pub(super) fn load(config: &Config) -> anyhow::Result<Self> {
        let params = diarizer_params(&config.diarization)?;
        let began = Instant::now();
        let embedder = load_embedder(&config.model, &params)?;
        Ok(Self { params, embedder, model_load: began.elapsed() })
    }

    /// Labels `length_s` of audio on this thread, and measures the stages alone.
    ///
    /// # Errors
    /// The diarizer refuses what it asked for.
    pub(super) fn stream(
        &self,
        audio: &BenchAudio,
        length_s: f64,
        progress: &Progress,
        stop: &AtomicBool,
    ) -> anyhow::Result<(Figures, Replay)> {
        let n_total = ((length_s * f64::from(SAMPLE_RATE_HZ)) as u64).max(BLOCK as u64);
        let mut record = self.record(REPLAY_S.min(length_s));
        let mut diarizer = Diarizer::new(self.params.clone(), self.embedder.card());
        let mut second_ms = Vec::new();
        let (mut block, mut busy) = (Vec::new(), Duration::ZERO);
        let mut points = vec![Point::now(0.0)];
        progress.begin("one stream on one thread", n_total / SECOND);
        let (threads_before, mut at) = (thread_times("self"), 0);
        let mut second = Duration::ZERO;
        while at < n_total && !stop.load(Ordering::Relaxed) {
            let n_samples = BLOCK.min((n_total - at) as usize);
            audio.block(at, n_samples, &mut block);
            let began = Instant::now();
            diarizer.push(&block)?;
            self.drive(&mut diarizer, &mut record)?;
            let spent = began.elapsed();
            busy += spent;
            second += spent;
            let after = at + n_samples as u64;
            if after / SECOND > at / SECOND {
                second_ms.push(std::mem::take(&mut second).as_secs_f64() * 1e3);
                progress.at(after / SECOND);
            }
            if after * N_POINTS / n_total > at * N_POINTS / n_total {
                points.push(Point::now(after as f64 / f64::from(SAMPLE_RATE_HZ)));
            }
            at = after;
        }
        let last_pass = self.finish(&mut diarizer, &mut record)?;
        busy += last_pass;
        let processor_s = time_between(&threads_before, &thread_times("self")).get("diarized").copied();

        let audio_s = at as f64 / f64::from(SAMPLE_RATE_HZ);
        let rtf = factors(busy, record.embedding, processor_s, audio_s);
        let card = self.embedder.card();
        let figures = Figures {
            model: format!("{} {}", card.name, card.version),
            audio_s,
            model_load_s: self.model_load.as_secs_f64(),
            rtf,
            stage_rtf: self.stages(audio, rtf.rest, progress)?,
            second_ms: Spread::of(&mut second_ms),
            last_pass_ms: last_pass.as_secs_f64() * 1e3,
            windows: record.windows(),
            onset_to_label_s: Spread::of(&mut record.onset_to_label_s),
            change_to_label_s: Spread::of(&mut record.change_to_label_s),
            n_segments: diarizer.state().segments().len(),
            n_speakers: diarizer.state().speakers().len(),
        };
        let n_replayed = record.answers_until.min(at);
        let replay = Replay::new(diarizer, self.embedder.card().clone(), record.answers, n_replayed, points);
        Ok((figures, replay))
    }

    /// Ends the stream; returns the time that it took.
    fn finish(&self, diarizer: &mut Diarizer, record: &mut Record) -> anyhow::Result<Duration> {
        let began = Instant::now();
        diarizer.finish();
        self.drive(diarizer, record)?;
        Ok(began.elapsed())
    }

    /// An empty record that keeps the answers of the first `answers_s` seconds.
    fn record(&self, answers_s: f64) -> Record {
        // Windows come every step at most, and short ones beside them at the start of speech.
        let n_answers = (answers_s * (1000.0 / f64::from(self.params.options().step_ms) + 1.0)) as usize + 1;
        Record {
            embedding: Duration::ZERO,
            window_ms: BTreeMap::new(),
            labels: FirstLabels::default(),
            onset_to_label_s: Vec::new(),
            change_to_label_s: Vec::new(),
            answers: Answers::new(n_answers, self.embedder.card().embedding_dim),
            answers_until: (answers_s * f64::from(SAMPLE_RATE_HZ)) as u64,
        }
    }

    /// Embeds the windows requested by the diarizer, until there are none, and records its events.
    fn drive(&self, diarizer: &mut Diarizer, record: &mut Record) -> anyhow::Result<()> {
        while let Some(EmbedRequest { id, features, n_frames, .. }) = diarizer.poll_work() {
            let began = Instant::now();
            let embedding = self.embedder.embed(&features, n_frames);
            let spent = began.elapsed();
            record.embedding += spent;
            record.window_ms.entry(n_frames).or_default().push(spent.as_secs_f64() * 1e3);
            if diarizer.heard().0 <= record.answers_until
                && let Ok(embedding) = &embedding
            {
                record.answers.push(embedding);
            }
            diarizer.provide(id, embedding)?;
        }
        while let Some(said) = diarizer.poll_event() {
            if let Some(first) = record.labels.take(&said.event) {
                let waited_s = said.at.seconds() - first.start.seconds();
                match first.is_onset {
                    true => record.onset_to_label_s.push(waited_s),
                    false => record.change_to_label_s.push(waited_s),
                }
            }
        }
        Ok(())
    }

    /// Measures each stage alone; `rest` is the factor of all but the network.
    fn stages(&self, audio: &BenchAudio, rest: f64, progress: &Progress) -> anyhow::Result<Stages> {
        progress.begin("each stage alone", 3);
        let samples = audio.start(STAGE_S);
        let duration_s = samples.len() as f64 / f64::from(SAMPLE_RATE_HZ);
        let factor = |began: Instant, duration_s: f64| began.elapsed().as_secs_f64() / duration_s;

        let spent = self.detect_speech(samples)?;
        let speech_detection = spent.as_secs_f64() / duration_s;
        progress.at(1);

        let began = Instant::now();
        let mut mel = LogMel::new(self.embedder.card().front_end);
        let mut rows = Vec::new();
        for block in samples.chunks(BLOCK) {
            rows.clear();
            mel.push(block, &mut rows);
        }
        std::hint::black_box(&rows);
        let log_mel = factor(began, duration_s);
        progress.at(2);

        // The samples stand for stereo at 48 kHz: a sixth of the time, and the work does not depend on the sound.
        let params = IntakeParams { sample_rate_hz: 48_000, n_channels: 2, channel: ChannelSelect::Mix };
        let mut intake = Intake::new(params)?;
        let mut mono = Vec::new();
        let even = &samples[..samples.len() - samples.len() % 2];
        let began = Instant::now();
        for block in even.chunks(9600) {
            mono.clear();
            intake.push(block, &mut mono)?;
        }
        std::hint::black_box(&mono);
        let resample_48k_stereo = factor(began, even.len() as f64 / 96_000.0);
        progress.at(3);

        Ok(Stages {
            decode: audio.decoding.as_secs_f64() / audio.length_s(),
            resample_48k_stereo,
            speech_detection,
            log_mel,
            labelling: (rest - speech_detection - log_mel).max(0.0),
        })
    }

    /// Time that the configured detector takes to find the speech in `samples`, its own features included.
    fn detect_speech(&self, samples: &[f32]) -> anyhow::Result<Duration> {
        let SpeechDetector::Network = self.params.options().vad_mode else {
            let (mut vad, mut n_voiced) = (Vad::new(Default::default()), 0_u32);
            let began = Instant::now();
            samples.chunks(BLOCK).for_each(|b| vad.push(b, |is_voiced| n_voiced += u32::from(is_voiced)));
            std::hint::black_box(n_voiced);
            return Ok(began.elapsed());
        };
        let mut stream = Segmenter::builtin()?.stream();
        let mut mel = LogMel::new(segmenter::front_end());
        let (mut rows, mut scores) = (Vec::new(), segmenter::Scores::default());
        let began = Instant::now();
        for block in samples.chunks(BLOCK) {
            rows.clear();
            scores.clear();
            mel.push(block, &mut rows);
            stream.push(&rows, &mut scores);
        }
        std::hint::black_box(&scores);
        Ok(began.elapsed())
    }
}

impl Point {
    /// Memory of this process at a position of the stream.
    fn now(at_s: f64) -> Self {
        Self { at_s, resident_bytes: machine::memory_of("self").map_or(0, |memory| memory.resident_bytes) }
    }
}

/// Real-time factors of `audio_s` seconds.
fn factors(busy: Duration, embedding: Duration, processor_s: Option<f64>, audio_s: f64) -> Factors {
    let factor = |time: Duration| time.as_secs_f64() / audio_s.max(1e-9);
    Factors {
        total: factor(busy),
        embedder: factor(embedding),
        rest: factor(busy.saturating_sub(embedding)),
        processor: processor_s.filter(|s| *s > 0.0).map(|s| s / audio_s.max(1e-9)),
    }
}

impl Record {
    /// Times of the windows, by length.
    fn windows(&mut self) -> Vec<WindowFigures> {
        let figures = |(n_frames, ms): (&usize, &mut Vec<f64>)| WindowFigures {
            n_frames: *n_frames,
            ms: Spread::of(ms),
        };
        self.window_ms.iter_mut().map(figures).collect()
    }
}
