//! An audio file as the signal that is labelled: mono, 16 kHz.

use diarized_dsp::{ChannelSelect, Intake, IntakeParams, SAMPLE_RATE_HZ};

use super::error::{AudioFileError, AudioProblem, Fault};
use super::open_file::AudioFile;
use super::step::Piece;

/// Reads a file as mono samples at 16 kHz. Memory is that of the file and of the resampler, whatever the length.
pub struct MonoFile {
    audio: AudioFile,
    intake: Intake,
    block: Vec<f32>,
    /// Frames of the file that were read, gaps included, and samples that they gave.
    n_frames: u64,
    n_samples: u64,
    /// A gap that follows what was just given, in samples.
    gap: Option<u64>,
    /// Silence that is still to be given in the place of a gap.
    n_silent: u64,
    is_done: bool,
}

/// Silence that is given at a time, in samples.
const SILENCE_SAMPLES: u64 = SAMPLE_RATE_HZ as u64;

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
        Ok(Self {
            audio,
            intake,
            block: Vec::new(),
            n_frames: 0,
            n_samples: 0,
            gap: None,
            n_silent: 0,
            is_done: false,
        })
    }

    /// The file.
    #[must_use]
    pub fn audio(&self) -> &AudioFile {
        &self.audio
    }

    /// Appends the next samples to `samples`, and silence where the file has a gap; `false` once the end was reached and
    /// nothing was appended.
    ///
    /// # Errors
    /// The system failed to read the file; what was read before stays good.
    pub fn read(&mut self, samples: &mut Vec<f32>) -> Result<bool, AudioFileError> {
        loop {
            if self.n_silent > 0 {
                let n = self.n_silent.min(SILENCE_SAMPLES);
                samples.resize(samples.len() + n as usize, 0.0);
                self.n_silent -= n;
                return Ok(true);
            }
            match self.next(samples)? {
                Piece::Samples => return Ok(true),
                Piece::Gap(n) => self.n_silent = n,
                Piece::End => return Ok(false),
            }
        }
    }

    /// Appends the next samples to `samples`, or returns the number of missing ones before them. At the end nothing is
    /// appended.
    ///
    /// # Errors
    /// The system failed to read the file; what was read before stays good.
    pub fn next(&mut self, samples: &mut Vec<f32>) -> Result<Piece, AudioFileError> {
        let n_before = samples.len();
        if let Some(n_missing) = self.gap.take() {
            return Ok(Piece::Gap(n_missing));
        }
        while samples.len() == n_before && !self.is_done {
            match self.audio.next(&mut self.block)? {
                Piece::Samples => {
                    self.n_frames += (self.block.len() / usize::from(self.audio.n_channels())) as u64;
                    self.intake.push(&self.block, samples).expect("a block of a file holds whole frames");
                }
                Piece::Gap(n_frames) => {
                    self.intake.finish(samples);
                    self.n_frames += n_frames;
                    // Counted from the start, so that many gaps do not add up many roundings.
                    let at = samples_of(self.n_frames, self.audio.sample_rate_hz());
                    let n_samples = self.n_samples + (samples.len() - n_before) as u64;
                    let n_missing = at.saturating_sub(n_samples);
                    self.n_samples += n_missing;
                    self.gap = Some(n_missing);
                    break;
                }
                Piece::End => {
                    self.is_done = true;
                    self.intake.finish(samples);
                }
            }
        }
        self.n_samples += (samples.len() - n_before) as u64;
        match (samples.len() > n_before, self.gap) {
            (true, _) => Ok(Piece::Samples),
            (false, Some(n_missing)) => {
                self.gap = None;
                Ok(Piece::Gap(n_missing))
            }
            (false, None) => Ok(Piece::End),
        }
    }

    /// What was found wrong with the file; complete once [`Self::read`] gave `false`.
    #[must_use]
    pub fn problems(&self) -> Vec<AudioProblem> {
        let mut problems = self.audio.problems().to_vec();
        if self.intake.n_non_finite() > 0 {
            problems.push(AudioProblem::NonFinite { n_samples: self.intake.n_non_finite() });
        }
        problems.extend(self.intake.scaled_from_bits().map(|bits| AudioProblem::Scaled { bits }));
        problems.extend(self.intake.only_channel().map(|used| AudioProblem::Cancelled { used }));
        problems
    }
}

/// Number of samples at 16 kHz for a number of frames at `rate_hz`, halves rounded up.
fn samples_of(n_frames: u64, rate_hz: u32) -> u64 {
    let (rate, twice) = (u128::from(rate_hz), 2 * u128::from(n_frames) * u128::from(SAMPLE_RATE_HZ));
    u64::try_from((twice + rate) / (2 * rate)).unwrap_or(u64::MAX)
}
