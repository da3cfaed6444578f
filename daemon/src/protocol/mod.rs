//! The wire protocol: every message that a client or the server can send, as types; `docs/protocol.md` is its text.
//!
//! Independent of sockets, sessions and threads: only bytes and JSON to types and back.

pub mod audio;
pub mod client_message;
pub mod codes;
pub mod corrections;
#[cfg(test)]
mod document;
mod end_reason;
mod kinds;
pub(crate) mod lenient;
pub mod server_message;
pub mod session_options;
pub mod text;
mod view;
mod word_view;
pub mod words;

pub use audio::{AudioFormat, Encoding};
pub use client_message::{ClientMessage, MessageError, Start};
pub use codes::{CloseCode, ErrorCode};
pub use server_message::{Body, ServerMessage};
pub use session_options::{Latency, SessionOptions, SpeakerHints};

/// Version of the protocol, in the path of every endpoint as `/v1`.
pub const VERSION: u32 = 1;

/// Port that the server listens on and the clients dial when none is given.
pub const DEFAULT_PORT: u16 = 7007;

/// A measured number; on the wire a JSON number with at most three decimals, never NaN or infinite.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default, serde::Deserialize)]
#[serde(transparent)]
pub struct Decimal(pub f64);

/// A time or a length in seconds.
pub type Seconds = Decimal;

impl serde::Serialize for Decimal {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(round_3(self.0))
    }
}

impl From<diarized_dsp::SampleIndex> for Decimal {
    fn from(at: diarized_dsp::SampleIndex) -> Self {
        Self(round_3(at.seconds()))
    }
}

impl From<Decimal> for diarized_dsp::SampleIndex {
    fn from(seconds: Decimal) -> Self {
        Self::from_seconds(seconds.0)
    }
}

/// A length in seconds rounded down to the millisecond, for what must not be promised too much of.
pub(crate) fn whole_ms(seconds: f64) -> Seconds {
    Decimal((seconds * 1000.0 + 1e-6).floor() / 1000.0)
}

/// Rounds to three decimals, which is what the wire carries of any measured number; NaN gives 0 and what is out
/// of range the nearest number that JSON holds without an exponent worth reading.
fn round_3(value: f64) -> f64 {
    // Room for times since 1970, too.
    const LARGEST: f64 = 1e12;
    if value.is_nan() { 0.0 } else { (value.clamp(-LARGEST, LARGEST) * 1000.0).round() / 1000.0 }
}

/// Characters of a session's id at most.
pub const MAX_SESSION_ID: usize = 64;

/// Whether `id` may name a session: 1 to 64 letters, digits, `-` and `_`, so that it fits a path and a file name.
#[must_use]
pub fn is_session_id(id: &str) -> bool {
    (1..=MAX_SESSION_ID).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_carry_at_most_three_decimals() {
        assert_eq!(serde_json::to_string(&Decimal(1.0 / 3.0)).unwrap(), "0.333");
        assert_eq!(serde_json::to_string(&Decimal(86_399.123_456)).unwrap(), "86399.123");
        assert_eq!(serde_json::to_string(&Decimal(2.0)).unwrap(), "2.0");
        assert_eq!(serde_json::to_string(&Decimal(1_795_471_200.5)).unwrap(), "1795471200.5");
        assert_eq!(serde_json::to_string(&Decimal(f64::NAN)).unwrap(), "0.0");
        assert_eq!(serde_json::to_string(&Decimal(f64::NEG_INFINITY)).unwrap(), "-1000000000000.0");
    }

    #[test]
    fn session_ids_fit_a_path() {
        assert!(is_session_id("kitchen-2_b"));
        for bad in ["", "a.rttm", "a/b", "ä", "*", &"x".repeat(65)] {
            assert!(!is_session_id(bad), "{bad:?}");
        }
    }
}
