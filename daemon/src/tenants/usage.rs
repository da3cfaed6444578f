//! What the tokens have used, for people and programs.

use serde::Serialize;

use crate::hub::Hub;
use crate::protocol::Decimal;

/// The day so far.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Usage {
    /// The day of UTC, as `2026-01-31`.
    pub day: String,
    /// When the next one begins, as `2026-02-01T00:00:00Z`.
    pub ends: String,
    /// Every token of this server, by name.
    pub tokens: Vec<TokenUsage>,
}

/// One token.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TokenUsage {
    /// Its name.
    pub token: String,
    /// Sessions that it opened and that run, on all nodes.
    pub sessions: usize,
    /// As many as may.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_sessions: Option<u32>,
    /// Seconds of audio of the day, on all nodes.
    pub audio_s: Decimal,
    /// As many as may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio_s_a_day: Option<u32>,
}

impl Hub {
    /// What the tokens have used; none on a server without tokens.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        let (day, all) = self.tenants()?.all();
        let mut tokens: Vec<TokenUsage> = all
            .into_iter()
            .map(|(tenant, token, limits, audio_s)| TokenUsage {
                token,
                sessions: self.n_running_of(&tenant),
                max_sessions: limits.max_sessions,
                audio_s: Decimal(audio_s),
                audio_s_a_day: limits.audio_s_a_day,
            })
            .collect();
        tokens.sort_by(|a, b| a.token.cmp(&b.token));
        Some(Usage { day: day.to_string(), ends: day.end_of_utc(), tokens })
    }
}
