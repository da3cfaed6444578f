//! Audio that one node takes in and another one labels: it goes through a stream of NATS, a subject for each session.
//!
//! `intake` gives a publisher a session whose queue `forward` empties into the subject; `labeller` takes free sessions by
//! compare-and-set on their records, and `feed` reads the subject into them. Who takes the audio in is fenced by the subject
//! itself: a message is taken only behind the last one that its writer knows. Who labels is fenced by the session's events.

mod feed;
mod forward;
mod intake;
mod labeller;
mod message;

pub(super) use feed::intake_of;
pub(super) use intake::Intakes;
pub(super) use labeller::Labeller;
pub use message::{AudioMessage, AudioMessageError, Piece};
