//! Rates and channels of the signal path.

use diarized_dsp::intake::{self, MAX_INPUT_RATE_HZ, MIN_INPUT_RATE_HZ};

/// Rates that the signal path takes, in Hz.
pub(super) const RATES_HZ: std::ops::RangeInclusive<u32> = MIN_INPUT_RATE_HZ..=MAX_INPUT_RATE_HZ;
/// Most channels that the signal path takes.
pub(super) const MAX_CHANNELS: usize = intake::MAX_CHANNELS as usize;
