//! Error codes and their WebSocket close codes.

use std::fmt;

use serde::{Deserialize, Serialize};
use strum::VariantArray;

/// WebSocket close codes that the server sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, VariantArray)]
#[repr(u16)]
pub enum CloseCode {
    /// The session ended and everything was delivered.
    Done = 1000,
    /// The server shuts down.
    ShuttingDown = 1001,
    /// The server restarts, and the session goes on then.
    Restarting = 1012,
    /// The client sent something that is not of the protocol.
    BadRequest = 4400,
    /// The client has not proved who it is.
    Unauthorised = 4401,
    /// The client may not do this.
    Forbidden = 4403,
    /// No such session.
    NotFound = 4404,
    /// The client was silent for too long.
    Idle = 4408,
    /// A live session has this id already, or a newer connection has taken this one's session.
    Conflict = 4409,
    /// A message is larger than the server takes.
    FrameTooLarge = 4413,
    /// The server holds as many sessions or subscribers as it may.
    TooMany = 4429,
    /// A fault of the server.
    Internal = 4500,
}

impl CloseCode {
    /// Every code, in order.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// The number on the wire.
    #[must_use]
    pub fn as_u16(self) -> u16 {
        self as u16
    }

    /// The reason text of the close frame.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::ShuttingDown => "shutting down",
            Self::Restarting => "restarting",
            Self::BadRequest => "bad request",
            Self::Unauthorised => "unauthorised",
            Self::Forbidden => "forbidden",
            Self::NotFound => "no such session",
            Self::Idle => "idle",
            Self::Conflict => "conflict",
            Self::FrameTooLarge => "frame too large",
            Self::TooMany => "too many",
            Self::Internal => "internal",
        }
    }
}

/// Declares [`ErrorCode`] with its words and close codes, so that the three cannot drift apart.
macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident, $word:literal, $close:ident;)*) => {
        /// The word in the `code` of an `error` message.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[$doc])* #[serde(rename = $word)] $name,)*
        }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The word on the wire.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// The close code that follows when the error is fatal.
            #[must_use]
            pub fn close_code(self) -> CloseCode {
                match self { $(Self::$name => CloseCode::$close,)* }
            }
        }
    };
}

error_codes! {
    /// Not JSON, not an object, without `type`, or a field of the wrong type or outside its range.
    BadMessage, "bad_message", BadRequest;
    /// The `type` is none that the server knows.
    UnknownType, "unknown_type", BadRequest;
    /// A field that messages of this type do not have.
    UnknownField, "unknown_field", BadRequest;
    /// An encoding, sample rate, channel count or channel that the server does not take.
    BadAudioFormat, "bad_audio_format", BadRequest;
    /// A binary frame that does not hold whole samples of every channel.
    BadFrame, "bad_frame", BadRequest;
    /// Audio or a command before `start`.
    NotStarted, "not_started", BadRequest;
    /// A second `start`.
    AlreadyStarted, "already_started", BadRequest;
    /// The message makes no sense on this endpoint.
    NotHere, "not_here", BadRequest;
    /// The correction names a speaker that the session does not have.
    UnknownSpeaker, "unknown_speaker", BadRequest;
    /// The correction names a segment that the session does not have.
    UnknownSegment, "unknown_segment", BadRequest;
    /// The correction cannot be made.
    Refused, "refused", BadRequest;
    /// A clip is no audio, or is refused: too short, too noisy, two voices, …
    BadClip, "bad_clip", BadRequest;
    /// No enrolled person has this id or name.
    UnknownVoice, "unknown_voice", NotFound;
    /// The server knows no voices (`voices.enabled`).
    VoicesOff, "voices_off", NotFound;
    /// The voiceprint store cannot be used.
    VoiceStore, "voice_store", Internal;
    /// A token is missing, unknown or revoked, or not the one of the session.
    Unauthorised, "unauthorised", Unauthorised;
    /// The token, the web page or the name of the server is not good for this.
    Forbidden, "forbidden", Forbidden;
    /// No such session.
    NotFound, "not_found", NotFound;
    /// The client was silent for too long.
    Idle, "idle", Idle;
    /// A live session has this id already.
    Conflict, "conflict", Conflict;
    /// A newer connection of the same publisher has taken the session over.
    Superseded, "superseded", Conflict;
    /// Another node of the cluster has the session, and only that node can do this.
    Elsewhere, "elsewhere", Conflict;
    /// A message is larger than the server takes.
    FrameTooLarge, "frame_too_large", FrameTooLarge;
    /// The server runs as many sessions as it may.
    TooManySessions, "too_many_sessions", TooMany;
    /// The token has reached one of its limits.
    QuotaExceeded, "quota_exceeded", TooMany;
    /// The machine is too slow for the sessions that run.
    Overloaded, "overloaded", TooMany;
    /// As many connections are open as may be, in all or of one address.
    TooManyConnections, "too_many_connections", TooMany;
    /// The server serves as many subscribers as it may.
    TooManySubscribers, "too_many_subscribers", TooMany;
    /// Text messages came faster than the server takes them.
    TooManyMessages, "too_many_messages", TooMany;
    /// The server shuts down.
    ShuttingDown, "shutting_down", ShuttingDown;
    /// A fault of the server; the session is lost, others are not.
    Internal, "internal", Internal;
}

impl ErrorCode {
    /// Whether it is never followed by a close: it answers a correction, or a request of plain HTTP.
    #[must_use]
    pub fn never_closes(self) -> bool {
        use ErrorCode::{
            BadClip, Refused, UnknownSegment, UnknownSpeaker, UnknownVoice, VoiceStore, VoicesOff,
        };
        let answers = [UnknownSpeaker, UnknownSegment, Refused, BadClip, UnknownVoice, VoicesOff, VoiceStore];
        answers.contains(&self)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
