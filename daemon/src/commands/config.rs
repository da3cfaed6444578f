//! `diarized config`: shows the effective configuration and the origin of each value, or checks a file.

use std::path::PathBuf;

use diarized_config::{ConfigError, EXAMPLE, ModelConfig, Sources};
use diarized_models::embedder::check_folder;

use super::config_args::{ConfigArgs, report_warnings, tell};
use crate::exit;
use crate::output::write_stdout;

const EXAMPLES: &str = "\
Examples:
  diarized config                             effective values and their origins
  diarized config --default > diarized.toml   a commented file to start from
  diarized config --check diarized.toml       every fault of a file; exit code 0 or 78
  DIARIZED_LOG_LEVEL=debug diarized config    the environment overrides the file

Sources in order of priority: a flag, the environment (DIARIZED_SECTION_KEY), the file, the default.";

/// Arguments of `diarized config`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Only check this file, without the environment: print every fault, with its line, value and allowed range, and every
    /// key of an earlier version. The folders of voice models are checked, too.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["default", "json", "config", "set"])]
    check: Option<PathBuf>,

    /// Print the commented example: every key with its meaning, range and default.
    #[arg(long, conflicts_with_all = ["json", "config", "set"])]
    default: bool,

    /// Print one JSON object for each key: {"key", "value", "origin"}.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    config: ConfigArgs,
}

/// Runs the command and gives the exit code: 78 if the configuration has faults, 66 if the file cannot be read.
///
/// # Errors
/// Standard output cannot be written.
pub fn run(args: Args) -> anyhow::Result<u8> {
    if args.default {
        write_stdout(EXAMPLE)?;
        return Ok(exit::OK);
    }
    if let Some(path) = args.check {
        let loaded = Sources::new().file(&path).and_then(|sources| sources.load().map_err(ConfigError::from));
        return match loaded {
            Ok(loaded) => {
                report_warnings(&loaded);
                if let Err(fault) = check_models(&loaded.config.model) {
                    eprintln!("diarized: {}: {fault}", path.display());
                    return Ok(exit::CONFIG);
                }
                write_stdout(&format!("{}: no faults\n", path.display()))?;
                Ok(exit::OK)
            }
            Err(error) => Ok(tell(error)),
        };
    }
    let loaded = match args.config.load(&[]) {
        Ok(loaded) => loaded,
        Err(code) => return Ok(code),
    };
    if args.json {
        let mut lines = String::new();
        for setting in &loaded.settings {
            lines.push_str(&serde_json::to_string(setting)?);
            lines.push('\n');
        }
        write_stdout(&lines)?;
    } else {
        write_stdout(&loaded.to_toml())?;
    }
    Ok(exit::OK)
}

/// Holds the folders of voice models against their cards; names the key of one that is wrong.
fn check_models(model: &ModelConfig) -> Result<(), String> {
    for (key, folder) in [("model.path", &model.path), ("model.second", &model.second)] {
        if let Some(folder) = folder {
            check_folder(folder).map_err(|fault| format!("{key}: {fault}"))?;
        }
    }
    Ok(())
}
