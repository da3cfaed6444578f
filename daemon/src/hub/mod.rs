//! The hub: all sessions of this process by id, their limit, and their shutdown.

mod counters;
mod elsewhere;
mod follow;
mod given;
mod going_on;
mod held;
mod ids;
mod kept;
mod nodes;
mod readiness;
mod registry;
mod room;
mod stats;
#[cfg(test)]
mod tests;

pub use counters::HubStats;
pub(crate) use elsewhere::Elsewhere;
pub use elsewhere::ListedElsewhere;
pub use follow::FollowAll;
pub use ids::MICROPHONE_SESSION;
pub use registry::{Hub, HubParams, OpenError};
