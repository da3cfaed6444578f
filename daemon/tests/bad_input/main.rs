//! What the real binary does with bad input: every fault gets one clear line that says what to do, nothing panics,
//! good files are still done, and a server lives on while its other sessions lose nothing.

mod clients;
#[path = "../common/mod.rs"]
mod common;
mod files;
mod models;
mod outputs;
mod server;
mod wav;

use common::{conversation, diarized_in as diarized, run};
