//! Several nodes over a real nats-server with JetStream: the real binary throughout.

mod ahead;
#[path = "../common/mod.rs"]
mod common;
mod faults;
mod intake;
mod line;
mod moves;
mod nats;
mod node;
mod nodes;
mod partition;
mod servers;
mod sessions;
mod tenants;
mod voices;
mod voices_at_once;
