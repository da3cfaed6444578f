//! `diarized bench`: speed and memory of labelling on this machine, and the number of sessions of a server.

mod audio;
mod first_label;
mod load;
mod machine;
mod memory;
mod progress;
mod report;
mod single;
mod spread;

use std::path::PathBuf;

use diarized_config::Config;

use super::config_args::ConfigArgs;
use super::model_args::ModelArgs;
use crate::error_chain::error_chain;
use crate::exit;
use crate::interrupt::on_interrupt;
use crate::output::write_stdout;
use audio::BenchAudio;
use machine::Machine;
use progress::Progress;

const EXAMPLES: &str = "\
Without --sessions one thread labels a looped recording as fast as possible. It reports
  - the real-time factor: seconds of work for a second of audio: total, network,
    everything else;
  - one window of each length through the network: median and 99th percentile;
  - audio received from the onset of speech to its first label;
  - resident memory: of the process with its model, of each further session, along the stream.
With --sessions a separate server starts on a free loopback port, and N clients stream to it
over WebSocket in real time. The command reports
  - onset to label: from the start of speech to the arrival of its first label;
  - lag: from the last audio needed for a first label to its arrival: the delay of the
    machine;
  - processor time, memory and windows of the server, and the time of each kind of thread.
Tokens and stored sessions, if configured, are in temporary files. A server with a certificate
is measured without encryption.

Examples:
  diarized bench                              five minutes of the example conversation
  diarized bench meeting.wav --hours 3        a long stream: is memory flat?
  diarized bench --json >speed.json           for a script
  diarized bench --sessions 16                sixteen live sessions for 30 s
  diarized bench --sessions 16 --step-ms 500  the same with a window every half second
  taskset -c 1 diarized bench --sessions 8 --find --server-cores 0
          maximum number of sessions on core 0 with a lag p99 below 1 s; the clients run on core 1

Figures are valid only on a quiet machine and for a release build; the report states both.

Exit codes: 0 done, 1 the server failed, 66 the audio or the model cannot be read, 73 the output
cannot be written, 78 wrong configuration, 130 interrupted (figures so far are printed if there
are enough).";

/// Arguments of `diarized bench`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Audio to label, looped to the requested length [default: the example conversation inside the binary].
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,

    /// Length of the measurement in seconds of audio [default: 300, with --sessions 30].
    #[arg(long, value_name = "S", value_parser = parse_seconds, conflicts_with = "hours")]
    seconds: Option<f64>,

    /// Length of the measurement in hours of audio.
    #[arg(long, value_name = "H", value_parser = parse_hours)]
    hours: Option<f64>,

    /// Number of concurrent sessions for the measurement of memory.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1000))]
    memory_sessions: u16,

    /// Number of live sessions to load a server with.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    sessions: Option<u16>,

    /// Search the maximum number of sessions with a lag p99 below --limit-s, starting from --sessions.
    #[arg(long, requires = "sessions")]
    find: bool,

    /// Limit of the lag for --find, in seconds.
    #[arg(long, value_name = "S", default_value_t = 1.0, requires = "find", value_parser = parse_limit)]
    limit_s: f64,

    /// Cores of the server in the format of taskset, such as `0` or `0,1` [default: all].
    #[arg(long, value_name = "LIST", requires = "sessions")]
    server_cores: Option<String>,

    #[command(flatten)]
    model: ModelArgs,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,

    /// Hide progress.
    #[arg(short, long)]
    quiet: bool,

    #[command(flatten)]
    config: ConfigArgs,
}

fn parse_seconds(text: &str) -> Result<f64, String> {
    number(text, 0.1..=1e6)
}

fn parse_limit(text: &str) -> Result<f64, String> {
    number(text, 0.001..=60.0)
}

fn parse_hours(text: &str) -> Result<f64, String> {
    number(text, 0.001..=1000.0)
}

fn number(text: &str, range: std::ops::RangeInclusive<f64>) -> Result<f64, String> {
    let value = text.parse().ok().filter(|value| range.contains(value));
    value.ok_or_else(|| format!("expected a number from {} to {}", range.start(), range.end()))
}

impl Args {
    /// Length of the measurement in seconds of audio.
    fn length_s(&self) -> f64 {
        let default = if self.sessions.is_some() { 30.0 } else { 300.0 };
        self.seconds.or(self.hours.map(|hours| hours * 3600.0)).unwrap_or(default)
    }

    /// The arguments that give a server the configuration of this command.
    fn server_args(&self) -> Vec<String> {
        let mut args = Vec::new();
        if let Some(path) = &self.config.config {
            args.extend(["--config".to_owned(), path.display().to_string()]);
        }
        let sets = self.config.set.iter().map(|(key, value)| format!("{key}={value}"));
        let flags =
            self.model.flags().into_iter().filter_map(|(_, key, value)| Some(format!("{key}={}", value?)));
        args.extend(sets.chain(flags).flat_map(|set| ["--set".to_owned(), set]));
        args
    }
}

/// Runs the command and gives the exit code.
///
/// # Errors
/// A server or a client fails, or the system gives no thread.
pub fn run(args: Args) -> anyhow::Result<u8> {
    let config = match args.config.load(&args.model.flags()) {
        Ok(loaded) => loaded.config,
        Err(code) => return Ok(code),
    };
    let progress = Progress::new(args.quiet);
    let stop = {
        let progress = progress.clone();
        on_interrupt(move || progress.note("diarized: interrupted; Ctrl-C again ends at once"))?
    };
    let machine = Machine::this();
    let audio = match BenchAudio::load(args.file.as_deref()) {
        Ok(audio) => audio,
        Err(error) => {
            eprintln!("diarized: {}", error_chain(&*error));
            return Ok(exit::NO_INPUT);
        }
    };
    let is_interrupted = || stop.load(std::sync::atomic::Ordering::Relaxed);
    let text = match args.sessions {
        Some(n_sessions) => {
            let plan = load::Plan {
                n_sessions: usize::from(n_sessions),
                seconds: args.length_s(),
                find_below_s: args.find.then_some(args.limit_s),
                server_args: args.server_args(),
                server_cores: args.server_cores.clone(),
            };
            match load::measure(&plan, &config, &audio, &progress, &stop)? {
                Some(figures) => report::load(&machine, &audio, &config, &figures, args.json),
                None => return Ok(exit::INTERRUPTED),
            }
        }
        None => {
            let (single, memory) = measure_alone(&args, &config, &audio, &progress, &stop)?;
            report::single(&machine, &audio, &config, &single, &memory, args.json)
        }
    };
    progress.clear();
    write_stdout(&text)?;
    Ok(if is_interrupted() { exit::INTERRUPTED } else { exit::OK })
}

fn measure_alone(
    args: &Args,
    config: &Config,
    audio: &BenchAudio,
    progress: &Progress,
    stop: &std::sync::atomic::AtomicBool,
) -> anyhow::Result<(single::Figures, memory::Figures)> {
    let rss_before_bytes = machine::memory_of("self").map(|memory| memory.resident_bytes);
    let bench = single::Bench::load(config)?;
    let rss_base_bytes = machine::memory_of("self").map(|memory| memory.resident_bytes);
    let (single, replay) = bench.stream(audio, args.length_s(), progress, stop)?;
    let sessions = replay.hold_sessions(usize::from(args.memory_sessions), audio, progress, stop)?;
    let memory = memory::Figures {
        before_model_bytes: rss_before_bytes,
        base_bytes: rss_base_bytes,
        sessions,
        stream: replay.stream_memory().clone(),
    };
    Ok((single, memory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_numbers_in_range() {
        assert_eq!((parse_seconds("0.5"), parse_hours("24")), (Ok(0.5), Ok(24.0)));
        for text in ["0", "-1", "nan", "inf", "long", "1e9"] {
            assert!(parse_seconds(text).is_err() && parse_hours(text).is_err(), "{text}");
        }
    }
}
