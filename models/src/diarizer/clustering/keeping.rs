//! The memory as plain data, for a session that goes on in another process.

use std::collections::BTreeMap;

use diarized_dsp::{SampleIndex, SampleRange};
use serde::{Deserialize, Serialize};

use super::exemplar::{Constraint, Exemplar};
use super::memory::{Link, SpeechMemory, heaviest};
use super::second_view::SecondView;
use super::similarities::Similarities;
use crate::events::{Segment, SegmentId, SessionState, SpeakerId};

/// More exemplars than any memory holds.
const MOST_EXEMPLARS: usize = 8192;
/// Largest number in a memory, and smallest weight: beyond them the evidence would overflow. Those of a session lie far inside.
const MOST: f32 = 1e6;
const LEAST_WEIGHT: f32 = 1e-9;

/// Exemplars and the parts of segments that they hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeptMemory {
    exemplars: Vec<KeptExemplar>,
    links: Vec<KeptLink>,
    /// What a second model makes of each exemplar; empty without one. Kept apart from the rest.
    #[serde(skip)]
    pub(crate) second: Vec<SecondView>,
}

/// An [`Exemplar`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct KeptExemplar {
    sum: Vec<f32>,
    projected: Vec<f32>,
    weight: f32,
    trust: f32,
    continues: bool,
    strong: bool,
    speaker: u32,
    former: Option<u32>,
    constraint: Constraint,
}

/// A [`Link`] and its segment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct KeptLink {
    segment: u64,
    exemplar: u32,
    weight: f32,
    start: u64,
    end: u64,
}

impl KeptMemory {
    /// What is wrong with it, for embeddings of `dim` values that are projected to `plda_dim`; nothing if it can be taken.
    pub(crate) fn fault(&self, dim: usize, plda_dim: usize) -> Option<String> {
        let n = self.exemplars.len();
        if n > MOST_EXEMPLARS {
            return Some(format!("it holds {n} exemplars, at most {MOST_EXEMPLARS} are expected"));
        }
        let is_number = |values: &[f32]| values.iter().all(|v| v.abs() <= MOST);
        let is_good = |e: &KeptExemplar| {
            (e.sum.len(), e.projected.len()) == (dim, plda_dim)
                && is_number(&e.sum)
                && is_number(&e.projected)
                && (LEAST_WEIGHT..=MOST).contains(&e.weight)
                && (0.0..=MOST).contains(&e.trust)
                && e.speaker > 0
        };
        if let Some(idx) = self.exemplars.iter().position(|e| !is_good(e)) {
            return Some(format!("exemplar {idx} is none of {dim} and {plda_dim} values"));
        }
        let is_good = |link: &KeptLink| {
            (link.exemplar as usize) < n
                && (LEAST_WEIGHT..=MOST).contains(&link.weight)
                && link.start <= link.end
        };
        let idx = self.links.iter().position(|link| !is_good(link))?;
        Some(format!("part {idx} of a segment has no exemplar or no place"))
    }
}

impl KeptMemory {
    /// Whether [`Self::second`] has a view of each exemplar, by a model of these sizes.
    pub(crate) fn fits_second(&self, dim: usize, plda_dim: usize) -> bool {
        self.second.len() == self.exemplars.len()
            && self.second.iter().all(|view| view.is_sound(dim, plda_dim, MOST))
    }
}

impl SpeechMemory {
    /// Everything that it holds. Allocates a copy.
    pub(crate) fn keep(&self) -> KeptMemory {
        let exemplars = self.exemplars.iter().map(|e| KeptExemplar {
            sum: e.sum.clone(),
            projected: e.projected.clone(),
            weight: e.weight,
            trust: e.trust,
            continues: e.continues,
            strong: e.strong,
            speaker: e.speaker.0,
            former: e.former.map(|former| former.0),
            constraint: e.constraint,
        });
        let of = |(segment, links): (&SegmentId, &Vec<Link>)| {
            let segment = segment.0;
            let kept = |link: &Link| KeptLink {
                segment,
                exemplar: u32::try_from(link.exemplar).unwrap_or(u32::MAX),
                weight: link.weight,
                start: link.span.start().0,
                end: link.span.end().0,
            };
            links.iter().map(kept).collect::<Vec<_>>()
        };
        let second = match self.second_plda() {
            Some(_) => self.exemplars.iter().map(|e| e.second.clone()).collect(),
            None => Vec::new(),
        };
        KeptMemory { exemplars: exemplars.collect(), links: self.links.iter().flat_map(of).collect(), second }
    }

    /// Takes what was kept, which has no [`KeptMemory::fault`]. The labels of `state` may be newer: they count. An exemplar
    /// of which nothing is left in them leaves. Cost: `O(n_exemplars² · dim)`.
    pub(crate) fn take_back(&mut self, kept: KeptMemory, state: &SessionState) {
        let places = Places::of(state);
        let mut votes: Vec<BTreeMap<SpeakerId, f32>> = vec![BTreeMap::new(); kept.exemplars.len()];
        let mut links: Vec<(SegmentId, Link)> = Vec::new();
        for link in kept.links {
            let span = SampleRange::new(SampleIndex(link.start), SampleIndex(link.end));
            let Some(segment) = places.find(SegmentId(link.segment), span) else { continue };
            let exemplar = link.exemplar as usize;
            *votes[exemplar].entry(segment.speaker).or_default() += link.weight;
            links.push((segment.id, Link { exemplar, weight: link.weight, span }));
        }
        let mut position = vec![None; kept.exemplars.len()];
        let mut views = kept.second;
        views.resize(kept.exemplars.len(), SecondView::default());
        let exemplars = kept.exemplars.into_iter().zip(views).zip(&votes);
        for (idx, ((e, second), votes)) in exemplars.enumerate() {
            let own = Some(SpeakerId(e.speaker)).filter(|own| state.speaker(*own).is_some());
            let Some(speaker) = heaviest(votes).or(own) else { continue };
            position[idx] = Some(self.exemplars.len());
            self.exemplars.push(Exemplar {
                sum: e.sum,
                weight: e.weight,
                projected: e.projected,
                trust: e.trust,
                continues: e.continues,
                strong: e.strong,
                speaker,
                former: e.former.map(SpeakerId),
                constraint: e.constraint,
                second,
            });
        }
        for (segment, link) in links {
            if let Some(exemplar) = position[link.exemplar] {
                self.links.entry(segment).or_default().push(Link { exemplar, ..link });
            }
        }
        self.rebuild_similarities();
        self.rebuild_models();
    }

    /// Computes the similarities of all exemplars again.
    pub(super) fn rebuild_similarities(&mut self) {
        self.similarities = Similarities::default();
        for (n, exemplar) in self.exemplars.iter().enumerate() {
            let held = self.exemplars[..n].iter();
            let row = held.map(|e| e.mean_cosine(&exemplar.sum, exemplar.weight)).collect();
            self.similarities.push(row);
        }
    }
}

/// The segments of a state by time, second speakers apart.
struct Places<'a> {
    state: &'a SessionState,
    by_start: Vec<&'a Segment>,
}

impl<'a> Places<'a> {
    fn of(state: &'a SessionState) -> Self {
        let mut by_start: Vec<_> = state.segments().filter(|s| !s.overlap).collect();
        by_start.sort_by_key(|s| s.range.start());
        Self { state, by_start }
    }

    /// The segment that holds the middle of `span`: the one of this id, or one that was divided from it or took its place.
    fn find(&self, id: SegmentId, span: SampleRange) -> Option<&'a Segment> {
        let middle = SampleIndex(u64::midpoint(span.start().0, span.end().0));
        let holds = |s: &&Segment| s.range.start() <= middle && middle <= s.range.end();
        self.state.segment(id).filter(holds).or_else(|| {
            let next = self.by_start.partition_point(|s| s.range.start() <= middle);
            self.by_start[..next].iter().rev().take(2).copied().find(|s| holds(s))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::CALIBRATION;
    use crate::diarizer::params::{DiarizerOptions, DiarizerParams};
    use crate::events::{Event, SpeakerInfo};
    use crate::plda::Plda;

    const DIM: usize = 2;
    const ANN: [f32; DIM] = [3.0, 0.0];
    const BOB: [f32; DIM] = [0.0, 3.0];

    fn empty() -> SpeechMemory {
        let params = DiarizerParams::try_new(DiarizerOptions::default()).unwrap();
        SpeechMemory::new(params.memory(), Plda::isotropic(DIM), CALIBRATION)
    }

    fn range(start_s: f64, end_s: f64) -> SampleRange {
        SampleRange::new(SampleIndex::from_seconds(start_s), SampleIndex::from_seconds(end_s))
    }

    /// One exemplar for each speaker, at ten times its number in seconds, in a segment of the same number.
    fn memory(voices: &[(u32, [f32; DIM])]) -> SpeechMemory {
        let mut memory = empty();
        for &(speaker, voice) in voices {
            let exemplar = Exemplar {
                sum: voice.to_vec(),
                weight: 3.0,
                projected: voice.to_vec(),
                trust: 1.0,
                continues: false,
                strong: true,
                speaker: SpeakerId(speaker),
                former: None,
                constraint: Constraint::Free,
                second: SecondView::default(),
            };
            let start_s = 10.0 * f64::from(speaker);
            memory.add(SegmentId(u64::from(speaker)), range(start_s, start_s + 0.75), exemplar);
        }
        memory
    }

    /// Final segments: id, speaker, start and end in seconds.
    fn state(segments: &[(u64, u32, f64, f64)]) -> SessionState {
        let mut state = SessionState::new();
        for &(id, speaker, start_s, end_s) in segments {
            let (speaker, range) = (SpeakerId(speaker), range(start_s, end_s));
            state.apply(&Event::Speaker(SpeakerInfo::new(speaker, range.start()))).unwrap();
            let segment = Segment {
                id: SegmentId(id),
                range,
                speech: vec![range],
                speaker,
                confidence: 0.9,
                is_final: true,
                overlap: false,
                snr_db: None,
                c50_db: None,
            };
            state.apply(&Event::Segment(segment)).unwrap();
        }
        state
    }

    #[test]
    fn what_is_kept_makes_the_same_memory() {
        let mut held = memory(&[(1, ANN), (2, BOB), (3, ANN)]);
        held.merge(SpeakerId(3), SpeakerId(1));
        let state = state(&[(1, 1, 10.0, 12.0), (2, 2, 20.0, 22.0), (3, 1, 30.0, 32.0)]);
        let kept = held.keep();
        assert_eq!(kept.fault(DIM, DIM), None);
        let mut again = empty();
        again.take_back(kept.clone(), &state);
        assert_eq!(again.keep(), kept);
        assert_eq!(again.speakers().collect::<Vec<_>>(), held.speakers().collect::<Vec<_>>());
        assert_eq!(again.segment_speaker(SegmentId(3)), Some(SpeakerId(1)));
        assert_eq!(again.voice(SpeakerId(2)), held.voice(SpeakerId(2)));
    }

    #[test]
    fn newer_labels_count() {
        let held = memory(&[(1, ANN), (2, BOB), (3, BOB), (4, ANN)]);
        // 1 went to a new speaker, 2 is a part of 7 now, of 3 nothing is left, and 4 was withdrawn while its speaker stays.
        let state = state(&[(1, 5, 10.0, 12.0), (7, 2, 19.0, 22.0), (8, 4, 90.0, 91.0)]);
        let mut again = empty();
        again.take_back(held.keep(), &state);
        assert_eq!(again.segment_speaker(SegmentId(1)), Some(SpeakerId(5)));
        assert_eq!(again.segment_speaker(SegmentId(7)), Some(SpeakerId(2)));
        assert_eq!(again.speakers().map(|s| s.0).collect::<Vec<_>>(), [2, 4, 5]);
        assert_eq!(again.len(), 3);
    }

    #[test]
    fn what_makes_no_memory_is_named() {
        let good = memory(&[(1, ANN), (2, BOB)]).keep();
        let fault = |change: &dyn Fn(&mut KeptMemory)| {
            let mut bad = good.clone();
            change(&mut bad);
            bad.fault(DIM, DIM).expect("it is bad")
        };
        assert!(good.fault(DIM + 1, DIM).is_some() && good.fault(DIM, DIM + 1).is_some());
        assert!(fault(&|bad| bad.exemplars[1].sum[0] = f32::NAN).contains("exemplar 1"));
        assert!(fault(&|bad| bad.exemplars[1].projected[0] = 1e30).contains("exemplar 1"));
        assert!(fault(&|bad| bad.exemplars[0].weight = 0.0).contains("exemplar 0"));
        assert!(fault(&|bad| bad.exemplars[0].weight = 1e-30).contains("exemplar 0"));
        assert!(fault(&|bad| bad.exemplars[0].speaker = 0).contains("exemplar 0"));
        assert!(fault(&|bad| bad.links[1].exemplar = 2).contains("part 1"));
        assert!(fault(&|bad| (bad.links[0].start, bad.links[0].end) = (2, 1)).contains("part 0"));
        let many = |bad: &mut KeptMemory| bad.exemplars = vec![bad.exemplars[0].clone(); MOST_EXEMPLARS + 1];
        assert!(fault(&many).contains("8193"));
    }
}
