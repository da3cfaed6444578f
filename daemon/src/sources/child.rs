//! A child that ends with the daemon, however that ends: between fork and exec it asks the kernel for a signal at the death of
//! its parent. Rust's standard library has no safe way to run code there, so the daemon starts itself once more, which asks and
//! then becomes the program.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

use crate::exit;

/// The hidden command.
pub(super) const COMMAND: &str = "run-child";
/// This program, also where its file was replaced since its start.
pub(super) const OURSELVES: &str = "/proc/self/exe";

/// Arguments of the hidden command.
#[derive(Debug, clap::Args)]
pub struct ChildArgs {
    /// Process with which the child ends.
    #[arg(long)]
    parent: i32,

    /// The program and its arguments.
    #[arg(required = true, last = true)]
    program: Vec<OsString>,
}

/// Becomes the program. Returns the exit code if that fails.
pub fn run_child(args: &ChildArgs) -> u8 {
    let Some((program, rest)) = args.program.split_first() else { return exit::USAGE };
    // Without the signal the child still ends with its pipe.
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        eprintln!("the end of this process cannot be tied to that of the daemon: {error}");
    }
    // A parent that died before sends no signal.
    if getppid() != Pid::from_raw(args.parent) {
        return exit::FAILURE;
    }
    let error = Command::new(program).args(rest).exec();
    eprintln!("cannot run {}: {error}", Path::new(program).display());
    exit::NO_INPUT
}
