//! Words of a speech recogniser: who spoke each, kept up to date while labels change.
//!
//! [`attribute`] is the decision for one word, a pure function of the labels around it. A [`Book`] holds the words and
//! labels of a session by time, so that a change of labels costs the words that it touches and no others.

mod attribution;
mod book;
mod buckets;
mod join;
mod lines;
#[cfg(test)]
mod tests;

pub use attribution::{Label, REACH, attribute};
pub use book::{Book, Full, MAX_WORDS, NewWord};
pub use join::join;
pub use lines::{Line, LineParams, lines};
