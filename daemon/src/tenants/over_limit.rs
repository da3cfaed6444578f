//! Why a token may use no more.

use std::time::SystemTime;

use super::day::Day;

/// Seconds after which a session may have ended.
const SESSION_S: u64 = 60;

/// A limit of a token that is reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OverLimit {
    /// As many of its sessions run as may.
    #[error(
        "the token {token:?} runs {running} sessions of {max} (its limit max_sessions); another one is taken when one of them \
         has ended"
    )]
    Sessions {
        /// Name of the token.
        token: String,
        /// How many run, on all nodes.
        running: usize,
        /// As many as may.
        max: u32,
    },
    /// The audio of the day is used up.
    #[error(
        "the token {token:?} has used its {max_s} s of audio of {day} (its limit audio_s_a_day); more is taken from {} on",
        day.end_of_utc()
    )]
    Audio {
        /// Name of the token.
        token: String,
        /// As many seconds as may.
        max_s: u32,
        /// The day of UTC.
        day: Day,
    },
}

impl OverLimit {
    /// Seconds after which it may be tried again.
    #[must_use]
    pub fn retry_after_s(&self) -> u64 {
        match self {
            Self::Sessions { .. } => SESSION_S,
            Self::Audio { day, .. } => day.left_s(SystemTime::now()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_token_limit_and_time() {
        let audio = OverLimit::Audio { token: "ada".to_owned(), max_s: 3600, day: Day(20_484) };
        let reason = audio.to_string();
        for part in ["\"ada\"", "3600 s", "2026-01-31", "audio_s_a_day", "2026-02-01T00:00:00Z"] {
            assert!(reason.contains(part), "{reason}");
        }
        assert_eq!(audio.retry_after_s(), 1, "that day is over");
        let sessions = OverLimit::Sessions { token: "ada".to_owned(), running: 2, max: 2 };
        assert!(sessions.to_string().contains("2 sessions of 2 (its limit max_sessions)"), "{sessions}");
    }
}
