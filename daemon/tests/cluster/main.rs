//! Several nodes over a real nats-server with JetStream: the real binary throughout.

mod ahead;
#[path = "../common/mod.rs"]
mod common;
mod faults;
mod moves;
mod nats;
mod node;
mod nodes;
mod servers;
mod sessions;
mod voices;
mod voices_at_once;
