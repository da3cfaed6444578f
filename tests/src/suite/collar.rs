//! The collar of the published figures.

use diarized_models::scoring::DerParams;

/// A quarter of a second on each side of a boundary is not scored; overlap is.
///
/// # Panics
/// Never: the collar is within its range.
#[must_use]
pub fn collared() -> DerParams {
    DerParams::try_new(0.25, false).expect("a quarter of a second is a valid collar")
}
