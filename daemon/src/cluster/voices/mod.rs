//! Voices that the nodes share: each node's store is joined with a bucket of sealed versions; `crate::voices::shared` has the rules.
//!
//! `cabinet` seals and opens values, `held` is what this node knows of the bucket, `sync` keeps both sides alike, `write` puts a
//! value in the place of another so that nothing of that one is left, `fault` has what keeps voices from being shared.

mod cabinet;
mod fault;
mod held;
mod sync;
mod write;

#[cfg(test)]
mod tests;

pub(super) use sync::SharedVoices;
