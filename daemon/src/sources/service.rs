//! The running sources.

use std::process::Stdio;
use std::sync::Arc;

use diarized_config::Config;
use tokio::process::Command;

use super::feeder::Feeder;
use super::health::{Health, write_metrics};
use super::input::Kind;
use crate::hub::Hub;

/// Why sources cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourcesError {
    /// The program is not there.
    #[error(
        "sources.urls needs the program {program:?} (sources.ffmpeg), which cannot be run; install ffmpeg, or name its path"
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
pub struct Sources;

impl Sources {
    /// Opens the configured sources; none is no error. They end when the hub shuts down.
    ///
    /// # Errors
    /// [`SourcesError`]
    pub async fn start(config: &Config, hub: &Arc<Hub>) -> Result<(), SourcesError> {
        let program = config.sources.ffmpeg.clone();
        if config.sources.urls.iter().any(|source| Kind::of(&source.url) != Kind::Raw) {
            let mut run = Command::new(&program);
            run.arg("-version").stdin(Stdio::null()).stdout(Stdio::null());
            let ran = run_quietly(&mut run).await;
            ran.map_err(|source| SourcesError::NoFfmpeg { program: program.clone(), source })?;
        }
        let mut all = Vec::new();
        for source in &config.sources.urls {
            let health = Arc::new(Health::new(&source.name));
            let watched = Arc::clone(&health);
            hub.check(move || watched.check());
            all.push(Arc::clone(&health));
            let feeder = Feeder {
                kind: Kind::of(&source.url),
                source: source.clone(),
                program: program.clone(),
                stall: config.sources.stall,
                hub: Arc::clone(hub),
                health,
                down: hub.shutting_down(),
            };
            tokio::spawn(feeder.run());
        }
        if !all.is_empty() {
            hub.add_metrics(move |page| write_metrics(page, &all));
        }
        Ok(())
    }
}

async fn run_quietly(command: &mut Command) -> std::io::Result<()> {
    let status = command.stderr(Stdio::null()).status().await?;
    match status.success() {
        true => Ok(()),
        false => Err(std::io::Error::other(format!("it ends with {status}"))),
    }
}
