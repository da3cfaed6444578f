//! The command line: commands, and the exit code of each outcome.

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use diarized_models::LoadError;
use diarized_models::segmentation::SegmentationError;

use crate::audio_file::quiet_decoder_panics;
use crate::commands;
use crate::engine::SetUpError;
use crate::error_chain::error_chain;
use crate::exit;
use crate::kaldi::KaldiError;
use crate::output::StdoutError;

/// Real-time streaming speaker diarization: who is speaking now, live, on an ordinary CPU.
#[derive(Debug, Parser)]
#[command(name = "diarized", version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands; their arguments are beside their code in `commands/`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve: capture a microphone, receive WebSocket audio, and send labelled segments to subscribers.
    Serve(commands::serve::Args),
    /// Label audio files: who speaks when, as RTTM, JSON lines, SRT, WebVTT or a table.
    Label(commands::label::Args),
    /// Watch a session of a running server in the terminal: who speaks now, live.
    Listen(commands::listen::Args),
    /// Stream a file to a running server, in real time or faster, and show its labels.
    Stream(commands::stream::Args),
    /// Create, list and revoke the access tokens of a server.
    Token(commands::token::Args),
    /// List the audio capture devices.
    Devices(commands::devices::Args),
    /// Show the effective configuration and the origin of each value, or check a file.
    Config(commands::config::Args),
    /// Compute speaker embeddings of files or of a Kaldi wav.scp.
    Embed(commands::embed::Args),
    /// Measure speed: real-time factor on one core, memory, and the number of live sessions of a server.
    Bench(commands::bench::Args),
    /// Write completions for a shell.
    Completions(commands::completions::CompletionsArgs),
    /// Write the man pages.
    #[command(hide = true)]
    Man(commands::completions::ManArgs),
    /// Enrol a person: store the voiceprint of a name.
    Enrol(commands::enrol::Args),
    /// Manage enrolled people: list, show, rename, delete, export, import.
    Voices(commands::voices::Args),
    /// Decide whether two clips are of one person.
    Verify(commands::verify::Args),
    /// Find the enrolled person in a clip.
    Identify(commands::identify::Args),
    /// Look at the nodes that share their sessions over NATS.
    Cluster(commands::cluster::Args),
    /// Measure accuracy: DER of labels, EER of a voice model, naming of enrolled people.
    Eval(commands::eval::Args),
    /// Become a program that ends with the daemon.
    #[cfg(target_os = "linux")]
    #[command(hide = true)]
    RunChild(crate::sources::ChildArgs),
}

/// Parses the process's arguments, runs the command and gives the exit code.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    quiet_decoder_panics();
    let outcome = match cli.command {
        Command::Serve(args) => commands::serve::run(args),
        Command::Label(args) => commands::label::run(args),
        Command::Listen(args) => commands::listen::run(args),
        Command::Stream(args) => commands::stream::run(args),
        Command::Token(args) => commands::token::run(args),
        Command::Devices(args) => commands::devices::run(args),
        Command::Config(args) => commands::config::run(args),
        Command::Embed(args) => commands::embed::run(args),
        Command::Bench(args) => commands::bench::run(args),
        Command::Completions(args) => commands::completions::completions(&args, &mut Cli::command()),
        Command::Man(args) => commands::completions::man(&args, Cli::command()),
        Command::Enrol(args) => commands::enrol::run(&args),
        Command::Voices(args) => commands::voices::run(&args),
        Command::Verify(args) => commands::verify::run(&args),
        Command::Identify(args) => commands::identify::run(&args),
        Command::Cluster(args) => commands::cluster::run(args),
        Command::Eval(args) => commands::eval::run(args),
        #[cfg(target_os = "linux")]
        Command::RunChild(args) => Ok(crate::sources::run_child(&args)),
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let output = error.downcast_ref::<StdoutError>();
            if !output.is_some_and(StdoutError::is_closed_pipe) {
                eprintln!("diarized: {}", error_chain(&*error));
            }
            ExitCode::from(code_of(&error))
        }
    }
}

/// The exit code of an error.
fn code_of(error: &anyhow::Error) -> u8 {
    let is_model = error.is::<LoadError>()
        || error.is::<SegmentationError>()
        || matches!(error.downcast_ref(), Some(SetUpError::Load(_) | SetUpError::Second(_)));
    match () {
        () if error.is::<StdoutError>() => exit::CANNOT_WRITE,
        () if is_model || error.is::<KaldiError>() => exit::NO_INPUT,
        () => exit::FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A heading also applies to options declared after it.
    #[test]
    fn headings_hold_what_they_name() {
        let mut cli = Cli::command();
        cli.build();
        for (command, options, heading) in [
            ("serve", &["listen", "microphone", "model"][..], None),
            ("listen", &["session", "since", "json"], None),
            ("stream", &["session", "speed", "json"], None),
            ("label", &["format", "window_ms", "quiet"], None),
            ("serve", &["config", "set"], Some("Configuration")),
            ("stream", &["token", "ca"], Some("Server")),
        ] {
            let command = cli.find_subcommand(command).unwrap();
            for option in options {
                let arg = command.get_arguments().find(|arg| arg.get_id() == option).unwrap();
                assert_eq!(arg.get_help_heading(), heading, "{} --{option}", command.get_name());
            }
        }
    }
}
