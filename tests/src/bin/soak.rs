//! Leaves a server under a steady load of live sessions and reports growth and faults; `scripts/soak` runs it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use diarized_tests::soak::{Bounds, Plan, run};

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
    /// Memory that the server may gain over the measured time, in MB.
    #[arg(long, value_name = "MB", default_value_t = Bounds::default().growth_bytes / 1e6)]
    max_growth_mb: f64,
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let example = || Path::new(env!("CARGO_MANIFEST_DIR")).join("data/example/conversation.flac");
    let plan = Plan {
        program: args.server,
        conversation: args.conversation.unwrap_or_else(example),
        n_sessions: usize::from(args.sessions),
        length: Duration::try_from_secs_f64(args.minutes * 60.0)?,
    };
    println!("{} live sessions for {} min", args.sessions, args.minutes);
    let report = run(&plan, |line| println!("{line}"))?;
    print!("{}", report.text());
    let bounds = Bounds { growth_bytes: args.max_growth_mb * 1e6, ..Bounds::default() };
    let verdict = report.verdict(&bounds);
    verdict.iter().for_each(|line| println!("FAILED: {line}"));
    println!("soak: {}", if verdict.is_empty() { "passed" } else { "failed" });
    Ok(if verdict.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
