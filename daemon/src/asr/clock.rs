//! The clock of one conversation with a recogniser, and the session's clock.
//!
//! A recogniser counts the audio that it gets. A session's clock also counts gaps, and audio that the recogniser did not get.

use std::collections::VecDeque;

use diarized_dsp::SampleIndex;

use crate::session::AudioPiece;

/// Stretches that are remembered: hours of speech and pauses.
const MAX_STRETCHES: usize = 4096;
/// Speech is detected so long after its begin, and its end so long after its end: 0.2 s.
const DETECTION_LAG: u64 = 3200;

/// Audio without an interruption, all of it speech or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stretch {
    /// Where it begins in the conversation.
    sent: u64,
    /// Where it begins in the session.
    at: u64,
    len: u64,
    is_speech: bool,
}

/// Positions of one conversation, at 16 kHz.
#[derive(Debug, Default)]
pub(super) struct Clock {
    stretches: VecDeque<Stretch>,
    /// Samples sent.
    n_sent: u64,
    /// Samples of which the final words are known.
    n_final: u64,
}

impl Clock {
    /// Audio was sent.
    pub(super) fn sent(&mut self, piece: &AudioPiece) {
        let (at, len) = (piece.start.0, piece.n_samples());
        match self.stretches.back_mut() {
            Some(last) if last.at + last.len == at && last.is_speech == piece.is_speech => last.len += len,
            _ => self.stretches.push_back(Stretch { sent: self.n_sent, at, len, is_speech: piece.is_speech }),
        }
        self.n_sent += len;
        if self.stretches.len() > MAX_STRETCHES {
            self.stretches.pop_front();
        }
    }

    /// Audio sent, in seconds.
    pub(super) fn sent_s(&self) -> f64 {
        self.n_sent as f64 / 16_000.0
    }

    /// Everything sent so far is recognised; without a position all of it, else up to this many seconds.
    pub(super) fn is_final_to(&mut self, seconds: Option<f64>) {
        let to = seconds.map_or(self.n_sent, |s| (s.max(0.0) * 16_000.0) as u64).min(self.n_sent);
        self.n_final = self.n_final.max(to);
    }

    /// A word's times on the session's clock, in seconds; nothing if the conversation has no audio there.
    pub(super) fn word(&self, start_s: f64, end_s: f64) -> Option<(f64, f64)> {
        const TOLERANCE_S: f64 = 1.0;
        let in_range = |s: f64| s.is_finite() && s >= -TOLERANCE_S && s <= self.sent_s() + TOLERANCE_S;
        if !in_range(start_s) || !in_range(end_s) || end_s < start_s {
            return None;
        }
        let position = |s: f64| ((s.max(0.0) * 16_000.0).round() as u64).min(self.n_sent);
        let (start, end) = (position(start_s), position(end_s));
        let idx = self.stretches.partition_point(|stretch| stretch.sent <= start).checked_sub(1)?;
        let first = self.stretches[idx];
        let begin = first.at + (start - first.sent).min(first.len);
        // A word does not go on behind a gap: where its audio is interrupted it ends.
        let mut to = first;
        for next in self.stretches.range(idx + 1..) {
            if next.sent >= end || next.at != to.at + to.len {
                break;
            }
            to = *next;
        }
        let finish = to.at + (end - to.sent).min(to.len);
        Some((seconds(begin), seconds(finish.max(begin))))
    }

    /// Times for words without any, in seconds on the session's clock: they share the speech since the last final
    /// words, each in proportion to its letters.
    pub(super) fn spread(&self, words: &[String]) -> Vec<(f64, f64)> {
        let since = |stretch: &Stretch| {
            let skip = self.n_final.saturating_sub(stretch.sent).min(stretch.len);
            (stretch.at + skip, stretch.len - skip, stretch.is_speech)
        };
        let new: Vec<_> = self.stretches.iter().map(since).filter(|(_, len, _)| *len > 0).collect();
        let mut parts: Vec<(u64, u64)> = new
            .iter()
            .filter(|(_, _, is_speech)| *is_speech)
            .map(|(at, len, _)| (at.saturating_sub(DETECTION_LAG), *len))
            .collect();
        if parts.is_empty() {
            parts = new.iter().map(|(at, len, _)| (*at, *len)).collect();
        }
        let total: u64 = parts.iter().map(|(_, len)| len).sum();
        let weight = |word: &String| word.chars().count() as u64 + 1;
        let n_letters: u64 = words.iter().map(weight).sum();
        if total == 0 || n_letters == 0 {
            return Vec::new();
        }
        let at = |n: u64, is_end: bool| {
            let mut left =
                u64::try_from(u128::from(total) * u128::from(n) / u128::from(n_letters)).unwrap_or(total);
            for (at, len) in &parts {
                // A word that ends where a stretch does ends there, and the next begins in the next one.
                if left < *len || (is_end && left == *len) {
                    return at + left;
                }
                left -= len;
            }
            parts.last().map_or(0, |(at, len)| at + len)
        };
        let mut done = 0;
        let mut times = Vec::with_capacity(words.len());
        for word in words {
            let (start, end) = (at(done, false), at(done + weight(word), true));
            times.push((seconds(start), seconds(end.max(start))));
            done += weight(word);
        }
        times
    }
}

fn seconds(samples: u64) -> f64 {
    SampleIndex(samples).seconds()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece_of(start_s: f64, len_s: f64, is_speech: bool) -> AudioPiece {
        let pcm = vec![0; (len_s * 32_000.0) as usize];
        AudioPiece { start: SampleIndex((start_s * 16_000.0) as u64), pcm: pcm.into(), is_speech }
    }

    /// Two seconds of audio at 10 s, a gap of 5 s, and two seconds at 17 s.
    fn with_gap() -> Clock {
        let mut clock = Clock::default();
        for (start, is_speech) in [(10.0, false), (11.0, true), (17.0, true), (18.0, false)] {
            clock.sent(&piece_of(start, 1.0, is_speech));
        }
        clock
    }

    #[test]
    fn words_lie_where_their_audio_lay() {
        let clock = with_gap();
        assert_eq!(clock.sent_s(), 4.0);
        assert_eq!(clock.word(0.5, 1.5), Some((10.5, 11.5)));
        assert_eq!(clock.word(2.0, 2.25), Some((17.0, 17.25)));
        assert_eq!(clock.word(3.5, 4.5), Some((18.5, 19.0)), "a little beyond the end is rounding");
    }

    #[test]
    fn a_word_ends_where_a_gap_begins() {
        assert_eq!(with_gap().word(1.5, 2.5), Some((11.5, 12.0)));
    }

    #[test]
    fn times_of_another_clock_are_refused() {
        let clock = with_gap();
        for (start, end) in [(-3.0, 1.0), (5.5, 6.0), (1.0, 0.5), (f64::NAN, 1.0), (0.0, f64::INFINITY)] {
            assert_eq!(clock.word(start, end), None, "{start} {end}");
        }
        assert_eq!(Clock::default().word(0.0, 0.5), None);
    }

    #[test]
    fn text_without_times_shares_the_speech() {
        let mut clock = with_gap();
        let words = ["abc".to_owned(), "abc".to_owned()];
        let lag = 0.2;
        assert_eq!(clock.spread(&words), [(11.0 - lag, 12.0 - lag), (17.0 - lag, 18.0 - lag)]);
        clock.is_final_to(None);
        assert_eq!(clock.spread(&words), []);
        clock.sent(&piece_of(19.0, 1.0, false));
        assert_eq!(clock.spread(&words), [(19.0, 19.5), (19.5, 20.0)], "without speech all of it is taken");
        clock.is_final_to(Some(4.5));
        assert_eq!(clock.spread(&words[..1]), [(19.5, 20.0)]);
        assert_eq!(clock.spread(&[]), []);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut clock = Clock::default();
        for n in 0..10_000 {
            clock.sent(&piece_of(f64::from(n) * 2.0, 0.001, true));
        }
        assert_eq!(clock.stretches.len(), MAX_STRETCHES);
        assert_eq!(clock.word(0.0, 0.001), None, "long forgotten");
        assert!(clock.word(9.99, 9.9905).is_some());
    }
}
