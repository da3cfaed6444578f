//! The diarizer itself: takes audio, corrections and embeddings, gives requests for embeddings and events.

use std::collections::VecDeque;
use std::sync::Arc;

use diarized_dsp::{SampleIndex, SampleRange};

use super::clustering::{SecondEmbedding, VoiceGroups};
use super::front_end::{self, Fact, FrontEnd};
use super::interface::{DiarizerError, EmbedRequest, SecondPace, SpeakerVoice, TimedEvent, WorkId};
use super::labelling::{LabelMeasures, Labeller};
use super::ordering::{ReorderBuffer, Step, WindowResult};
use super::params::DiarizerParams;
use super::second_work::SecondWork;
use super::voice_memory::{Continuation, VoiceMemory, VoicesMark};
use crate::corrections::{CorrectionError, Restoration};
use crate::embedder::EmbedError;
use crate::embedding::Embedding;
use crate::events::{GapReason, SegmentId, SessionState, SpeakerId};
use crate::model_card::ModelCard;
use crate::voiceprint::Gallery;

/// One stream from samples to labelled segments. `Send`, for one thread at a time.
///
/// Memory: about 3 MB at most besides the published segments (about 150 bytes each), whatever the length of the
/// stream.
#[derive(Debug)]
pub struct Diarizer {
    params: DiarizerParams,
    card: ModelCard,
    front_end: FrontEnd,
    pub(super) labeller: Labeller,
    /// Windows for a second model, if there is one.
    second: Option<SecondWork>,
    steps: ReorderBuffer,
    work: VecDeque<EmbedRequest>,
    n_failed: u64,
    pub(super) finished: bool,
}

impl Diarizer {
    /// A diarizer at the start of a stream.
    #[must_use]
    pub fn new(params: DiarizerParams, card: &ModelCard) -> Self {
        Self {
            front_end: FrontEnd::new(&params, card),
            labeller: Labeller::new(
                params.clone(),
                card.plda.clone(),
                card.calibration(params.options().window_ms),
            ),
            params,
            card: card.clone(),
            second: None,
            steps: ReorderBuffer::default(),
            work: VecDeque::new(),
            n_failed: 0,
            finished: false,
        }
    }

    /// A diarizer that goes on with a session. Segments that were not final become so at once.
    #[must_use]
    pub fn continuing(params: DiarizerParams, card: &ModelCard, before: Continuation) -> Self {
        let mut diarizer = Self::new(params, card);
        diarizer.front_end = FrontEnd::beginning_at(&diarizer.params, card, before.at);
        diarizer.labeller.go_on(before);
        diarizer
    }

    /// The same with a second voice model, which `card` describes: about every 0.5 s of speech a window is embedded again
    /// ([`poll_second`](Self::poll_second)). The last pass then clusters by these embeddings, and [`voice_of`](Self::voice_of)
    /// and the gallery are of that model. To be called before any audio. Memory: about 6 MB more at most.
    #[must_use]
    pub fn with_second_model(mut self, card: &ModelCard, pace: SecondPace) -> Self {
        let window_ms = self.params.options().window_ms;
        let window_frames = (window_ms / 10) as usize;
        self.second = Some(SecondWork::new(card, pace, self.front_end.heard(), window_frames));
        self.labeller.set_second_model(card.plda.clone(), card.calibration(window_ms));
        self
    }

    /// Window lengths that a diarizer with these parameters asks for, in frames: the plans that an
    /// [`Embedder`](crate::Embedder) should prepare.
    #[must_use]
    pub fn window_frames(params: &DiarizerParams) -> [usize; 2] {
        let window_ms = params.options().window_ms;
        [front_end::short_window_frames(window_ms), (window_ms / 10) as usize]
    }

    /// Takes mono samples at 16 kHz, nominally in `[-1, 1]`, in blocks of any size.
    ///
    /// # Errors
    /// [`DiarizerError::Finished`] after [`finish`](Self::finish); [`DiarizerError::NonFinite`].
    pub fn push(&mut self, samples: &[f32]) -> Result<(), DiarizerError> {
        if self.finished {
            return Err(DiarizerError::Finished);
        }
        if let Some(index) = samples.iter().position(|s| !s.is_finite()) {
            return Err(DiarizerError::NonFinite { index });
        }
        let mut facts = VecDeque::new();
        self.front_end.push(samples, &mut facts);
        self.add_facts(facts);
        self.second.iter_mut().for_each(|second| second.push(samples));
        self.advance();
        Ok(())
    }

    /// `n_samples` of the clock hold no audio: open speech closes, and the clock goes on behind the gap.
    ///
    /// # Errors
    /// [`DiarizerError::Finished`] after [`finish`](Self::finish).
    pub fn gap(&mut self, n_samples: u64, reason: GapReason) -> Result<(), DiarizerError> {
        if self.finished {
            return Err(DiarizerError::Finished);
        }
        if n_samples == 0 {
            return Ok(());
        }
        let range = SampleRange::with_len(self.front_end.heard(), n_samples);
        self.interrupt(n_samples);
        self.steps.push(range.end(), Step::Gap { range, reason });
        self.advance();
        Ok(())
    }

    /// Settles what is open now, as if a pause had come; the stream goes on.
    ///
    /// # Errors
    /// [`DiarizerError::Finished`] after [`finish`](Self::finish).
    pub fn flush(&mut self) -> Result<(), DiarizerError> {
        if self.finished {
            return Err(DiarizerError::Finished);
        }
        self.interrupt(0);
        self.advance();
        Ok(())
    }

    /// The stream ends: open speech closes and the last pass follows once all results are in. A second call does
    /// nothing.
    pub fn finish(&mut self) {
        if !self.finished {
            self.finished = true;
            self.interrupt(0);
            self.steps.push(self.front_end.heard(), Step::Finish);
            self.advance();
        }
    }

    /// Whether the stream was finished and every event is queued; some may still wait to be polled.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.finished && self.steps.is_empty()
    }

    /// The next window to embed. Requests may be answered in any order, by several threads.
    pub fn poll_work(&mut self) -> Option<EmbedRequest> {
        self.work.pop_front()
    }

    /// Windows asked for and not answered yet, polled or not: what a caller bounds to bound memory.
    #[must_use]
    pub fn n_unanswered(&self) -> usize {
        self.steps.n_unanswered()
    }

    /// Takes the result for a request. A failed window is left out of the labels and counted.
    ///
    /// # Errors
    /// [`DiarizerError::UnknownWork`]; [`DiarizerError::Dimension`], and the work then still waits.
    pub fn provide(
        &mut self,
        id: WorkId,
        result: Result<Embedding, EmbedError>,
    ) -> Result<(), DiarizerError> {
        if let Ok(embedding) = &result
            && embedding.dim() != self.card.embedding_dim
        {
            return Err(DiarizerError::Dimension { expected: self.card.embedding_dim, got: embedding.dim() });
        }
        let has_failed = result.is_err();
        if !self.steps.answer(id, result.map_or(WindowResult::Failed, WindowResult::Done)) {
            return Err(DiarizerError::UnknownWork(id));
        }
        self.n_failed += u64::from(has_failed);
        self.advance();
        Ok(())
    }

    /// The next window to embed by the second model, of the same lengths as for the first.
    pub fn poll_second(&mut self) -> Option<EmbedRequest> {
        self.second.as_mut()?.poll()
    }

    /// Windows that the second model is to embed and that are not answered yet, polled or not. With
    /// [`SecondPace::Behind`] few wait, whatever the caller does.
    #[must_use]
    pub fn n_second_unanswered(&self) -> usize {
        self.second.as_ref().map_or(0, SecondWork::n_unanswered)
    }

    /// Takes the second model's result for a window; a failed window, or one that was left out meanwhile, is ignored.
    ///
    /// # Errors
    /// [`DiarizerError::Dimension`], and the window then still waits.
    pub fn provide_second(
        &mut self,
        id: WorkId,
        result: Result<Embedding, EmbedError>,
    ) -> Result<(), DiarizerError> {
        let Some(second) = &mut self.second else { return Ok(()) };
        if let Ok(embedding) = &result
            && embedding.dim() != second.dim()
        {
            return Err(DiarizerError::Dimension { expected: second.dim(), got: embedding.dim() });
        }
        if second.answer(id) {
            match result {
                Ok(embedding) if !self.steps.is_released(id) => second.keep(id, embedding),
                result => self.labeller.take_second(id, result.ok()),
            }
            self.advance();
        }
        Ok(())
    }

    /// Gives up the second embeddings that are missing, so that the stream can end without them.
    pub fn leave_out_second(&mut self) {
        if let Some(second) = &mut self.second {
            second.leave_out();
            self.advance();
        }
    }

    /// Windows that the network refused.
    #[must_use]
    pub fn n_failed(&self) -> u64 {
        self.n_failed
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<TimedEvent> {
        self.labeller.poll()
    }

    /// The labels as they stand: what applying every event polled and still to be polled gives.
    #[must_use]
    pub fn state(&self) -> &SessionState {
        self.labeller.state()
    }

    /// The groups of speech that a clustering now would find before it joined those that are one voice, and what it
    /// measures of each pair: what the weights of joins are fitted on. Nothing changes. Cost: that of a clustering.
    #[must_use]
    pub fn voice_groups(&self) -> VoiceGroups {
        self.labeller.voice_groups()
    }

    /// What confidence is computed from: of every label that audio on its way may still change, or of every settled label
    /// after the end of the stream. The weights of confidence are fitted on this. Nothing changes.
    #[must_use]
    pub fn label_measures(&self) -> Vec<(SegmentId, LabelMeasures)> {
        self.labeller.label_measures()
    }

    /// Position up to which audio has been pushed, gaps included.
    #[must_use]
    pub fn heard(&self) -> SampleIndex {
        self.front_end.heard()
    }

    /// Whether a region of speech is open.
    #[must_use]
    pub fn is_speech(&self) -> bool {
        self.front_end.in_speech()
    }

    /// Level of the last 10 ms in dBFS; −100 for digital silence.
    #[must_use]
    pub fn level_dbfs(&self) -> f32 {
        self.front_end.level_dbfs()
    }

    /// Gives a speaker a name; an empty one clears it. The event follows at once.
    ///
    /// # Errors
    /// [`CorrectionError`]; nothing is changed.
    pub fn rename(&mut self, speaker: SpeakerId, name: &str) -> Result<(), CorrectionError> {
        self.labeller.rename(speaker, name)
    }

    /// Makes one speaker of two for good: clustering will not part them again.
    ///
    /// # Errors
    /// [`CorrectionError`]; nothing is changed.
    pub fn merge(&mut self, from: SpeakerId, into: SpeakerId) -> Result<(), CorrectionError> {
        self.labeller.merge(from, into)
    }

    /// Gives a final segment to another speaker for good.
    ///
    /// # Errors
    /// [`CorrectionError`]; nothing is changed.
    pub fn reassign(&mut self, segment: SegmentId, to: SpeakerId) -> Result<(), CorrectionError> {
        self.labeller.reassign(segment, to)
    }

    /// Makes two speakers of one for good: `segments` are the second one's, or those that sound so where none are
    /// given. Clustering will not join them again. Returns the second one.
    ///
    /// # Errors
    /// [`CorrectionError`]; nothing is changed.
    pub fn split(
        &mut self,
        speaker: SpeakerId,
        segments: &[SegmentId],
    ) -> Result<SpeakerId, CorrectionError> {
        self.labeller.split(speaker, segments)
    }

    /// Undoes a correction, or makes it again.
    ///
    /// # Errors
    /// [`CorrectionError`]; nothing is changed.
    pub fn restore(&mut self, restoration: &Restoration) -> Result<(), CorrectionError> {
        self.labeller.restore(restoration)
    }

    /// Sets the enrolled people: a speaker whose voice matches one gets the name. Replaces the gallery before; a name whose
    /// voice is no longer enrolled is cleared.
    pub fn set_gallery(&mut self, gallery: Arc<Gallery>) {
        self.labeller.set_gallery(gallery);
    }

    /// Sets the enrolled voice `voice` and its name `name` for a speaker, against recognition if need be.
    ///
    /// # Errors
    /// [`CorrectionError`]; nothing is changed.
    pub fn set_voice(&mut self, speaker: SpeakerId, voice: &str, name: &str) -> Result<(), CorrectionError> {
        self.labeller.set_voice(speaker, voice, name)
    }

    /// The voice of a speaker so far, from settled speech inside single turns.
    #[must_use]
    pub fn voice_of(&self, speaker: SpeakerId) -> Option<SpeakerVoice> {
        self.labeller.voice_of(speaker)
    }

    /// What is known of the voices now. Allocates a copy.
    #[must_use]
    pub fn voice_memory(&self) -> VoiceMemory {
        VoiceMemory::new(&self.card, self.second.as_ref().map(SecondWork::model), self.labeller.keep())
    }

    /// Whether it has changed since another mark.
    #[must_use]
    pub fn voices_mark(&self) -> VoicesMark {
        self.labeller.voices_mark()
    }

    /// Everything before this position is labelled by the events so far, or is no speech: where a session can go on.
    #[must_use]
    pub fn labelled_until(&self) -> SampleIndex {
        let labelled = self.labeller.labelled_until();
        let is_idle = self.steps.is_empty() && !self.front_end.in_speech();
        if is_idle { labelled.max(self.front_end.decided_until()) } else { labelled }
    }

    /// Closes the open region, and moves the clock over `gap_samples` without audio.
    fn interrupt(&mut self, gap_samples: u64) {
        let mut facts = VecDeque::new();
        self.front_end.interrupt(gap_samples, &mut facts);
        self.add_facts(facts);
        self.second.iter_mut().for_each(|second| second.interrupt(gap_samples));
    }

    fn add_facts(&mut self, facts: VecDeque<Fact>) {
        for request in facts.into_iter().filter_map(|fact| self.steps.push_fact(fact)) {
            self.second.iter_mut().for_each(|second| second.see(&request));
            self.work.push_back(request);
        }
    }

    /// Runs the steps whose turn has come.
    fn advance(&mut self) {
        for id in self.second.iter_mut().flat_map(SecondWork::take_left_out) {
            self.labeller.take_second(id, None);
        }
        while !self.waits_for_second()
            && let Some((at, step)) = self.steps.pop()
        {
            match step {
                Step::Open { start } => self.labeller.open_region(at, start),
                Step::Frames(measures) => self.labeller.add_frames(&measures),
                Step::Window { id, support, decided, n_frames, padded_by_repetition, embedding } => {
                    let is_full =
                        n_frames as u32 * 10 == self.params.options().window_ms && !padded_by_repetition;
                    let second = self.second.as_mut().map_or(SecondEmbedding::None, |second| second.take(id));
                    self.labeller.add_window(at, support, decided, embedding.map(|e| (e, second)), is_full);
                }
                Step::Pause { voiced } => self.labeller.pause(at, voiced),
                Step::Close { end } => self.labeller.close_region(at, end),
                Step::Gap { range, reason } => self.labeller.gap(at, range, reason),
                Step::Finish => self.labeller.finish(at),
            }
        }
    }

    /// Whether the next step waits for the second model. The end of the stream always does.
    fn waits_for_second(&self) -> bool {
        let Some(second) = &self.second else { return false };
        match self.steps.front() {
            Some(Step::Window { id, .. }) => second.holds(*id),
            Some(Step::Finish) => second.n_unanswered() > 0,
            _ => false,
        }
    }

    /// The parameters that govern this diarizer.
    #[must_use]
    pub fn params(&self) -> &DiarizerParams {
        &self.params
    }
}
