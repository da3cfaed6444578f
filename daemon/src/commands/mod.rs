//! One module a subcommand: its arguments and its work.

pub mod bench;
pub mod config;
pub mod config_args;
pub mod devices;
pub mod embed;
pub mod eval;
pub mod label;
pub mod listen;
pub mod serve;
pub mod stream;
