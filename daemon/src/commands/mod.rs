//! One module a subcommand: its arguments and its work.

pub mod bench;
pub mod cluster;
pub mod completions;
pub mod config;
pub mod config_args;
pub mod devices;
pub mod embed;
pub mod enrol;
pub mod eval;
pub mod identify;
mod input_args;
pub mod label;
pub mod listen;
mod model_args;
pub mod serve;
pub mod server_args;
pub mod stream;
pub mod token;
pub mod verify;
mod voice_args;
pub mod voices;
