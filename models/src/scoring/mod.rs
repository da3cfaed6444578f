//! Yardsticks: how right labels are (DER, JER, speaker counts, reliability) and how well a voice model distinguishes voices.
//!
//! Pure functions over turns and scores; reading files and printing tables is the caller's work.

pub mod confidence;
pub mod der;
pub mod eer;
pub mod timeline;

pub use confidence::{Reliability, Tenth, is_right};
pub use der::{DerParams, DerParts, FileScore, JerParts, TotalScore, score_recording};
pub use timeline::{Span, Turn};
