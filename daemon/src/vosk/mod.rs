//! The WebSocket of vosk-server, for programs that speak it: words or segments with their speakers.

mod messages;
mod server;

#[doc(hidden)]
pub use messages::read_foreign;
pub use server::serve;
