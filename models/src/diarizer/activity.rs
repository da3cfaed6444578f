//! Speech and its clarity in a whole recording, frame by frame, as the diarizer detects them.

use std::sync::Arc;

use diarized_dsp::log_mel::LogMel;
use diarized_dsp::{FRAME_SAMPLES, FrameCutter, Transition};

use super::front_end::decibels;
use super::params::DiarizerParams;
use super::speech::ScoreGate;
use crate::segmenter::{self, FrameScores, SILENT, Scores, Segmenter};

/// Samples that are looked at together: one second.
const PART_SAMPLES: usize = 16_000;

/// One frame of 10 ms.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FrameActivity {
    /// Whether it lies in speech, short pauses included, by the parameters of the diarizer.
    pub is_speech: bool,
    /// Signal-to-noise ratio in dB; means something where somebody speaks.
    pub snr_db: f32,
    /// Clarity in dB, early against late reflections at 50 ms; means something where somebody speaks.
    pub c50_db: f32,
}

/// One value for each whole frame of `samples`, mono at 16 kHz and finite. Runs the network on the calling thread: about
/// a millisecond a second of audio. Allocates 30 bytes a frame.
#[must_use]
pub fn activity(params: &DiarizerParams, segmenter: &Arc<Segmenter>, samples: &[f32]) -> Vec<FrameActivity> {
    let (scores, levels) = scores_and_levels(segmenter, samples);
    let mut gate = ScoreGate::new(params);
    let mut frames: Vec<FrameActivity> = scores.iter().map(quiet).collect();
    let mut begun = None;
    let mut take = |transition: Option<Transition>| match transition {
        Some(Transition::Start(tick)) => begun = Some(tick),
        Some(Transition::End(end)) => {
            let begin = begun.take().unwrap_or(end) as usize;
            let n_frames = frames.len();
            frames[begin.min(n_frames)..(end as usize).min(n_frames)]
                .iter_mut()
                .for_each(|f| f.is_speech = true);
        }
        None => {}
    };
    let mut n_ticks = 0;
    for (scores, level_db) in scores.iter().zip(levels) {
        n_ticks += 1;
        take(gate.push(scores.speech, level_db));
    }
    take(gate.finish(n_ticks));
    frames
}

fn quiet(scores: &FrameScores) -> FrameActivity {
    FrameActivity { is_speech: false, snr_db: scores.snr_db, c50_db: scores.c50_db }
}

/// The scores of the network, and the level of each frame in dBFS.
fn scores_and_levels(segmenter: &Arc<Segmenter>, samples: &[f32]) -> (Vec<FrameScores>, Vec<f32>) {
    let (mut mel, mut stream) = (LogMel::new(segmenter::front_end()), segmenter.stream());
    let (mut cutter, mut levels) = (FrameCutter::new(), Vec::with_capacity(samples.len() / FRAME_SAMPLES));
    let (mut rows, mut scores) = (Vec::new(), Scores::default());
    for part in samples.chunks(PART_SAMPLES) {
        cutter.push(part, |frame| {
            let power = frame.iter().map(|s| s * s).sum::<f32>() / FRAME_SAMPLES as f32;
            levels.push(decibels(power));
        });
        rows.clear();
        mel.push(part, &mut rows);
        stream.push(&rows, &mut scores);
        scores.overlap.clear();
    }
    rows.clear();
    mel.finish(&mut rows);
    stream.push(&rows, &mut scores);
    stream.finish(&mut scores);
    // The last frames reach beyond the audio, and have no row of their own.
    let last = scores.frames.last().copied().unwrap_or(SILENT);
    scores.frames.resize(levels.len(), last);
    (scores.frames, levels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DiarizerOptions;

    fn of(samples: &[f32]) -> Vec<FrameActivity> {
        let params = DiarizerParams::try_new(DiarizerOptions::default()).unwrap();
        activity(&params, &Segmenter::builtin().unwrap(), samples)
    }

    #[test]
    fn each_whole_frame_has_a_value_and_silence_is_no_speech() {
        for n_samples in [0, 159, 160, 400, 16_000, 40_123] {
            let frames = of(&vec![0.0; n_samples]);
            assert_eq!(frames.len(), n_samples / FRAME_SAMPLES, "{n_samples}");
            assert!(frames.iter().all(|frame| !frame.is_speech && frame.snr_db.is_finite()));
        }
    }
}
