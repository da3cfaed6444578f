//! The processes: three servers of NATS as one JetStream cluster and three nodes, each of which can be killed and started again;
//! or one node alone.

use std::fs::OpenOptions;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use super::http::get;
use super::usage::{Usage, cpu_s};

/// Servers of NATS and nodes of a cluster.
pub(super) const N_EACH: usize = 3;

/// What carries the sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Three nodes and three servers of NATS.
    Cluster,
    /// One node without NATS.
    Alone,
}

impl Shape {
    /// Number of nodes.
    pub(super) fn n_nodes(self) -> usize {
        if self == Self::Cluster { N_EACH } else { 1 }
    }

    fn n_nats(self) -> usize {
        if self == Self::Cluster { N_EACH } else { 0 }
    }
}

/// How long nodes may take to join their cluster at the start.
const START: Duration = Duration::from_secs(90);
/// Key of the voices, the same for all nodes: what one node has sealed another one opens.
const VOICES_KEY: &str = "6b3f0c5d9e8a7142b6c1d0e9f8a7b6c5d4e3f2a1908172635445362718090a1b";

/// One of the six, by its number among its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Member {
    /// A node.
    Node(usize),
    /// A server of NATS.
    Nats(usize),
}

impl std::fmt::Display for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Node(idx) => write!(f, "node{}", idx + 1),
            Self::Nats(idx) => write!(f, "nats{}", idx + 1),
        }
    }
}

/// One program, whether it runs or not.
#[derive(Debug)]
struct Process {
    member: Member,
    program: PathBuf,
    args: Vec<String>,
    log: PathBuf,
    child: Option<Child>,
}

impl Process {
    fn start(&mut self) -> anyhow::Result<()> {
        let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let child = Command::new(&self.program)
            .args(&self.args)
            // As the systemd unit has it.
            .env("MALLOC_ARENA_MAX", "2")
            .env("DIARIZED_VOICES_KEY", VOICES_KEY)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot run {}", self.program.display()))?;
        self.child = Some(child);
        Ok(())
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // The process may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// All of them; killed when dropped.
#[derive(Debug)]
pub(super) struct Processes {
    all: Vec<Process>,
    /// Where the nodes listen.
    pub(super) nodes: Vec<SocketAddr>,
    /// Where the servers of NATS show their figures.
    monitors: Vec<SocketAddr>,
}

impl Processes {
    /// Starts all of them with their files in `folder`, and waits until the nodes are one cluster.
    ///
    /// # Errors
    /// One of them cannot be started or does not join.
    pub(super) async fn start(
        shape: Shape,
        program: &Path,
        folder: &Path,
        n_sessions: usize,
    ) -> anyhow::Result<Self> {
        let n_nats = shape.n_nats();
        let nats = if n_nats > 0 { nats_server()? } else { PathBuf::new() };
        let addrs = free_addrs(3 * n_nats + shape.n_nodes())?;
        let (clients, rest) = addrs.split_at(n_nats);
        let (routes, rest) = rest.split_at(n_nats);
        let (monitors, nodes) = rest.split_at(n_nats);
        let servers: Vec<String> = clients.iter().map(|addr| format!("nats://{addr}")).collect();
        let process = |member: Member, program: &Path, args: Vec<String>| Process {
            member,
            program: program.to_owned(),
            args,
            log: folder.join(format!("{member}.log")),
            child: None,
        };
        let nats = (0..n_nats).map(|idx| {
            let member = Member::Nats(idx);
            let mut args = nats_args(member, clients[idx], routes[idx], routes, folder);
            args.extend(["-m".to_owned(), monitors[idx].port().to_string()]);
            process(member, &nats, args)
        });
        let of_nodes = (0..nodes.len()).map(|idx| {
            let member = Member::Node(idx);
            process(member, program, node_args(member, nodes[idx], &servers, folder, n_sessions))
        });
        let all = nats.chain(of_nodes).collect();
        let mut processes = Self { all, nodes: nodes.to_vec(), monitors: monitors.to_vec() };
        for process in &mut processes.all {
            process.start()?;
        }
        let began = Instant::now();
        for (idx, node) in nodes.iter().enumerate() {
            while !get(*node, "/readyz").await.is_ok_and(|(status, _)| status == 200) {
                processes.check()?;
                ensure!(began.elapsed() < START, "{} does not join its cluster", Member::Node(idx));
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
        Ok(processes)
    }

    fn of(&mut self, member: Member) -> &mut Process {
        self.all.iter_mut().find(|process| process.member == member).expect("there are six")
    }

    /// Kills one as if its machine had gone.
    pub(super) fn kill(&mut self, member: Member) {
        self.of(member).kill();
    }

    /// Starts it where it was.
    ///
    /// # Errors
    /// It cannot be started.
    pub(super) fn start_again(&mut self, member: Member) -> anyhow::Result<()> {
        self.of(member).start()
    }

    /// Whether those that were started still run.
    ///
    /// # Errors
    /// One has ended by itself.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        for process in &mut self.all {
            if let Some(child) = &mut process.child
                && let Some(status) = child.try_wait()?
            {
                bail!("{} ended by itself with {status}; see {}", process.member, process.log.display());
            }
        }
        Ok(())
    }

    /// What they have taken of the machine so far.
    ///
    /// # Errors
    /// One of them does not run, or shows no figures.
    pub(super) async fn usage(&self) -> anyhow::Result<Usage> {
        let (mut nodes_cpu_s, mut nats_cpu_s) = (0.0, 0.0);
        for process in &self.all {
            let id = process.child.as_ref().with_context(|| format!("{} does not run", process.member))?.id();
            match process.member {
                Member::Node(_) => nodes_cpu_s += cpu_s(id)?,
                Member::Nats(_) => nats_cpu_s += cpu_s(id)?,
            }
        }
        Usage::read(nodes_cpu_s, nats_cpu_s, &self.monitors).await
    }

    /// Lines of the nodes' logs that report panics.
    ///
    /// # Errors
    /// A log cannot be read.
    pub(super) fn panics(&self) -> anyhow::Result<Vec<String>> {
        let mut panics = Vec::new();
        for process in &self.all {
            let log = std::fs::read(&process.log)?;
            let log = String::from_utf8_lossy(&log);
            let lines = log.lines().filter(|line| line.contains("panicked"));
            panics.extend(lines.map(|line| format!("{}: {line}", process.member)));
        }
        Ok(panics)
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        self.all.iter_mut().for_each(Process::kill);
    }
}

/// The program of NATS; Debian has it where only root's path leads.
fn nats_server() -> anyhow::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut programs = std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/bin".into()])
        .map(|folder| folder.join("nats-server"));
    programs
        .find(|program| program.is_file())
        .context("there is no nats-server (apt-get install nats-server)")
}

/// Addresses that are free now.
fn free_addrs(n: usize) -> anyhow::Result<Vec<SocketAddr>> {
    // All are held until the last one is found, so that none comes twice.
    let listeners: Vec<_> = (0..n).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    Ok(listeners.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?)
}

fn nats_args(
    member: Member,
    client: SocketAddr,
    route: SocketAddr,
    routes: &[SocketAddr],
    folder: &Path,
) -> Vec<String> {
    let others: Vec<String> =
        routes.iter().filter(|other| **other != route).map(|other| format!("nats://{other}")).collect();
    let store = folder.join(member.to_string());
    let args: [&str; 15] = [
        "-js",
        "-n",
        &member.to_string(),
        "-a",
        "127.0.0.1",
        "-p",
        &client.port().to_string(),
        "-sd",
        &store.display().to_string(),
        "--cluster_name",
        "soak",
        "--cluster",
        &format!("nats://{route}"),
        "--routes",
        &others.join(","),
    ];
    args.map(str::to_owned).to_vec()
}

fn node_args(
    member: Member,
    listen: SocketAddr,
    servers: &[String],
    folder: &Path,
    n_sessions: usize,
) -> Vec<String> {
    let n_connections = 16 * n_sessions + 64;
    let of_cluster = [
        format!("cluster.nats={}", servers.join(",")),
        format!("cluster.node={member}"),
        format!("cluster.replicas={N_EACH}"),
    ];
    let of_all = [
        format!("storage.path={}", folder.join(format!("{member}.sqlite")).display()),
        format!("server.max_sessions={}", 2 * n_sessions + 8),
        format!("server.max_connections={n_connections}"),
        format!("server.max_connections_per_address={n_connections}"),
    ];
    let mut args = vec!["serve".to_owned(), "--listen".to_owned(), listen.to_string()];
    let of_cluster = of_cluster.into_iter().filter(|_| !servers.is_empty());
    args.extend(of_cluster.chain(of_all).flat_map(|setting| ["--set".to_owned(), setting]));
    args
}
