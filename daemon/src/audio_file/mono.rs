//! An audio file as the signal that is labelled: mono, 16 kHz.

use diarized_dsp::{ChannelSelect, Intake, IntakeParams};

use super::{AudioFile, AudioFileError, AudioProblem, Fault};

/// Reads a file as mono samples at 16 kHz. Memory is that of the file and of the resampler, whatever the length.
pub struct MonoFile {
    audio: AudioFile,
    intake: Intake,
    block: Vec<f32>,
    is_done: bool,
}

impl MonoFile {
    /// Takes `channel` of `audio`, or the mean of all.
    ///
    /// # Errors
    /// The file has no such channel.
    pub fn new(audio: AudioFile, channel: ChannelSelect) -> Result<Self, AudioFileError> {
        let n_channels = audio.n_channels();
        let params = IntakeParams { sample_rate_hz: audio.sample_rate_hz(), n_channels, channel };
        let intake = Intake::new(params).map_err(|error| match channel {
            ChannelSelect::One(got) => audio.error(Fault::NoSuchChannel { got, n_channels }),
            ChannelSelect::Mix => audio.error(Fault::Unsupported { what: error.to_string() }),
        })?;
        Ok(Self { audio, intake, block: Vec::new(), is_done: false })
    }

    /// The file.
    #[must_use]
    pub fn audio(&self) -> &AudioFile {
        &self.audio
    }

    /// Appends the next samples to `samples`; `false` once the end was reached and nothing was appended.
    ///
    /// # Errors
    /// The system failed to read the file; what was read before stays good.
    pub fn read(&mut self, samples: &mut Vec<f32>) -> Result<bool, AudioFileError> {
        if self.is_done {
            return Ok(false);
        }
        let n_before = samples.len();
        while samples.len() == n_before {
            if !self.audio.read(&mut self.block)? {
                self.is_done = true;
                self.intake.finish(samples);
                return Ok(samples.len() > n_before);
            }
            self.intake.push(&self.block, samples).expect("a block of a file holds whole frames");
        }
        Ok(true)
    }

    /// What was found wrong with the file; complete once [`Self::read`] gave `false`.
    #[must_use]
    pub fn problems(&self) -> Vec<AudioProblem> {
        let mut problems = self.audio.problems().to_vec();
        if self.intake.n_non_finite() > 0 {
            problems.push(AudioProblem::NonFinite { n_samples: self.intake.n_non_finite() });
        }
        problems
    }
}
