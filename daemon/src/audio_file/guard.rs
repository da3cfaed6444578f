//! Panics of decoders: some of them panic in arithmetic on the fields of a broken file. Such a panic is reported as a
//! fault of the file, without a trace.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    /// Whether a panic of this thread is caught and reported as a fault of a file.
    static IS_GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// What `work` gives, or nothing if it panics. What it has touched must not be used after a panic.
pub(super) fn guarded<T>(work: impl FnOnce() -> T) -> Option<T> {
    let was_guarded = IS_GUARDED.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(work));
    IS_GUARDED.set(was_guarded);
    outcome.ok()
}

/// Keeps panics that are caught here off standard error; others are reported as before. Once a process, at its start.
pub fn quiet_decoder_panics() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !IS_GUARDED.get() {
            report(panic);
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_gives_nothing_and_the_guard_ends() {
        assert_eq!(guarded(|| 7), Some(7));
        assert!(guarded(|| guarded(|| panic!("broken")).is_none() && IS_GUARDED.get()).unwrap());
        assert!(!IS_GUARDED.get());
    }
}
