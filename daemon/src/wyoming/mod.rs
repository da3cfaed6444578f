//! Wyoming, the voice protocol of Home Assistant: messages over TCP or a unix socket, and a server.

mod answers;
mod message;
mod server;
mod zeroconf;

pub use message::{Decoder, Message, WireError};
pub use server::serve;
