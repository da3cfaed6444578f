//! Labels one file with one diarizer, for `diarized label`.

use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::Select;
use diarized_dsp::SampleIndex;
use diarized_models::events::{ApplyError, GapReason};
use diarized_models::segmentation::SegmentationError;
use diarized_models::{SessionState, TimedEvent};

use crate::audio_file::{AudioFileError, AudioProblem, MonoFile, Piece};
use crate::session::{Engine, EngineError};

/// Windows in flight before the file is read on: enough to keep every worker busy, and a bound on the memory.
const MAX_PENDING: usize = 64;
/// Samples that are pushed at a time at most: the engine hands out work after each push.
const PUSH_SAMPLES: usize = 16_000;

/// Why a file got no labels.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabelError {
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] AudioFileError),
    /// The diarizer failed.
    #[error("{name}: labelling failed after {at}")]
    Engine {
        /// The file.
        name: String,
        /// Audio processed before.
        at: SampleIndex,
        /// What happened.
        #[source]
        source: EngineError,
    },
    /// The segmentation model failed.
    #[error("{name}: labelling failed after {at}")]
    Segmentation {
        /// The file.
        name: String,
        /// Audio processed before.
        at: SampleIndex,
        /// What happened.
        #[source]
        source: SegmentationError,
    },
    /// The diarizer's events do not fit together.
    #[error("{name}: internal error: an event does not apply to the session state")]
    Apply {
        /// The file.
        name: String,
        /// What does not fit.
        #[source]
        source: ApplyError,
    },
}

/// The labels of a file.
#[derive(Debug)]
pub struct Labelled {
    /// The labels after the last pass.
    pub state: SessionState,
    /// Length of the processed audio.
    pub heard: SampleIndex,
    /// What was wrong with the file and did not stop it.
    pub problems: Vec<AudioProblem>,
    /// The file was left before its end because of the stop flag.
    pub is_interrupted: bool,
}

/// What happens while a file is labelled.
#[derive(Debug, Clone, Copy)]
pub enum Progress<'a> {
    /// Audio was processed up to here.
    Processed(SampleIndex),
    /// An event, and the labels after it.
    Event(&'a TimedEvent, &'a SessionState),
}

/// Labels `file` to its end, or until `stop` is set; either way the processed audio gets its final labels. Blocks the
/// calling thread, which decodes and runs the diarizer; embeddings are computed by the engine's workers meanwhile.
///
/// # Errors
/// [`LabelError`]. A file with an unreadable rest gives the labels before it, and a problem.
pub fn label_file(
    file: &mut MonoFile,
    engine: &mut dyn Engine,
    stop: &AtomicBool,
    mut listener: impl FnMut(Progress<'_>),
) -> Result<Labelled, LabelError> {
    let name = file.audio().name().to_owned();
    let mut drive =
        Drive { engine, name, state: SessionState::new(), emitted: Vec::new(), heard: SampleIndex::ZERO };
    let mut samples = Vec::new();
    let mut read_error = None;
    let mut is_interrupted = false;
    loop {
        if stop.load(Ordering::Relaxed) {
            is_interrupted = true;
            break;
        }
        samples.clear();
        match file.next(&mut samples) {
            Ok(Piece::Samples) => {}
            Ok(Piece::Gap(n_samples)) => drive.gap(n_samples, &mut listener)?,
            Ok(Piece::End) => break,
            Err(error) if drive.heard == SampleIndex::ZERO => return Err(error.into()),
            Err(error) => {
                read_error = Some(error);
                break;
            }
        }
        for samples in samples.chunks(PUSH_SAMPLES) {
            drive.push(samples, &mut listener)?;
        }
    }
    drive.finish(&mut listener)?;
    let mut problems = file.problems();
    problems.extend(
        read_error.map(|error| AudioProblem::Broken {
            at_s: drive.heard.seconds(),
            reason: error.fault.to_string(),
        }),
    );
    Ok(Labelled { state: drive.state, heard: drive.heard, problems, is_interrupted })
}

struct Drive<'a> {
    engine: &'a mut dyn Engine,
    name: String,
    state: SessionState,
    emitted: Vec<TimedEvent>,
    heard: SampleIndex,
}

impl Drive<'_> {
    fn push(&mut self, samples: &[f32], listener: &mut impl FnMut(Progress<'_>)) -> Result<(), LabelError> {
        self.engine.push(samples).map_err(|source| self.failed(source))?;
        self.heard = self.heard.plus(samples.len() as u64);
        self.drive(listener)?;
        while self.engine.n_pending() > MAX_PENDING {
            self.wait();
            self.drive(listener)?;
        }
        listener(Progress::Processed(self.heard));
        Ok(())
    }

    /// The file has nothing for so long.
    fn gap(&mut self, n_samples: u64, listener: &mut impl FnMut(Progress<'_>)) -> Result<(), LabelError> {
        self.engine.gap(n_samples, GapReason::Declared).map_err(|source| self.failed(source))?;
        self.heard = self.heard.plus(n_samples);
        self.drive(listener)?;
        listener(Progress::Processed(self.heard));
        Ok(())
    }

    fn finish(&mut self, listener: &mut impl FnMut(Progress<'_>)) -> Result<(), LabelError> {
        self.engine.finish().map_err(|source| self.failed(source))?;
        self.drive(listener)?;
        while self.engine.n_pending() > 0 {
            self.wait();
            self.drive(listener)?;
        }
        Ok(())
    }

    /// Waits until a worker has a result.
    fn wait(&self) {
        let mut select = Select::new();
        self.engine.register(&mut select);
        let _ = select.ready();
    }

    fn drive(&mut self, listener: &mut impl FnMut(Progress<'_>)) -> Result<(), LabelError> {
        self.engine.drive(&mut self.emitted).map_err(|source| self.failed(source))?;
        for emitted in self.emitted.drain(..) {
            self.state
                .apply(&emitted.event)
                .map_err(|source| LabelError::Apply { name: self.name.clone(), source })?;
            listener(Progress::Event(&emitted, &self.state));
        }
        Ok(())
    }

    fn failed(&self, source: EngineError) -> LabelError {
        LabelError::Engine { name: self.name.clone(), at: self.heard, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio_file::{AudioFile, RawFormat};
    use crate::pcm::Encoding;
    use crate::session::EngineFactory as _;
    use crate::session::scripted::ScriptedFactory;
    use diarized_dsp::ChannelSelect;
    use std::io::Cursor;

    /// 16 kHz mono: half a second of level 0.2, of silence and of level 0.1, 40 times over.
    fn audio() -> MonoFile {
        let levels = [0.2_f32, 0.0, 0.1];
        let bytes = (0..40 * 3).flat_map(|part| {
            let sign = |n: usize| if n.is_multiple_of(2) { 1.0 } else { -1.0 };
            (0..8000).flat_map(move |n| (sign(n) * levels[part % 3]).to_le_bytes())
        });
        let format = RawFormat { encoding: Encoding::PcmF32le, sample_rate_hz: 16_000, n_channels: 1 };
        let audio = AudioFile::raw("test", Cursor::new(bytes.collect::<Vec<u8>>()), format).unwrap();
        MonoFile::new(audio, ChannelSelect::Mix).unwrap()
    }

    fn label(stop_at_s: f64) -> (Labelled, SessionState) {
        let mut engine = ScriptedFactory::default().engine().unwrap();
        let stop = AtomicBool::new(false);
        let mut replayed = SessionState::new();
        let labelled = label_file(&mut audio(), &mut *engine, &stop, |progress| match progress {
            Progress::Processed(at) => stop.store(at.seconds() >= stop_at_s, Ordering::Relaxed),
            Progress::Event(emitted, state) => {
                replayed.apply(&emitted.event).unwrap();
                assert_eq!(&replayed, state);
            }
        });
        (labelled.unwrap(), replayed)
    }

    #[test]
    fn a_file_gets_all_its_labels_and_the_listener_hears_them() {
        let (labelled, replayed) = label(f64::INFINITY);
        assert_eq!(labelled.heard, SampleIndex(16_000 * 60));
        assert_eq!((labelled.state.segments().len(), labelled.state.speakers().len()), (80, 2));
        assert!(labelled.state.segments().all(|segment| segment.is_final));
        assert!(!labelled.is_interrupted && labelled.problems.is_empty());
        assert_eq!(replayed, labelled.state);
    }

    #[test]
    fn an_interrupted_file_keeps_the_final_labels_of_what_was_heard() {
        let (labelled, _) = label(30.0);
        assert!(labelled.is_interrupted);
        let heard_s = labelled.heard.seconds();
        assert!((30.0..33.0).contains(&heard_s), "{heard_s}");
        assert!((39..=44).contains(&labelled.state.segments().len()));
        assert!(labelled.state.segments().all(|segment| segment.is_final));
    }
}
