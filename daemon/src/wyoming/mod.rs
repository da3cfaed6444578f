//! Wyoming, the voice protocol of Home Assistant: messages over TCP or a unix socket.

mod message;

pub use message::{Decoder, Message, WireError};
