//! Who spoke a word: the speaker with the most of it, weighted by the confidence of the labels.

use diarized_dsp::{SAMPLE_RATE_HZ, SampleRange};

use crate::events::{Segment, SegmentId, SpeakerId, SpokenBy};

/// Distance within which a word outside all segments belongs to the nearest one, in samples: 0.5 s. Recognisers place
/// words that far off, and the edges of segments are no sharper.
pub const REACH: u64 = SAMPLE_RATE_HZ as u64 / 2;

/// Weight of a pause inside a segment, against 1 of its speech: a speaker in another's pause gets the word.
const PAUSE_WEIGHT: f64 = 0.1;

/// What matters of a segment to the words in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Label {
    /// The segment.
    pub segment: SegmentId,
    /// Where it is.
    pub range: SampleRange,
    /// The speech inside `range`, without its pauses; in order, apart from each other.
    pub speech: Vec<SampleRange>,
    /// Who speaks.
    pub speaker: SpeakerId,
    /// Probability that the label is right.
    pub confidence: f32,
    /// Whether the segment is final.
    pub is_final: bool,
}

impl From<&Segment> for Label {
    fn from(segment: &Segment) -> Self {
        Self {
            segment: segment.id,
            range: segment.range,
            speech: segment.speech.clone(),
            speaker: segment.speaker,
            confidence: segment.confidence,
            is_final: segment.is_final,
        }
    }
}

impl Label {
    /// Samples of a word in this segment, those in its pauses by their weight; 0 outside the segment.
    fn overlap(&self, word: SampleRange) -> f64 {
        let in_all = word.intersection(&self.range).map_or(0, |part| part.len());
        let first = self.speech.partition_point(|part| part.end() <= word.start());
        let parts = self.speech[first..].iter().map_while(|part| word.intersection(part));
        let in_speech = parts.map(|part| part.len()).sum::<u64>().min(in_all);
        in_speech as f64 + PAUSE_WEIGHT * (in_all - in_speech) as f64
    }
}

/// The share of one speaker in a word.
struct Share<'a> {
    /// Overlap with the speaker's segments, each times its confidence.
    score: f64,
    /// Overlap with `label`, the segment with most of the word.
    most: f64,
    label: &'a Label,
}

/// The speaker of a word at `range`, of the labels around it; `None` if none lies within [`REACH`].
///
/// With `o` the overlap of the word with the speech of a segment and `c` the confidence of the segment, a speaker's score
/// is the sum of `o * c`. The highest score wins, then the earlier start, then the lower label. The confidence is the score
/// divided by the sum of all `o`. Outside all segments the nearest one wins, and its confidence decreases linearly to 0 at
/// [`REACH`].
///
/// The order of the labels does not matter, nor do labels out of reach.
#[must_use]
pub fn attribute<'a>(range: SampleRange, labels: impl IntoIterator<Item = &'a Label>) -> Option<SpokenBy> {
    // A word without length is a point.
    let word = SampleRange::new(range.start(), range.end().max(range.start().plus(1)));
    let mut near: Vec<&Label> = labels.into_iter().filter(|l| distance(word, l.range) < REACH).collect();
    near.sort_by_key(|l| (l.range.start(), l.speaker, l.segment));
    let mut shares: Vec<Share> = Vec::new();
    let mut all = 0.0;
    for &label in &near {
        let overlap = label.overlap(word);
        if overlap == 0.0 {
            continue;
        }
        all += overlap;
        let score = overlap * weight(label);
        match shares.iter_mut().find(|share| share.label.speaker == label.speaker) {
            Some(share) => {
                share.score += score;
                if overlap > share.most {
                    (share.most, share.label) = (overlap, label);
                }
            }
            None => shares.push(Share { score, most: overlap, label }),
        }
    }
    // Shares are in the order of their starts: of equal scores the first one stands.
    match shares.into_iter().reduce(|a, b| if b.score > a.score { b } else { a }) {
        Some(winner) => Some(spoken_by(winner.label, winner.score / all)),
        None => {
            let nearest = near.into_iter().min_by_key(|l| distance(word, l.range))?;
            let closeness = 1.0 - distance(word, nearest.range) as f64 / REACH as f64;
            Some(spoken_by(nearest, weight(nearest) * closeness))
        }
    }
}

/// Confidence of a segment as a weight; above 0, so that a label without any confidence still is one.
fn weight(label: &Label) -> f64 {
    const LEAST: f64 = 1e-3;
    if label.confidence.is_nan() { LEAST } else { f64::from(label.confidence).clamp(LEAST, 1.0) }
}

fn spoken_by(label: &Label, confidence: f64) -> SpokenBy {
    let confidence = ((confidence.clamp(0.0, 1.0) * 1000.0).round() / 1000.0) as f32;
    SpokenBy { speaker: label.speaker, segment: label.segment, confidence }
}

/// Samples between two ranges; 0 where they meet.
fn distance(a: SampleRange, b: SampleRange) -> u64 {
    let after = b.start().0.saturating_sub(a.end().0);
    after.max(a.start().0.saturating_sub(b.end().0))
}
