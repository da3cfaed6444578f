//! Limits of tokens: sessions at once and audio in a day, counted here and, in a cluster, over all nodes.
//!
//! `ledger` has the sums of the day, `service` looks at the sessions, and `cluster` shares what the ledger has.

mod day;
mod ledger;
mod over_limit;
mod service;
mod usage;

pub use day::Day;
pub use over_limit::OverLimit;
pub use service::Tenants;
pub use usage::{TokenUsage, Usage};

#[cfg(test)]
mod tests;
