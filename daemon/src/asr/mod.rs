//! Speech recognisers that users run: each session's audio goes to one, and its words come back to the session.
//!
//! A `Recogniser` speaks the protocol of one kind. The `driver` of a session decides what it gets and places its words on
//! the session's clock. A recogniser that is away, slow or wrong loses words, and no label.

mod answer;
mod clock;
mod counts;
mod cutter;
mod deepgram;
mod driver;
mod foreign;
mod openai;
mod recogniser;
mod service;
mod transcriber;
mod vosk;
mod websocket;
mod wyoming;

pub use counts::AsrCounts;
#[doc(hidden)]
pub use foreign::read_foreign;
pub use service::{Asr, AsrError};
pub use transcriber::{Passage, Transcriber, TranscriptError};
