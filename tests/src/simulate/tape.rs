//! One speaker's recordings as a tape to take speech from, with what of it is speech.
//!
//! Speech is detected by energy in the dry recording, utterance by utterance: a frame of 10 ms is speech if it lies
//! less than 30 dB below the utterance's loud frames (95th percentile) and more than 6 dB above its quiet ones
//! (5th percentile; in a noisy utterance at least 12 dB below the loud ones). Pauses under 0.25 s belong to
//! the speech around them and bursts under 0.05 s are no speech. Pauses inside utterances are shortened to
//! 0.3 s, so that lists of words become talk.

use diarized_dsp::SAMPLE_RATE_HZ;

/// Samples of one frame of 10 ms.
pub(super) const FRAME: usize = SAMPLE_RATE_HZ as usize / 100;
const BRIDGED_FRAMES: usize = 25;
const SHORTEST_BURST_FRAMES: usize = 5;
const LONGEST_PAUSE_FRAMES: usize = 30;
/// Level of the speech on a tape, RMS in dB below full scale.
const LEVEL_DBFS: f32 = -26.0;
/// A turn ends at the quietest point from this much before the planned end …
const EARLIER_FRAMES: usize = 5;
/// … to this much after it; the pause found there is dropped, so most turns end about when planned.
const LATER_FRAMES: usize = 45;
/// Fades at cuts.
const FADE_SAMPLES: usize = 80;

/// Speech of one speaker, joined and brought to one level.
#[derive(Debug, Clone, Default)]
pub struct Tape {
    samples: Vec<f32>,
    /// One value a frame.
    is_speech: Vec<bool>,
    position: usize,
    n_taken: usize,
}

/// A piece of a tape: samples and, frame by frame, what of it is speech.
#[derive(Debug, Clone, PartialEq)]
pub struct Take {
    /// 16 kHz mono, a whole number of frames.
    pub samples: Vec<f32>,
    /// One value a frame of 10 ms.
    pub is_speech: Vec<bool>,
}

impl Tape {
    /// Adds one utterance; silence at its ends is dropped.
    pub fn add(&mut self, utterance: &[f32]) {
        let mask = speech_mask(utterance);
        let Some(first) = mask.iter().position(|speech| *speech) else { return };
        let end = mask.iter().rposition(|speech| *speech).map_or(0, |last| last + 1);
        let gain = gain_to_level(utterance, &mask);
        let mut start = first;
        while start < end {
            // A run of speech and the pause after it, the pause cut in its middle if it is long.
            let run_end = (start..end).find(|frame| !mask[*frame]).unwrap_or(end);
            let pause_end = (run_end..end).find(|frame| mask[*frame]).unwrap_or(end);
            let pause = pause_end - run_end;
            if pause <= LONGEST_PAUSE_FRAMES {
                self.append(utterance, &mask, start, pause_end, gain);
            } else {
                let half = LONGEST_PAUSE_FRAMES / 2;
                self.append(utterance, &mask, start, run_end + half, gain);
                self.append(utterance, &mask, pause_end - half, pause_end, gain);
            }
            start = pause_end;
        }
        let n_pause = LONGEST_PAUSE_FRAMES / 2;
        self.samples.extend(std::iter::repeat_n(0.0, n_pause * FRAME));
        self.is_speech.extend(std::iter::repeat_n(false, n_pause));
    }

    fn append(&mut self, utterance: &[f32], mask: &[bool], start: usize, end: usize, gain: f32) {
        let from = self.samples.len();
        self.samples.extend(utterance[start * FRAME..end * FRAME].iter().map(|sample| sample * gain));
        fade(&mut self.samples[from..]);
        self.is_speech.extend_from_slice(&mask[start..end]);
    }

    /// Seconds on the tape.
    #[must_use]
    pub fn duration_s(&self) -> f64 {
        self.is_speech.len() as f64 / 100.0
    }

    /// Seconds taken beyond the length of the tape: speech that is repeated.
    #[must_use]
    pub fn repeated_s(&self) -> f64 {
        (self.n_taken as f64 / 100.0 - self.duration_s()).max(0.0)
    }

    /// Takes about `length_s` seconds that begin and end with speech; the next take goes on behind. At the end
    /// the tape starts again. `None` if there is no speech.
    pub fn take(&mut self, length_s: f64) -> Option<Take> {
        let n_frames = self.is_speech.len();
        let wanted = ((length_s * 100.0).round() as usize).clamp(1, n_frames.max(1));
        if self.position + wanted > n_frames {
            self.position = 0;
        }
        let rest = self.is_speech.get(self.position..)?;
        let start = match rest.iter().position(|speech| *speech) {
            Some(skipped) => self.position + skipped,
            None => self.is_speech.iter().position(|speech| *speech)?,
        };
        let end = self.quiet_end(start, (start + wanted).min(n_frames));
        self.position = end;
        self.n_taken += end - start;
        let last = self.is_speech[start..end].iter().rposition(|speech| *speech)?;
        let end = start + last + 1;
        let mut samples = self.samples[start * FRAME..end * FRAME].to_vec();
        fade(&mut samples);
        Some(Take { samples, is_speech: self.is_speech[start..end].to_vec() })
    }

    /// The quietest frame border near `end`.
    fn quiet_end(&self, start: usize, end: usize) -> usize {
        let third = (end - start) / 3;
        let level = |frame: &usize| {
            let around = frame.saturating_sub(1) * FRAME..((frame + 1) * FRAME).min(self.samples.len());
            self.samples[around].iter().map(|s| s * s).sum::<f32>()
        };
        let latest = (end + LATER_FRAMES.min(third)).min(self.is_speech.len());
        let borders = end - EARLIER_FRAMES.min(third)..=latest;
        borders.min_by(|a, b| level(a).total_cmp(&level(b))).unwrap_or(end)
    }
}

/// Frame levels in dB.
fn levels_db(samples: &[f32]) -> Vec<f32> {
    let level =
        |frame: &[f32]| 10.0 * (frame.iter().map(|s| s * s).sum::<f32>() / FRAME as f32 + 1e-10).log10();
    samples.chunks_exact(FRAME).map(level).collect()
}

fn speech_mask(samples: &[f32]) -> Vec<bool> {
    let levels = levels_db(samples);
    let mut sorted = levels.clone();
    sorted.sort_by(f32::total_cmp);
    let percentile =
        |share: f32| sorted.get((sorted.len() as f32 * share) as usize).copied().unwrap_or(-100.0);
    let (quiet, loud) = (percentile(0.05), percentile(0.95));
    let threshold = (quiet + 6.0).clamp(loud - 30.0, loud - 12.0);
    let mut mask: Vec<bool> = levels.iter().map(|level| *level > threshold && *level > -65.0).collect();
    fill(&mut mask, false, BRIDGED_FRAMES);
    fill(&mut mask, true, SHORTEST_BURST_FRAMES);
    mask
}

/// Turns runs of `value` shorter than `n` over; runs of `false` at the ends stay.
pub(super) fn fill(mask: &mut [bool], value: bool, n: usize) {
    let mut start = 0;
    while start < mask.len() {
        let end = (start..mask.len()).find(|frame| mask[*frame] != mask[start]).unwrap_or(mask.len());
        let at_border = start == 0 || end == mask.len();
        if mask[start] == value && end - start < n && (value || !at_border) {
            mask[start..end].fill(!value);
        }
        start = end;
    }
}

fn gain_to_level(samples: &[f32], mask: &[bool]) -> f32 {
    let speech = samples.chunks_exact(FRAME).zip(mask).filter(|(_, speech)| **speech);
    let (energy, n) = speech.fold((0.0f64, 0usize), |(energy, n), (frame, _)| {
        (energy + frame.iter().map(|s| f64::from(s * s)).sum::<f64>(), n + FRAME)
    });
    let rms = (energy / n.max(1) as f64).sqrt().max(1e-6);
    (10f64.powf(f64::from(LEVEL_DBFS) / 20.0) / rms) as f32
}

fn fade(samples: &mut [f32]) {
    let n = FADE_SAMPLES.min(samples.len() / 2);
    for idx in 0..n {
        let gain = idx as f32 / n as f32;
        samples[idx] *= gain;
        let back = samples.len() - 1 - idx;
        samples[back] *= gain;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `on` frames of tone, `off` frames of near silence, `n` times.
    fn words(on: usize, off: usize, n: usize) -> Vec<f32> {
        let frame = |level: f32| (0..FRAME).map(move |i| level * (i as f32 * 0.3).sin());
        let word = |_| {
            let tone = (0..on).flat_map(move |_| frame(0.5));
            tone.chain((0..off).flat_map(move |_| frame(0.0005)))
        };
        (0..n).flat_map(word).collect()
    }

    #[test]
    fn silence_inside_an_utterance_is_not_labelled_speech() {
        let mask = speech_mask(&words(50, 40, 3));
        let speech: usize = mask.iter().filter(|s| **s).count();
        assert_eq!(speech, 150);
        assert!(mask[10] && !mask[70] && mask[100]);
        // Pauses under a quarter of a second are bridged.
        assert!(speech_mask(&words(50, 20, 3))[..190].iter().all(|s| *s));
    }

    #[test]
    fn takes_begin_and_end_with_speech_and_go_on_along_the_tape() {
        let mut tape = Tape::default();
        tape.add(&words(80, 60, 20));
        assert!(tape.duration_s() < 20.0 * 1.2);
        for length in [0.3, 1.0, 2.5, 4.0, 9.0, 30.0] {
            let take = tape.take(length).unwrap();
            assert!(*take.is_speech.first().unwrap() && *take.is_speech.last().unwrap());
            assert_eq!(take.samples.len(), take.is_speech.len() * FRAME);
            assert!(take.samples.len() as f64 <= (length + 0.5) * 16_000.0);
            let n_speech = take.is_speech.iter().filter(|s| **s).count();
            let level = take.samples.iter().map(|s| s * s).sum::<f32>() / (n_speech * FRAME) as f32;
            assert!((10.0 * level.log10() - LEVEL_DBFS).abs() < 1.5, "level {}", 10.0 * level.log10());
        }
        assert!(tape.repeated_s() > 5.0);
        assert_eq!(Tape::default().take(1.0), None);
    }
}
