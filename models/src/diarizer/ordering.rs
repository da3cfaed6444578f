//! A reorder buffer: steps in the order of the stream, released once the embeddings of the windows before them are in.

use std::collections::VecDeque;

use diarized_dsp::{SampleIndex, SampleRange};

use super::front_end::{Fact, FactKind, FrameMeasures};
use super::interface::{EmbedRequest, WorkId};
use crate::embedding::Embedding;
use crate::events::GapReason;

/// One step of the labeller.
#[derive(Debug)]
pub(super) enum Step {
    /// Speech begins.
    Open { start: SampleIndex },
    /// Measures of the open region's next frames.
    Frames(FrameMeasures),
    /// A window of the open region. `n_frames` is its length, `padded_by_repetition` whether it was repeated to fill that; without an
    /// embedding it has failed.
    Window {
        id: WorkId,
        support: SampleRange,
        decided: SampleIndex,
        n_frames: usize,
        padded_by_repetition: bool,
        embedding: Option<Embedding>,
    },
    /// The open region pauses.
    Pause { voiced: SampleIndex },
    /// Speech ends.
    Close { end: SampleIndex },
    /// A stretch without audio.
    Gap { range: SampleRange, reason: GapReason },
    /// The stream ends.
    Finish,
}

/// Answer to a request for an embedding.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum WindowResult {
    /// Not answered yet.
    Pending,
    /// The embedder failed.
    Failed,
    /// The embedding.
    Done(Embedding),
}

/// See the module's documentation. Memory: what waits behind the oldest unanswered request.
#[derive(Debug, Default)]
pub(super) struct ReorderBuffer {
    /// Steps not released yet, each with the position up to which audio is known.
    steps: VecDeque<(SampleIndex, Step)>,
    /// Results of the windows among the steps, in the same order. Their ids are consecutive.
    results: VecDeque<WindowResult>,
    /// Windows since the start of the stream, and so the id of the next one.
    n_windows: u64,
}

impl ReorderBuffer {
    /// Adds a step behind all others.
    pub(super) fn push(&mut self, at: SampleIndex, step: Step) {
        self.steps.push_back((at, step));
    }

    /// Adds a fact behind all steps. A window becomes a request.
    pub(super) fn push_fact(&mut self, fact: Fact) -> Option<EmbedRequest> {
        let mut request = None;
        let step = match fact.kind {
            FactKind::Open { start } => Step::Open { start },
            FactKind::Frames(measures) => Step::Frames(measures),
            FactKind::Window { support, decided, n_frames, features, padded_by_repetition } => {
                let id = WorkId(self.n_windows);
                self.n_windows += 1;
                self.results.push_back(WindowResult::Pending);
                request = Some(EmbedRequest { id, range: support, features, n_frames });
                Step::Window { id, support, decided, n_frames, padded_by_repetition, embedding: None }
            }
            FactKind::Pause { voiced } => Step::Pause { voiced },
            FactKind::Close { end } => Step::Close { end },
        };
        self.push(fact.at, step);
        request
    }

    /// Answers a request. Returns `false`, and changes nothing, if no unanswered request has this id.
    pub(super) fn answer(&mut self, id: WorkId, result: WindowResult) -> bool {
        let first = self.n_windows - self.results.len() as u64;
        let idx = id.0.checked_sub(first).and_then(|idx| usize::try_from(idx).ok());
        let slot = idx.and_then(|idx| self.results.get_mut(idx));
        match slot.filter(|slot| **slot == WindowResult::Pending) {
            Some(slot) => {
                *slot = result;
                true
            }
            None => false,
        }
    }

    /// The step that comes next.
    pub(super) fn front(&self) -> Option<&Step> {
        self.steps.front().map(|(_, step)| step)
    }

    /// Whether the window with this id was released.
    pub(super) fn is_released(&self, id: WorkId) -> bool {
        id.0 < self.n_windows - self.results.len() as u64
    }

    /// The next step, unless it waits for an embedding.
    pub(super) fn pop(&mut self) -> Option<(SampleIndex, Step)> {
        let is_window = matches!(self.steps.front()?, (_, Step::Window { .. }));
        if is_window && self.results.front() == Some(&WindowResult::Pending) {
            return None;
        }
        let (at, mut step) = self.steps.pop_front()?;
        if let Step::Window { embedding, .. } = &mut step
            && let Some(WindowResult::Done(result)) = self.results.pop_front()
        {
            *embedding = Some(result);
        }
        Some((at, step))
    }

    /// Whether every step was released.
    pub(super) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Number of requests without an answer.
    pub(super) fn n_unanswered(&self) -> usize {
        self.results.iter().filter(|result| **result == WindowResult::Pending).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(at: u64) -> Fact {
        let support = SampleRange::new(SampleIndex(0), SampleIndex(at));
        let (decided, features) = (support.end(), vec![0.0; 4]);
        let kind = FactKind::Window { support, decided, n_frames: 1, features, padded_by_repetition: false };
        Fact { at: SampleIndex(at), kind }
    }

    fn close(at: u64) -> Fact {
        Fact { at: SampleIndex(at), kind: FactKind::Close { end: SampleIndex(at) } }
    }

    fn embedding(first: f32) -> Embedding {
        Embedding::from_raw(&[first, 1.0]).unwrap()
    }

    fn released(buffer: &mut ReorderBuffer) -> Vec<(u64, Option<Embedding>)> {
        let embedding = |step| if let Step::Window { embedding, .. } = step { embedding } else { None };
        std::iter::from_fn(|| buffer.pop()).map(|(at, step)| (at.0, embedding(step))).collect()
    }

    #[test]
    fn steps_wait_for_the_windows_before_them() {
        let mut buffer = ReorderBuffer::default();
        assert!(buffer.push_fact(close(1)).is_none());
        let ids = [2, 3].map(|at| buffer.push_fact(window(at)).unwrap().id);
        assert!(buffer.push_fact(close(4)).is_none());
        assert_eq!((ids, buffer.n_unanswered()), ([WorkId(0), WorkId(1)], 2));
        assert_eq!(released(&mut buffer), [(1, None)]);
        assert!(buffer.answer(WorkId(1), WindowResult::Done(embedding(0.5))));
        assert_eq!(released(&mut buffer), [], "the first window is not answered");
        assert!(buffer.answer(WorkId(0), WindowResult::Done(embedding(-0.5))));
        let expected = [(2, Some(embedding(-0.5))), (3, Some(embedding(0.5))), (4, None)];
        assert_eq!(released(&mut buffer), expected);
        assert!(buffer.is_empty() && buffer.n_unanswered() == 0);
    }

    #[test]
    fn a_failed_window_is_released_without_an_embedding() {
        let mut buffer = ReorderBuffer::default();
        buffer.push_fact(window(1));
        assert!(buffer.answer(WorkId(0), WindowResult::Failed));
        assert_eq!(released(&mut buffer), [(1, None)]);
        assert_eq!(buffer.push_fact(window(2)).unwrap().id, WorkId(1), "ids go on");
    }

    #[test]
    fn each_request_is_answered_once() {
        let mut buffer = ReorderBuffer::default();
        buffer.push_fact(window(1));
        buffer.push_fact(window(2));
        assert!(!buffer.answer(WorkId(2), WindowResult::Failed), "it was never asked for");
        assert!(buffer.answer(WorkId(1), WindowResult::Failed));
        assert!(!buffer.answer(WorkId(1), WindowResult::Done(embedding(0.0))), "it was answered before");
        assert!(buffer.answer(WorkId(0), WindowResult::Failed));
        assert_eq!(released(&mut buffer).len(), 2);
        assert!(!buffer.answer(WorkId(0), WindowResult::Failed), "it was released");
    }
}
