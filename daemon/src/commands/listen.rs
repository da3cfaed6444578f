//! `diarized listen`: follows a running server in the terminal.

use super::server_args::{ServerArgs, session_id};
use crate::client::{Address, Follow, News, Terminal, View};
use crate::exit;
use crate::interrupt::StopSignals;
use crate::protocol::{Body, CloseCode};

/// Arguments of `diarized listen`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Address of the server, such as ws://127.0.0.1:7007; a session in its query is followed alone.
    #[arg(value_name = "URL", default_value = "ws://127.0.0.1:7007")]
    url: String,

    /// Session to follow [default: all sessions].
    #[arg(long, value_name = "ID", value_parser = session_id)]
    session: Option<String>,

    /// Start with the events after this number instead of a snapshot; needs a session.
    #[arg(long, value_name = "SEQ")]
    since: Option<u64>,

    /// Print every message unchanged, one line each.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    server: ServerArgs,
}

/// Runs the command until the session ends or Ctrl-C, and gives the exit code.
///
/// # Errors
/// The server cannot be reached, or standard output is closed.
pub fn run(args: Args) -> anyhow::Result<u8> {
    let address = args.server.address(&args.url)?;
    let session = args.session.or_else(|| address.session.clone()).unwrap_or_else(|| "*".to_owned());
    if session == "*" && args.since.is_some() {
        anyhow::bail!("--since counts the events of one session; name it with --session");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(follow(address, &session, args.since, args.json))
}

async fn follow(address: Address, session: &str, since: Option<u64>, json: bool) -> anyhow::Result<u8> {
    let terminal = Terminal::new();
    let mut view = View::new(terminal.colour());
    let mut lines = Vec::new();
    let shown = if session == "*" { "all sessions".to_owned() } else { format!("session {session}") };
    // Whether the error that ends it was shown among the labels.
    let mut is_told = false;
    let mut follow = Follow::connect(address.clone(), session, since).await?;
    let mut stop = StopSignals::new()?;
    terminal.note(&format!("following {shown} of {address}; Ctrl-C ends"));
    loop {
        let news = tokio::select! {
            news = follow.next() => news,
            () = stop.next() => {
                terminal.clear();
                follow.leave().await;
                return Ok(exit::OK);
            }
        };
        match news {
            News::Message(_, text) if json => terminal.line(&text)?,
            News::Message(message, _) => {
                is_told = matches!(&message.body, Body::Error(error) if error.fatal);
                view.take(&message, &mut lines);
                for line in lines.drain(..) {
                    terminal.line(&line)?;
                }
                terminal.live(view.live());
            }
            News::Unknown(text) if json => terminal.line(&text)?,
            News::Unknown(_) => {}
            News::Lost { reason, retry_in } => {
                terminal.note(&format!("{reason}; trying again in {:.1} s", retry_in.as_secs_f64()));
            }
            News::Back => terminal.note("connected again"),
            News::Closed { code, reason } => {
                terminal.clear();
                let is_done = code == CloseCode::Done.as_u16();
                if !is_done && !is_told {
                    let reason = reason.unwrap_or_else(|| format!("closed with {code}"));
                    terminal.note(&reason);
                }
                return Ok(if is_done { exit::OK } else { exit::FAILURE });
            }
        }
    }
}
