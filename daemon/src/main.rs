//! Entry point of the `diarized` binary: parse, run, and turn the outcome into an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    diarized::cli::run()
}
