//! `/v1/listen`, live transcription as Deepgram offers it, for programs that speak it: words with their speakers.

mod listen;
mod messages;
mod query;

pub(crate) use listen::{Listening, listen};
#[doc(hidden)]
pub use messages::read_foreign;
