//! Diarization error rate with its parts, Jaccard error rate and speaker counts of labels against a reference.
//!
//! Definitions follow pyannote.metrics 4 (Bredin, 2017, "pyannote.metrics: a toolkit for reproducible
//! evaluation, diagnostic, and error analysis of speaker diarization systems"), so that figures compare:
//!
//! - DER = (missed + false alarm + confusion) / total, each a length of speech counted once a speaker, under
//!   the one-to-one mapping of speakers that maximises the time they share (Hungarian algorithm). Turns of
//!   one speaker that overlap each other count as often as they overlap, on both sides.
//! - Without reference speech DER is 0 if the hypothesis is empty too, else 1.
//! - `collar` is the length left out on **each side** of every reference boundary, as in NIST md-eval:
//!   `collar = 0.25` here is `collar=0.5` in pyannote.metrics, which gives the total width.
//! - Skipping overlap leaves out where two reference turns overlap, of the same speaker or not.
//! - Without a UEM the region scored reaches from the first start to the last end of either side.
//! - JER (Ryant et al., 2019, Second DIHARD evaluation plan): the mean over reference speakers of
//!   1 − |r ∩ h| / |r ∪ h| with the mapped speaker h, 1 where none is mapped; without reference speakers it
//!   is 0 if nothing is labelled either, as with DER, else 1 (pyannote.metrics has 1 for both).
//!
//! All sums are integers, so that the result is exact and does not depend on the order of the turns.
//! Time is O(n log n + n·k + s³) for n turns, at most k at once, and s speakers.

use std::collections::{BTreeMap, BTreeSet};

use pathfinding::prelude::{Matrix, kuhn_munkres};

use super::timeline::{Span, Turn, difference, overlaps, total_ns, union};
use crate::rttm::Nanos;

#[cfg(test)]
mod tests;

/// What is left out of the score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DerParams {
    collar: Nanos,
    skip_overlap: bool,
}

/// A value that no score can be computed with.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DerParamsError {
    /// The collar is not a usable length.
    #[error("collar ({got} s) must be from 0 to 60 s")]
    Collar {
        /// The value given, in seconds.
        got: f64,
    },
}

impl DerParams {
    /// Nothing left out: collar 0, overlap scored.
    pub const STRICT: Self = Self { collar: Nanos::ZERO, skip_overlap: false };

    /// Leaves out `collar_s` seconds on each side of every reference boundary and, if asked, overlap.
    ///
    /// # Errors
    /// [`DerParamsError::Collar`] unless `collar_s` is in `0..=60`.
    pub fn try_new(collar_s: f64, skip_overlap: bool) -> Result<Self, DerParamsError> {
        if !(0.0..=60.0).contains(&collar_s) {
            return Err(DerParamsError::Collar { got: collar_s });
        }
        Ok(Self { collar: Nanos::from_seconds(collar_s), skip_overlap })
    }
}

/// The parts of the diarization error rate, as lengths of speech; they add over recordings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DerParts {
    /// Reference speech.
    pub total: Nanos,
    /// Speech labelled with the mapped speaker.
    pub correct: Nanos,
    /// Reference speech without a label.
    pub missed: Nanos,
    /// Labelled speech that nobody spoke.
    pub false_alarm: Nanos,
    /// Speech labelled with another speaker.
    pub confusion: Nanos,
}

impl DerParts {
    /// The diarization error rate; 1 is 100 %, and it may exceed 1. Never NaN.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.share(Nanos(self.missed.0 + self.false_alarm.0 + self.confusion.0))
    }

    /// One part as a share of the reference speech; without any, 0 for no time and 1 for more.
    #[must_use]
    pub fn share(&self, part: Nanos) -> f64 {
        match (part.0, self.total.0) {
            (0, _) => 0.0,
            (_, 0) => 1.0,
            (part, total) => part as f64 / total as f64,
        }
    }

    fn add(&mut self, other: &Self) {
        self.total.0 += other.total.0;
        self.correct.0 += other.correct.0;
        self.missed.0 += other.missed.0;
        self.false_alarm.0 += other.false_alarm.0;
        self.confusion.0 += other.confusion.0;
    }
}

/// The parts of the Jaccard error rate; they add over recordings.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct JerParts {
    /// Number of reference speakers.
    pub n_speakers: usize,
    /// Sum of their Jaccard errors, each in `[0, 1]`.
    pub error_sum: f64,
    /// Whether anything is labelled in the time that is scored.
    pub has_labels: bool,
}

impl JerParts {
    /// The Jaccard error rate in `[0, 1]`; without reference speakers 0 for no labels and 1 for some.
    #[must_use]
    pub fn rate(&self) -> f64 {
        match self.n_speakers {
            0 => f64::from(u8::from(self.has_labels)),
            n => self.error_sum / n as f64,
        }
    }
}

/// The score of one recording.
#[derive(Debug, Clone, PartialEq)]
pub struct FileScore {
    /// Diarization error and its parts.
    pub der: DerParts,
    /// Jaccard error.
    pub jer: JerParts,
    /// Number of reference speakers with speech in the UEM (the collar does not count).
    pub n_reference_speakers: usize,
    /// Number of hypothesis speakers with speech in the UEM (the collar does not count).
    pub n_hypothesis_speakers: usize,
    /// Pairs (hypothesis speaker, reference speaker) that share speech under the best mapping, by name.
    pub mapping: Vec<(String, String)>,
}

impl FileScore {
    /// Hypothesis speakers less reference speakers.
    #[must_use]
    pub fn speaker_count_error(&self) -> i64 {
        self.n_hypothesis_speakers as i64 - self.n_reference_speakers as i64
    }
}

/// The score of several recordings: parts are summed before the rates are formed, so a long recording weighs
/// more.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct TotalScore {
    /// Diarization error and its parts.
    pub der: DerParts,
    /// Jaccard error over all reference speakers.
    pub jer: JerParts,
    /// Number of recordings.
    pub n_recordings: usize,
    /// Recordings whose number of speakers is right.
    pub n_exact_counts: usize,
    /// Sum of the absolute speaker-count errors.
    pub count_error_sum: u64,
}

impl TotalScore {
    /// Adds a recording.
    pub fn add(&mut self, file: &FileScore) {
        self.der.add(&file.der);
        self.jer.n_speakers += file.jer.n_speakers;
        self.jer.error_sum += file.jer.error_sum;
        self.jer.has_labels |= file.jer.has_labels;
        self.n_recordings += 1;
        self.n_exact_counts += usize::from(file.speaker_count_error() == 0);
        self.count_error_sum += file.speaker_count_error().unsigned_abs();
    }

    /// Mean absolute speaker-count error; 0 without recordings.
    #[must_use]
    pub fn mean_count_error(&self) -> f64 {
        self.count_error_sum as f64 / self.n_recordings.max(1) as f64
    }
}

impl<'a> FromIterator<&'a FileScore> for TotalScore {
    fn from_iter<I: IntoIterator<Item = &'a FileScore>>(files: I) -> Self {
        let mut total = Self::default();
        files.into_iter().for_each(|file| total.add(file));
        total
    }
}

/// Scores the labels of one recording.
///
/// `uem` are the regions to be scored, in any order; `None` scores the common extent of both sides. Turns may
/// be in any order, overlap, and hold nothing (such are ignored). Allocates; call it from no audio thread.
#[must_use]
pub fn score_recording(
    reference: &[Turn],
    hypothesis: &[Turn],
    uem: Option<&[Span]>,
    params: DerParams,
) -> FileScore {
    let reference: Vec<&Turn> = reference.iter().filter(|turn| !turn.span.is_empty()).collect();
    let hypothesis: Vec<&Turn> = hypothesis.iter().filter(|turn| !turn.span.is_empty()).collect();
    let uem = match uem {
        Some(regions) => union(regions.to_vec()),
        None => extent(reference.iter().chain(&hypothesis).map(|turn| turn.span)),
    };
    let scored = difference(&uem, &left_out(&reference, params));

    let (reference_side, hypothesis_side) = (Side::new(&reference), Side::new(&hypothesis));
    let atoms = atoms(&reference_side, &hypothesis_side, &scored);
    let mapping = best_mapping(&atoms, reference_side.names.len(), hypothesis_side.names.len());

    let mut der = DerParts::default();
    for atom in &atoms {
        der.add(&atom.parts(&mapping));
    }
    let named = |(h, r): (usize, &Option<usize>)| {
        r.map(|r| (hypothesis_side.names[h].to_owned(), reference_side.names[r].to_owned()))
    };
    FileScore {
        der,
        jer: jaccard(&atoms, &mapping, reference_side.names.len()),
        n_reference_speakers: n_speakers_within(&reference, &uem),
        n_hypothesis_speakers: n_speakers_within(&hypothesis, &uem),
        mapping: mapping.iter().enumerate().filter_map(named).collect(),
    }
}

/// The one span from the first start to the last end, if there is any.
fn extent(spans: impl Iterator<Item = Span> + Clone) -> Vec<Span> {
    let (start, end) = (spans.clone().map(|s| s.start).min(), spans.map(|s| s.end).max());
    start.zip(end).map(|(start, end)| Span::new(start, end)).into_iter().collect()
}

/// What collar and overlap policy take from the regions scored.
fn left_out(reference: &[&Turn], params: DerParams) -> Vec<Span> {
    let mut spans = Vec::new();
    if params.collar > Nanos::ZERO {
        for at in reference.iter().flat_map(|turn| [turn.span.start, turn.span.end]) {
            spans.push(Span::new(Nanos(at.0 - params.collar.0), Nanos(at.0 + params.collar.0)));
        }
    }
    if params.skip_overlap {
        spans.extend(overlaps(reference.iter().map(|turn| turn.span)));
    }
    union(spans)
}

/// One side's turns with speakers as indices into the sorted names.
struct Side<'a> {
    names: Vec<&'a str>,
    turns: Vec<(Span, usize)>,
}

impl<'a> Side<'a> {
    fn new(turns: &[&'a Turn]) -> Self {
        let names: BTreeSet<&str> = turns.iter().map(|turn| turn.speaker.as_str()).collect();
        let idx_of: BTreeMap<&str, usize> =
            names.iter().enumerate().map(|(idx, name)| (*name, idx)).collect();
        let turns = turns.iter().map(|turn| (turn.span, idx_of[turn.speaker.as_str()])).collect();
        Self { names: names.into_iter().collect(), turns }
    }
}

/// A stretch of scored time over which nobody starts or stops: who is active, and how many turns of each.
struct Atom {
    len_ns: i64,
    reference: Vec<(usize, i64)>,
    hypothesis: Vec<(usize, i64)>,
}

impl Atom {
    fn parts(&self, mapping: &[Option<usize>]) -> DerParts {
        let n = |active: &[(usize, i64)]| active.iter().map(|(_, count)| count).sum::<i64>();
        let (n_reference, n_hypothesis) = (n(&self.reference), n(&self.hypothesis));
        let matched = |(r, n_r): &(usize, i64)| {
            let same = self.hypothesis.iter().find(|(h, _)| mapping[*h] == Some(*r));
            same.map_or(0, |(_, n_h)| (*n_r).min(*n_h))
        };
        let n_correct: i64 = self.reference.iter().map(matched).sum();
        DerParts {
            total: Nanos(n_reference * self.len_ns),
            correct: Nanos(n_correct * self.len_ns),
            missed: Nanos((n_reference - n_hypothesis).max(0) * self.len_ns),
            false_alarm: Nanos((n_hypothesis - n_reference).max(0) * self.len_ns),
            confusion: Nanos((n_reference.min(n_hypothesis) - n_correct) * self.len_ns),
        }
    }
}

/// Cuts the scored time at every boundary; stretches where nobody is active are left out.
fn atoms(reference: &Side<'_>, hypothesis: &Side<'_>, scored: &[Span]) -> Vec<Atom> {
    const REFERENCE: usize = 0;
    const HYPOTHESIS: usize = 1;
    const SCORED: usize = 2;
    // (when, which side, speaker, +1 or -1)
    let mut events: Vec<(Nanos, usize, usize, i64)> = Vec::new();
    let mut add = |side, span: &Span, speaker| {
        events.push((span.start, side, speaker, 1));
        events.push((span.end, side, speaker, -1));
    };
    reference.turns.iter().for_each(|(span, speaker)| add(REFERENCE, span, *speaker));
    hypothesis.turns.iter().for_each(|(span, speaker)| add(HYPOTHESIS, span, *speaker));
    scored.iter().for_each(|span| add(SCORED, span, 0));
    events.sort_unstable();

    let mut atoms = Vec::new();
    let mut active: [BTreeMap<usize, i64>; 3] = Default::default();
    let mut last = Nanos::ZERO;
    for (at, side, speaker, change) in events {
        let len_ns = at.0 - last.0;
        if len_ns > 0 && !active[SCORED].is_empty() {
            let side = |idx: usize| active[idx].iter().map(|(s, n)| (*s, *n)).collect::<Vec<_>>();
            let atom = Atom { len_ns, reference: side(REFERENCE), hypothesis: side(HYPOTHESIS) };
            if !(atom.reference.is_empty() && atom.hypothesis.is_empty()) {
                atoms.push(atom);
            }
        }
        last = at;
        let count = active[side].entry(speaker).or_default();
        *count += change;
        // At one instant a speaker's ends sort before the starts, so that touching turns are never counted twice.
        if *count == 0 {
            active[side].remove(&speaker);
        }
    }
    atoms
}

/// For each hypothesis speaker the reference speaker that it maps to; pairs that share nothing stay unmapped.
fn best_mapping(atoms: &[Atom], n_reference: usize, n_hypothesis: usize) -> Vec<Option<usize>> {
    let mut mapping = vec![None; n_hypothesis];
    if n_reference == 0 || n_hypothesis == 0 {
        return mapping;
    }
    // kuhn_munkres wants no more rows than columns.
    let hypothesis_in_rows = n_hypothesis <= n_reference;
    let (n_rows, n_columns) = (n_hypothesis.min(n_reference), n_hypothesis.max(n_reference));
    // 128 bits: the solver forms sums and differences of weights that each may fill 64.
    let mut shared = Matrix::new(n_rows, n_columns, 0i128);
    for atom in atoms {
        for (r, n_r) in &atom.reference {
            for (h, n_h) in &atom.hypothesis {
                let cell = if hypothesis_in_rows { (*h, *r) } else { (*r, *h) };
                shared[cell] += i128::from(n_r * n_h) * i128::from(atom.len_ns);
            }
        }
    }
    let (_, columns) = kuhn_munkres(&shared);
    for (row, column) in columns.into_iter().enumerate().filter(|cell| shared[*cell] > 0) {
        let (h, r) = if hypothesis_in_rows { (row, column) } else { (column, row) };
        mapping[h] = Some(r);
    }
    mapping
}

/// Jaccard errors of the reference speakers that have speech in the scored time.
fn jaccard(atoms: &[Atom], mapping: &[Option<usize>], n_reference: usize) -> JerParts {
    let (mut alone, mut both, mut other) = (vec![0; n_reference], vec![0; n_reference], vec![0; n_reference]);
    for atom in atoms {
        let has_reference = |r: usize| atom.reference.iter().any(|(active, _)| *active == r);
        let mapped = |(h, _): &(usize, i64)| mapping[*h];
        for (r, _) in &atom.reference {
            let emitted = atom.hypothesis.iter().filter_map(mapped).any(|mapped| mapped == *r);
            *(if emitted { &mut both[*r] } else { &mut alone[*r] }) += atom.len_ns;
        }
        for r in atom.hypothesis.iter().filter_map(mapped).filter(|r| !has_reference(*r)) {
            other[r] += atom.len_ns;
        }
    }
    let has_labels = atoms.iter().any(|atom| !atom.hypothesis.is_empty());
    let mut parts = JerParts { has_labels, ..JerParts::default() };
    for r in 0..n_reference {
        if alone[r] + both[r] > 0 {
            let wrong = alone[r] + other[r];
            parts.n_speakers += 1;
            parts.error_sum += wrong as f64 / (wrong + both[r]) as f64;
        }
    }
    parts
}

/// Number of speakers with speech inside the regions.
fn n_speakers_within(turns: &[&Turn], regions: &[Span]) -> usize {
    let outside_removed = |turn: &Turn| {
        let span = [turn.span];
        total_ns(&difference(&span, regions)) < turn.span.len_ns()
    };
    turns.iter().filter(|t| outside_removed(t)).map(|t| t.speaker.as_str()).collect::<BTreeSet<_>>().len()
}
