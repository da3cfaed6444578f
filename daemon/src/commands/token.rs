//! `diarized token`: creates, lists and revokes access tokens.

use std::path::PathBuf;

use strum::VariantNames;

use super::config_args::ConfigArgs;
use crate::access::{Scope, Scopes, TokenLimits, Tokens, is_token_name, read_limit};
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

        /// Sessions at once that it may open.
        #[arg(long, value_name = "NUMBER", value_parser = sessions, allow_negative_numbers = true)]
        max_sessions: Option<u32>,

        /// Seconds of audio that its sessions may take in a day of UTC.
        #[arg(long, value_name = "SECONDS", value_parser = audio_s, allow_negative_numbers = true)]
        audio_s_a_day: Option<u32>,

        #[command(flatten)]
        place: Place,
    },
    /// Change the limits of a token.
    Limit {
        /// Name of the token.
        #[arg(value_name = "NAME")]
        name: String,

        /// Sessions at once that it may open; "none" for as many as there may be.
        #[arg(long, value_name = "NUMBER", value_parser = sessions_or_none, required_unless_present = "audio_s_a_day",
            allow_negative_numbers = true)]
        max_sessions: Option<Limit>,

        /// Seconds of audio that its sessions may take in a day of UTC; "none" for as much as comes.
        #[arg(long, value_name = "SECONDS", value_parser = audio_s_or_none, allow_negative_numbers = true)]
        audio_s_a_day: Option<Limit>,

        #[command(flatten)]
        place: Place,
    },
    /// List the tokens: name, scopes, day of creation, limits.
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

/// What a limit is changed to.
#[derive(Debug, Clone, Copy)]
struct Limit(Option<u32>);

fn sessions(text: &str) -> Result<u32, String> {
    read_limit(text, TokenLimits::SESSIONS)
}

fn audio_s(text: &str) -> Result<u32, String> {
    read_limit(text, TokenLimits::AUDIO_S)
}

fn sessions_or_none(text: &str) -> Result<Limit, String> {
    or_none(text, sessions)
}

fn audio_s_or_none(text: &str) -> Result<Limit, String> {
    or_none(text, audio_s)
}

fn or_none(text: &str, read: impl Fn(&str) -> Result<u32, String>) -> Result<Limit, String> {
    if text == "none" {
        return Ok(Limit(None));
    }
    read(text).map(|n| Limit(Some(n))).map_err(|expected| format!("{expected}, or none"))
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
    let (Action::Add { place, .. }
    | Action::Limit { place, .. }
    | Action::List { place }
    | Action::Revoke { place, .. }) = &args.action;
    let path = match place.path() {
        Ok(path) => path,
        Err(code) => return Ok(code),
    };
    // Held from reading to writing, so that of two commands at once neither undoes the other.
    let _lock = match args.action {
        Action::List { .. } => None,
        Action::Add { .. } | Action::Limit { .. } | Action::Revoke { .. } => Some(Tokens::lock(&path)?),
    };
    let is_add = matches!(args.action, Action::Add { .. });
    let mut tokens = if is_add && !path.exists() { Tokens::default() } else { Tokens::load(&path)? };
    let shown = path.display();
    match &args.action {
        Action::Add { name, scope, max_sessions, audio_s_a_day, .. } => {
            let token = tokens.add(name, scope.iter().copied().collect::<Scopes>())?;
            let limits = TokenLimits { max_sessions: *max_sessions, audio_s_a_day: *audio_s_a_day };
            tokens.limit(name, |of_token| *of_token = limits);
            // Printed before it is stored: a token that was never printed is useless.
            write_stdout(&format!("{token}\n"))?;
            tokens.save(&path)?;
            eprintln!(
                "diarized: token {name:?} is in {shown}; it is shown this once. A running server takes it on SIGHUP"
            );
        }
        Action::Limit { name, max_sessions, audio_s_a_day, .. } => {
            let is_known = tokens.limit(name, |limits| {
                limits.max_sessions = max_sessions.map_or(limits.max_sessions, |Limit(n)| n);
                limits.audio_s_a_day = audio_s_a_day.map_or(limits.audio_s_a_day, |Limit(n)| n);
            });
            if !is_known {
                return Ok(unknown(name, &path));
            }
            tokens.save(&path)?;
            eprintln!(
                "diarized: the limits of token {name:?} are in {shown}. A running server takes them on SIGHUP"
            );
        }
        Action::List { .. } => {
            let mut lines = String::new();
            for entry in tokens.entries() {
                let scopes = entry.scopes.to_string();
                let line = format!("{:<24} {scopes:<32} {} {}", entry.name, entry.made_on(), entry.limits);
                lines += &format!("{}\n", line.trim_end());
            }
            write_stdout(&lines)?;
        }
        Action::Revoke { name, .. } => {
            if !tokens.revoke(name) {
                return Ok(unknown(name, &path));
            }
            tokens.save(&path)?;
            eprintln!(
                "diarized: token {name:?} is no longer in {shown}. A running server forgets it on SIGHUP"
            );
        }
    }
    Ok(exit::OK)
}

/// Reports that there is no token of this name.
fn unknown(name: &str, path: &std::path::Path) -> u8 {
    eprintln!("diarized: there is no token {name:?} in {}; `diarized token list` shows them", path.display());
    exit::NO_INPUT
}
