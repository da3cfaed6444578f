//! From samples to ordered facts: voice activity, log-mel frames computed once, and the windows to embed.
//!
//! Everything happens per 10 ms tick, so what comes out does not depend on how the samples were cut into blocks.
//! Look-ahead: one analysis frame (25 ms), what the network needs to detect speech, and what the hysteresis needs to
//! accept a start or an end. A window does not wait for the network: it reaches as far beyond the last decided tick as
//! that needed to hear.

mod detector;
mod features;

use std::collections::VecDeque;

use diarized_dsp::log_mel::{LogMel, MeanNormalisation};
use diarized_dsp::{FRAME_SAMPLES, FrameCutter, SampleIndex, SampleRange, Transition};

use super::params::DiarizerParams;
use crate::model_card::ModelCard;
use detector::{Decision, Detector};

pub(crate) use detector::FrameQuality;
pub(super) use features::window_features;

/// One fact about the stream, with the position of the audio that made it known.
#[derive(Debug)]
pub(crate) struct Fact {
    pub(crate) at: SampleIndex,
    pub(crate) kind: FactKind,
}

#[derive(Debug)]
pub(crate) enum FactKind {
    /// Speech began.
    Open { start: SampleIndex },
    /// Measures of the region's next frames.
    Frames(FrameMeasures),
    /// A window of the open region is to be embedded; it may reach beyond what is decided. `padded_by_repetition`: shorter than its
    /// frames, and repeated.
    Window {
        support: SampleRange,
        decided: SampleIndex,
        n_frames: usize,
        features: Vec<f32>,
        padded_by_repetition: bool,
    },
    /// The open region pauses, and may be over: no window for the time being. `voiced`: the end of its latest speech.
    Pause { voiced: SampleIndex },
    /// Speech ended.
    Close { end: SampleIndex },
}

/// Measures of frames of the open region, 10 ms each. `overlap` continues its own series, which lags behind the others
/// until the region closes.
#[derive(Debug, Default)]
pub(crate) struct FrameMeasures {
    /// Levels in dBFS.
    pub(crate) db: Vec<f32>,
    /// Whether somebody speaks.
    pub(crate) voiced: Vec<bool>,
    /// How clear the speech is, where the detector measures that.
    pub(crate) quality: Vec<Option<FrameQuality>>,
    /// Log odds that two or more people speak.
    pub(crate) overlap: Vec<f32>,
    /// Noise floor now in dBFS, where it is known.
    pub(crate) noise_db: Option<f32>,
}

/// Where the windows of the open region have got to, in ticks.
#[derive(Debug, Clone, Copy)]
struct Schedule {
    first: u64,
    /// The tick with which the next window is made.
    next: u64,
    /// The same for the next report of a pause.
    next_pause: u64,
    /// One past the last tick of the last window made, if any, and its middle.
    made: Option<(u64, u64)>,
    /// Ticks whose levels are reported, and those whose overlap is.
    frames_told: u64,
    overlap_told: u64,
}

/// See the module's documentation. Memory: about 5 s of features, 160 kB for 80 mel bands.
#[derive(Debug)]
pub(crate) struct FrontEnd {
    /// None where the detector's rows serve the voice model, too.
    mel: Option<LogMel>,
    frame_length: u64,
    n_mels: usize,
    mean: MeanNormalisation,
    detector: Detector,
    /// Log-mel rows as they come, frame-major.
    new_rows: Vec<f32>,
    cutter: FrameCutter,
    /// Stream position of tick 0: the end of the last gap.
    origin: SampleIndex,
    n_samples: u64,
    /// Per tick its level and its decision: a tick is handled when both and its mel frame are there.
    levels_waiting: VecDeque<f32>,
    decisions: VecDeque<Decision>,
    /// Feature rows of ticks `first_tick..`, frame-major; they run ahead of `tick`.
    rows: VecDeque<f32>,
    levels: VecDeque<f32>,
    voiced: VecDeque<bool>,
    qualities: VecDeque<Option<FrameQuality>>,
    /// Log odds of overlap of ticks `first_tick..`, as far as they are known; empty without the network.
    overlaps: VecDeque<f32>,
    first_tick: u64,
    tick: u64,
    last_voiced: Option<u64>,
    /// Everything that can be known of the audio so far is known.
    is_ending: bool,
    noise: NoiseFloor,
    schedule: Option<Schedule>,
    window: u64,
    short: u64,
    first_label: u64,
    step: u64,
}

impl FrontEnd {
    pub(crate) fn new(params: &DiarizerParams, card: &ModelCard) -> Self {
        let o = params.options();
        let detector = Detector::new(params);
        Self {
            mel: (!detector.has_rows_of(card.front_end)).then(|| LogMel::new(card.front_end)),
            frame_length: card.front_end.frame_length_samples() as u64,
            n_mels: card.front_end.n_mels(),
            mean: card.mean_normalisation,
            detector,
            cutter: FrameCutter::new(),
            origin: SampleIndex::ZERO,
            n_samples: 0,
            levels_waiting: VecDeque::new(),
            decisions: VecDeque::new(),
            new_rows: Vec::new(),
            rows: VecDeque::new(),
            levels: VecDeque::new(),
            voiced: VecDeque::new(),
            qualities: VecDeque::new(),
            overlaps: VecDeque::new(),
            first_tick: 0,
            tick: 0,
            last_voiced: None,
            is_ending: false,
            noise: NoiseFloor::default(),
            schedule: None,
            window: u64::from(o.window_ms / 10),
            short: short_window_frames(o.window_ms) as u64,
            first_label: u64::from(o.first_label_ms / 10),
            step: u64::from(o.step_ms / 10),
        }
    }

    /// The same for a stream whose first sample lies at `at`.
    pub(crate) fn beginning_at(params: &DiarizerParams, card: &ModelCard, at: SampleIndex) -> Self {
        Self { origin: at, ..Self::new(params, card) }
    }

    /// While no region is open: no later region begins before this position.
    pub(crate) fn decided_until(&self) -> SampleIndex {
        let reach = self.detector.look_ahead_ticks() + self.detector.lag_ticks() + MARGIN_TICKS;
        let behind = self.n_samples.saturating_sub(reach * FRAME_SAMPLES as u64);
        self.origin.plus(behind)
    }

    /// Position up to which audio has been pushed.
    pub(crate) fn heard(&self) -> SampleIndex {
        self.origin.plus(self.n_samples)
    }

    /// Whether a region of speech is open.
    pub(crate) fn in_speech(&self) -> bool {
        self.schedule.is_some()
    }

    /// Level of the latest tick in dBFS.
    pub(crate) fn level_dbfs(&self) -> f32 {
        self.levels.back().copied().unwrap_or(SILENCE_DB)
    }

    /// Takes samples and appends what became known.
    pub(crate) fn push(&mut self, samples: &[f32], facts: &mut VecDeque<Fact>) {
        // One second at a time, so that a long block needs no more memory than a short one.
        for part in samples.chunks(16_000) {
            self.n_samples += part.len() as u64;
            let Self { cutter, detector, levels_waiting, decisions, .. } = self;
            cutter.push(part, |frame| {
                let power = frame.iter().map(|s| s * s).sum::<f32>() / FRAME_SAMPLES as f32;
                levels_waiting.push_back(decibels(power));
                if let Detector::WebRtc { vad, .. } = detector {
                    decisions.push_back(Decision { voiced: vad.decide(frame), score: 0.0, quality: None });
                }
            });
            self.hear(part, false);
            self.run_ticks(facts);
        }
    }

    /// Runs detector and log-mel over samples; `last` is true for the last ones.
    fn hear(&mut self, samples: &[f32], last: bool) {
        let Self { mel, new_rows, detector, decisions, overlaps, .. } = self;
        new_rows.clear();
        match mel {
            Some(mel) => {
                mel.push(samples, new_rows);
                if last {
                    mel.finish(new_rows);
                }
                detector.hear(samples, last, decisions, overlaps, None);
            }
            None => detector.hear(samples, last, decisions, overlaps, Some(new_rows)),
        }
        self.rows.extend(&self.new_rows);
    }

    /// The stream pauses here: the open region closes and the analysis restarts at the position reached.
    pub(crate) fn interrupt(&mut self, gap_samples: u64, facts: &mut VecDeque<Fact>) {
        self.hear(&[], true);
        self.run_ticks(facts);
        self.is_ending = true;
        if let Some(Transition::End(tick)) = self.detector.finish(self.tick) {
            self.close(tick, facts);
        }
        self.is_ending = false;
        self.origin = self.heard().plus(gap_samples);
        self.n_samples = 0;
        self.mel.iter_mut().for_each(LogMel::reset);
        self.cutter.reset();
        self.levels_waiting.clear();
        self.decisions.clear();
        self.rows.clear();
        self.levels.clear();
        self.voiced.clear();
        self.qualities.clear();
        self.overlaps.clear();
        self.first_tick = 0;
        self.tick = 0;
        self.last_voiced = None;
    }

    fn run_ticks(&mut self, facts: &mut VecDeque<Fact>) {
        let n = (self.rows_end() - self.tick).min(self.levels_waiting.len().min(self.decisions.len()) as u64);
        for _ in 0..n {
            let (Some(level_db), Some(decision)) =
                (self.levels_waiting.pop_front(), self.decisions.pop_front())
            else {
                break;
            };
            self.levels.push_back(level_db);
            self.voiced.push_back(decision.voiced);
            self.qualities.push_back(decision.quality);
            self.tick += 1;
            if decision.voiced {
                self.last_voiced = Some(self.tick);
            }
            self.noise.push(level_db, decision.voiced);
            self.run_tick(decision, level_db, facts);
        }
        self.forget();
    }

    /// One past the last tick whose row is there.
    fn rows_end(&self) -> u64 {
        self.first_tick + (self.rows.len() / self.n_mels) as u64
    }

    fn run_tick(&mut self, decision: Decision, level_db: f32, facts: &mut VecDeque<Fact>) {
        match self.detector.gate(decision, level_db) {
            Some(Transition::Start(tick)) => {
                let first = tick.max(self.first_tick);
                self.schedule = Some(Schedule {
                    first,
                    next: first + self.first_label,
                    next_pause: first + self.first_label,
                    made: None,
                    frames_told: first,
                    overlap_told: first,
                });
                self.tell(FactKind::Open { start: self.position(first) }, facts);
            }
            Some(Transition::End(tick)) => self.close(tick, facts),
            None => {}
        }
        let Some(schedule) = self.schedule else { return };
        // In a pause that may turn out to be the end, windows wait: the closing ones cover the region's tail.
        let voiced = self.last_voiced.filter(|v| v + PAUSE_TICKS >= self.tick);
        if voiced.is_some() && self.tick >= schedule.next {
            // This tick could not be decided before these rows were computed; the stream's end may cut them short.
            let heard = (self.tick + self.detector.lag_ticks()).min(self.rows_end());
            self.make_window(schedule, heard, self.window, facts);
            if let Some(s) = &mut self.schedule {
                s.next = self.tick + self.step;
                s.next_pause = s.next;
            }
        } else if voiced.is_none() && self.tick >= schedule.next_pause {
            let voiced = self.last_voiced.unwrap_or(schedule.first);
            self.tell(FactKind::Pause { voiced: self.position(voiced) }, facts);
            if let Some(s) = &mut self.schedule {
                s.next_pause = self.tick + self.step;
            }
        }
    }

    /// Makes the window of at most `length` ticks that ends at `end`, shorter ones by the short plan.
    fn make_window(&mut self, schedule: Schedule, end: u64, length: u64, facts: &mut VecDeque<Fact>) {
        let decided = end.min(self.tick);
        self.tell_frames(decided, facts);
        let available = end - schedule.first;
        if available == 0 {
            return;
        }
        let n_frames = if available >= length { length } else { self.short.min(length) };
        let n_taken = n_frames.min(available);
        let start = end - n_taken;
        let offset = (start - self.first_tick) as usize * self.n_mels;
        let n_values = n_taken as usize * self.n_mels;
        let taken: Vec<f32> = self.rows.range(offset..offset + n_values).copied().collect();
        let features = window_features(&taken, self.n_mels, n_frames as usize, self.mean);
        let support = SampleRange::new(self.position(start), self.position(end));
        let (decided, padded_by_repetition) = (self.position(decided), n_taken < n_frames);
        let n_frames = n_frames as usize;
        self.tell(FactKind::Window { support, decided, n_frames, features, padded_by_repetition }, facts);
        if let Some(s) = &mut self.schedule {
            s.made = Some((end, u64::midpoint(start, end)));
        }
    }

    fn close(&mut self, end: u64, facts: &mut VecDeque<Fact>) {
        let Some(schedule) = self.schedule else { return };
        let end = end.clamp(schedule.first, self.tick);
        let (made, middle) = schedule.made.unwrap_or((schedule.first, schedule.first));
        if end > made {
            self.make_window(schedule, end, self.window, facts);
        }
        // A short last window sees a change of speaker in the region's last second.
        if end - schedule.first >= self.window && end - self.short / 2 > middle {
            self.make_window(schedule, end, self.short, facts);
        }
        self.tell_frames(end, facts);
        self.tell(FactKind::Close { end: self.position(end) }, facts);
        self.schedule = None;
    }

    fn tell_frames(&mut self, until: u64, facts: &mut VecDeque<Fact>) {
        // Overlap counts as far as it was known when this tick was handled, whatever the size of the block.
        let lag = if self.is_ending { 0 } else { self.detector.overlap_lag_ticks() };
        let Some(schedule) = &mut self.schedule else { return };
        let known = self.tick.saturating_sub(lag).min(until).max(schedule.overlap_told);
        if until <= schedule.frames_told && known == schedule.overlap_told {
            return;
        }
        let first = self.first_tick;
        let place = |tick: u64, len: usize| ((tick - first) as usize).min(len);
        let n = self.levels.len();
        let levels = place(schedule.frames_told, n)..place(until.max(schedule.frames_told), n);
        let n = self.overlaps.len();
        let overlaps = place(schedule.overlap_told, n)..place(known, n);
        schedule.frames_told = until.max(schedule.frames_told);
        schedule.overlap_told = known;
        let measures = FrameMeasures {
            db: self.levels.range(levels.clone()).copied().collect(),
            voiced: self.voiced.range(levels.clone()).copied().collect(),
            quality: self.qualities.range(levels).copied().collect(),
            overlap: self.overlaps.range(overlaps).copied().collect(),
            noise_db: self.noise.level_db(),
        };
        self.tell(FactKind::Frames(measures), facts);
    }

    fn tell(&self, kind: FactKind, facts: &mut VecDeque<Fact>) {
        let heard = self.detector.known_after(self.tick) * FRAME_SAMPLES as u64 + self.frame_length
            - FRAME_SAMPLES as u64;
        facts.push_back(Fact { at: self.origin.plus(heard.min(self.n_samples)), kind });
    }

    fn position(&self, tick: u64) -> SampleIndex {
        self.origin.plus(tick * FRAME_SAMPLES as u64)
    }

    /// Forgets rows that no window can reach back to.
    fn forget(&mut self) {
        let reach = self.window + self.detector.look_ahead_ticks() + PAUSE_TICKS + self.step;
        let region = self.schedule.map_or(self.tick, |s| s.overlap_told);
        let keep_from = self.tick.saturating_sub(reach).min(region);
        if keep_from > self.first_tick {
            let n = (keep_from - self.first_tick) as usize;
            self.rows.drain(..n * self.n_mels);
            self.levels.drain(..n);
            self.voiced.drain(..n);
            self.qualities.drain(..n);
            self.overlaps.drain(..n.min(self.overlaps.len()));
            self.first_tick = keep_from;
        }
    }
}

/// Length of the short plan that goes with full windows of `window_ms`: two thirds, in frames.
pub(crate) fn short_window_frames(window_ms: u32) -> usize {
    (window_ms / 15) as usize
}

/// By how much a region may begin earlier than detectors report: 0.5 s.
const MARGIN_TICKS: u64 = 50;
/// Level of digital silence.
const SILENCE_DB: f32 = -100.0;
/// After this many unvoiced ticks windows wait for the pause to end.
const PAUSE_TICKS: u64 = 12;

/// A mean power as a level in dBFS.
pub(super) fn decibels(power: f32) -> f32 {
    (10.0 * power.max(1e-10).log10()).max(SILENCE_DB)
}

/// A slow estimate of the level between the words: it falls at once with quieter unvoiced frames and rises by a
/// fixed small step with louder ones (a minimum tracker after Doblinger, 1995, in decibels).
#[derive(Debug, Clone, Copy, Default)]
struct NoiseFloor {
    db: Option<f32>,
}

impl NoiseFloor {
    fn push(&mut self, level_db: f32, voiced: bool) {
        let held = self.db.unwrap_or(level_db);
        let next = if level_db < held {
            held + 0.2 * (level_db - held)
        } else if voiced {
            held + 0.005
        } else {
            held + (0.05 * (level_db - held)).min(0.5)
        };
        self.db = Some(next);
    }

    fn level_db(&self) -> Option<f32> {
        self.db
    }
}
