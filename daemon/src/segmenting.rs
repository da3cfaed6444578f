//! Labels one file with a segmentation model, for `diarized label --segmenter`.

use std::sync::atomic::{AtomicBool, Ordering};

use diarized_dsp::{SampleIndex, SampleRange};
use diarized_models::events::GapReason;
use diarized_models::segmentation::{Assigned, CHUNK_SAMPLES, FoundSegment, SpeakerLimits, assign};
use diarized_models::{
    Event, Segment, SegmentId, Segmentation, SessionState, SpeakerId, SpeakerInfo, TimedEvent,
};

use crate::audio_file::{AudioProblem, MonoFile, Piece};
use crate::labelling::{LabelError, Labelled, Progress};

/// Labels `file` to its end, or until `stop` is set, in chunks of 30 s; a gap ends a chunk. The speakers of all chunks are
/// found at the end. Blocks the calling thread, which decodes the file and runs the network.
///
/// # Errors
/// [`LabelError`]. A file with an unreadable rest gives the labels before it, and a problem.
pub fn segment_file(
    file: &mut MonoFile,
    model: &Segmentation,
    limits: SpeakerLimits,
    stop: &AtomicBool,
    mut listener: impl FnMut(Progress<'_>),
) -> Result<Labelled, LabelError> {
    let (found, problems, is_interrupted) = find_segments(file, model, stop, &mut listener)?;
    let heard = found.heard;
    let state = label(found, model.same_speaker_cosine(), limits, &mut listener)
        .map_err(|source| LabelError::Apply { name: file.audio().name().to_owned(), source })?;
    Ok(Labelled { state, heard, problems, is_interrupted })
}

/// Segments of a file on its clock, with the numbers of their chunks.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// In the order of their starts.
    pub(crate) segments: Vec<FoundSegment>,
    chunks: Vec<usize>,
    gaps: Vec<SampleRange>,
    heard: SampleIndex,
    /// What was read since `heard`.
    waiting: Vec<f32>,
    n_chunks: usize,
}

impl Found {
    /// Runs what waits, or its first 30 s.
    fn run(&mut self, model: &Segmentation, name: &str) -> Result<(), LabelError> {
        let n_samples = self.waiting.len().min(CHUNK_SAMPLES);
        if n_samples == 0 {
            return Ok(());
        }
        let mut found = model
            .segment(&self.waiting[..n_samples])
            .map_err(|source| LabelError::Segmentation { name: name.to_owned(), at: self.heard, source })?;
        found.sort_by_key(|segment| segment.range.start());
        for segment in found {
            let at = |position: SampleIndex| self.heard.plus(position.0);
            let range = SampleRange::new(at(segment.range.start()), at(segment.range.end()));
            self.segments.push(FoundSegment { range, ..segment });
            self.chunks.push(self.n_chunks);
        }
        self.n_chunks += 1;
        self.heard = self.heard.plus(n_samples as u64);
        self.waiting.drain(..n_samples);
        Ok(())
    }
}

/// Reads `file` and runs the network; also what was wrong with it, and whether it was left before its end.
pub(crate) fn find_segments(
    file: &mut MonoFile,
    model: &Segmentation,
    stop: &AtomicBool,
    listener: &mut impl FnMut(Progress<'_>),
) -> Result<(Found, Vec<AudioProblem>, bool), LabelError> {
    let name = file.audio().name().to_owned();
    let mut found = Found::default();
    let mut read_error = None;
    let mut is_interrupted = false;
    loop {
        if stop.load(Ordering::Relaxed) {
            is_interrupted = true;
            break;
        }
        match file.next(&mut found.waiting) {
            Ok(Piece::Samples) => {
                while found.waiting.len() >= CHUNK_SAMPLES {
                    found.run(model, &name)?;
                }
            }
            Ok(Piece::Gap(n_samples)) => {
                found.run(model, &name)?;
                let start = found.heard;
                found.heard = start.plus(n_samples);
                found.gaps.push(SampleRange::new(start, found.heard));
            }
            Ok(Piece::End) => break,
            Err(error) if found.heard == SampleIndex::ZERO && found.waiting.is_empty() => {
                return Err(error.into());
            }
            Err(error) => {
                read_error = Some(error);
                break;
            }
        }
        listener(Progress::Processed(found.heard));
    }
    found.run(model, &name)?;
    listener(Progress::Processed(found.heard));
    let mut problems = file.problems();
    problems.extend(
        read_error.map(|error| AudioProblem::Broken {
            at_s: found.heard.seconds(),
            reason: error.fault.to_string(),
        }),
    );
    Ok((found, problems, is_interrupted))
}

/// Speakers, then segments, as the events of a session that has ended.
fn label(
    found: Found,
    same_speaker_cosine: f32,
    limits: SpeakerLimits,
    listener: &mut impl FnMut(Progress<'_>),
) -> Result<SessionState, diarized_models::events::ApplyError> {
    let assigned = assign(&found.segments, &found.chunks, same_speaker_cosine, limits);
    let gaps = found.gaps.iter().map(|&range| Event::Gap { range, reason: GapReason::Declared });
    let mut events: Vec<Event> = gaps.collect();
    let mut known = 0;
    for (segment, of) in joined(&found.segments, &assigned) {
        if of.speaker >= known {
            known = of.speaker + 1;
            events.push(Event::Speaker(SpeakerInfo::new(SpeakerId(known as u32), segment.range.start())));
        }
        events.push(Event::Segment(segment));
    }
    let mut state = SessionState::new();
    for event in events {
        state.apply(&event)?;
        listener(Progress::Event(&TimedEvent { at: found.heard, event }, &state));
    }
    Ok(state)
}

/// Final segments. Where two of one speaker meet or overlap, they are one.
fn joined(found: &[FoundSegment], assigned: &[Assigned]) -> Vec<(Segment, Assigned)> {
    let mut segments: Vec<(Segment, Assigned)> = Vec::new();
    for (segment, &of) in found.iter().zip(assigned) {
        let last = segments.iter_mut().rev().find(|(_, before)| before.speaker == of.speaker);
        match last {
            Some((before, _)) if before.range.end() >= segment.range.start() => {
                let end = before.range.end().max(segment.range.end());
                before.range = SampleRange::new(before.range.start(), end);
                before.speech = vec![before.range];
                before.confidence = before.confidence.min(of.confidence);
            }
            _ => {
                let segment = Segment {
                    id: SegmentId(segments.len() as u64 + 1),
                    range: segment.range,
                    speech: vec![segment.range],
                    speaker: SpeakerId(of.speaker as u32 + 1),
                    confidence: of.confidence,
                    is_final: true,
                    overlap: false,
                    snr_db: None,
                    c50_db: None,
                };
                segments.push((segment, of));
            }
        }
    }
    let ranges: Vec<(SpeakerId, SampleRange)> =
        segments.iter().map(|(segment, _)| (segment.speaker, segment.range)).collect();
    for (segment, _) in &mut segments {
        segment.overlap = ranges.iter().any(|(speaker, range)| {
            *speaker != segment.speaker
                && range.start() < segment.range.end()
                && segment.range.start() < range.end()
        });
    }
    segments
}
