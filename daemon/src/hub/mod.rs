//! The hub: all sessions of this process by id, their limit, and their shutdown.

mod counters;
mod elsewhere;
mod follow;
mod forget;
mod given;
mod going_on;
mod held;
mod ids;
mod kept;
mod moving;
mod nodes;
mod open_error;
mod readiness;
mod registry;
mod remote;
mod room;
mod stats;
mod tenants;
#[cfg(test)]
mod tests;

pub use counters::HubStats;
pub use elsewhere::ListedElsewhere;
pub(crate) use elsewhere::{Elsewhere, TakeError};
pub use follow::FollowAll;
pub use ids::MICROPHONE_SESSION;
pub use open_error::OpenError;
pub use registry::{Hub, HubParams};
