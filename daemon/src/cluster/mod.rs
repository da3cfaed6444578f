//! Several daemons that serve each other's sessions, over NATS with JetStream; docs/cluster.md has the design.
//!
//! A node without NATS goes on alone: nothing here delays a session. `publishers` writes the sessions of this node, `mirrors`
//! follows those of others, `directory` knows of all, and `others` is what the hub sees of it.

mod ahead;
mod answers;
mod ask;
mod audio;
mod beat;
mod connect;
mod copies;
mod counts;
mod directory;
mod error;
mod frames;
mod health;
mod link;
mod log;
mod mirror;
mod mirrors;
mod names;
mod node;
mod nodes;
mod orphans;
mod others;
mod publish;
mod publishers;
mod questions;
mod record;
mod service;
mod status;
mod taking;
mod tenants;
mod values;
mod voices;

#[doc(hidden)]
pub use audio::{AudioMessage, AudioMessageError, Piece};
pub use error::ClusterError;
#[doc(hidden)]
pub use frames::{Assembler, Content};
pub use service::Cluster;
pub use status::{Overview, overview};
#[doc(hidden)]
pub use values::read_values;
