//! Ids of sessions: none is reused, so that no client replaces the labels of another.

use crate::protocol::MAX_SESSION_ID;
use crate::secret::random_hex;

/// What the ids of the microphone's sessions begin with; by itself the one that runs, or else the newest. No session gets
/// it.
pub const MICROPHONE_SESSION: &str = "microphone";

/// Bytes of randomness in an id that the server makes.
const RANDOM_BYTES: usize = 8;
/// Numbers that are tried behind an id before it gets a random end.
const MAX_NUMBER: usize = 1000;

/// An id of the server's own.
pub(super) fn new(is_taken: impl Fn(&str) -> bool) -> String {
    loop {
        let id = format!("s{}", random_hex(RANDOM_BYTES));
        if !is_taken(&id) {
            return id;
        }
    }
}

/// `wanted` if it is free, else `wanted` with the first free suffix: `-2`, `-3` and so on.
pub(super) fn unused(wanted: &str, is_taken: impl Fn(&str) -> bool) -> String {
    if wanted != MICROPHONE_SESSION && !is_taken(wanted) {
        return wanted.to_owned();
    }
    let with = |end: &str| {
        let kept = wanted.chars().take(MAX_SESSION_ID - end.len());
        kept.chain(end.chars()).collect::<String>()
    };
    let numbered = (2..=MAX_NUMBER).map(|n| with(&format!("-{n}")));
    let random = std::iter::repeat_with(|| with(&format!("-{}", random_hex(RANDOM_BYTES))));
    numbered.chain(random).find(|id| !is_taken(id)).expect("random ends do not run out")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::protocol::is_session_id;

    #[test]
    fn no_id_is_given_twice_and_all_are_ids() {
        let long = "x".repeat(MAX_SESSION_ID);
        for wanted in ["a", "a-2", MICROPHONE_SESSION, long.as_str()] {
            let mut given = BTreeSet::new();
            for _ in 0..1100 {
                let id = unused(wanted, |id| given.contains(id));
                assert!(is_session_id(&id), "{id}");
                assert!(given.insert(id));
            }
            assert_eq!(given.contains(wanted), wanted != MICROPHONE_SESSION);
        }
        assert_eq!(unused("a", |id| ["a", "a-2"].contains(&id)), "a-3");
        let made = new(|_| false);
        assert!(is_session_id(&made) && made.len() >= 17, "{made}");
    }
}
