//! `diarized cluster`: looks at the nodes that share their sessions over NATS.

use super::config_args::ConfigArgs;
use super::voice_args::table;
use crate::cluster::{Overview, overview};
use crate::error_chain::error_chain;
use crate::exit;
use crate::output::write_stdout;

/// Arguments of `diarized cluster`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List the nodes that are there, with their sessions and room for more. The servers of NATS are those of the
    /// configuration (cluster.nats).
    Status {
        /// Write JSON.
        #[arg(long)]
        json: bool,

        #[command(flatten)]
        config: ConfigArgs,
    },
}

/// Runs the command and gives the exit code.
///
/// # Errors
/// NATS cannot be reached, or standard output takes no more.
pub fn run(args: Args) -> anyhow::Result<u8> {
    let Action::Status { json, config } = args.action;
    let loaded = match config.load(&[]) {
        Ok(loaded) => loaded,
        Err(code) => return Ok(code),
    };
    let cluster = loaded.config.cluster;
    if cluster.nats.is_empty() {
        eprintln!(
            "diarized: which cluster? set cluster.nats and cluster.node in the configuration (docs/cluster.md)"
        );
        return Ok(exit::CONFIG);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let seen = match runtime.block_on(overview(&cluster)) {
        Ok(seen) => seen,
        Err(error) => {
            eprintln!("diarized: {}", error_chain(&error));
            return Ok(exit::FAILURE);
        }
    };
    let text = if json { format!("{}\n", serde_json::to_string(&seen)?) } else { text_of(&seen) };
    write_stdout(&text)?;
    Ok(exit::OK)
}

/// A line for each node.
fn text_of(seen: &Overview) -> String {
    if seen.nodes.is_empty() {
        return "no node is there\n".to_owned();
    }
    let head = ["NODE", "SESSIONS", "MOST", "LAG", "VERSION", "MODEL", "ADDRESS"];
    let rows = seen.nodes.iter().map(|node| {
        let lag = format!("{:.1} s{}", node.lag_s.0, if node.overloaded { " (too slow)" } else { "" });
        vec![
            node.node.clone(),
            node.sessions.to_string(),
            node.max_sessions.to_string(),
            lag,
            node.version.clone(),
            node.model.clone(),
            node.address.clone().unwrap_or_else(|| "-".to_owned()),
        ]
    });
    table(&head, &rows.collect::<Vec<_>>(), &[])
}
