//! Sessions of clients that speak somebody else's protocol, and what those protocols have in common.

mod door;
mod results;
mod session;

pub(crate) use door::Door;
pub use door::DoorError;
pub(crate) use results::{Results, SpokenWord, Who, main_speaker};
pub(crate) use session::Guest;
