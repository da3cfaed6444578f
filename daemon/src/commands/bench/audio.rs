//! The recording of a measurement, looped to any length.

use std::io::Cursor;
use std::path::Path;
use std::time::{Duration, Instant};

use diarized_dsp::{ChannelSelect, SAMPLE_RATE_HZ};

use crate::audio_file::{AudioFile, MonoFile};

/// The example conversation of `tests/data/example`.
const EXAMPLE: &[u8] = include_bytes!("../../../../tests/data/example/conversation.flac");
/// Most of a file that is held, in samples: half an hour.
const MAX_SAMPLES: usize = 1800 * SAMPLE_RATE_HZ as usize;

/// Audio that is pushed at a time, in samples: 100 ms, as a client sends it.
pub(super) const BLOCK: usize = 1600;

/// Mono audio at 16 kHz without an end.
pub(super) struct BenchAudio {
    /// What it is, for the report.
    pub(super) name: String,
    samples: Vec<f32>,
    /// Time that decoding and resampling took.
    pub(super) decoding: Duration,
}

impl BenchAudio {
    /// Decodes `file`, or the example conversation; of a long file the first half hour.
    ///
    /// # Errors
    /// The file cannot be used.
    pub(super) fn load(file: Option<&Path>) -> anyhow::Result<Self> {
        let began = Instant::now();
        let (name, audio) = match file {
            Some(path) => (path.display().to_string(), AudioFile::open(path)?),
            None => {
                let name = "the example conversation";
                (name.to_owned(), AudioFile::pipe(name, Cursor::new(EXAMPLE))?)
            }
        };
        let mut mono = MonoFile::new(audio, ChannelSelect::Mix)?;
        let mut samples = Vec::new();
        while samples.len() < MAX_SAMPLES && mono.read(&mut samples)? {}
        samples.shrink_to_fit();
        anyhow::ensure!(!samples.is_empty(), "{name}: holds no samples");
        Ok(Self { name, samples, decoding: began.elapsed() })
    }

    /// Length of one round in seconds.
    pub(super) fn length_s(&self) -> f64 {
        self.samples.len() as f64 / f64::from(SAMPLE_RATE_HZ)
    }

    /// The first `seconds` as one piece.
    pub(super) fn start(&self, seconds: f64) -> &[f32] {
        let n_samples = (seconds * f64::from(SAMPLE_RATE_HZ)) as usize;
        &self.samples[..n_samples.clamp(1, self.samples.len())]
    }

    /// Replaces `block` by the `n_samples` from `at` on.
    pub(super) fn block(&self, at: u64, n_samples: usize, block: &mut Vec<f32>) {
        block.clear();
        let mut at = (at % self.samples.len() as u64) as usize;
        while block.len() < n_samples {
            let part = (n_samples - block.len()).min(self.samples.len() - at);
            block.extend_from_slice(&self.samples[at..at + part]);
            at = (at + part) % self.samples.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loop_goes_on_for_ever() {
        let samples = vec![0.0, 1.0, 2.0];
        let audio = BenchAudio { name: String::new(), samples, decoding: Duration::ZERO };
        let mut block = Vec::new();
        audio.block(5, 8, &mut block);
        assert_eq!(block, [2.0, 0.0, 1.0, 2.0, 0.0, 1.0, 2.0, 0.0]);
    }

    #[test]
    fn the_example_is_inside_the_binary() {
        let audio = BenchAudio::load(None).unwrap();
        assert!((60.0..90.0).contains(&audio.length_s()), "{} s", audio.length_s());
    }
}
