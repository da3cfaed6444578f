//! Clustering of a session's settled speech: exemplars, their similarities, and the speakers that they form.
//!
//! An exemplar is the sum of about two neighbouring window embeddings of one segment. Their number is bounded
//! ([`MemoryParams::max_exemplars`]), and so are memory and the cost of one clustering, whatever the length of the session:
//! 1024 exemplars of 192 values take about 4 MB, similarities included.
//!
//! 1. [`vbx`] clusters the exemplars from two starts: the present labels, and an average-linkage clustering ([`ahc`]) with
//!    more clusters than there are speakers. The better evidence lower bound (ELBO) wins; at the end of the stream a local
//!    search improves it. The more speech there is, the less each second counts (`evidence_discount`), and old speech counts
//!    little while speech goes on ([`ageing`]).
//! 2. Clusters with too little speech are dissolved.
//! 3. [`merging`] merges the clusters of one speaker, since VBx finds rather too many. [`limits`] holds the number of speakers
//!    within a user's limits, and [`expected`] splits clusters up to an expected number at the end.
//! 4. [`identities`] gives every cluster a stable speaker id.

mod ageing;
mod ahc;
mod by_second;
mod compaction;
mod exemplar;
mod expected;
mod following;
mod identities;
mod keeping;
mod leads;
mod limits;
mod memory;
mod merging;
mod people;
mod second_view;
mod similarities;
mod splitting;
#[cfg(test)]
mod tests;
mod touched;
mod vbx;

use std::collections::BTreeMap;

use crate::events::SpeakerId;
use crate::plda::SpeakerPosterior;
use ageing::RECENT_S;
pub(crate) use exemplar::{Constraint, Exemplar};
pub(crate) use keeping::KeptMemory;
use limits::Limits;
pub(crate) use memory::{MemoryParams, SpeechMemory};
use memory::{Parted, heaviest};
pub use merging::{GroupPair, VoiceGroups};
pub(crate) use second_view::{SecondEmbedding, SecondView};
use vbx::refine::refine;
use vbx::{Item, Outcome, cluster, group_posteriors, is_linked, n_groups, numbered};

impl SpeechMemory {
    /// Re-clusters all exemplars. A cluster keeps the id of most of its speech; a cluster that is split off again gets its
    /// former id back; others get new ids from `fresh`. Returns `(removed, replacement)` pairs. `thorough` searches further,
    /// at the end of the stream. `n_elsewhere` is the number of shown speakers without exemplars: they count against a
    /// limit.
    ///
    /// Cost: `O(n²)` time and memory in the number of exemplars.
    pub(crate) fn recluster(
        &mut self,
        thorough: bool,
        n_elsewhere: usize,
        mut fresh: impl FnMut() -> SpeakerId,
    ) -> Vec<(SpeakerId, SpeakerId)> {
        let free = self.free();
        if free.is_empty() {
            return Vec::new();
        }
        self.age(thorough);
        let limits = Limits::of(&self.params, n_elsewhere);
        // At the end clusters are merged as without a lower limit, and split again: so a limit above the number of speakers
        // who are there costs little.
        let least = if thorough { 1 } else { limits.least };
        let Parted { parts, groups, share } = self.parted_groups(&free, thorough, least);
        let mut groups = self.join_alike(&free, &groups, share, thorough, Limits { least, ..limits });
        if thorough {
            groups = self.split_to(&free, groups, &parts, share, limits.least);
        }
        let mut group_of = vec![None; self.exemplars.len()];
        for (&idx, group) in free.iter().zip(groups) {
            group_of[idx] = Some(group);
        }
        let before: BTreeMap<SpeakerId, ()> = self.models.keys().map(|&s| (s, ())).collect();
        let moved = self.adopt(&group_of, &mut fresh);
        before
            .into_keys()
            .filter(|s| !self.models.contains_key(s))
            .filter_map(|s| heaviest(moved.get(&s)?).map(|into| (s, into)))
            .collect()
    }

    /// The exemplars that clustering may move.
    fn free(&self) -> Vec<usize> {
        (0..self.exemplars.len())
            .filter(|&i| {
                self.exemplars[i].constraint != Constraint::UserAssigned && !self.unseen.contains(&i)
            })
            .collect()
    }

    /// Groups of the exemplars `free`, rather too many. Small ones are dissolved as long as `n_kept` groups are left.
    fn parted_groups(&self, free: &[usize], thorough: bool, n_kept: usize) -> Parted {
        let (parts, evidence) = self.best_groups(free, thorough);
        let mut groups = parts.clone();
        // While speech goes on, a speaker with little speech may go on speaking; at the end none does.
        let least = self.params.min_speaker_windows * if thorough { 1.0 } else { EARLY_SHARE };
        self.absorb_small_clusters(free, &mut groups, least, n_kept);
        Parted { parts, groups: numbered(&groups), share: evidence / SURPLUS }
    }

    /// Weighted sums of the exemplars `free`, times `factor`.
    fn scaled(&self, free: &[usize], factor: f32) -> Vec<Vec<f32>> {
        let scaled = |&i: &usize| {
            let factor = factor * self.share(i);
            self.exemplars[i].projected.iter().map(|v| v * factor).collect()
        };
        free.iter().map(scaled).collect()
    }

    /// The exemplars `free` as items in the order of time, their weights times `factor`; `scaled` are their sums times that.
    fn items<'a>(&'a self, free: &[usize], scaled: &'a [Vec<f32>], factor: f32) -> Vec<Item<'a>> {
        free.iter()
            .enumerate()
            .map(|(n, &i)| {
                let e = &self.exemplars[i];
                let follows = e.continues && n > 0 && free[n - 1] + 1 == i;
                Item {
                    sum: &scaled[n],
                    weight: self.counted(i) * factor,
                    loop_prob: if follows { STAYS_IN_SPEECH } else { STAYS_OVER_PAUSE },
                    must_link: (e.constraint == Constraint::MustLink).then_some(e.speaker.0),
                }
            })
            .collect()
    }

    /// How much of the evidence counts. The voices of a session scatter otherwise than the model has it, and what comes
    /// of that grows with every minute while a speaker's price does not: counted in full, an hour of two people is ten
    /// speakers. In a crowd each of `n_speakers` has spoken less, so it fades later; in a long session fewer are a crowd.
    fn evidence_discount(&self, free: &[usize], n_speakers: usize) -> f32 {
        let speech_s = self.speech_s(free.iter().map(|&i| self.counted(i)).sum());
        let whole_s = self.whole_speech_s(free);
        let many =
            (MANY_SPEAKERS as f32 * RECENT_S / whole_s).clamp(MANY_SPEAKERS_LATE, MANY_SPEAKERS as f32);
        let crowd = (n_speakers as f32).max(many) / many;
        let fading = (crowd * FADING_FROM_S / speech_s).powf(FADING);
        (EVIDENCE * fading).clamp(LEAST_EVIDENCE, MOST_EVIDENCE)
    }

    /// All clean speech of the exemplars `free`, in seconds.
    fn whole_speech_s(&self, free: &[usize]) -> f32 {
        self.speech_s(free.iter().map(|&i| self.exemplars[i].trust).sum())
    }

    /// What is left of the evidence that a voice is new, since evidence fades; 1 in the first minutes.
    pub(crate) fn fading(&self) -> f32 {
        let free = self.free();
        if free.is_empty() {
            1.0
        } else {
            (self.evidence_discount(&free, self.models.len()) / EVIDENCE).min(1.0)
        }
    }

    /// The best of two starts, the groups `held` and a linkage, refined where `thorough`; with it the share of the
    /// evidence that the number of people in `held` allows.
    fn settled_groups(&self, free: &[usize], held: &[usize], thorough: bool) -> (Outcome, f32) {
        let phi = self.plda.phi();
        let evidence = SURPLUS * self.evidence_discount(free, self.n_speakers_with_enough_speech(free, held));
        let scaled = self.scaled(free, evidence);
        let items = self.items(free, &scaled, evidence);
        let mut best = cluster(&items, phi, held);
        best.elbo += f64::from(self.params.recluster_margin_llr);
        let start = self.linkage(free, START_GROUPS.max(n_groups(held) + SPARE_GROUPS));
        let found = cluster(&items, phi, &start);
        if found.elbo > best.elbo {
            best = found;
        }
        (if thorough { refine(&items, phi, best) } else { best }, evidence)
    }

    /// Groups of the exemplars `free`, and the share of the evidence that counted.
    fn best_groups(&self, free: &[usize], thorough: bool) -> (Vec<usize>, f32) {
        let speakers: Vec<SpeakerId> = free.iter().map(|&i| self.exemplars[i].speaker).collect();
        let mut held = numbered(&speakers);
        let (mut best, mut evidence) = self.settled_groups(free, &held, thorough);
        // More people than were thought to be there mean more evidence, and that may find more.
        let looks_further = thorough || self.whole_speech_s(free) > RECENT_S;
        for _ in 0..if looks_further { MANY_SPEAKERS_ROUNDS } else { 0 } {
            if self.n_speakers_with_enough_speech(free, &best.groups)
                <= self.n_speakers_with_enough_speech(free, &held).max(MANY_SPEAKERS)
            {
                break;
            }
            held = numbered(&best.groups);
            (best, evidence) = self.settled_groups(free, &held, thorough);
        }
        (numbered(&best.groups), evidence)
    }

    /// How many groups hold enough speech to be a person.
    fn n_speakers_with_enough_speech(&self, free: &[usize], groups: &[usize]) -> usize {
        self.clean_windows(free, groups)
            .iter()
            .filter(|w| **w >= self.params.min_speaker_windows)
            .count()
            .max(1)
    }

    /// Windows of clean speech in each group.
    fn clean_windows(&self, free: &[usize], groups: &[usize]) -> Vec<f32> {
        let mut windows = vec![0.0; n_groups(groups)];
        for (&i, &group) in free.iter().zip(groups) {
            windows[group] += self.counted(i) / self.params.window_weight;
        }
        windows
    }

    /// Gives the exemplars of groups with less than `least` windows, too few for a speaker, to the group that each fits
    /// best. The largest `n_kept` groups stay whatever their size.
    fn absorb_small_clusters(&self, free: &[usize], groups: &mut [usize], least: f32, n_kept: usize) {
        let scaled = self.scaled(free, 1.0);
        let items = self.items(free, &scaled, 1.0);
        let windows = self.clean_windows(free, groups);
        let mut stays: Vec<bool> =
            (0..windows.len()).map(|g| windows[g] >= least || is_linked(&items, groups, g)).collect();
        if !stays.contains(&true) {
            // No speaker has spoken long enough yet.
            return;
        }
        let mut small: Vec<usize> = (0..windows.len()).filter(|&g| !stays[g] && windows[g] > 0.0).collect();
        small.sort_by(|&a, &b| windows[b].total_cmp(&windows[a]));
        let n_large = stays.iter().filter(|stays| **stays).count();
        small.iter().take(n_kept.saturating_sub(n_large)).for_each(|&g| stays[g] = true);
        let voices = group_posteriors(&items, self.plda.phi(), groups);
        for (item, group) in items.iter().zip(groups.iter_mut()).filter(|(_, g)| !stays[**g]) {
            let mut best: Option<(usize, f32)> = None;
            for (g, voice) in voices.iter().enumerate().filter(|(g, _)| stays[*g]) {
                let fit = voice.log_likelihood(item.sum, item.weight);
                if best.is_none_or(|(_, b)| fit > b) {
                    best = Some((g, fit));
                }
            }
            *group = best.map_or(*group, |(g, _)| g);
        }
    }

    fn rebuild_models(&mut self) {
        self.version += 1;
        self.touch_moved();
        self.models.clear();
        let phi = self.plda.phi();
        for exemplar in self.exemplars.iter().filter(|e| e.constraint != Constraint::UserAssigned) {
            let model = self.models.entry(exemplar.speaker).or_insert_with(|| SpeakerPosterior::prior(phi));
            model.add(&exemplar.projected, exemplar.trust);
        }
        self.models.values_mut().for_each(|model| model.update(phi));
    }
}

/// Groups to start from, and how many more than are held: more than there may be speakers, since groups vanish but do
/// not part.
const START_GROUPS: usize = 25;
const SPARE_GROUPS: usize = 8;
/// Clean speech of a session, in seconds, from which on evidence fades, and the power by which it does.
const FADING_FROM_S: f32 = 180.0;
const FADING: f32 = 0.7;
/// More people than this are a crowd, at first and in a long session; how often its number is estimated again.
const MANY_SPEAKERS: usize = 10;
const MANY_SPEAKERS_LATE: f32 = 4.0;
const MANY_SPEAKERS_ROUNDS: usize = 4;
/// Evidence fades no further than to this share: to where 45 minutes of speech bring it.
const LEAST_EVIDENCE: f32 = 0.15;
/// Share of the evidence after `FADING_FROM_S`, and the most that it may be after less.
const EVIDENCE: f32 = 0.75;
const MOST_EVIDENCE: f32 = 1.2;
/// How much more of the evidence clustering counts than is right: what it parts too far is joined again.
const SURPLUS: f32 = 1.4;
/// Share of the least speech of a speaker that is enough before the stream ends.
const EARLY_SHARE: f32 = 0.6;
/// Probability that the speaker of one exemplar goes on in the next, without and with a pause between them.
const STAYS_IN_SPEECH: f32 = 0.9;
const STAYS_OVER_PAUSE: f32 = 0.6;
