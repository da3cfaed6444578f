//! The flags by which every command takes its configuration, and the way from them to a checked [`Loaded`].

use std::path::{Path, PathBuf};

use diarized_config::{CONFIG_VARIABLE, ConfigError, Loaded, Sources};

use crate::error_chain::error_chain;
use crate::exit;

/// Sources of the configuration. Flatten it into the arguments of a command.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Configuration")]
pub struct ConfigArgs {
    /// Configuration file (TOML) [default: the path in the environment variable DIARIZED_CONFIG, if set].
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Set any key of the configuration, such as `server.max_sessions=8`; may be given several times.
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_and_value)]
    pub set: Vec<(String, String)>,
}

/// Value of a flag for a key: the flag with its dashes, the key, the value as text.
pub type FlagValue = (&'static str, &'static str, Option<String>);

fn key_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
        _ => Err("expected KEY=VALUE, such as log.level=debug".to_owned()),
    }
}

impl ConfigArgs {
    /// Loads the configuration from the file, the environment, `--set` and the command's own `flags`, which win
    /// over `--set`. Warnings and faults are reported on stderr, one line each.
    ///
    /// # Errors
    /// The exit code, after the faults are reported.
    pub fn load(&self, flags: &[FlagValue]) -> Result<Loaded, u8> {
        match self.try_load(flags) {
            Ok(loaded) => {
                report_warnings(&loaded);
                Ok(loaded)
            }
            Err(error) => Err(tell(error)),
        }
    }

    fn try_load(&self, flags: &[FlagValue]) -> Result<Loaded, ConfigError> {
        let mut sources = Sources::new();
        let variable = std::env::var_os(CONFIG_VARIABLE).filter(|path| !path.is_empty());
        if let Some(path) = self.config.as_deref().or(variable.as_deref().map(Path::new)) {
            sources = sources.file(path)?;
        }
        sources = sources.env(std::env::vars_os());
        for (key, value) in &self.set {
            sources = sources.flag("--set", key, value);
        }
        for (flag, key, value) in flags {
            if let Some(value) = value {
                sources = sources.flag(flag, key, value);
            }
        }
        Ok(sources.load()?)
    }
}

/// Reports problems that stop nothing on stderr, one line each.
pub fn report_warnings(loaded: &Loaded) {
    for warning in &loaded.warnings {
        eprintln!("diarized: warning: {warning}");
    }
}

/// Reports faults of the configuration on stderr; returns the exit code.
pub fn tell(error: ConfigError) -> u8 {
    let is_read_error = matches!(error, ConfigError::Read { .. });
    eprintln!("diarized: {}", error_chain(&error));
    if is_read_error { exit::NO_INPUT } else { exit::CONFIG }
}
