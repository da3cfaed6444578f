//! Which segments of a recording are one person's.

use super::FoundSegment;
use crate::calibration::sigmoid;
use crate::embedding::dot;

/// Bounds on the number of speakers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SpeakerLimits {
    /// The number that is expected; so many are found wherever there is as much to tell apart.
    pub expected: Option<usize>,
    /// The most.
    pub max: Option<usize>,
}

/// Scale of a margin of cosines as evidence; a stand-in, fitted on nothing.
const CONFIDENCE_SCALE: f32 = 10.0;

/// Whose segment it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Assigned {
    /// Counted from 0 in the order of their first segment.
    pub speaker: usize,
    /// In `[0, 1]`, the larger the nearer the segment is to its speaker than to others. No calibrated probability.
    pub confidence: f32,
}

/// The speaker of each segment, counted from 0 in the order of their first segment. `chunks[i]` is the number of the chunk
/// that segment `i` is of: within a chunk equal speaker tokens are one person. Beyond that average linkage joins what is
/// alike: down to a cosine of `same_speaker_cosine`, to the expected number of speakers, and at most to one.
///
/// # Panics
/// Where the two slices have different lengths.
#[must_use]
pub fn assign(
    segments: &[FoundSegment],
    chunks: &[usize],
    same_speaker_cosine: f32,
    limits: SpeakerLimits,
) -> Vec<Assigned> {
    assert_eq!(segments.len(), chunks.len(), "each segment has a chunk");
    let mut keys: Vec<(usize, u32)> = Vec::new();
    let mut voices: Vec<Voice> = Vec::new();
    let mut item_of = Vec::with_capacity(segments.len());
    for (segment, &chunk) in segments.iter().zip(chunks) {
        let key = (chunk, segment.speaker);
        let item = keys.iter().rposition(|known| *known == key).unwrap_or(keys.len());
        if item == keys.len() {
            keys.push(key);
            voices.push(Voice { sum: vec![0.0; segment.embedding.dim()], n_segments: 0.0 });
        }
        voices[item].add(segment.embedding.as_slice(), 1.0);
        item_of.push(item);
    }
    let mut groups = Groups::new(voices);
    while let Some((a, b, cosine)) = groups.most_alike() {
        let n_speakers = groups.voices.iter().flatten().count();
        let too_many = limits.max.is_some_and(|max| n_speakers > max.max(1));
        let joins = match limits.expected {
            Some(expected) => n_speakers > expected.max(1),
            None => too_many || cosine >= same_speaker_cosine,
        };
        if !(joins || too_many) {
            break;
        }
        groups.join(a, b);
    }
    let mut order: Vec<usize> = Vec::new();
    segments
        .iter()
        .zip(item_of)
        .map(|(segment, item)| {
            let group = groups.of(item);
            let speaker = order.iter().position(|known| *known == group).unwrap_or_else(|| {
                order.push(group);
                order.len() - 1
            });
            let margin = groups.margin(segment.embedding.as_slice(), group, same_speaker_cosine);
            Assigned { speaker, confidence: sigmoid(CONFIDENCE_SCALE * margin) }
        })
        .collect()
}

/// The sum of unit vectors.
#[derive(Debug, Clone)]
struct Voice {
    sum: Vec<f32>,
    n_segments: f32,
}

impl Voice {
    fn add(&mut self, sum: &[f32], n_segments: f32) {
        self.sum.iter_mut().zip(sum).for_each(|(total, value)| *total += value);
        self.n_segments += n_segments;
    }

    /// Mean cosine of all pairs.
    fn cosine(&self, other: &Self) -> f32 {
        dot(&self.sum, &other.sum) / (self.n_segments * other.n_segments)
    }
}

/// Groups under average linkage. Joining costs a row of cosines, looking for the next pair all of them.
struct Groups {
    /// None where a group was joined to one before it.
    voices: Vec<Option<Voice>>,
    parent: Vec<usize>,
    /// `cosines[b][a]` for `a < b`.
    cosines: Vec<Vec<f32>>,
}

impl Groups {
    fn new(voices: Vec<Voice>) -> Self {
        let cosines =
            (0..voices.len()).map(|b| voices[..b].iter().map(|a| a.cosine(&voices[b])).collect()).collect();
        Self { parent: (0..voices.len()).collect(), voices: voices.into_iter().map(Some).collect(), cosines }
    }

    /// The pair with the largest cosine, the first of equal ones.
    fn most_alike(&self) -> Option<(usize, usize, f32)> {
        let mut best: Option<(usize, usize, f32)> = None;
        for (b, row) in self.cosines.iter().enumerate().filter(|(b, _)| self.voices[*b].is_some()) {
            for (a, &cosine) in row.iter().enumerate().filter(|(a, _)| self.voices[*a].is_some()) {
                if best.is_none_or(|(_, _, most)| cosine > most) {
                    best = Some((a, b, cosine));
                }
            }
        }
        best
    }

    /// Joins `b` to `a`, which comes before it.
    fn join(&mut self, a: usize, b: usize) {
        let Some(joined) = self.voices[b].take() else { return };
        self.parent[b] = a;
        let Some(voice) = &mut self.voices[a] else { return };
        voice.add(&joined.sum, joined.n_segments);
        let voice = voice.clone();
        for (other, of) in self.voices.iter().enumerate() {
            let Some(of) = of else { continue };
            match other.cmp(&a) {
                std::cmp::Ordering::Less => self.cosines[a][other] = voice.cosine(of),
                std::cmp::Ordering::Greater => self.cosines[other][a] = voice.cosine(of),
                std::cmp::Ordering::Equal => {}
            }
        }
    }

    /// By how much a vector is nearer to this group's mean than to the nearest other one's, or than `least`.
    fn margin(&self, vector: &[f32], group: usize, least: f32) -> f32 {
        let mut own = 1.0;
        let mut other = least;
        for (of, voice) in self.voices.iter().enumerate() {
            let Some(voice) = voice else { continue };
            let norm = dot(&voice.sum, &voice.sum).sqrt().max(f32::MIN_POSITIVE);
            let cosine = dot(&voice.sum, vector) / norm;
            if of == group {
                own = cosine;
            } else {
                other = other.max(cosine);
            }
        }
        own - other
    }

    fn of(&self, item: usize) -> usize {
        let mut group = item;
        while self.parent[group] != group {
            group = self.parent[group];
        }
        group
    }
}
