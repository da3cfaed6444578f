//! Leaves a server under a steady load of live sessions and reports growth and faults; `scripts/soak` runs it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use diarized_tests::soak::{Bounds, HostileBounds, HostilePlan, Plan, run, run_hostile};

/// Soaks a server of its own. Exit code 1 if memory or lag grows beyond the bounds, or anything is lost.
#[derive(Debug, Parser)]
struct Args {
    /// The binary.
    #[arg(long, value_name = "FILE", default_value = "target/release/diarized")]
    server: PathBuf,
    /// Live sessions at once; each is as long as the conversation, and another takes its place.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1000))]
    sessions: u16,
    /// How long, the first quarter being the warm-up.
    #[arg(long, value_name = "M", default_value_t = 3.0)]
    minutes: f64,
    /// What is played, mono at 16 kHz [default: the example conversation].
    #[arg(long, value_name = "FILE")]
    conversation: Option<PathBuf>,
    /// Memory that the server may gain, in MB: over the measured time, or with --hostile above what it had at first
    /// [default: 8, with --hostile 150].
    #[arg(long, value_name = "MB")]
    max_growth_mb: Option<f64>,
    /// Half of the clients mean harm; the good ones are one publisher a session and followers.
    #[arg(long)]
    hostile: bool,
    /// With --hostile, all clients.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u16).range(2..=1000))]
    clients: u16,
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let growth_bytes = args.max_growth_mb.map(|mb| mb * 1e6);
    let example = || Path::new(env!("CARGO_MANIFEST_DIR")).join("data/example/conversation.flac");
    let (program, n_sessions) = (args.server, usize::from(args.sessions));
    let conversation = args.conversation.unwrap_or_else(example);
    let length = Duration::try_from_secs_f64(args.minutes * 60.0)?;
    println!("{} live sessions for {} min", args.sessions, args.minutes);
    let note = |line: &str| println!("{line}");
    let (text, verdict) = if args.hostile {
        let n_clients = usize::from(args.clients);
        let report =
            run_hostile(&HostilePlan { program, conversation, n_clients, n_sessions, length }, note)?;
        let mut bounds = HostileBounds::default();
        bounds.growth_bytes = growth_bytes.unwrap_or(bounds.growth_bytes);
        (report.text(), report.verdict(&bounds))
    } else {
        let report = run(&Plan { program, conversation, n_sessions, length }, note)?;
        let mut bounds = Bounds::default();
        bounds.growth_bytes = growth_bytes.unwrap_or(bounds.growth_bytes);
        (report.text(), report.verdict(&bounds))
    };
    print!("{text}");
    verdict.iter().for_each(|line| println!("FAILED: {line}"));
    println!("soak: {}", if verdict.is_empty() { "passed" } else { "failed" });
    Ok(if verdict.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
