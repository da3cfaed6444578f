//! `diarized completions` and `diarized man`: shell completions and man pages, generated from the commands.

use std::path::PathBuf;

use anyhow::Context as _;

use crate::exit;

/// Arguments of `diarized completions`.
#[derive(Debug, clap::Args)]
pub struct CompletionsArgs {
    /// The shell of the completions, written to standard output.
    #[arg(value_name = "SHELL")]
    shell: clap_complete::Shell,
}

/// Writes the completions of `cli` and gives the exit code.
///
/// # Errors
/// None now; the same form as of the other commands.
pub fn completions(args: &CompletionsArgs, cli: &mut clap::Command) -> anyhow::Result<u8> {
    let mut out = Vec::new();
    clap_complete::generate(args.shell, cli, "diarized", &mut out);
    // A pager that is closed early needs no more.
    let _ = std::io::Write::write_all(&mut std::io::stdout(), &out);
    Ok(exit::OK)
}

/// Arguments of `diarized man`.
#[derive(Debug, clap::Args)]
pub struct ManArgs {
    /// Folder of the pages, one for each command; created if missing.
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

/// Writes the man pages of `cli` and gives the exit code.
///
/// # Errors
/// A page cannot be written.
pub fn man(args: &ManArgs, cli: clap::Command) -> anyhow::Result<u8> {
    let folder = &args.folder;
    std::fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(cli, folder))
        .with_context(|| format!("cannot write man pages into {}", folder.display()))?;
    Ok(exit::OK)
}
