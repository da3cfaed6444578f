//! Cuts a session into stretches of speech, for recognisers that take one at a time.

use std::collections::VecDeque;

use crate::session::AudioPiece;

/// Audio before the detected begin of speech that belongs to it: 0.5 s.
const BEFORE: u64 = 8000;
/// Pause that ends a stretch: 0.6 s.
const PAUSE: u64 = 9600;
/// Longest stretch: recognisers of the Whisper family look at 30 s.
const LONGEST: u64 = 25 * 16_000;

/// What is done with audio.
#[derive(Debug, PartialEq)]
pub(super) enum Cut {
    /// A new stretch begins.
    Begin,
    /// This belongs to the stretch.
    Audio(AudioPiece),
    /// The stretch is complete.
    End,
}

/// The state of the cut.
#[derive(Debug, Default)]
pub(super) struct Cutter {
    before: VecDeque<AudioPiece>,
    n_before: u64,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    n_samples: u64,
    n_pause: u64,
    /// Where the next piece begins if nothing is missing.
    next: u64,
}

impl Cutter {
    /// What a piece of audio means.
    pub(super) fn take(&mut self, piece: AudioPiece) -> Vec<Cut> {
        let mut cuts = Vec::new();
        if self.open.as_ref().is_some_and(|open| open.next != piece.start.0) {
            self.open = None;
            cuts.push(Cut::End);
        }
        let n = piece.n_samples();
        let Some(open) = &mut self.open else {
            self.keep(piece);
            if self.before.back().is_some_and(|piece| piece.is_speech) {
                cuts.push(Cut::Begin);
                let next = self.before.back().map_or(0, |last| last.start.0 + last.n_samples());
                self.open = Some(Open { n_samples: self.n_before, n_pause: 0, next });
                self.n_before = 0;
                cuts.extend(self.before.drain(..).map(Cut::Audio));
            }
            return cuts;
        };
        open.n_samples += n;
        open.next += n;
        open.n_pause = if piece.is_speech { 0 } else { open.n_pause + n };
        let is_over = open.n_pause >= PAUSE || open.n_samples >= LONGEST;
        cuts.push(Cut::Audio(piece));
        if is_over {
            self.open = None;
            cuts.push(Cut::End);
        }
        cuts
    }

    /// Keeps what may come right before speech.
    fn keep(&mut self, piece: AudioPiece) {
        if self.before.back().is_some_and(|last| last.start.0 + last.n_samples() != piece.start.0) {
            self.before.clear();
            self.n_before = 0;
        }
        self.n_before += piece.n_samples();
        self.before.push_back(piece);
        while let Some(first) = self.before.front()
            && self.n_before - first.n_samples() >= BEFORE
        {
            self.n_before -= first.n_samples();
            self.before.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use diarized_dsp::SampleIndex;

    use super::*;

    /// Pieces of 100 ms: where each begins, in tenths of a second, and whether it is speech.
    fn cut(pieces: impl IntoIterator<Item = (u64, bool)>) -> Vec<(u64, u64)> {
        let mut cutter = Cutter::default();
        let (mut all, mut open) = (Vec::new(), None::<(u64, u64)>);
        for (tenth, is_speech) in pieces {
            let pcm = vec![0; 3200].into();
            for cut in cutter.take(AudioPiece { start: SampleIndex(tenth * 1600), pcm, is_speech }) {
                match cut {
                    Cut::Begin => assert!(open.replace((u64::MAX, 0)).is_none()),
                    Cut::Audio(piece) => {
                        let open = open.as_mut().expect("audio belongs to a stretch");
                        open.0 = open.0.min(piece.start.0 / 1600);
                        open.1 = piece.start.0 / 1600 + 1;
                    }
                    Cut::End => all.push(open.take().expect("only an open stretch ends")),
                }
            }
        }
        all.extend(open);
        all
    }

    #[test]
    fn a_stretch_is_speech_with_a_little_before_and_behind() {
        let is_speech = |t: u64| (20..40).contains(&t) || (43..50).contains(&t) || t >= 80;
        assert_eq!(cut((0..90).map(|t| (t, is_speech(t)))), [(16, 56), (76, 90)]);
        assert_eq!(cut((0..50).map(|t| (t, false))), []);
    }

    #[test]
    fn long_speech_is_cut_and_goes_on() {
        assert_eq!(cut((0..300).map(|t| (t, true))), [(0, 250), (250, 300)]);
    }

    #[test]
    fn a_gap_ends_a_stretch() {
        let pieces = (0..10).chain(60..70).map(|t| (t, true));
        assert_eq!(cut(pieces), [(0, 10), (60, 70)]);
    }
}
