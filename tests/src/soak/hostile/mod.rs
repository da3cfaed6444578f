//! A hostile soak: good sessions beside clients that mean harm, with every scope and with none. Good sessions must get the
//! labels of a quiet server; nothing of theirs may be read or changed; memory and answers stay within bounds.

mod bombs;
mod enemies;
mod good;
mod report;
mod rights;
mod storm;
mod wire;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use diarized::client::Address;
use diarized_models::SessionState;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::server::{Server, add_token};
use enemies::{Count, Enemy, Kind};
use good::{Counts, Good, Known, play};
pub use report::{Acts, HostileBounds, HostileReport};
use rights::Holder;
use wire::Wire;

/// How long good clients are alone.
const ALONE: Duration = Duration::from_secs(60);
/// Time between two looks at the server.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Addresses that hostile clients come from, beside the one of the good ones.
const N_ADDRESSES: u8 = 10;
/// The quiet server is given the conversation this much faster than it is spoken.
const QUIET_SPEED: f64 = 8.0;
/// Of the conversation, what hostile publishers send.
const SPEECH_S: usize = 6;
/// The same of those who correct it.
const TALK_S: usize = 30;

/// What to do.
#[derive(Debug, Clone)]
pub struct HostilePlan {
    /// The binary.
    pub program: PathBuf,
    /// A conversation, mono at 16 kHz.
    pub conversation: PathBuf,
    /// All clients: half of them are hostile.
    pub n_clients: usize,
    /// Good publishers; the other good clients follow them.
    pub n_sessions: usize,
    /// How long, the good clients alone not counted.
    pub length: Duration,
}

/// Soaks as planned.
///
/// # Errors
/// The server does not start, or is gone.
pub fn run_hostile(plan: &HostilePlan, mut note: impl FnMut(&str)) -> anyhow::Result<HostileReport> {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name).display().to_string();
    let settings = [
        // Labels must not depend on how busy the machine is.
        "inference.thin_when_late=false".to_owned(),
        "server.max_sessions=200".to_owned(),
        // Sessions that hostile clients leave behind make room for their next ones.
        "server.resume_grace_s=3".to_owned(),
        "voices.enabled=true".to_owned(),
        format!("voices.path={}", at("voices.db")),
        format!("voices.key_file={}", at("voices.key")),
    ];
    // Before the start: the server reads its tokens then.
    let holders = holders(&plan.program, folder.path())?;
    let server = Server::start(&plan.program, folder.path(), &settings)?;
    let expected = quiet_labels(plan, &server)?;
    note(&format!("the quiet server found {} people", expected.speakers().len()));
    let stage = Stage::new(plan, &server, holders)?;
    let mut report = stage.play(plan, &server, expected, &mut note)?;
    let (code, errors) = server.stop()?;
    if code != Some(0) {
        report.faults.push(format!("the server ended with {code:?}"));
    }
    report.faults.extend(errors.into_iter().map(|line| format!("the server's log: {line}")));
    Ok(report)
}

/// A token of every scope, one that is none, and no token.
fn holders(program: &Path, folder: &Path) -> anyhow::Result<Vec<Holder>> {
    let mut all = vec![
        Holder { scope: "none", token: None },
        Holder {
            scope: "wrong",
            token: Some("dz_0123456789abcdef0123456789abcdef0123456789abcdef".to_owned()),
        },
    ];
    for scope in ["publish", "subscribe", "voices", "metrics", "admin"] {
        let token = add_token(program, folder, &format!("hostile-{scope}"), scope)?;
        all.push(Holder { scope, token: Some(token) });
    }
    Ok(all)
}

/// The labels of the conversation while nobody else is there.
fn quiet_labels(plan: &HostilePlan, server: &Server) -> anyhow::Result<SessionState> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let address = Address::parse(&server.addr.to_string())?.with_token(Some(&server.token));
    let playing = play(&address, "quiet", &plan.conversation, QUIET_SPEED, |_| {});
    let (received, played) = runtime.block_on(playing);
    played.context("the quiet session failed")?;
    received.check()?;
    Ok(received.state)
}

/// Everybody who takes part.
struct Stage {
    known: Arc<Known>,
    counts: Arc<Counts>,
    enemies: Vec<Enemy>,
    acts: BTreeMap<Kind, Arc<Count>>,
    breaches: mpsc::Receiver<String>,
    before_bytes: f64,
}

impl Stage {
    fn new(plan: &HostilePlan, server: &Server, holders: Vec<Holder>) -> anyhow::Result<Self> {
        let talk = Arc::new(speech(&plan.conversation, TALK_S)?);
        let speech = Arc::new(speech(&plan.conversation, SPEECH_S)?);
        let (bombs, holders) = (Arc::new(bombs::all(&speech)), Arc::new(holders));
        let acts: BTreeMap<Kind, Arc<Count>> =
            Kind::ALL.into_iter().map(|kind| (kind, Arc::default())).collect();
        let (tell, breaches) = mpsc::channel(1000);
        let known = Arc::new(Known::default());
        let enemy = |idx: usize| {
            let kind = Kind::ALL[idx % Kind::ALL.len()];
            let from = Ipv4Addr::new(127, 0, 0, 2 + (idx % usize::from(N_ADDRESSES)) as u8);
            Enemy {
                idx,
                kind,
                wire: Wire { server: server.addr, from },
                holders: Arc::clone(&holders),
                bombs: Arc::clone(&bombs),
                speech: Arc::clone(&speech),
                talk: Arc::clone(&talk),
                known: Arc::clone(&known),
                count: Arc::clone(&acts[&kind]),
                breaches: tell.clone(),
            }
        };
        let enemies = (0..plan.n_clients / 2).map(enemy).collect();
        let before_bytes = server.measure()?.resident_bytes;
        Ok(Self { known, counts: Arc::default(), enemies, acts, breaches, before_bytes })
    }

    fn good(&self, plan: &HostilePlan, server: &Server, expected: SessionState) -> anyhow::Result<GoodSide> {
        let address = Address::parse(&server.addr.to_string())?.with_token(Some(&server.token));
        let n_good = plan.n_clients - plan.n_clients / 2;
        let n_publishers = plan.n_sessions.clamp(1, n_good);
        let (expected, (tell, faults)) = (Arc::new(expected), mpsc::channel(1000));
        let good = |idx: usize| Good {
            idx,
            address: address.clone(),
            file: plan.conversation.clone(),
            // The rest of the followers are those of the first publishers.
            n_followers: (n_good - n_publishers + n_publishers - 1 - idx) / n_publishers,
            expected: Arc::clone(&expected),
            known: Arc::clone(&self.known),
            counts: Arc::clone(&self.counts),
            faults: tell.clone(),
        };
        Ok(GoodSide { clients: (0..n_publishers).map(good).collect(), n_good, faults })
    }

    /// Good clients alone, then all of them, then the good sessions to their ends. Each side has a thread, and so has the
    /// one who asks how the server is: one side's load must not look like the server's.
    fn play(
        mut self,
        plan: &HostilePlan,
        server: &Server,
        expected: SessionState,
        note: &mut impl FnMut(&str),
    ) -> anyhow::Result<HostileReport> {
        let GoodSide { clients, n_good, mut faults } = self.good(plan, server, expected)?;
        let n_publishers = clients.len();
        let health = Health::default();
        let mut memory = [self.before_bytes, 0.0, 0.0, 0.0];
        std::thread::scope(|scope| {
            let good = scope.spawn(|| all_of(clients.into_iter().map(Good::run)));
            let look = |from: Instant, length: Duration, most: &mut f64, note: &mut dyn FnMut(&str)| {
                while from.elapsed() < length {
                    std::thread::sleep(LOOK_EVERY);
                    health.ask(server.addr);
                    *most = most.max(server.measure()?.resident_bytes);
                    if from.elapsed().as_secs().is_multiple_of(60) {
                        let (s, done) =
                            (from.elapsed().as_secs(), self.counts.n_sessions.load(Ordering::Relaxed));
                        note(&format!("{s} s: {:.1} MB at most, {done} good sessions done", *most / 1e6));
                    }
                }
                anyhow::Ok(())
            };
            look(Instant::now(), ALONE.min(plan.length), &mut memory[1], note)?;
            note("hostile clients come");
            let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
            let enemies = std::mem::take(&mut self.enemies);
            let hostile = scope.spawn(|| until(stopped, enemies.into_iter().map(Enemy::run)));
            memory[2] = memory[1];
            let looked = look(Instant::now(), plan.length, &mut memory[2], note);
            self.counts.stop.store(true, Ordering::Relaxed);
            // The hostile ones stay until the last good session has ended.
            let good = good.join();
            drop(stop);
            let hostile = hostile.join();
            looked?;
            good.map_err(|_| anyhow::anyhow!("a good client panicked"))??;
            hostile.map_err(|_| anyhow::anyhow!("a hostile client panicked"))?
        })?;
        std::thread::sleep(Duration::from_secs(5));
        memory[3] = server.measure()?.resident_bytes;
        let n_good = (n_publishers, n_good - n_publishers);
        let faults = std::iter::from_fn(|| faults.try_recv().ok()).collect();
        Ok(self.report(plan, n_good, memory, health.times_s.into_inner(), faults))
    }

    fn report(
        mut self,
        plan: &HostilePlan,
        n_good: (usize, usize),
        memory: [f64; 4],
        healthz_s: Vec<f64>,
        faults: Vec<String>,
    ) -> HostileReport {
        let acts = |(kind, count): (&Kind, &Arc<Count>)| Acts {
            kind: kind.name(),
            n_clients: (0..plan.n_clients / 2)
                .filter(|idx| Kind::ALL[idx % Kind::ALL.len()] == *kind)
                .count(),
            n_done: count.n_done.load(Ordering::Relaxed),
            n_cut: count.n_cut.load(Ordering::Relaxed),
        };
        HostileReport {
            length: plan.length,
            n_good,
            n_sessions: self.counts.n_sessions.load(Ordering::Relaxed),
            n_refused: self.counts.n_refused.load(Ordering::Relaxed),
            n_resumed: self.counts.n_resumed.load(Ordering::Relaxed),
            acts: self.acts.iter().map(acts).collect(),
            corrections: self.acts[&Kind::Storm].corrections.lock().clone(),
            memory,
            healthz_s,
            breaches: std::iter::from_fn(|| self.breaches.try_recv().ok()).collect(),
            faults,
        }
    }
}

struct GoodSide {
    clients: Vec<Good>,
    /// Publishers and followers.
    n_good: usize,
    faults: mpsc::Receiver<String>,
}

/// Runs clients on this thread until they have ended.
fn all_of(clients: impl Iterator<Item = impl Future<Output = ()> + Send + 'static>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut running: tokio::task::JoinSet<()> = clients.collect();
        while let Some(done) = running.join_next().await {
            done.context("a client panicked")?;
        }
        Ok(())
    })
}

/// Runs clients on this thread until the other end of `stopped` is dropped.
fn until(
    stopped: tokio::sync::oneshot::Receiver<()>,
    clients: impl Iterator<Item = impl Future<Output = ()> + Send + 'static>,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut running: tokio::task::JoinSet<()> = clients.collect();
        tokio::select! {
            _ = stopped => Ok(()),
            Some(done) = running.join_next() => done.context("a hostile client panicked"),
        }
    })
}

/// Answers of `/healthz`.
#[derive(Debug, Default)]
struct Health {
    times_s: Mutex<Vec<f64>>,
}

impl Health {
    fn ask(&self, server: SocketAddr) {
        use std::io::{Read as _, Write as _};
        const PATIENCE: Duration = Duration::from_secs(10);
        let began = Instant::now();
        let asked = || -> std::io::Result<bool> {
            let mut tcp = std::net::TcpStream::connect_timeout(&server, PATIENCE)?;
            tcp.set_read_timeout(Some(PATIENCE))?;
            write!(tcp, "GET /healthz HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n")?;
            let mut answer = String::new();
            tcp.read_to_string(&mut answer)?;
            Ok(answer.starts_with("HTTP/1.1 200"))
        };
        let is_well = asked().unwrap_or(false);
        self.times_s.lock().push(if is_well { began.elapsed().as_secs_f64() } else { f64::INFINITY });
    }
}

/// The first seconds of the conversation as 16-bit samples.
fn speech(conversation: &Path, seconds: usize) -> anyhow::Result<Vec<u8>> {
    let mut file = diarized::audio_file::AudioFile::open(conversation)?;
    let (mut bytes, mut block) = (Vec::new(), Vec::new());
    while bytes.len() < seconds * 32_000 && file.read(&mut block)? {
        bytes.extend(block.iter().flat_map(|sample| ((sample * 32_767.0) as i16).to_le_bytes()));
    }
    bytes.truncate(seconds * 32_000);
    Ok(bytes)
}
