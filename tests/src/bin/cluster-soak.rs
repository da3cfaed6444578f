//! Kills one process of a cluster after the other and reports what subscribers lose; `scripts/cluster-soak` runs it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Parser;
use diarized_tests::cluster_soak::{Bounds, Figures, Plan, Shape, kept_folder, remove_folder, run};

/// Soaks three nodes and three servers of NATS, one of which is killed in every minute. Exit code 1 if an event is lost or doubled,
/// a session does not end as its publisher ends it, nodes hold different snapshots, or a subscriber waits too long.
#[derive(Debug, Parser)]
struct Args {
    /// The binary.
    #[arg(long, value_name = "FILE", default_value = "target/release/diarized")]
    server: PathBuf,
    /// Live sessions at once, each as long as the conversation.
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u16).range(1..=1000))]
    sessions: u16,
    /// Followers of each session, one at each node in turn.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(0..=100))]
    followers: u16,
    /// How long sessions begin; the last ones are played to their end.
    #[arg(long, value_name = "M", default_value_t = 3.0)]
    minutes: f64,
    /// What is played, mono at 16 kHz [default: the example conversation].
    #[arg(long, value_name = "FILE")]
    conversation: Option<PathBuf>,
    /// How long a killed node is away.
    #[arg(long, value_name = "S", default_value_t = 25)]
    node_away_s: u64,
    /// How long a killed server of NATS is away.
    #[arg(long, value_name = "S", default_value_t = 10)]
    nats_away_s: u64,
    /// Kill nobody, and report what an hour of a session takes of the processor and of NATS.
    #[arg(long)]
    quiet: bool,
    /// The same for one node without NATS as well, and how much more a cluster takes for it.
    #[arg(long)]
    capacity: bool,
    /// Longest time that a subscriber may be without events and `stats`.
    #[arg(long, value_name = "S", default_value_t = Bounds::default().pause_s)]
    max_pause_s: f64,
    /// What decides who is killed [default: the clock].
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Leave the files and logs of the processes where they are, even if all is well.
    #[arg(long)]
    keep: bool,
}

impl Args {
    fn plan(&self, shape: Shape, seed: u64) -> anyhow::Result<Plan> {
        let example = || Path::new(env!("CARGO_MANIFEST_DIR")).join("data/example/conversation.flac");
        let away = (Duration::from_secs(self.node_away_s), Duration::from_secs(self.nats_away_s));
        Ok(Plan {
            program: self.server.clone(),
            shape,
            conversation: self.conversation.clone().unwrap_or_else(example),
            n_sessions: usize::from(self.sessions),
            n_followers: usize::from(self.followers),
            length: Duration::try_from_secs_f64(self.minutes * 60.0)?,
            away: (!self.quiet && !self.capacity).then_some(away),
            seed,
            folder: kept_folder()?,
        })
    }

    /// One soak; whether all was well, and what the sessions took.
    fn soak(&self, shape: Shape) -> anyhow::Result<(bool, Option<Figures>)> {
        let clock = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let seed = self.seed.unwrap_or_else(clock);
        let plan = self.plan(shape, seed)?;
        let folder = plan.folder.display();
        println!("{} live sessions for {} min, seed {seed}, logs in {folder}", self.sessions, self.minutes);
        let report = run(&plan, |line| println!("{line}"))?;
        let verdict = report.verdict(&Bounds { pause_s: self.max_pause_s, ..Bounds::default() });
        print!("\n{}", report.text());
        if let Some(figures) = &report.figures {
            print!("\n{}", figures.text());
        }
        verdict.iter().for_each(|line| println!("FAILED: {line}"));
        println!("cluster soak: {}", if verdict.is_empty() { "passed" } else { "failed" });
        if verdict.is_empty() && !self.keep {
            remove_folder(&plan.folder);
        } else {
            println!("files and logs: {folder}");
        }
        Ok((verdict.is_empty(), report.figures))
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let mut is_well = true;
    if args.capacity {
        println!("One node alone:");
        let (alone_is_well, alone) = args.soak(Shape::Alone)?;
        println!("\nThree nodes and three servers of NATS:");
        let (cluster_is_well, cluster) = args.soak(Shape::Cluster)?;
        is_well = alone_is_well && cluster_is_well;
        if let (Some(alone), Some(cluster)) = (alone, cluster) {
            print!("\n{}", compared(&alone, &cluster));
        }
    } else {
        is_well &= args.soak(Shape::Cluster)?.0;
    }
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// How many sessions one core carries in both shapes, by the processor time that an hour of a session takes.
fn compared(alone: &Figures, cluster: &Figures) -> String {
    let ((alone_s, _), (nodes_s, nats_s)) = (alone.cpu_s(), cluster.cpu_s());
    let together_s = nodes_s + nats_s;
    format!(
        "processor of a session-hour: {alone_s:.1} s alone; {nodes_s:.1} s of nodes and {nats_s:.1} s of NATS in the cluster\n\
         sessions that a fully used core carries: {:.1} alone, {:.1} in the cluster\n\
         three machines in a cluster, NATS on the same ones, carry {:.2} times what one alone carries\n",
        3600.0 / alone_s,
        3600.0 / together_s,
        3.0 * alone_s / together_s
    )
}
