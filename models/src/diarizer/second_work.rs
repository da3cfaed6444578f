//! Windows that a second, larger voice model embeds again: which of them, their features, and which answers are missing.
//!
//! Sans-I/O like the diarizer, and apart from its labels: nothing here changes what the first model is asked for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use diarized_dsp::log_mel::{LogMel, MeanNormalisation};
use diarized_dsp::{FRAME_SAMPLES, SampleIndex, SampleRange};

use super::clustering::SecondEmbedding;
use super::front_end::window_features;
use super::interface::{EmbedRequest, SecondPace, WorkId};
use crate::embedding::Embedding;
use crate::model_card::ModelCard;
use crate::voiceprint::ModelId;

/// Time from one window to the next that is embedded again, in samples: 0.5 s, about one for each exemplar.
const STEP_SAMPLES: u64 = 8_000;
/// Requests that wait to be polled while labels do not wait for them; a further one takes the place of the oldest. 0.5 s
/// of speech each, 50 kB for 80 mel bands.
const MOST_WAITING: usize = 64;
/// Rows that are kept beyond the length of a window: the detector looks ahead for less than that.
const SPARE_ROWS: u64 = 500;

/// A window whose rows are not all there yet.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    id: WorkId,
    range: SampleRange,
    n_frames: usize,
}

/// See the module's documentation. Memory: the rows of about 7 s, 0.2 MB for 80 mel bands, and the waiting requests.
#[derive(Debug)]
pub(super) struct SecondWork {
    pace: SecondPace,
    dim: usize,
    model: ModelId,
    mel: LogMel,
    n_mels: usize,
    mean: MeanNormalisation,
    /// Stream position of row 0: the end of the last gap.
    origin: SampleIndex,
    n_samples: u64,
    /// Log-mel rows `first_row..`, frame-major.
    rows: VecDeque<f32>,
    first_row: u64,
    new_rows: Vec<f32>,
    n_kept_rows: u64,
    /// End of the latest window that is embedded again.
    latest_end: Option<SampleIndex>,
    to_cut: VecDeque<Wanted>,
    to_poll: VecDeque<EmbedRequest>,
    unanswered: BTreeSet<WorkId>,
    /// Embeddings of windows that are not labelled yet.
    answered: BTreeMap<WorkId, Embedding>,
    /// Windows that get no second embedding, since the last call of [`Self::take_left_out`].
    left_out: Vec<WorkId>,
}

impl SecondWork {
    /// For a stream that begins at `at`, with windows of at most `window_frames`.
    pub(super) fn new(card: &ModelCard, pace: SecondPace, at: SampleIndex, window_frames: usize) -> Self {
        Self {
            pace,
            dim: card.embedding_dim,
            model: ModelId::of(card),
            mel: LogMel::new(card.front_end),
            n_mels: card.front_end.n_mels(),
            mean: card.mean_normalisation,
            origin: at,
            n_samples: 0,
            rows: VecDeque::new(),
            first_row: 0,
            new_rows: Vec::new(),
            n_kept_rows: window_frames as u64 + SPARE_ROWS,
            latest_end: None,
            to_cut: VecDeque::new(),
            to_poll: VecDeque::new(),
            unanswered: BTreeSet::new(),
            answered: BTreeMap::new(),
            left_out: Vec::new(),
        }
    }

    /// Which model it is.
    pub(super) fn model(&self) -> &ModelId {
        &self.model
    }

    /// Number of values of an embedding.
    pub(super) fn dim(&self) -> usize {
        self.dim
    }

    /// Sees what the first model is asked for; every window that begins a region, and then one for every 0.5 s, is
    /// embedded again. To be called before the samples that made the request known are pushed here.
    pub(super) fn see(&mut self, request: &EmbedRequest) {
        let range = request.range;
        let is_due = |end: SampleIndex| range.start() >= end || range.end() >= end.plus(STEP_SAMPLES);
        if self.latest_end.is_none_or(is_due) {
            self.latest_end = Some(range.end());
            self.unanswered.insert(request.id);
            self.to_cut.push_back(Wanted { id: request.id, range, n_frames: request.n_frames });
        }
    }

    /// Takes the samples that were pushed to the diarizer.
    pub(super) fn push(&mut self, samples: &[f32]) {
        self.n_samples += samples.len() as u64;
        self.new_rows.clear();
        self.mel.push(samples, &mut self.new_rows);
        self.rows.extend(&self.new_rows);
        self.cut(false);
        let n_gone = self.rows_end().saturating_sub(self.n_kept_rows).saturating_sub(self.first_row);
        self.rows.drain(..n_gone as usize * self.n_mels);
        self.first_row += n_gone;
    }

    /// The stream pauses here for `gap_samples`.
    pub(super) fn interrupt(&mut self, gap_samples: u64) {
        self.new_rows.clear();
        self.mel.finish(&mut self.new_rows);
        self.rows.extend(&self.new_rows);
        self.cut(true);
        self.origin = self.origin.plus(self.n_samples + gap_samples);
        (self.n_samples, self.first_row) = (0, 0);
        self.rows.clear();
    }

    /// The next window to embed by the second model.
    pub(super) fn poll(&mut self) -> Option<EmbedRequest> {
        self.to_poll.pop_front()
    }

    /// Takes an answer. Returns `false` where the window was left out before.
    pub(super) fn answer(&mut self, id: WorkId) -> bool {
        self.unanswered.remove(&id)
    }

    /// Keeps the embedding of a window that is not labelled yet.
    pub(super) fn keep(&mut self, id: WorkId, embedding: Embedding) {
        self.answered.insert(id, embedding);
    }

    /// What there is for a window that is labelled now.
    pub(super) fn take(&mut self, id: WorkId) -> SecondEmbedding {
        match self.answered.remove(&id) {
            Some(embedding) => SecondEmbedding::Done(embedding),
            None if self.unanswered.contains(&id) => SecondEmbedding::Waiting(id),
            None => SecondEmbedding::None,
        }
    }

    /// Whether the labels of this window have to wait.
    pub(super) fn holds(&self, id: WorkId) -> bool {
        self.pace == SecondPace::InStep && self.unanswered.contains(&id)
    }

    /// Windows that are not answered.
    pub(super) fn n_unanswered(&self) -> usize {
        self.unanswered.len()
    }

    /// No window is waited for any more.
    pub(super) fn leave_out(&mut self) {
        self.to_cut.clear();
        self.to_poll.clear();
        self.left_out.extend(std::mem::take(&mut self.unanswered));
    }

    /// Windows that were left out since the last call.
    pub(super) fn take_left_out(&mut self) -> Vec<WorkId> {
        std::mem::take(&mut self.left_out)
    }

    fn rows_end(&self) -> u64 {
        self.first_row + (self.rows.len() / self.n_mels) as u64
    }

    /// Makes requests of the windows whose rows are there; with `last` none follow.
    fn cut(&mut self, last: bool) {
        let frame =
            |origin: SampleIndex, at: SampleIndex| at.0.saturating_sub(origin.0) / FRAME_SAMPLES as u64;
        while let Some(&Wanted { id, range, n_frames }) = self.to_cut.front() {
            let (start, end) = (frame(self.origin, range.start()), frame(self.origin, range.end()));
            if end > self.rows_end() && !last {
                break;
            }
            self.to_cut.pop_front();
            let place = |row: u64| (row.max(self.first_row) - self.first_row) as usize * self.n_mels;
            let taken = place(start)..place(end.min(self.rows_end()));
            if taken.is_empty() {
                self.drop_out(id);
                continue;
            }
            let rows: Vec<f32> = self.rows.range(taken).copied().collect();
            let features = window_features(&rows, self.n_mels, n_frames, self.mean);
            self.to_poll.push_back(EmbedRequest { id, range, features, n_frames });
            if self.pace == SecondPace::Behind
                && self.to_poll.len() > MOST_WAITING
                && let Some(oldest) = self.to_poll.pop_front()
            {
                self.drop_out(oldest.id);
            }
        }
    }

    fn drop_out(&mut self, id: WorkId) {
        if self.unanswered.remove(&id) {
            self.left_out.push(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card() -> ModelCard {
        ModelCard::parse(crate::builtin::CARD).unwrap()
    }

    fn work(pace: SecondPace) -> SecondWork {
        SecondWork::new(&card(), pace, SampleIndex::ZERO, 150)
    }

    fn request(id: u64, start_s: f64, end_s: f64) -> EmbedRequest {
        let range = SampleRange::new(SampleIndex::from_seconds(start_s), SampleIndex::from_seconds(end_s));
        EmbedRequest { id: WorkId(id), range, features: Vec::new(), n_frames: 150 }
    }

    fn sound(n: usize) -> Vec<f32> {
        (0..n).map(|i| ((i * 7919 % 1000) as f32 / 1000.0 - 0.5) * 0.1).collect()
    }

    fn polled(work: &mut SecondWork) -> Vec<u64> {
        std::iter::from_fn(|| work.poll()).map(|request| request.id.0).collect()
    }

    #[test]
    fn every_second_window_of_a_region_is_embedded_again() {
        let mut work = work(SecondPace::InStep);
        for n in 0..6 {
            let end_s = 1.5 + 0.25 * n as f64;
            work.see(&request(n, end_s - 1.5, end_s));
        }
        work.see(&request(6, 5.0, 5.8));
        work.push(&sound(16_000 * 7));
        assert_eq!(polled(&mut work), [0, 2, 4, 6], "and the first one of the next region");
        assert!(work.holds(WorkId(0)) && !work.holds(WorkId(1)));
    }

    #[test]
    fn features_are_those_of_the_whole_signal_whatever_the_blocks() {
        let samples = sound(16_000 * 4);
        let whole = {
            let mut rows = Vec::new();
            LogMel::new(card().front_end).transform(&samples, &mut rows);
            let n_mels = card().front_end.n_mels();
            window_features(&rows[100 * n_mels..250 * n_mels], n_mels, 150, card().mean_normalisation)
        };
        for block in [160, 1_000, 64_000] {
            let mut work = work(SecondPace::InStep);
            let mut is_seen = false;
            for (n, part) in samples.chunks(block).enumerate() {
                if !is_seen && (n + 1) * block >= 40_000 {
                    work.see(&request(3, 1.0, 2.5));
                    is_seen = true;
                }
                work.push(part);
            }
            let made = work.poll().expect("its rows are there");
            assert_eq!((made.id, made.features == whole), (WorkId(3), true), "blocks of {block}");
        }
    }

    #[test]
    fn what_is_too_much_is_left_out_oldest_first_unless_labels_wait() {
        for (pace, n_left_out) in [(SecondPace::Behind, 6), (SecondPace::InStep, 0)] {
            let mut work = work(pace);
            for n in 0..MOST_WAITING as u64 + 6 {
                work.see(&request(n, n as f64, n as f64 + 1.5));
                work.push(&sound(16_000));
            }
            work.interrupt(0);
            let left_out: Vec<u64> = work.take_left_out().iter().map(|id| id.0).collect();
            assert_eq!(left_out, (0..n_left_out).collect::<Vec<_>>());
            assert_eq!(work.n_unanswered(), MOST_WAITING + 6 - n_left_out as usize);
            assert!(!work.answer(WorkId(0)) || n_left_out == 0);
            work.leave_out();
            assert_eq!((work.n_unanswered(), polled(&mut work).len()), (0, 0));
        }
    }

    #[test]
    fn a_window_at_a_pause_gets_the_rows_that_there_are() {
        let mut work = work(SecondPace::InStep);
        work.see(&request(0, 0.0, 1.0));
        work.push(&sound(16_000));
        assert!(polled(&mut work).is_empty(), "its last frame reaches beyond what was pushed");
        work.interrupt(16_000);
        assert_eq!(polled(&mut work), [0]);
        work.see(&request(1, 2.0, 3.0));
        work.push(&sound(32_000));
        assert_eq!(polled(&mut work), [1], "positions go on behind the gap");
    }
}
