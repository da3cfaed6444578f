//! The running sources.

use std::process::Stdio;
use std::sync::Arc;

use diarized_config::Config;
use tokio::process::Command;

use super::feeder::Feeder;
use super::health::{Health, write_metrics};
use super::input::{Kind, plain};
use super::lengths::Lengths;
use crate::hub::Hub;

/// Why sources cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourcesError {
    /// The program is not there.
    #[error(
        "sources need the program {program:?} (sources.ffmpeg), which cannot be run; install ffmpeg, or name its path"
    )]
    NoFfmpeg {
        /// The program.
        program: String,
        /// Error of the system.
        source: std::io::Error,
    },
}

/// All sources.
#[derive(Debug)]
pub struct Sources {
    feeders: Vec<Feeder>,
}

impl Sources {
    /// Checks that the configured sources can be opened; none is no error.
    ///
    /// # Errors
    /// [`SourcesError`]
    pub async fn new(config: &Config, hub: &Arc<Hub>) -> Result<Self, SourcesError> {
        let program = config.sources.ffmpeg.clone();
        let mut sources = config.sources.urls.clone();
        sources.iter_mut().for_each(|source| source.url = plain(&source.url));
        if sources.iter().any(|source| Kind::of(&source.url) != Kind::Raw) {
            let mut run = Command::new(&program);
            run.arg("-version").stdin(Stdio::null()).stdout(Stdio::null());
            let ran = run_quietly(&mut run).await;
            ran.map_err(|source| SourcesError::NoFfmpeg { program: program.clone(), source })?;
        }
        let (mut all, mut feeders) = (Vec::new(), Vec::new());
        for source in sources {
            let health = Arc::new(Health::new(&source.name));
            let watched = Arc::clone(&health);
            hub.check(move || watched.check());
            all.push(Arc::clone(&health));
            feeders.push(Feeder {
                kind: Kind::of(&source.url),
                source,
                program: program.clone(),
                stall: config.sources.stall,
                hub: Arc::clone(hub),
                health,
                down: hub.shutting_down(),
                lengths: Lengths::default(),
            });
        }
        if !all.is_empty() {
            hub.add_metrics(move |page| write_metrics(page, &all));
        }
        Ok(Self { feeders })
    }

    /// Opens them, after the hub has taken up the sessions of the process before this one. They stop when the hub shuts down.
    pub fn start(self) {
        for feeder in self.feeders {
            tokio::spawn(feeder.run());
        }
    }
}

async fn run_quietly(command: &mut Command) -> std::io::Result<()> {
    let status = command.stderr(Stdio::null()).status().await?;
    match status.success() {
        true => Ok(()),
        false => Err(std::io::Error::other(format!("it ends with {status}"))),
    }
}
