//! Recordings that a binary labels: what the commands that score have in common.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

/// Arguments of a command that labels folders of recordings; flatten them into its own.
#[derive(Debug, clap::Args)]
pub struct Labelling {
    /// Folders with NAME.wav or NAME.flac, NAME.rttm and, if wanted, NAME.uem.
    #[arg(required = true, value_name = "DIR")]
    pub folders: Vec<PathBuf>,
    /// The binary under test.
    #[arg(long, default_value = "target/release/diarized", value_name = "FILE")]
    diarized: PathBuf,
    /// Further arguments of `diarized label`, after `--`.
    #[arg(last = true)]
    label_args: Vec<String>,
}

impl Labelling {
    /// The lines of `diarized label --events` for `audio`; its messages go to standard error.
    ///
    /// # Errors
    /// A binary that cannot be run, or that fails.
    pub fn events_of(&self, audio: &Path) -> anyhow::Result<String> {
        let mut command = Command::new(&self.diarized);
        command
            .args(["label", "--events", "--quiet"])
            .args(&self.label_args)
            .arg(audio)
            .stderr(Stdio::inherit());
        let output = command.output().with_context(|| format!("cannot run {}", self.diarized.display()))?;
        if !output.status.success() {
            bail!("diarized label ended with {}", output.status);
        }
        Ok(String::from_utf8(output.stdout)?)
    }
}
