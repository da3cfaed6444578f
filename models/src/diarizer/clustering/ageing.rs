//! What old speech counts. In a session of hours the people of the last minutes are to be distinguished as in a session of
//! their own, so while speech goes on a speaker's older speech counts as much as half a minute does. The last pass takes all
//! of it. `docs/experiments/long-sessions.md` has the figures.

use std::collections::BTreeMap;

use super::memory::SpeechMemory;
use crate::events::SpeakerId;

/// Clean speech that counts in full, in seconds: the newest.
pub(super) const RECENT_S: f32 = 300.0;
/// Older clean speech of one speaker counts no more than this, in seconds.
const OLD_S: f32 = 30.0;

impl SpeechMemory {
    /// Sets the part of its evidence that each exemplar counts with in the clustering that follows. Cost: `O(n_exemplars)`.
    pub(super) fn age(&mut self, thorough: bool) {
        self.shares.clear();
        if thorough {
            return;
        }
        let mut newer_s = 0.0;
        let mut is_old = vec![false; self.exemplars.len()];
        for (is_old, exemplar) in is_old.iter_mut().zip(&self.exemplars).rev() {
            *is_old = newer_s > RECENT_S;
            newer_s += self.speech_s(exemplar.trust);
        }
        let mut old_s: BTreeMap<SpeakerId, f32> = BTreeMap::new();
        for (exemplar, _) in self.exemplars.iter().zip(&is_old).filter(|(_, is_old)| **is_old) {
            *old_s.entry(exemplar.speaker).or_default() += self.speech_s(exemplar.trust);
        }
        let share = |speaker: SpeakerId| old_s.get(&speaker).map_or(1.0, |old_s| (OLD_S / old_s).min(1.0));
        let exemplars = self.exemplars.iter().zip(&is_old);
        self.shares = exemplars.map(|(e, is_old)| if *is_old { share(e.speaker) } else { 1.0 }).collect();
    }

    /// Evidence of exemplar `i` that counts.
    pub(super) fn counted(&self, i: usize) -> f32 {
        self.exemplars[i].trust * self.share(i)
    }

    /// The part of the evidence of exemplar `i` that counts: all of what came after the latest clustering.
    pub(super) fn share(&self, i: usize) -> f32 {
        self.shares.get(i).copied().unwrap_or(1.0)
    }

    /// Clean speech that makes this much evidence, in seconds.
    pub(super) fn speech_s(&self, trust: f32) -> f32 {
        trust / self.params.window_weight * self.params.window_s
    }
}

#[cfg(test)]
mod tests {
    use diarized_dsp::{SampleIndex, SampleRange};

    use super::*;
    use crate::diarizer::clustering::tests::{exemplar, memory_of};
    use crate::events::SegmentId;

    /// A memory of `n` seconds, of which every third one is speaker 2's.
    fn memory(n: u64) -> SpeechMemory {
        let mut memory = memory_of(None, None);
        for second in 0..n {
            let span = SampleRange::with_len(SampleIndex(second * 16_000), 16_000);
            let mut exemplar = exemplar(&memory.plda, 0, 0, second as usize);
            exemplar.speaker = SpeakerId(1 + u32::from(second % 3 == 2));
            memory.add(SegmentId(second), span, exemplar);
        }
        memory
    }

    fn counted_s(memory: &SpeechMemory, speaker: u32, seconds: std::ops::Range<usize>) -> f32 {
        let of_speaker = seconds.filter(|&i| memory.exemplars[i].speaker == SpeakerId(speaker));
        memory.speech_s(of_speaker.map(|i| memory.counted(i)).sum())
    }

    #[test]
    fn old_speech_counts_as_half_a_minute_until_the_last_pass() {
        let mut memory = memory(900);
        memory.age(false);
        let old = 900 - 301;
        for speaker in [1, 2] {
            assert!((counted_s(&memory, speaker, 0..old) - OLD_S).abs() < 0.5, "of {speaker}");
        }
        let recent = counted_s(&memory, 1, old..900) + counted_s(&memory, 2, old..900);
        assert!((recent - 301.0).abs() < 0.5, "{recent}");
        memory.age(true);
        assert!((counted_s(&memory, 1, 0..900) - 600.0).abs() < 0.5);
    }

    #[test]
    fn a_short_session_has_no_old_speech() {
        let mut memory = memory(300);
        memory.age(false);
        assert!((0..300).all(|i| memory.share(i) == 1.0));
    }

    #[test]
    fn little_old_speech_counts_in_full() {
        let mut memory = memory(340);
        memory.age(false);
        assert!((0..340).all(|i| memory.share(i) == 1.0), "26 s and 13 s are old");
    }
}
