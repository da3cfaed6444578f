//! The wire protocol: every message that a client or the server can send, as types; `docs/protocol.md` is its text.
//!
//! Independent of sockets, sessions and threads: only bytes and JSON to types and back.

pub mod audio;
pub mod client_message;
pub mod codes;
pub mod corrections;
mod decimal;
#[cfg(test)]
mod document;
mod end_reason;
mod kinds;
pub(crate) mod lenient;
mod object;
pub mod server_message;
pub mod session_options;
mod step;
pub mod text;
pub(crate) mod view;
mod word_view;
pub mod words;

pub use audio::{AudioFormat, Encoding};
pub use client_message::{ClientMessage, MessageError, Start};
pub use codes::{CloseCode, ErrorCode};
pub(crate) use decimal::whole_ms;
pub use decimal::{Decimal, Seconds};
pub use server_message::{Body, ServerMessage};
pub use session_options::{Latency, SessionOptions, SpeakerHints};
pub use step::Step;

/// Version of the protocol, in the path of every endpoint as `/v1`.
pub const VERSION: u32 = 1;

/// Port that the server listens on and the clients dial when none is given.
pub const DEFAULT_PORT: u16 = 7007;

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
    fn session_ids_fit_a_path() {
        assert!(is_session_id("kitchen-2_b"));
        for bad in ["", "a.rttm", "a/b", "ä", "*", &"x".repeat(65)] {
            assert!(!is_session_id(bad), "{bad:?}");
        }
    }
}
