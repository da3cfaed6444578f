//! `diarized config`.

/// Arguments of `diarized config`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command and gives the exit code.
///
/// # Errors
/// Whatever stopped the command as a whole.
pub fn run(_args: Args) -> anyhow::Result<u8> {
    anyhow::bail!("not built yet")
}
