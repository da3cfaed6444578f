//! What is known of one voice by one model, and how two machines' knowledge of it becomes one.
//!
//! Versions form a semilattice: joining is commutative, associative and idempotent, so that machines that have seen the same
//! versions in any order agree. No clock decides. A deletion is counted, and whatever did not know of it is older than it; an
//! enrolment that knows of it lives.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::voices::store::{LEARNED, MAX_LEARNED};
use crate::voices::voice::NewRecording;

/// Lines of the trail that travel with a voice, the newest.
const MAX_DEEDS: usize = 100;

/// All that is known of a voice by one model.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Version {
    /// How often the voice was deleted. A version with fewer deletions is older than one with more.
    pub n_deleted: u64,
    /// The voice since its last deletion; none after it.
    pub alive: Option<Alive>,
    /// What was done to the voice, by a random mark; it stays after a deletion.
    pub trail: BTreeMap<String, Deed>,
}

/// A voice that is not deleted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alive {
    /// Name to show.
    pub name: Register<String>,
    /// What the person agreed to, in words.
    pub consent: Register<Option<String>>,
    /// When the person was enrolled, in seconds since 1970.
    pub created_unix_s: i64,
    /// When anything of this changed last, in seconds since 1970.
    pub changed_unix_s: i64,
    /// Recordings by the model, by id.
    pub recordings: BTreeMap<String, SharedRecording>,
}

/// A recording with the time when it was stored first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SharedRecording {
    /// Seconds since 1970.
    pub created_unix_s: i64,
    /// The rest.
    #[serde(flatten)]
    pub content: NewRecording,
}

/// A value that the latest change wins.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Register<T> {
    /// Which change it is.
    pub stamp: Stamp,
    /// The value.
    pub value: T,
}

/// The number of a change and the machine that made it. Of two changes that did not know of each other the greater wins.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stamp {
    /// One more than that of the change before.
    pub n: u64,
    /// Name of the node.
    pub node: String,
}

/// One line of the audit trail, with the node where it was done.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deed {
    /// Seconds since 1970, by the clock of that node.
    pub at_unix_s: i64,
    /// What was done.
    pub action: String,
    /// How much.
    pub detail: String,
    /// Who asked for it.
    pub actor: String,
    /// Name of the node.
    pub node: String,
}

impl Version {
    /// What is known when both are.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        let (n_deleted, alive) = match self.n_deleted.cmp(&other.n_deleted) {
            std::cmp::Ordering::Greater => (self.n_deleted, self.alive),
            std::cmp::Ordering::Less => (other.n_deleted, other.alive),
            std::cmp::Ordering::Equal => {
                let alive = match (self.alive, other.alive) {
                    (Some(one), Some(two)) => Some(one.join(two)),
                    (one, two) => one.or(two),
                };
                (self.n_deleted, alive)
            }
        };
        Self { n_deleted, alive, trail: join_trails(self.trail, other.trail) }
    }

    /// Whether others need this version.
    #[must_use]
    pub fn is_worth_sharing(&self) -> bool {
        self.n_deleted > 0 || self.alive.is_some()
    }

    /// That it was deleted, without the voice.
    #[must_use]
    pub fn tombstone(&self) -> Self {
        Self { n_deleted: self.n_deleted, alive: None, trail: self.trail.clone() }
    }
}

impl Alive {
    fn join(self, other: Self) -> Self {
        let mut recordings = self.recordings;
        for (id, recording) in other.recordings {
            let greatest = match recordings.remove(&id) {
                Some(known) if known.order() >= recording.order() => known,
                _ => recording,
            };
            recordings.insert(id, greatest);
        }
        forget_learned(&mut recordings);
        Self {
            name: self.name.max(other.name),
            consent: self.consent.max(other.consent),
            created_unix_s: self.created_unix_s.min(other.created_unix_s),
            changed_unix_s: self.changed_unix_s.max(other.changed_unix_s),
            recordings,
        }
    }
}

impl SharedRecording {
    /// An order of recordings with one id. Ids are random and their recordings never change, so that two that differ come from
    /// a damaged or forged version; the time comes first, as in `forget_learned`, so that one that is forgotten decides nothing.
    fn order(&self) -> (i64, &str, Vec<u32>) {
        let NewRecording { source, speech_s, weight, snr_db, embedding } = &self.content;
        let numbers = [*speech_s, *weight, snr_db.unwrap_or(f32::NEG_INFINITY)];
        let bits = numbers.iter().chain(embedding).map(|number| number.to_bits()).collect();
        (self.created_unix_s, source, bits)
    }
}

/// Of what was learned unasked the newest stay, as in the store.
pub(super) fn forget_learned(recordings: &mut BTreeMap<String, SharedRecording>) {
    let learned = recordings.iter().filter(|(_, r)| r.content.source == LEARNED);
    let mut learned: Vec<(i64, String)> = learned.map(|(id, r)| (r.created_unix_s, id.clone())).collect();
    learned.sort_unstable();
    let surplus = learned.len().saturating_sub(MAX_LEARNED);
    for (_, id) in learned.drain(..surplus) {
        recordings.remove(&id);
    }
}

/// The newest lines of both.
pub(super) fn join_trails(
    mut one: BTreeMap<String, Deed>,
    other: BTreeMap<String, Deed>,
) -> BTreeMap<String, Deed> {
    for (mark, deed) in other {
        let greatest = match one.remove(&mark) {
            Some(known) => known.max(deed),
            None => deed,
        };
        one.insert(mark, greatest);
    }
    let mut by_time: Vec<(i64, String)> =
        one.iter().map(|(mark, deed)| (deed.at_unix_s, mark.clone())).collect();
    by_time.sort_unstable();
    let surplus = by_time.len().saturating_sub(MAX_DEEDS);
    for (_, mark) in by_time.drain(..surplus) {
        one.remove(&mark);
    }
    one
}
