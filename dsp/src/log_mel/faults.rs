//! What can be wrong with a log-mel recipe.

use std::fmt;

use super::choices::{Framing, WindowPosition};

/// One thing wrong with a [`LogMelRecipe`](super::LogMelRecipe).
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LogMelFault {
    /// A number is not what the recipe allows.
    #[error("{field} ({got}) must be {expected}")]
    OutOfRange {
        /// Name of the field.
        field: &'static str,
        /// Its value.
        got: f64,
        /// The allowed range, in words.
        expected: &'static str,
    },
    /// The frame does not fit into the transform.
    #[error("frame_length_samples ({frame_length_samples}) must be <= n_fft ({n_fft})")]
    FrameLongerThanFft {
        /// Samples in a frame.
        frame_length_samples: usize,
        /// Length of the transform.
        n_fft: usize,
    },
    /// The band is empty.
    #[error("low_hz ({low_hz}) must be < high_hz ({high_hz})")]
    EmptyBand {
        /// Lower corner.
        low_hz: f32,
        /// Upper corner.
        high_hz: f32,
    },
    /// The logarithm of silence would be minus infinity.
    #[error("log_floor (0) and log_offset (0) must not both be 0")]
    LogOfZero,
    /// Framing and window position contradict each other.
    #[error("window_position ({got:?}) must be {expected:?} with framing {framing:?}")]
    WindowPosition {
        /// The position that was asked for.
        got: WindowPosition,
        /// The position that the framing goes with.
        expected: WindowPosition,
        /// The framing.
        framing: Framing,
    },
}

/// Everything that is wrong with a [`LogMelRecipe`](super::LogMelRecipe), at least one fault.
#[derive(Debug, Clone, PartialEq)]
pub struct LogMelFaults(pub(super) Vec<LogMelFault>);

impl LogMelFaults {
    /// The faults, in the order of the recipe's fields.
    #[must_use]
    pub fn faults(&self) -> &[LogMelFault] {
        &self.0
    }
}

impl fmt::Display for LogMelFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, fault) in self.0.iter().enumerate() {
            write!(f, "{}{fault}", if n > 0 { "; " } else { "" })?;
        }
        Ok(())
    }
}

impl std::error::Error for LogMelFaults {}
