//! Whether a clip holds more than one person: it is labelled as a recording is, and the labels are counted.

use diarized_dsp::SAMPLE_RATE_HZ;
use diarized_models::{Diarizer, DiarizerOptions, DiarizerParams, Embedder, SessionState};

/// Audio that is labelled at most, in pieces of `PIECE_S`, spread evenly over a longer clip.
const MAX_LABELLED_S: usize = 180;
const PIECE_S: usize = 30;
/// Samples that are pushed at a time: work is done after each push, so few windows wait.
const PUSH_SAMPLES: usize = SAMPLE_RATE_HZ as usize;

/// Share of the labelled speech in `samples` (mono at 16 kHz) that is not the first person's, in `[0, 1)`; 0 where nothing is
/// labelled. Blocks for some tens of milliseconds a second of audio, at most 180 s of which are labelled; allocates the
/// memory of a diarizer.
#[must_use]
pub fn others_share(embedder: &Embedder, samples: &[f32]) -> f32 {
    let params = DiarizerParams::try_new(DiarizerOptions::default()).expect("a test holds the defaults");
    let mut diarizer = Diarizer::new(params, embedder.card());
    for piece in pieces(samples) {
        for block in piece.chunks(PUSH_SAMPLES) {
            // Samples of an audio file are finite: the intake sees to it.
            if diarizer.push(block).is_err() {
                return 0.0;
            }
            embed(&mut diarizer, embedder);
        }
        if diarizer.flush().is_err() {
            return 0.0;
        }
    }
    diarizer.finish();
    embed(&mut diarizer, embedder);
    others_share_of(diarizer.state())
}

/// All of the audio, or pieces of it from its beginning to its end.
fn pieces(samples: &[f32]) -> Vec<&[f32]> {
    let (n_max, n_piece) = (MAX_LABELLED_S * PUSH_SAMPLES, PIECE_S * PUSH_SAMPLES);
    if samples.len() <= n_max {
        return vec![samples];
    }
    let n_pieces = n_max / n_piece;
    let start_of = |n: usize| (samples.len() - n_piece) * n / (n_pieces - 1);
    (0..n_pieces).map(|n| &samples[start_of(n)..start_of(n) + n_piece]).collect()
}

/// Answers every request for a window, and those that follow.
fn embed(diarizer: &mut Diarizer, embedder: &Embedder) {
    while let Some(work) = diarizer.poll_work() {
        // The request was just polled, so the diarizer waits for it; a window that fails is left out of the labels.
        let _ = diarizer.provide(work.id, embedder.embed(&work.features, work.n_frames));
        while diarizer.poll_event().is_some() {}
    }
}

fn others_share_of(state: &SessionState) -> f32 {
    let speech_of = |speaker| -> u64 {
        let own = state.segments().filter(|s| s.speaker == speaker && !s.overlap);
        own.flat_map(|segment| &segment.speech).map(|part| part.len()).sum()
    };
    let by_speaker: Vec<u64> = state.speakers().map(|speaker| speech_of(speaker.id)).collect();
    let (all, most) = (by_speaker.iter().sum::<u64>(), by_speaker.iter().copied().max().unwrap_or(0));
    if all == 0 { 0.0 } else { (all - most) as f32 / all as f32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_clips_are_sampled_from_their_beginning_to_their_end() {
        let samples: Vec<f32> = (0..200 * PUSH_SAMPLES).map(|n| n as f32).collect();
        let some = pieces(&samples);
        assert_eq!(some.iter().map(|piece| piece.len()).sum::<usize>(), MAX_LABELLED_S * PUSH_SAMPLES);
        assert_eq!((some[0][0], some[5].last()), (0.0, samples.last()));
        assert!(some.windows(2).all(|two| two[0][0] < two[1][0]));
        assert_eq!(pieces(&samples[..179 * PUSH_SAMPLES]).len(), 1);
        assert_eq!(pieces(&[]), [&[] as &[f32]]);
    }

    #[test]
    fn silence_has_nobody() {
        let frames = Diarizer::window_frames(&DiarizerParams::try_new(DiarizerOptions::default()).unwrap());
        let embedder = Embedder::load(&diarized_models::ModelSource::Builtin, &frames).unwrap();
        assert_eq!(others_share(&embedder, &[0.0; 32_000]), 0.0);
        assert_eq!(others_share(&embedder, &[]), 0.0);
    }
}
