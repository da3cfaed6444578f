//! The server that is soaked: the real binary, which keeps sessions and asks for tokens, and the system's figures of it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context as _, bail, ensure};

/// A running server; killed when dropped.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    /// Kept open, so that the server can write.
    _stdout: BufReader<ChildStdout>,
    log: PathBuf,
    /// Where it listens.
    pub(super) addr: SocketAddr,
    /// What its clients show.
    pub(super) token: String,
}

/// Figures of the server at one moment, by the system and by itself.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Measured {
    /// Memory that is resident, in bytes.
    pub resident_bytes: f64,
    /// Threads.
    pub n_threads: usize,
    /// Open files and sockets.
    pub n_files: usize,
}

impl Server {
    /// Starts `program serve` in `folder` with these settings of the configuration.
    ///
    /// # Errors
    /// It cannot be started, or it cannot serve.
    pub(super) fn start(program: &Path, folder: &Path, settings: &[String]) -> anyhow::Result<Self> {
        let token = add_token(program, folder, "soak", "publish,subscribe,metrics")?;
        let own = [
            format!("server.token_file={}", token_file(folder)),
            format!("storage.path={}", folder.join("sessions.sqlite").display()),
        ];
        let log = folder.join("server.log");
        let mut child = Command::new(program)
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(own.iter().chain(settings).flat_map(|setting| ["--set", setting]))
            // As the systemd unit has it.
            .env("MALLOC_ARENA_MAX", "2")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(&log)?)
            .spawn()?;
        let mut stdout = BufReader::new(child.stdout.take().context("standard output is a pipe")?);
        let mut line = String::new();
        stdout.read_line(&mut line)?;
        let Some((_, rest)) = line.split_once("is ready at http://") else {
            bail!("the server is not ready: {line:?} {}", std::fs::read_to_string(&log).unwrap_or_default());
        };
        let addr = rest.split(' ').next().unwrap_or_default().parse()?;
        Ok(Self { child, _stdout: stdout, log, addr, token })
    }

    /// What it takes of the machine.
    ///
    /// # Errors
    /// The system has no figures, or the server is gone.
    pub(super) fn measure(&self) -> anyhow::Result<Measured> {
        let process = format!("/proc/{}", self.child.id());
        let status = std::fs::read_to_string(format!("{process}/status"))
            .context("the server is gone, or this system does not tell of processes")?;
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<usize>().ok()
        };
        Ok(Measured {
            resident_bytes: number("VmRSS:").context("the server is gone")? as f64 * 1024.0,
            n_threads: number("Threads:").context("the server has threads")?,
            n_files: std::fs::read_dir(format!("{process}/fd"))?.count(),
        })
    }

    /// Numbers of the metrics page.
    ///
    /// # Errors
    /// The server does not answer, or has none of this name.
    pub(super) fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let mut tcp = TcpStream::connect(self.addr)?;
        write!(
            tcp,
            "GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\r\n",
            self.addr, self.token
        )?;
        let mut page = String::new();
        tcp.read_to_string(&mut page)?;
        let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(value.with_context(|| format!("no {name} in {page}"))?.trim().parse()?)
    }

    /// Asks it to stop; gives its exit code and the lines of its log that report faults.
    ///
    /// # Errors
    /// It cannot be asked.
    pub(super) fn stop(mut self) -> anyhow::Result<(Option<i32>, Vec<String>)> {
        let pid = self.child.id().to_string();
        ensure!(Command::new("kill").args(["-TERM", &pid]).status()?.success(), "the server is gone already");
        let code = self.child.wait()?.code();
        let log = std::fs::read_to_string(&self.log)?;
        let faults = log.lines().filter(|line| line.contains("ERROR") || line.contains("panicked"));
        Ok((code, faults.map(str::to_owned).collect()))
    }
}

fn token_file(folder: &Path) -> String {
    folder.join("tokens").display().to_string()
}

/// Adds a token with these scopes to those of the server in `folder`.
///
/// # Errors
/// The program does not make one.
pub(super) fn add_token(program: &Path, folder: &Path, name: &str, scopes: &str) -> anyhow::Result<String> {
    let made = Command::new(program)
        .args(["token", "add", name, "--scope", scopes, "--file", &token_file(folder)])
        .output()
        .with_context(|| format!("cannot run {}", program.display()))?;
    ensure!(made.status.success(), "no token: {}", String::from_utf8_lossy(&made.stderr));
    Ok(String::from_utf8(made.stdout)?.trim().to_owned())
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
