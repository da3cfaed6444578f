//! What the real binary does with bad input: every fault gets one clear line that says what to do, nothing panics,
//! good files are still done, and a server lives on while its other sessions lose nothing.

mod clients;
mod files;
mod models;
mod outputs;
mod server;
mod wav;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The binary in `folder`, with an environment that holds none of our variables.
fn diarized(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_diarized"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("DIARIZED_") {
            command.env_remove(name);
        }
    }
    command.current_dir(folder).args(args);
    command
}

/// Exit code, standard output and standard error, which never tells of a panic.
fn run(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert!(!stderr.contains("panicked"), "{command:?}: {stderr}");
    let code = status.code().unwrap_or_else(|| panic!("{command:?} was killed: {stderr}"));
    (code, String::from_utf8(stdout).unwrap(), stderr)
}

/// The example conversation.
fn conversation() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/example/conversation.flac")
}
