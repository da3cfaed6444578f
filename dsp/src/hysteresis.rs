//! From a speech score per 10 ms frame to speech regions: two thresholds, hangover and minimum durations.

use crate::clock::{SampleIndex, SampleRange};
use crate::frame_cutter::FRAME_SAMPLES;

/// Samples of a frame, as the clock counts.
const FRAME: u64 = FRAME_SAMPLES as u64;
/// Milliseconds of a frame.
const FRAME_MS: u32 = 10;
/// Longest duration that a parameter takes: a minute.
const MAX_MS: u32 = 60_000;

/// What turns scores into regions, not yet checked. Durations are rounded up to whole frames of 10 ms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HysteresisRecipe {
    /// A frame whose score is at least this begins speech. From 0 to 1, not 0.
    pub onset: f32,
    /// Speech goes on while the score is at least this. From 0 to `onset`, not 0.
    pub offset: f32,
    /// How long speech is held to go on after its last frame. It belongs to the region.
    pub hangover_ms: u32,
    /// A region with less speech than this (hangover, bridged silences and padding not counted) is dropped.
    pub min_speech_ms: u32,
    /// Silence after the hangover that is shorter than this is bridged.
    pub min_silence_ms: u32,
    /// What a region is extended by on both sides, at most `min_silence_ms`, so that no region reaches into the
    /// next one.
    pub pad_ms: u32,
}

impl Default for HysteresisRecipe {
    /// For the decisions of [`VadMode::VeryAggressive`](crate::VadMode) smoothed over 50 ms: speech shorter than
    /// 100 ms is a noise, silence shorter than 500 ms a pause between words. Chosen on 6 minutes of AMI meetings
    /// and 54 minutes of simulated conversations: frames missed and falsely found come to 31 % and 16 % of the
    /// speech; [`VadMode::Aggressive`](crate::VadMode) gives 43 % and 16 %.
    fn default() -> Self {
        Self { onset: 0.5, offset: 0.3, hangover_ms: 0, min_speech_ms: 100, min_silence_ms: 500, pad_ms: 100 }
    }
}

/// What is wrong with a [`HysteresisRecipe`].
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum HysteresisFault {
    /// A threshold is no score.
    #[error("{field} ({got}) must be above 0 and at most 1")]
    Threshold {
        /// `onset` or `offset`.
        field: &'static str,
        /// Its value.
        got: f32,
    },
    /// The thresholds are the wrong way round.
    #[error("offset ({offset}) must be <= onset ({onset})")]
    OffsetAboveOnset {
        /// Threshold that ends speech.
        offset: f32,
        /// Threshold that begins it.
        onset: f32,
    },
    /// A duration is too long.
    #[error("{field} ({got} ms) must be at most {MAX_MS} ms")]
    Duration {
        /// Name of the field.
        field: &'static str,
        /// Its value, in milliseconds.
        got: u32,
    },
    /// Padding would reach into a neighbouring region.
    #[error("pad_ms ({pad_ms}) must be <= min_silence_ms ({min_silence_ms})")]
    PadBeyondSilence {
        /// Padding.
        pad_ms: u32,
        /// Shortest silence between regions.
        min_silence_ms: u32,
    },
}

/// Checked parameters of a [`Hysteresis`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HysteresisParams {
    recipe: HysteresisRecipe,
    hangover: u64,
    min_speech: u64,
    min_silence: u64,
    pad: u64,
}

impl Default for HysteresisParams {
    fn default() -> Self {
        Self::try_new(HysteresisRecipe::default()).expect("the default recipe is checked by a test")
    }
}

impl HysteresisParams {
    /// Checks a recipe.
    ///
    /// # Errors
    /// All faults, each with value and rule.
    pub fn try_new(recipe: HysteresisRecipe) -> Result<Self, Vec<HysteresisFault>> {
        let HysteresisRecipe { onset, offset, hangover_ms, min_speech_ms, min_silence_ms, pad_ms } = recipe;
        let mut faults = Vec::new();
        for (field, got) in [("onset", onset), ("offset", offset)] {
            if !(got > 0.0 && got <= 1.0) {
                faults.push(HysteresisFault::Threshold { field, got });
            }
        }
        if offset > onset {
            faults.push(HysteresisFault::OffsetAboveOnset { offset, onset });
        }
        for (field, got) in [
            ("hangover_ms", hangover_ms),
            ("min_speech_ms", min_speech_ms),
            ("min_silence_ms", min_silence_ms),
            ("pad_ms", pad_ms),
        ] {
            if got > MAX_MS {
                faults.push(HysteresisFault::Duration { field, got });
            }
        }
        if pad_ms > min_silence_ms {
            faults.push(HysteresisFault::PadBeyondSilence { pad_ms, min_silence_ms });
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let frames = |ms: u32| u64::from(ms.div_ceil(FRAME_MS));
        Ok(Self {
            recipe,
            hangover: frames(hangover_ms),
            min_speech: frames(min_speech_ms).max(1),
            min_silence: frames(min_silence_ms),
            pad: frames(pad_ms),
        })
    }

    /// The recipe, known to be good.
    #[must_use]
    pub fn recipe(&self) -> &HysteresisRecipe {
        &self.recipe
    }

    /// How long after speech began its start is said, in milliseconds, when it goes on without a pause.
    #[must_use]
    pub fn start_latency_ms(&self) -> u32 {
        self.min_speech as u32 * FRAME_MS
    }

    /// How long after speech ended its end is said, in milliseconds.
    #[must_use]
    pub fn end_latency_ms(&self) -> u32 {
        (self.hangover + self.min_silence).max(1) as u32 * FRAME_MS
    }

    /// Whether speech is on after a frame of this score. What is no number is silence.
    fn is_active(&self, was_active: bool, score: f32) -> bool {
        score >= if was_active { self.recipe.offset } else { self.recipe.onset }
    }
}

/// The start or the end of a speech region, said as soon as it is certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transition {
    /// A region starts here: before the frame that decided it, by the minimum of speech and the padding.
    Start(SampleIndex),
    /// The open region ends here, at or before the end of the frame that decided it.
    End(SampleIndex),
}

/// Turns a score per 10 ms frame into speech regions, streaming.
///
/// A frame is active when its score reaches `onset`, and stays so while it reaches `offset`. Active runs are
/// held on for `hangover_ms`; runs less than `min_silence_ms` apart are one region; a region with less than
/// `min_speech_ms` of active frames is dropped; the rest are padded, never beyond the audio heard and never
/// into the region before. (Two thresholds, minimum durations and padding are those of Gelly and Gauvain 2018;
/// here the speech inside a region is counted and not its extent, so that scattered clicks do not add up to
/// one.)
///
/// A start is said `min_speech_ms` of speech after it, an end `hangover_ms + min_silence_ms` after the last
/// active frame. What has been said is final. Regions come in order and do not overlap; `End` may equal the
/// next `Start`. Constant time per frame, no allocation.
#[derive(Debug, Clone, PartialEq)]
pub struct Hysteresis {
    params: HysteresisParams,
    /// Position of the first frame since the last restart.
    origin: SampleIndex,
    /// Frames seen since the last restart.
    n_frames: u64,
    is_active: bool,
    candidate: Option<Candidate>,
    /// End of the last region, in frames since the origin.
    last_end: u64,
}

/// A region under way, in frames since the origin.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Candidate {
    start: u64,
    /// Frame after the last active one.
    active_end: u64,
    n_active: u64,
    is_said: bool,
}

impl Hysteresis {
    /// A detector at the start of a stream.
    #[must_use]
    pub fn new(params: HysteresisParams) -> Self {
        Self {
            params,
            origin: SampleIndex::ZERO,
            n_frames: 0,
            is_active: false,
            candidate: None,
            last_end: 0,
        }
    }

    /// The parameters.
    #[must_use]
    pub fn params(&self) -> &HysteresisParams {
        &self.params
    }

    /// Takes the score of the next 10 ms frame, from 0 (silence) to 1 (speech); NaN is silence.
    pub fn push(&mut self, score: f32) -> Option<Transition> {
        let frame = self.n_frames;
        self.n_frames += 1;
        self.is_active = self.params.is_active(self.is_active, score);
        if self.is_active {
            let candidate = self.candidate.get_or_insert(Candidate {
                start: frame,
                active_end: frame,
                n_active: 0,
                is_said: false,
            });
            candidate.active_end = frame + 1;
            candidate.n_active += 1;
            if candidate.is_said || candidate.n_active < self.params.min_speech {
                return None;
            }
            candidate.is_said = true;
            let start = candidate.start.saturating_sub(self.params.pad).max(self.last_end);
            return Some(Transition::Start(self.position(start)));
        }
        let candidate = self.candidate?;
        let n_silent = self.n_frames - candidate.active_end;
        if n_silent < self.params.hangover + self.params.min_silence {
            return None;
        }
        self.candidate = None;
        candidate.is_said.then(|| self.end(candidate))
    }

    /// Says the end of an open region because no more frames come, and goes back to silence; the frames go on
    /// to be counted. What was too short to be said is dropped.
    pub fn finish(&mut self) -> Option<Transition> {
        self.is_active = false;
        let candidate = self.candidate.take()?;
        candidate.is_said.then(|| self.end(candidate))
    }

    /// Whether a region is open: its start was said and its end was not.
    #[must_use]
    pub fn in_speech(&self) -> bool {
        self.candidate.is_some_and(|candidate| candidate.is_said)
    }

    /// Position after the last frame taken.
    #[must_use]
    pub fn now(&self) -> SampleIndex {
        self.position(self.n_frames)
    }

    /// The earliest position that a `Start` still to be said can have: audio before it need not be kept for
    /// the sake of speech to come. While a region is open that is its last end so far.
    #[must_use]
    pub fn earliest_start(&self) -> SampleIndex {
        let start = match self.candidate {
            Some(candidate) if candidate.is_said => candidate.active_end,
            Some(candidate) => candidate.start.saturating_sub(self.params.pad),
            None => self.n_frames.saturating_sub(self.params.pad),
        };
        self.position(start.max(self.last_end))
    }

    /// Where the open region would end if no more speech came; `None` outside regions.
    #[must_use]
    pub fn end_so_far(&self) -> Option<SampleIndex> {
        let candidate = self.candidate.filter(|candidate| candidate.is_said)?;
        Some(self.position(self.end_frame(candidate)))
    }

    /// Goes back to the start of a stream.
    pub fn reset(&mut self) {
        *self = Self::new(self.params);
    }

    /// Starts anew at `at`, after a gap in the audio: silence, and the next frame begins there. An open region
    /// is forgotten, so [`finish`](Self::finish) comes first.
    pub fn restart(&mut self, at: SampleIndex) {
        *self = Self { origin: at, ..Self::new(self.params) };
    }

    fn end(&mut self, candidate: Candidate) -> Transition {
        self.last_end = self.end_frame(candidate);
        Transition::End(self.position(self.last_end))
    }

    fn end_frame(&self, candidate: Candidate) -> u64 {
        (candidate.active_end + self.params.hangover + self.params.pad).min(self.n_frames)
    }

    fn position(&self, frame: u64) -> SampleIndex {
        self.origin.plus(frame * FRAME)
    }
}

/// The speech regions of a whole recording with one score per 10 ms frame: what a [`Hysteresis`] says about
/// it. Allocates the result only.
#[must_use]
pub fn speech_regions(params: HysteresisParams, scores: &[f32]) -> Vec<SampleRange> {
    let mut hysteresis = Hysteresis::new(params);
    let (mut regions, mut open) = (Vec::new(), SampleIndex::ZERO);
    let mut hear = |transition| match transition {
        Some(Transition::Start(at)) => open = at,
        Some(Transition::End(at)) => regions.push(SampleRange::new(open, at)),
        None => {}
    };
    for &score in scores {
        hear(hysteresis.push(score));
    }
    hear(hysteresis.finish());
    regions
}

/// Turns raw decisions into a score: the share of speech among the last frames.
///
/// A score is as old as half of its span: over 5 frames it lags by 20 ms. The first frames of a stream are
/// scored over the span all the same, as if silence lay before it. Constant time per frame, no allocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecisionSmoother {
    /// The last decisions, newest in bit 0.
    recent: u64,
    mask: u64,
}

impl DecisionSmoother {
    /// Longest span, in frames.
    pub const MAX_FRAMES: u32 = 64;

    /// Smooths over `n_frames` frames; what lies outside 1 to 64 becomes the nearer of the two.
    #[must_use]
    pub fn new(n_frames: u32) -> Self {
        Self { recent: 0, mask: u64::MAX >> (Self::MAX_FRAMES - n_frames.clamp(1, Self::MAX_FRAMES)) }
    }

    /// Takes the next frame's decision; returns the score, from 0 to 1.
    pub fn push(&mut self, is_speech: bool) -> f32 {
        self.recent = (self.recent << 1 | u64::from(is_speech)) & self.mask;
        self.recent.count_ones() as f32 / self.mask.count_ones() as f32
    }

    /// Goes back to the start of a stream.
    pub fn reset(&mut self) {
        self.recent = 0;
    }
}

#[cfg(test)]
mod tests;
