//! Audio of a file for sending: unchanged, or mono at 16 kHz if its rate is above the limit of the protocol.

use std::time::Duration;

use diarized_dsp::{ChannelSelect, SAMPLE_RATE_HZ, SampleIndex};

use crate::audio_file::{AudioFile, AudioFileError, AudioProblem, MonoFile};
use crate::protocol::audio::RATES_HZ;

/// What is sent of a file, as interleaved blocks.
pub(super) enum WireAudio {
    /// The file's own samples.
    AsIs(Box<AudioFile>),
    /// All channels mixed, at 16 kHz.
    Mono {
        /// The file.
        file: Box<MonoFile>,
        /// What was read so far.
        n_read: u64,
    },
}

impl WireAudio {
    /// Chooses by the file's rate.
    ///
    /// # Errors
    /// None for a file that could be opened.
    pub(super) fn new(file: AudioFile) -> Result<Self, AudioFileError> {
        if RATES_HZ.contains(&file.sample_rate_hz()) {
            return Ok(Self::AsIs(Box::new(file)));
        }
        Ok(Self::Mono { file: Box::new(MonoFile::new(file, ChannelSelect::Mix)?), n_read: 0 })
    }

    pub(super) fn sample_rate_hz(&self) -> u32 {
        match self {
            Self::AsIs(file) => file.sample_rate_hz(),
            Self::Mono { .. } => SAMPLE_RATE_HZ,
        }
    }

    pub(super) fn n_channels(&self) -> u16 {
        match self {
            Self::AsIs(file) => file.n_channels(),
            Self::Mono { .. } => 1,
        }
    }

    /// Replaces `block` by the next samples; `false` at the end, with an empty block.
    ///
    /// # Errors
    /// The system failed to read the file.
    pub(super) fn read(&mut self, block: &mut Vec<f32>) -> Result<bool, AudioFileError> {
        match self {
            Self::AsIs(file) => file.read(block),
            Self::Mono { file, n_read } => {
                block.clear();
                let more = file.read(block)?;
                *n_read += block.len() as u64;
                Ok(more)
            }
        }
    }

    /// What was read so far.
    pub(super) fn position(&self) -> Duration {
        match self {
            Self::AsIs(file) => file.position(),
            Self::Mono { n_read, .. } => Duration::from_secs_f64(SampleIndex(*n_read).seconds()),
        }
    }

    /// What was found wrong with the file so far.
    pub(super) fn problems(&self) -> Vec<AudioProblem> {
        match self {
            Self::AsIs(file) => file.problems().to_vec(),
            Self::Mono { file, .. } => file.problems(),
        }
    }
}
