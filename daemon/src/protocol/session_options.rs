//! Session options of a client: number of speakers and latency of labels.

use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};

/// Largest valid number.
const MAX: u32 = 1000;

/// Number of speakers of a session, as far as its client knows. Any hint replaces the configured hints for this session; the
/// default is no hint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpeakerHints {
    /// Never more than this, and this number at the end if the speech can be split so far; 1 to 1000, at most `max`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<u32>,
    /// No more than this, 1 to 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,
}

/// How soon running speech is labelled: labels that wait see more of what follows and are right more often.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    EnumString,
    IntoStaticStr,
    VariantArray,
    strum::VariantNames,
)]
#[strum(serialize_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Latency {
    /// At once.
    Low,
    /// As the server is configured (`diarization.label_delay_ms`).
    Normal,
    /// A second and a half late.
    High,
}

impl Latency {
    /// Every value.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// As on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Newest speech in ms that waits for its label; `None` for what is configured.
    #[must_use]
    pub fn label_delay_ms(self) -> Option<u32> {
        match self {
            Self::Low => Some(0),
            Self::Normal => None,
            Self::High => Some(1500),
        }
    }
}

/// All that a client wants of a session beside its audio format; the default wants nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionOptions {
    /// How many speakers there are.
    pub speakers: SpeakerHints,
    /// How soon labels come.
    pub latency: Option<Latency>,
    /// Whether the server may keep the audio, where it keeps audio at all; it may unless this is `Some(false)`.
    pub keep_audio: Option<bool>,
    /// Whether the server's speech recogniser gets the audio, where there is one; it does unless this is `Some(false)`.
    pub asr: Option<bool>,
}

impl SessionOptions {
    /// Whether nothing is wanted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Contradictory hints.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpeakerHintsError {
    /// A number is out of range.
    #[error("speakers.{name} ({got}) must be between 1 and {MAX}; leave it out if it is not known")]
    Range {
        /// The field.
        name: &'static str,
        /// Its value.
        got: u32,
    },
    /// More are expected than there may be.
    #[error("speakers.expected ({expected}) must be at most speakers.max ({max})")]
    Contradiction {
        /// How many are expected.
        expected: u32,
        /// How many there may be.
        max: u32,
    },
}

impl SpeakerHints {
    /// Whether there is no hint.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// The first value that is wrong.
    pub fn check(&self) -> Result<(), SpeakerHintsError> {
        for (name, value) in [("expected", self.expected), ("max", self.max)] {
            if let Some(got) = value.filter(|n| !(1..=MAX).contains(n)) {
                return Err(SpeakerHintsError::Range { name, got });
            }
        }
        match (self.expected, self.max) {
            (Some(expected), Some(max)) if expected > max => {
                Err(SpeakerHintsError::Contradiction { expected, max })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_that_contradict_themselves_are_named() {
        let check = |expected, max| SpeakerHints { expected, max }.check().map_err(|e| e.to_string());
        for good in [(None, None), (Some(1), None), (None, Some(1000)), (Some(3), Some(3))] {
            assert_eq!(check(good.0, good.1), Ok(()));
        }
        let text = |expected, max| check(expected, max).unwrap_err();
        assert_eq!(
            text(Some(0), None),
            "speakers.expected (0) must be between 1 and 1000; leave it out if it is not known"
        );
        assert!(text(Some(2), Some(1001)).starts_with("speakers.max (1001) must be between 1 and 1000"));
        assert_eq!(text(Some(4), Some(3)), "speakers.expected (4) must be at most speakers.max (3)");
    }
}
