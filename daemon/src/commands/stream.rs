//! `diarized stream`: streams a file to a running server and shows its labels.

use std::path::{Path, PathBuf};

use super::input_args::InputArgs;
use super::server_args::{ServerArgs, session_id};
use crate::audio_file::AudioFile;
use crate::client::{Address, Naming, News, Playback, PublishError, Terminal, View, publish};
use crate::error_chain::error_chain;
use crate::exit;
use crate::interrupt::StopSignals;
use crate::protocol::text::{checked_title, title_of_file};

/// Arguments of `diarized stream`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Audio file: wav, flac, mp3, ogg, opus, m4a and others; `-` is standard input, a file of any kind or, with --raw, PCM
    /// without a header.
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Address of the server.
    #[arg(long, value_name = "URL", default_value = "ws://127.0.0.1:7007")]
    url: String,

    /// Id of the session [default: made by the server].
    #[arg(long, value_name = "ID", value_parser = session_id)]
    session: Option<String>,

    /// Title of the session [default: the name of the file].
    #[arg(long, value_name = "TEXT", value_parser = title)]
    title: Option<String>,

    /// Refuse that the server keeps the audio of this session (storage.audio).
    #[arg(long)]
    no_keep_audio: bool,

    /// Refuse that the server's speech recogniser gets the audio of this session (asr.kind).
    #[arg(long)]
    no_asr: bool,

    /// Speed as a multiple of real time, or `max` for the maximum speed of the server.
    #[arg(long, value_name = "FACTOR", default_value = "1", value_parser = speed)]
    speed: f64,

    /// Print every message unchanged, one line each.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    input: InputArgs,

    #[command(flatten)]
    server: ServerArgs,
}

fn speed(text: &str) -> Result<f64, String> {
    match text.parse() {
        _ if text == "max" => Ok(f64::INFINITY),
        Ok(speed) if (0.01..=1e6).contains(&speed) => Ok(speed),
        _ => Err("expected a number from 0.01 to 1000000, or max".to_owned()),
    }
}

fn title(text: &str) -> Result<String, String> {
    checked_title(text).map(str::to_owned).map_err(|fault| fault.to_string())
}

/// The title that a file gives; standard input gives none.
fn name_of(file: &Path) -> Option<String> {
    let title = title_of_file(&file.file_name()?.to_string_lossy());
    (file != Path::new("-") && !title.is_empty()).then_some(title)
}

/// Runs the command and gives the exit code: 0 when the whole file was labelled, 66 if it cannot be read.
///
/// # Errors
/// The server cannot be reached, or refused or lost the stream.
pub fn run(args: Args) -> anyhow::Result<u8> {
    let address = args.server.address(&args.url)?;
    if let Err(fault) = args.input.check(std::iter::once(args.file.as_path())) {
        eprintln!("diarized: {fault}");
        return Ok(exit::USAGE);
    }
    let file = match args.input.open(&args.file) {
        Ok(file) => file,
        Err(error) => {
            eprintln!("diarized: {}", error_chain(&error));
            return Ok(exit::NO_INPUT);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(play(&args, &address, file))
}

async fn play(args: &Args, address: &Address, file: AudioFile) -> anyhow::Result<u8> {
    let terminal = Terminal::new();
    let mut view = View::new(terminal.colour());
    let mut lines = Vec::new();
    let mut session = String::new();
    let mut written = Ok(());
    let total = file.duration().map(|d| format!(" of {:.0} s", d.as_secs_f64())).unwrap_or_default();
    let title = args.title.clone().or_else(|| name_of(&args.file));
    let naming = Naming {
        session: args.session.as_deref(),
        title: title.as_deref(),
        keep_audio: args.no_keep_audio.then_some(false),
        asr: args.no_asr.then_some(false),
    };
    let playing = publish(address, naming, file, Playback { speed: args.speed }, |news| {
        let message = match news {
            News::Message(_, text) | News::Unknown(text) if args.json => {
                written = std::mem::replace(&mut written, Ok(())).and_then(|()| terminal.line(&text));
                return;
            }
            News::Message(message, _) => message,
            News::Lost { reason, retry_in } => {
                let retry_in = retry_in.as_secs_f64();
                return terminal.note(&format!("{reason}; trying again in {retry_in:.1} s"));
            }
            News::Back => return terminal.note("connected again; the session goes on"),
            News::Unknown(_) | News::Closed { .. } => return,
        };
        if let Some(id) = &message.session {
            session.clone_from(id);
        }
        view.take(&message, &mut lines);
        for line in lines.drain(..) {
            written = std::mem::replace(&mut written, Ok(())).and_then(|()| terminal.line(&line));
        }
        terminal.live(format!("{}{total}", view.live()));
    });
    let mut stop = StopSignals::new()?;
    let outcome = tokio::select! {
        outcome = playing => outcome,
        () = stop.next() => {
            terminal.clear();
            terminal.note("stopped; the server keeps the labels of the audio that it has received");
            return Ok(exit::FAILURE);
        }
    };
    terminal.clear();
    written?;
    let summary = match outcome {
        Ok(summary) => summary,
        Err(error) => return failed(error),
    };
    for problem in &summary.problems {
        terminal.note(&format!("{}: {problem}", args.file.display()));
    }
    let totals = if args.json { Vec::new() } else { view.totals(&session) };
    totals.iter().try_for_each(|line| terminal.line(line))?;
    Ok(exit::OK)
}

/// The exit code of a file that could not be read; other errors go on.
fn failed(error: PublishError) -> anyhow::Result<u8> {
    let PublishError::File(error) = error else { return Err(error.into()) };
    eprintln!("diarized: {}", error_chain(&error));
    Ok(exit::NO_INPUT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gives_the_title_and_standard_input_none() {
        assert_eq!(name_of(Path::new("/a/Weekly 3.flac")).as_deref(), Some("Weekly 3.flac"));
        assert_eq!((name_of(Path::new("-")), name_of(Path::new("/"))), (None, None));
        assert!(title(&"x".repeat(201)).is_err());
    }

    #[test]
    fn a_speed_is_a_number_or_max() {
        assert_eq!((speed("2.5"), speed("max")), (Ok(2.5), Ok(f64::INFINITY)));
        for text in ["0", "-1", "nan", "inf", "fast"] {
            assert!(speed(text).is_err(), "{text}");
        }
    }
}
