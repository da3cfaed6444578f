//! Where the session's speech is: the regions without the pauses inside them.

use diarized_dsp::{SampleIndex, SampleRange};

use super::zone::FRAME_SAMPLES;

/// A shorter pause between two voiced frames is part of the speech: 400 ms.
const MIN_PAUSE_SAMPLES: u64 = 6400;
/// Speech reaches so far beyond its voiced frames, as the ends of words are soft: 100 ms. Less than half of a pause.
const PAD_SAMPLES: u64 = 1600;

/// Voiced stretches of the stream in order of time. Memory: 16 bytes a stretch, some thousands an hour.
#[derive(Debug, Default)]
pub(super) struct SpeechParts {
    /// From the first to the last voiced frame of each stretch. Pauses of at least `MIN_PAUSE_SAMPLES` lie between them.
    parts: Vec<SampleRange>,
    /// Frames are known up to here.
    known_until: SampleIndex,
}

impl SpeechParts {
    /// A region begins at `start`, after every frame so far.
    pub(super) fn open_region(&mut self, start: SampleIndex) {
        self.known_until = self.known_until.max(start);
    }

    /// The next frames of the open region: whether each is voiced.
    pub(super) fn add(&mut self, voiced: &[bool]) {
        for is_voiced in voiced {
            let frame = SampleRange::with_len(self.known_until, FRAME_SAMPLES);
            self.known_until = frame.end();
            if *is_voiced {
                extend(&mut self.parts, frame);
            }
        }
    }

    /// The speech inside `range`: at least one part, in order, apart from each other. Frames that are not known yet count
    /// as speech, as does a range without a voiced frame.
    pub(super) fn within(&self, range: SampleRange) -> Vec<SampleRange> {
        let first = self.parts.partition_point(|part| part.end().plus(PAD_SAMPLES) <= range.start());
        let padded = self.parts[first..]
            .iter()
            .map(|part| SampleRange::new(part.start().minus(PAD_SAMPLES), part.end().plus(PAD_SAMPLES)));
        let mut inside: Vec<_> = padded.map_while(|part| part.intersection(&range)).collect();
        let unknown = SampleRange::new(self.known_until.max(range.start()), range.end());
        if !unknown.is_empty() {
            extend(&mut inside, unknown);
        }
        if inside.is_empty() {
            inside.push(range);
        }
        inside
    }
}

/// Appends a part, or makes the last one longer where the pause between them is short.
fn extend(parts: &mut Vec<SampleRange>, part: SampleRange) {
    match parts.last_mut().filter(|last| last.end().plus(MIN_PAUSE_SAMPLES) > part.start()) {
        Some(last) => *last = SampleRange::new(last.start(), last.end().max(part.end())),
        None => parts.push(part),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diarizer::labelling::made::{at, range};

    /// Two regions, from 1 s and from 5 s on. Speech is at 1 to 2, 2.5 to 3, 3.3 to 3.5 and 5 to 5.2 s.
    fn parts() -> SpeechParts {
        let mut parts = SpeechParts::default();
        parts.open_region(at(1.0));
        for (n_frames, is_voiced) in
            [(100, true), (50, false), (50, true), (30, false), (20, true), (40, false)]
        {
            parts.add(&vec![is_voiced; n_frames]);
        }
        parts.open_region(at(5.0));
        parts.add(&[true; 20]);
        parts
    }

    #[test]
    fn long_pauses_are_left_out_and_short_ones_are_not() {
        let parts = parts();
        assert_eq!(parts.within(range(1.0, 3.9)), [range(1.0, 2.1), range(2.4, 3.6)]);
        assert_eq!(
            parts.within(range(0.0, 10.0))[2..],
            [range(4.9, 10.0)],
            "what is not known yet is speech"
        );
        assert_eq!(parts.within(range(1.5, 2.05)), [range(1.5, 2.05)]);
        assert_eq!(parts.within(range(3.9, 5.2)), [range(4.9, 5.2)], "a turn may begin with a pause");
    }

    #[test]
    fn a_range_without_voiced_frames_is_speech() {
        assert_eq!(parts().within(range(2.2, 2.3)), [range(2.2, 2.3)]);
        assert_eq!(SpeechParts::default().within(range(0.0, 1.0)), [range(0.0, 1.0)]);
    }

    #[test]
    fn frames_may_come_in_any_number() {
        let voiced: Vec<bool> = (0..500).map(|n| n * n % 97 < 30).collect();
        let mut whole = SpeechParts::default();
        whole.add(&voiced);
        for n_frames in [1, 7, 100] {
            let mut cut = SpeechParts::default();
            voiced.chunks(n_frames).for_each(|voiced| cut.add(voiced));
            assert_eq!(cut.parts, whole.parts);
        }
    }

    #[test]
    fn parts_lie_inside_the_range_in_order_and_apart() {
        let parts = parts();
        for start in 0..60 {
            for end in start + 1..=60 {
                let range = range(f64::from(start) / 10.0, f64::from(end) / 10.0);
                let inside = parts.within(range);
                assert!(inside[0].start() >= range.start() && inside[inside.len() - 1].end() <= range.end());
                assert!(inside.iter().all(|part| !part.is_empty()));
                assert!(inside.windows(2).all(|pair| pair[0].end() < pair[1].start()), "{inside:?}");
            }
        }
    }
}
