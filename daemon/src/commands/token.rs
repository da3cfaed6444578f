//! `diarized token`: creates, lists and revokes access tokens.

use std::path::PathBuf;

use strum::VariantNames;

use super::config_args::ConfigArgs;
use crate::access::{Scope, Scopes, Tokens, is_token_name};
use crate::exit;
use crate::output::write_stdout;

/// Arguments of `diarized token`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Create a token and print it once: only its hash is stored.
    Add {
        /// Name of the token: its user or its purpose.
        #[arg(value_name = "NAME", value_parser = name)]
        name: String,

        /// Scopes: publish (send audio, correct labels), subscribe (read and follow), voices (voiceprints),
        /// metrics, admin (everything). May be given several times, or separated by commas.
        #[arg(long, value_name = "SCOPE", required = true, value_delimiter = ',', value_parser = scope)]
        scope: Vec<Scope>,

        #[command(flatten)]
        place: Place,
    },
    /// List the tokens: name, scopes, day of creation.
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Revoke a token.
    Revoke {
        /// Name of the token.
        #[arg(value_name = "NAME")]
        name: String,

        #[command(flatten)]
        place: Place,
    },
}

/// Where the tokens are.
#[derive(Debug, clap::Args)]
struct Place {
    /// The token file [default: server.token_file].
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,

    #[command(flatten)]
    config: ConfigArgs,
}

fn name(text: &str) -> Result<String, String> {
    match is_token_name(text) {
        true => Ok(text.to_owned()),
        false => Err("expected 1 to 64 letters, digits, -, _ and .".to_owned()),
    }
}

fn scope(text: &str) -> Result<Scope, String> {
    text.parse().map_err(|_| format!("expected one of {}", Scope::VARIANTS.join(", ")))
}

impl Place {
    /// The token file, or the exit code after a reported error.
    fn path(&self) -> Result<PathBuf, u8> {
        let configured = match &self.file {
            Some(file) => Some(file.clone()),
            None => self.config.load(&[])?.config.server.token_file,
        };
        configured.ok_or_else(|| {
            eprintln!(
                "diarized: which token file? name it with --file, or set server.token_file in the configuration"
            );
            exit::CONFIG
        })
    }
}

/// Runs the command and gives the exit code.
///
/// # Errors
/// The token file cannot be read or written, or a name is taken.
pub fn run(args: Args) -> anyhow::Result<u8> {
    let (Action::Add { place, .. } | Action::List { place } | Action::Revoke { place, .. }) = &args.action;
    let path = match place.path() {
        Ok(path) => path,
        Err(code) => return Ok(code),
    };
    // Held from reading to writing, so that of two commands at once neither undoes the other.
    let _lock = match args.action {
        Action::List { .. } => None,
        Action::Add { .. } | Action::Revoke { .. } => Some(Tokens::lock(&path)?),
    };
    let is_add = matches!(args.action, Action::Add { .. });
    let mut tokens = if is_add && !path.exists() { Tokens::default() } else { Tokens::load(&path)? };
    let shown = path.display();
    match &args.action {
        Action::Add { name, scope, .. } => {
            let token = tokens.add(name, scope.iter().copied().collect::<Scopes>())?;
            // Printed before it is stored: a token that was never printed is useless.
            write_stdout(&format!("{token}\n"))?;
            tokens.save(&path)?;
            eprintln!(
                "diarized: token {name:?} is in {shown}; it is shown this once. A running server takes it on SIGHUP"
            );
        }
        Action::List { .. } => {
            let mut lines = String::new();
            for entry in tokens.entries() {
                let scopes = entry.scopes.to_string();
                lines += &format!("{:<24} {scopes:<32} {}\n", entry.name, entry.made_on());
            }
            write_stdout(&lines)?;
        }
        Action::Revoke { name, .. } => {
            if !tokens.revoke(name) {
                eprintln!(
                    "diarized: there is no token {name:?} in {shown}; `diarized token list` shows them"
                );
                return Ok(exit::NO_INPUT);
            }
            tokens.save(&path)?;
            eprintln!(
                "diarized: token {name:?} is no longer in {shown}. A running server forgets it on SIGHUP"
            );
        }
    }
    Ok(exit::OK)
}
