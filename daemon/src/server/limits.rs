//! Limits of what clients may ask of the server.

use std::time::Duration;

/// How much clients may ask of the server, and how long it waits for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Maximum number of authenticated connections; half as many more may be unauthenticated.
    pub max_connections: usize,
    /// Connections that are let in at once of one address, or of one /64 of IPv6.
    pub max_connections_per_address: usize,
    /// Subscribers of one session, and of all sessions together (`session=*`), each.
    pub max_subscribers: usize,
    /// Bytes in one message of a client.
    pub max_message_bytes: usize,
    /// Bytes of a clip, such as of a person's voice.
    pub max_clip_bytes: usize,
    /// Text messages of one connection in a second; twice as many may come at once.
    pub max_messages_per_s: usize,
    /// Binary and control frames of one connection that are read in a second; twice as many may come at once.
    pub max_frames_per_s: usize,
    /// Bytes in the header of a request.
    pub max_header_bytes: usize,
    /// How long the header of a request, or a TLS handshake, may take.
    pub header: Duration,
    /// How long a plain HTTP request may take.
    pub request: Duration,
    /// A publisher that sends no audio and no `keep_alive` for so long is idle.
    pub idle: Duration,
    /// How long a session waits for its publisher when the connection breaks.
    pub resume_grace: Duration,
    /// Interval of pings; a peer that is silent for three of them is gone.
    pub ping: Duration,
    /// How long one message may wait for a peer that does not read.
    pub write: Duration,
    /// How long a closing peer may take to answer the close.
    pub linger: Duration,
    /// How long a shutdown may take before it is cut short.
    pub grace: Duration,
    /// Whether a speech recogniser gives words.
    pub has_words: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 1024,
            max_connections_per_address: 100_000,
            max_subscribers: 256,
            max_message_bytes: 1 << 20,
            max_clip_bytes: 32 << 20,
            max_messages_per_s: 100,
            max_frames_per_s: 2000,
            max_header_bytes: 16 << 10,
            header: Duration::from_secs(10),
            request: Duration::from_secs(60),
            idle: Duration::from_secs(60),
            resume_grace: Duration::from_secs(30),
            ping: Duration::from_secs(20),
            write: Duration::from_secs(10),
            linger: Duration::from_secs(2),
            grace: Duration::from_secs(10),
            has_words: false,
        }
    }
}
