//! Limits of a token, and who it counts for.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::secret::SecretHash;

/// Hexadecimal digits of a [`TenantId`].
const ID_DIGITS: usize = 32;
const MAX_SESSIONS: &str = "max_sessions";
const AUDIO_S_A_DAY: &str = "audio_s_a_day";

/// Who a token counts for: a hash of the token's name, so the same for tokens of one name at all nodes of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId(Arc<str>);

impl TenantId {
    /// Of the token with this name.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let hash = SecretHash::of(&format!("tenant {name}")).to_string();
        Self(hash[..ID_DIGITS].into())
    }

    /// Reads what [`Self::as_str`] gives.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        (text.len() == ID_DIGITS && text.bytes().all(is_digit)).then(|| Self(text.into()))
    }

    /// 32 hexadecimal digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How much a token may use; without a limit as much as the server has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TokenLimits {
    /// Sessions at once that it opened. 1 to 100 000.
    pub max_sessions: Option<u32>,
    /// Seconds of audio in a day of UTC. 1 to 1 000 000 000.
    pub audio_s_a_day: Option<u32>,
}

impl TokenLimits {
    /// What [`Self::max_sessions`] may be.
    pub const SESSIONS: RangeInclusive<u32> = 1..=100_000;
    /// What [`Self::audio_s_a_day`] may be.
    pub const AUDIO_S: RangeInclusive<u32> = 1..=1_000_000_000;

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Reads the words that [`fmt::Display`] writes.
    ///
    /// # Errors
    /// What is wrong.
    pub(super) fn parse(words: &[&str]) -> Result<Self, String> {
        let mut limits = Self::default();
        for word in words {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            let (limit, allowed) = match key {
                MAX_SESSIONS => (&mut limits.max_sessions, Self::SESSIONS),
                AUDIO_S_A_DAY => (&mut limits.audio_s_a_day, Self::AUDIO_S),
                _ => {
                    let known = format!("there are {MAX_SESSIONS}=NUMBER and {AUDIO_S_A_DAY}=SECONDS");
                    return Err(format!("there is no limit {key:?}; {known}"));
                }
            };
            if limit.is_some() {
                return Err(format!("{key} is there twice"));
            }
            *limit =
                Some(read_limit(value, allowed).map_err(|expected| format!("{key} ({value:?}) {expected}"))?);
        }
        Ok(limits)
    }
}

/// Reads the value of a limit.
///
/// # Errors
/// What is expected.
pub(crate) fn read_limit(text: &str, allowed: RangeInclusive<u32>) -> Result<u32, String> {
    let read = text.parse().ok().filter(|n| allowed.contains(n));
    read.ok_or_else(|| format!("must be a whole number from {} to {}", allowed.start(), allowed.end()))
}

impl fmt::Display for TokenLimits {
    /// The words, separated by spaces.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [(MAX_SESSIONS, self.max_sessions), (AUDIO_S_A_DAY, self.audio_s_a_day)];
        let words = words.iter().filter_map(|(key, value)| value.map(|value| format!("{key}={value}")));
        f.write_str(&words.collect::<Vec<_>>().join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_they_are_written() {
        for (max_sessions, audio_s_a_day) in
            [(None, None), (Some(1), None), (None, Some(3600)), (Some(7), Some(1))]
        {
            let limits = TokenLimits { max_sessions, audio_s_a_day };
            let written = limits.to_string();
            assert_eq!(TokenLimits::parse(&written.split_whitespace().collect::<Vec<_>>()), Ok(limits));
        }
    }

    #[test]
    fn what_is_wrong_with_a_limit_is_said() {
        for (words, expected) in [
            (&["max_sessions=0"][..], "max_sessions (\"0\") must be a whole number from 1 to 100000"),
            (&["audio_s_a_day=-5"], "audio_s_a_day (\"-5\") must be a whole number from 1 to 1000000000"),
            (&["audio_s_a_day=1.5"], "must be a whole number"),
            (&["max_sessions"], "max_sessions (\"\") must be"),
            (&["max_sessions=1", "max_sessions=2"], "max_sessions is there twice"),
            (&["bytes=1"], "there is no limit \"bytes\"; there are max_sessions=NUMBER and"),
        ] {
            let fault = TokenLimits::parse(words).unwrap_err();
            assert!(fault.contains(expected), "{words:?}: {fault}");
        }
    }

    #[test]
    fn an_id_is_a_hash_of_the_name() {
        let ada = TenantId::of("ada");
        assert_eq!(TenantId::parse(ada.as_str()), Some(ada.clone()));
        assert!(ada != TenantId::of("bob") && !ada.as_str().contains("ada"));
        for bad in ["", "ada", &ada.as_str()[1..], &ada.as_str().to_uppercase()] {
            assert_eq!(TenantId::parse(bad), None, "{bad}");
        }
    }
}
