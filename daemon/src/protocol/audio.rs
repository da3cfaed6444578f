//! Audio from clients: its declared format, and conversion of bytes to interleaved samples.

use serde::{Deserialize, Serialize};

pub use crate::pcm::Encoding;

/// Rates that the wire carries, in Hz.
pub const RATES_HZ: std::ops::RangeInclusive<u32> = 8_000..=48_000;

/// Audio format declared by a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AudioFormat {
    /// How a sample is written.
    #[serde(default)]
    pub encoding: Encoding,
    /// Samples a second of each channel, 8000 to 48000.
    #[serde(default = "default_rate")]
    pub sample_rate: u32,
    /// Channels in each frame, interleaved, 1 to 8.
    #[serde(default = "default_channels")]
    pub channels: u16,
    /// Channel to listen to, counted from 0; without it all are mixed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<u16>,
}

fn default_rate() -> u32 {
    diarized_dsp::SAMPLE_RATE_HZ
}

fn default_channels() -> u16 {
    1
}

impl Default for AudioFormat {
    fn default() -> Self {
        Self {
            encoding: Encoding::default(),
            sample_rate: default_rate(),
            channels: default_channels(),
            channel: None,
        }
    }
}

/// A declared format that the server does not take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AudioFormatError {
    /// Outside 8 to 48 kHz.
    #[error("sample_rate ({got}) must be between {} and {}", RATES_HZ.start(), RATES_HZ.end())]
    SampleRate {
        /// The declared rate.
        got: u32,
    },
    /// No channel, or more than eight.
    #[error("channels ({got}) must be between 1 and 8")]
    Channels {
        /// The declared count.
        got: u16,
    },
    /// A channel that the audio does not have.
    #[error("channel ({got}) must be below channels ({channels})")]
    Channel {
        /// The declared channel.
        got: u16,
        /// The declared count.
        channels: u16,
    },
}

/// A binary frame that does not hold whole samples of every channel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a binary frame of {got} bytes is not a whole number of samples: {} x {channels} channels is {step} bytes \
     a sample",
    encoding.as_str()
)]
pub struct FrameLengthError {
    /// Bytes in the frame.
    pub got: usize,
    /// Bytes of one sample of every channel.
    pub step: usize,
    /// The declared encoding.
    pub encoding: Encoding,
    /// The declared channel count.
    pub channels: u16,
}

impl AudioFormat {
    /// Checks the ranges.
    ///
    /// # Errors
    /// The first value that is out of range.
    pub fn check(&self) -> Result<(), AudioFormatError> {
        if !RATES_HZ.contains(&self.sample_rate) {
            return Err(AudioFormatError::SampleRate { got: self.sample_rate });
        }
        if !(1..=8).contains(&self.channels) {
            return Err(AudioFormatError::Channels { got: self.channels });
        }
        match self.channel {
            Some(got) if got >= self.channels => {
                Err(AudioFormatError::Channel { got, channels: self.channels })
            }
            _ => Ok(()),
        }
    }

    /// Bytes of one sample of every channel.
    #[must_use]
    pub fn step_bytes(&self) -> usize {
        self.encoding.sample_bytes() * usize::from(self.channels)
    }

    /// Samples of each channel in a frame of `n_bytes`.
    ///
    /// # Errors
    /// [`FrameLengthError`] if the frame does not hold whole samples of every channel.
    pub fn n_samples(&self, n_bytes: usize) -> Result<usize, FrameLengthError> {
        let step = self.step_bytes();
        if n_bytes.is_multiple_of(step) {
            Ok(n_bytes / step)
        } else {
            let (encoding, channels) = (self.encoding, self.channels);
            Err(FrameLengthError { got: n_bytes, step, encoding, channels })
        }
    }

    /// Appends the samples of a frame, interleaved: see [`Encoding::decode`].
    pub fn decode(&self, bytes: &[u8], out: &mut Vec<f32>) {
        self.encoding.decode(bytes, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_hold_whole_samples_of_every_channel() {
        let stereo = AudioFormat { channels: 2, ..AudioFormat::default() };
        assert_eq!(stereo.n_samples(8), Ok(2));
        let error = stereo.n_samples(7).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a binary frame of 7 bytes is not a whole number of samples: pcm_s16le x 2 channels is 4 bytes a sample"
        );
    }

    #[test]
    fn formats_out_of_range_are_named() {
        let at = |sample_rate, channels, channel| {
            AudioFormat { sample_rate, channels, channel, ..AudioFormat::default() }
                .check()
                .map_err(|e| e.to_string())
        };
        assert_eq!(at(16_000, 1, None), Ok(()));
        assert_eq!(at(48_000, 8, Some(7)), Ok(()));
        assert_eq!(at(1, 1, None), Err("sample_rate (1) must be between 8000 and 48000".into()));
        assert_eq!(
            at(10_000_000, 1, None),
            Err("sample_rate (10000000) must be between 8000 and 48000".into())
        );
        assert_eq!(at(16_000, 0, None), Err("channels (0) must be between 1 and 8".into()));
        assert_eq!(at(16_000, 2, Some(2)), Err("channel (2) must be below channels (2)".into()));
    }
}
