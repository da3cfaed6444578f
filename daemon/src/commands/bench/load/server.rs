//! The server under load: this binary on a free loopback port.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context as _, bail};
use diarized_config::Config;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::{HeaderValue, header};

use super::own_files::OwnFiles;

/// A running server; killed when dropped.
pub(super) struct ServerProcess {
    child: Child,
    own: OwnFiles,
    /// Kept open, so that the server can write.
    _stdout: BufReader<ChildStdout>,
    address: String,
}

impl ServerProcess {
    /// Starts a server with room for `n_sessions`, on the given cores, and waits until it is ready.
    ///
    /// # Errors
    /// It cannot be started, or reports that it cannot serve; its messages go to stderr.
    pub(super) fn start(
        n_sessions: usize,
        config: &Config,
        args: &[String],
        cores: Option<&str>,
    ) -> anyhow::Result<Self> {
        let own = OwnFiles::in_place_of(config)?;
        let program = std::env::current_exe()?;
        let mut command = match cores {
            None => Command::new(&program),
            Some(cores) => {
                let mut command = Command::new("taskset");
                command.args(["-c", cores]).arg(&program);
                command
            }
        };
        let room = |key: &str, n: usize| format!("server.{key}={n}");
        command
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(args)
            .args(own.settings.iter().flat_map(|setting| ["--set", setting]))
            .args(["--set", &room("max_sessions", n_sessions + 1)])
            .args(["--set", &room("max_connections", n_sessions + 16)])
            .args(["--set", &room("max_connections_per_address", n_sessions + 16)])
            .args(["--set", "log.level=error", "--set", "capture.enabled=false"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| match cores {
            Some(_) => "cannot run taskset (Debian: apt-get install util-linux)".to_owned(),
            None => format!("cannot run {}", program.display()),
        })?;
        let stdout = child.stdout.take().context("the server's standard output is a pipe")?;
        let mut server = Self { child, own, _stdout: BufReader::new(stdout), address: String::new() };
        let mut line = String::new();
        server._stdout.read_line(&mut line)?;
        let Some((_, rest)) = line.split_once("is ready at http://") else {
            bail!("it ended, or its first line is not the one of a ready server: {line:?}");
        };
        server.address = rest.split([' ', '\n']).next().unwrap_or_default().to_owned();
        Ok(server)
    }

    /// Number of the process.
    pub(super) fn pid(&self) -> String {
        self.child.id().to_string()
    }

    /// How a client asks for a path, which begins with `/`.
    ///
    /// # Errors
    /// The path is none.
    pub(super) fn request(&self, path: &str) -> anyhow::Result<Request> {
        let mut request = format!("ws://{}{path}", self.address).into_client_request()?;
        if let Some(token) = &self.own.token {
            let mut value = HeaderValue::try_from(format!("Bearer {token}"))?;
            value.set_sensitive(true);
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        Ok(request)
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // Its sessions were ended by their clients or do not matter any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
