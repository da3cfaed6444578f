//! What a running session leaves for a process after this one: where it can go on, and what it knows of its voices.
//!
//! The session's thread writes it, and the storage and the cluster keep it; none waits for another.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use diarized_dsp::{SAMPLE_RATE_HZ, SampleIndex};
use diarized_models::diarizer::VoicesMark;
use parking_lot::Mutex;
use tokio::sync::watch;

/// Least time between two copies of the voices, where nobody new has spoken.
const VOICES_EVERY: Duration = Duration::from_secs(2);
/// Bytes a second that the copies take on the disk, about: large ones are made less often.
const VOICES_BYTES_PER_S: usize = 100_000;

/// What can feed a session again in a process after this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FedBy {
    /// A client, with the secret of the session.
    Publisher,
    /// The capture device of this machine.
    Microphone,
    /// The configured source of this name.
    Fetched(String),
}

/// Who keeps what a session leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeper {
    /// The storage of this node, for the process after this one.
    Storage,
    /// The cluster, for another node.
    Cluster,
}

/// What one of them has, and what waits for it.
#[derive(Debug, Default)]
struct Kept {
    /// Where the session would go on from what it has; none while it keeps nothing.
    stored: Option<SampleIndex>,
    /// The newest copy of the voices, until it is taken.
    voices: Option<Arc<[u8]>>,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Handover {
    /// What can come back, if anything can.
    fed_by: OnceLock<FedBy>,
    /// Everything before this, in samples at 16 kHz, is labelled by the events so far.
    labelled: AtomicU64,
    /// By [`Keeper`].
    kept: Mutex<[Kept; 2]>,
    /// Where the session would go on if the process ended now, whichever of them it goes on from.
    stored: watch::Sender<SampleIndex>,
}

impl Handover {
    pub(super) fn new() -> Self {
        Self {
            fed_by: OnceLock::new(),
            labelled: AtomicU64::new(0),
            kept: Mutex::default(),
            stored: watch::Sender::new(SampleIndex::ZERO),
        }
    }

    /// Adds a keeper, which has stored the session up to `at`.
    pub(crate) fn keep(&self, keeper: Keeper, at: SampleIndex) {
        self.labelled.fetch_max(at.0, Ordering::Relaxed);
        self.kept.lock()[keeper as usize].stored = Some(at);
        self.announce();
    }

    /// The session has a feeder that can come back; the first one stands.
    pub(crate) fn set_fed_by(&self, fed_by: FedBy) {
        let _ = self.fed_by.set(fed_by);
    }

    /// What can come back, if anything can.
    pub(crate) fn fed_by(&self) -> Option<&FedBy> {
        self.fed_by.get()
    }

    /// Whether the session can go on in another process.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.fed_by.get().is_some() && self.kept.lock().iter().any(|kept| kept.stored.is_some())
    }

    /// Whether it can go on from what this keeper has.
    pub(crate) fn is_kept_by(&self, keeper: Keeper) -> bool {
        self.fed_by.get().is_some() && self.kept.lock()[keeper as usize].stored.is_some()
    }

    /// Leaves a position and, where there is one, a copy of the voices, after the events that they follow from.
    fn leave(&self, labelled: SampleIndex, voices: Option<Vec<u8>>) {
        if let Some(voices) = voices {
            let voices: Arc<[u8]> = voices.into();
            for kept in self.kept.lock().iter_mut().filter(|kept| kept.stored.is_some()) {
                kept.voices = Some(Arc::clone(&voices));
            }
        }
        self.labelled.store(labelled.0, Ordering::Release);
    }

    /// What was left last for this keeper. The events that it follows from are in the journal.
    pub(crate) fn take(&self, keeper: Keeper) -> (SampleIndex, Option<Arc<[u8]>>) {
        let labelled = SampleIndex(self.labelled.load(Ordering::Acquire));
        (labelled, self.kept.lock()[keeper as usize].voices.take())
    }

    /// The keeper has everything up to here. Does nothing where it keeps nothing.
    pub(crate) fn set_stored(&self, keeper: Keeper, labelled: SampleIndex) {
        let mut kept = self.kept.lock();
        if let Some(stored) = &mut kept[keeper as usize].stored {
            *stored = labelled;
        }
        drop(kept);
        self.announce();
    }

    /// The keeper keeps nothing more of it.
    pub(crate) fn release(&self, keeper: Keeper) {
        self.kept.lock()[keeper as usize] = Kept::default();
        self.announce();
    }

    /// The keeper fails: `safe_s` waits for it no longer.
    pub(crate) fn give_up(&self, keeper: Keeper) {
        self.set_stored(keeper, SampleIndex(u64::MAX));
    }

    fn announce(&self) {
        let all = self.kept.lock().iter().filter_map(|kept| kept.stored).min().unwrap_or(SampleIndex::ZERO);
        self.stored.send_if_modified(|stored| std::mem::replace(stored, all) != all);
    }

    /// Seconds of `received_s` that are not lost if the process ends now; all of it where the session cannot go on anyway.
    pub(super) fn safe_s(&self, received_s: f64) -> f64 {
        if self.is_on() { self.stored.borrow().seconds().min(received_s) } else { received_s }
    }

    /// A receiver that changes as more is stored.
    pub(super) fn stored(&self) -> watch::Receiver<SampleIndex> {
        self.stored.subscribe()
    }
}

/// When the session's thread leaves what.
#[derive(Debug)]
pub(super) struct Leaving {
    mark: VoicesMark,
    at: Instant,
    n_bytes: usize,
}

impl Leaving {
    pub(super) fn new() -> Self {
        Self { mark: VoicesMark::default(), at: Instant::now(), n_bytes: 0 }
    }

    /// Leaves how far the labels go, and a copy of the voices if one is due; `is_last` makes it due whatever the time.
    pub(super) fn leave(
        &mut self,
        handover: &Handover,
        labelled: SampleIndex,
        mark: VoicesMark,
        is_last: bool,
        voices: impl FnOnce() -> Vec<u8>,
    ) {
        if !handover.is_on() {
            return;
        }
        let pause =
            VOICES_EVERY.max(Duration::from_secs_f64(self.n_bytes as f64 / VOICES_BYTES_PER_S as f64));
        let is_due = is_last || mark.n_speakers != self.mark.n_speakers || self.at.elapsed() >= pause;
        let copy = (is_due && mark != self.mark).then(voices);
        if let Some(copy) = &copy {
            (self.mark, self.at, self.n_bytes) = (mark, Instant::now(), copy.len());
        }
        handover.leave(labelled, copy);
    }
}

/// Samples of each channel at `rate_hz` up to a position: the first one that is not before it.
pub(crate) fn samples_until(at: SampleIndex, rate_hz: u32) -> u64 {
    let n = (u128::from(at.0) * u128::from(rate_hz)).div_ceil(u128::from(SAMPLE_RATE_HZ));
    u64::try_from(n).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(version: u64, n_speakers: usize) -> VoicesMark {
        VoicesMark { version, n_speakers }
    }

    fn taken(handover: &Handover) -> (SampleIndex, Option<Vec<u8>>) {
        let (at, voices) = handover.take(Keeper::Storage);
        (at, voices.map(|voices| voices.to_vec()))
    }

    #[test]
    fn voices_are_copied_when_somebody_new_speaks_and_otherwise_seldom() {
        let handover = Handover::new();
        let mut leaving = Leaving::new();
        let at = SampleIndex(16_000);
        leaving.leave(&handover, at, mark(1, 1), true, || unreachable!("nobody keeps it"));
        handover.keep(Keeper::Storage, SampleIndex::ZERO);
        leaving.leave(&handover, at, mark(1, 1), true, || unreachable!("nobody can come back"));
        handover.set_fed_by(FedBy::Publisher);
        leaving.leave(&handover, at, mark(1, 1), false, || vec![1]);
        assert_eq!(taken(&handover), (at, Some(vec![1])));
        leaving.leave(&handover, SampleIndex(17_000), mark(2, 1), false, || unreachable!("it is too early"));
        assert_eq!(taken(&handover), (SampleIndex(17_000), None));
        leaving.leave(&handover, at, mark(3, 2), false, || vec![2]);
        assert_eq!(taken(&handover), (at, Some(vec![2])));
        leaving.leave(&handover, at, mark(3, 2), true, || unreachable!("nothing has changed"));
        leaving.leave(&handover, at, mark(4, 2), true, || vec![3; 1_000_000]);
        assert_eq!(leaving.n_bytes, 1_000_000);
        leaving.at = Instant::now().checked_sub(Duration::from_secs(3)).unwrap();
        leaving.leave(&handover, at, mark(5, 2), false, || unreachable!("a large copy is made less often"));
        leaving.at = Instant::now().checked_sub(Duration::from_secs(11)).unwrap();
        leaving.leave(&handover, at, mark(5, 2), false, || vec![4]);
        assert_eq!(taken(&handover), (at, Some(vec![4])));
    }

    #[test]
    fn what_is_safe_is_what_is_stored() {
        let handover = Handover::new();
        assert_eq!(handover.safe_s(5.0), 5.0, "the session cannot go on");
        handover.keep(Keeper::Storage, SampleIndex::ZERO);
        handover.set_fed_by(FedBy::Publisher);
        let mut stored = handover.stored();
        stored.mark_unchanged();
        assert_eq!(handover.safe_s(5.0), 0.0);
        handover.set_stored(Keeper::Storage, SampleIndex(16_000));
        assert!(stored.has_changed().unwrap());
        assert_eq!((handover.safe_s(5.0), handover.safe_s(0.5)), (1.0, 0.5));
        handover.give_up(Keeper::Storage);
        assert_eq!(handover.safe_s(5.0), 5.0);
    }

    #[test]
    fn each_keeper_gets_the_voices_and_the_slowest_says_what_is_safe() {
        let handover = Handover::new();
        handover.set_fed_by(FedBy::Publisher);
        handover.keep(Keeper::Storage, SampleIndex::ZERO);
        handover.leave(SampleIndex(16_000), Some(vec![1]));
        assert_eq!(handover.take(Keeper::Cluster).1, None, "it keeps nothing yet");
        handover.keep(Keeper::Cluster, SampleIndex::ZERO);
        handover.leave(SampleIndex(32_000), Some(vec![2]));
        for keeper in [Keeper::Cluster, Keeper::Storage] {
            assert!(handover.is_kept_by(keeper));
            assert_eq!(handover.take(keeper), (SampleIndex(32_000), Some([2].into())));
            assert_eq!(handover.take(keeper).1, None);
        }
        handover.set_stored(Keeper::Storage, SampleIndex(32_000));
        assert_eq!(handover.safe_s(5.0), 0.0);
        handover.set_stored(Keeper::Cluster, SampleIndex(16_000));
        assert_eq!(handover.safe_s(5.0), 1.0);
        handover.give_up(Keeper::Cluster);
        assert_eq!(handover.safe_s(5.0), 2.0);
    }

    #[test]
    fn positions_of_other_rates_are_not_before() {
        assert_eq!(samples_until(SampleIndex(16_000), 48_000), 48_000);
        assert_eq!(samples_until(SampleIndex(16_001), 8000), 8001);
        assert_eq!(samples_until(SampleIndex(1), 44_100), 3);
    }
}
