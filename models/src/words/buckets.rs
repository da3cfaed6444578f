//! An index of ranges by time: every range is listed in each bucket that it touches.

use std::collections::{BTreeMap, BTreeSet};

use diarized_dsp::{SAMPLE_RATE_HZ, SampleRange};

/// Length of a bucket in samples: 4 s, so that a word is in one or two and few segments share one.
const BUCKET: u64 = 4 * SAMPLE_RATE_HZ as u64;

/// Ids by the time of their ranges.
#[derive(Debug, Clone)]
pub(super) struct Buckets<Id> {
    ids: BTreeMap<u64, Vec<Id>>,
}

impl<Id> Default for Buckets<Id> {
    fn default() -> Self {
        Self { ids: BTreeMap::new() }
    }
}

impl<Id: Copy + Ord> Buckets<Id> {
    pub(super) fn insert(&mut self, range: SampleRange, id: Id) {
        for bucket in touched(range) {
            self.ids.entry(bucket).or_default().push(id);
        }
    }

    pub(super) fn remove(&mut self, range: SampleRange, id: Id) {
        for bucket in touched(range) {
            if let Some(ids) = self.ids.get_mut(&bucket) {
                ids.retain(|held| *held != id);
                if ids.is_empty() {
                    self.ids.remove(&bucket);
                }
            }
        }
    }

    /// Moves an id from one range to another; cheap where the range merely grows.
    pub(super) fn change(&mut self, old: SampleRange, new: SampleRange, id: Id) {
        if touched(old) == touched(new) {
            return;
        }
        self.remove(old, id);
        self.insert(new, id);
    }

    /// The number of ids in the fullest bucket of `range`.
    pub(super) fn most_in(&self, range: SampleRange) -> usize {
        self.ids.range(touched(range)).map(|(_, ids)| ids.len()).max().unwrap_or(0)
    }

    /// Every id whose range touches a bucket of `range`; more than those that touch `range` itself.
    pub(super) fn around(&self, range: SampleRange) -> BTreeSet<Id> {
        self.ids.range(touched(range)).flat_map(|(_, ids)| ids.iter().copied()).collect()
    }
}

/// Buckets of a range, its end included, so that an empty range has one too.
fn touched(range: SampleRange) -> std::ops::RangeInclusive<u64> {
    range.start().0 / BUCKET..=range.end().0 / BUCKET
}
