//! How much of a clip's sound is speech, by the network: a detector of voiced sound takes music and noise for voices.

use diarized_dsp::SAMPLE_RATE_HZ;
use diarized_dsp::log_mel::LogMel;

use crate::segmenter::{self, Scores, Segmenter};

/// Samples that go through the network at a time: 10 s.
const PIECE_SAMPLES: usize = 10 * SAMPLE_RATE_HZ as usize;

/// Share of the frames of 10 ms that `is_sound` marks in which somebody speaks, in `[0, 1]`; 0 where it marks none. Takes
/// some milliseconds a second.
///
/// # Panics
/// If the network inside the binary does not load, which a test of this crate rules out.
pub(super) fn speech_share(samples: &[f32], is_sound: &[bool]) -> f32 {
    let mut mel = LogMel::new(segmenter::front_end());
    let mut stream = Segmenter::builtin().expect("the network inside the binary loads").stream();
    let (mut rows, mut scores) = (Vec::new(), Scores::default());
    let (mut n_frames, mut n_sound, mut n_speech) = (0, 0_u32, 0_u32);
    let mut count = |scores: &Scores| {
        for (frame, is_sound) in scores.frames.iter().zip(is_sound.iter().skip(n_frames)) {
            n_sound += u32::from(*is_sound);
            n_speech += u32::from(*is_sound && frame.speech > 0.0);
        }
        n_frames += scores.frames.len();
    };
    let n_pieces = samples.len().div_ceil(PIECE_SAMPLES);
    for (n, piece) in samples.chunks(PIECE_SAMPLES).enumerate() {
        rows.clear();
        scores.clear();
        mel.push(piece, &mut rows);
        if n + 1 == n_pieces {
            mel.finish(&mut rows);
        }
        stream.push(&rows, &mut scores);
        if n + 1 == n_pieces {
            stream.finish(&mut scores);
        }
        count(&scores);
    }
    if n_sound == 0 { 0.0 } else { n_speech as f32 / n_sound as f32 }
}
