//! A soak of a cluster: three servers of NATS and three nodes behind a balancer carry live sessions, while one process after the
//! other is killed and started again. What subscribers lose or wait for is reported.

mod heard;
mod homes;
mod http;
mod place;
mod processes;
mod report;
mod usage;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use diarized::client::Address;
use diarized_test_network::{Backends, Balancer, Choice};
use tokio::task::JoinSet;

use crate::simulate::rng::Rng;
use crate::soak::beginnings;
pub use heard::Faults;
pub use homes::Homes;
pub use place::{Arrival, SessionReport};
use place::{Place, Shared};
pub use processes::{Member, Shape};
use processes::{N_EACH, Processes};
pub use report::{Bounds, Kill, Report};
pub use usage::{Figures, Usage};

/// Time between two kills, and before the first one.
const KILL_EVERY: Duration = Duration::from_secs(60);
const FIRST_KILL: Duration = Duration::from_secs(30);
/// Time without sessions before those whose figures count.
const IDLE: Duration = Duration::from_secs(20);

/// What to do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The binary.
    pub program: PathBuf,
    /// What carries the sessions.
    pub shape: Shape,
    /// A conversation, mono at 16 kHz.
    pub conversation: PathBuf,
    /// Live sessions at once.
    pub n_sessions: usize,
    /// Followers of each session, one at each node in turn.
    pub n_followers: usize,
    /// How long sessions begin.
    pub length: Duration,
    /// How long a killed node and a killed server of NATS are away; none kills nobody, and reports what sessions take.
    pub away: Option<(Duration, Duration)>,
    /// What decides who is killed.
    pub seed: u64,
    /// Where the files and logs of the processes go.
    pub folder: PathBuf,
}

/// Soaks as planned.
///
/// # Errors
/// A process does not start, or ends by itself.
pub fn run(plan: &Plan, note: impl Fn(&str)) -> anyhow::Result<Report> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(soak(plan, &note))
}

async fn soak(plan: &Plan, note: &impl Fn(&str)) -> anyhow::Result<Report> {
    let mut processes = Processes::start(plan.shape, &plan.program, &plan.folder, plan.n_sessions).await?;
    let backends = Backends::new(&processes.nodes);
    while backends.healthy().len() < processes.nodes.len() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let idle = match plan.away {
        None => Some(Measured::idle(&processes).await?),
        Some(_) => None,
    };
    note(&format!("{} sessions begin", plan.n_sessions));
    let balancer = Balancer::over(&backends, Choice::InTurn);
    let shared = Arc::new(Shared::new(backends));
    let is_over = Arc::new(AtomicBool::new(false));
    let homes = tokio::spawn(homes::watch(Arc::clone(&shared), Arc::clone(&is_over)));
    let mut places = places_of(plan, balancer.addr, &shared)?;
    let kills = kill_in_turn(plan, &mut processes, &shared, note).await?;
    let idle = match idle {
        Some(idle) => Some(idle.with_live(&processes, plan.n_sessions).await?),
        None => None,
    };
    shared.stop.store(true, Ordering::Relaxed);
    note(&format!("{:.1} min: no further session begins", shared.now_s() / 60.0));
    while let Some(done) = places.join_next().await {
        done.context("a client panicked")?;
    }
    is_over.store(true, Ordering::Relaxed);
    let homes = homes.await?;
    processes.check()?;
    let sessions = std::mem::take(&mut *shared.reports.lock());
    let figures = match idle {
        Some(idle) => Some(idle.with(&processes, &sessions).await?),
        None => None,
    };
    let n_unstarted = shared.n_unstarted.load(Ordering::Relaxed);
    Ok(Report { kills, homes, sessions, n_unstarted, panics: processes.panics()?, figures })
}

/// What the processes had taken when the sessions began.
struct Measured {
    began: Instant,
    at_begin: Usage,
    idle: (f64, Usage),
    live_bytes: BTreeMap<String, f64>,
}

impl Measured {
    /// Measures for a while without sessions.
    async fn idle(processes: &Processes) -> anyhow::Result<Self> {
        let (began, before) = (Instant::now(), processes.usage().await?);
        tokio::time::sleep(IDLE).await;
        let at_begin = processes.usage().await?;
        let idle = (began.elapsed().as_secs_f64(), at_begin.since(&before));
        Ok(Self { began: Instant::now(), at_begin, idle, live_bytes: BTreeMap::new() })
    }

    /// With what is in the streams while this number of sessions runs.
    async fn with_live(self, processes: &Processes, n_sessions: usize) -> anyhow::Result<Self> {
        let streams = processes.usage().await?.streams;
        let bytes = streams.into_iter().map(|(name, (_, bytes))| (name, bytes / n_sessions as f64));
        Ok(Self { live_bytes: bytes.collect(), ..self })
    }

    /// With what the sessions have taken since.
    async fn with(self, processes: &Processes, sessions: &[SessionReport]) -> anyhow::Result<Figures> {
        let load_s = self.began.elapsed().as_secs_f64();
        let load = processes.usage().await?.since(&self.at_begin);
        let session_hours = sessions.iter().map(|s| (s.lasted_s.1 - s.lasted_s.0) / 3600.0).sum();
        let n_events = sessions.iter().map(|session| session.n_events as f64).sum();
        let (idle, live_bytes) = (self.idle, self.live_bytes);
        Ok(Figures { session_hours, n_events, idle, load: (load_s, load), live_bytes })
    }
}

fn places_of(plan: &Plan, balancer: SocketAddr, shared: &Arc<Shared>) -> anyhow::Result<JoinSet<()>> {
    let address = Address::parse(&balancer.to_string())?;
    let mut places = JoinSet::new();
    for (idx, first) in beginnings(&plan.conversation, &plan.folder, plan.n_sessions)?.into_iter().enumerate()
    {
        let files = [first, plan.conversation.clone()];
        let nodes = (0..plan.n_followers).map(|follower| follower % plan.shape.n_nodes());
        let place = Place::new(idx, address.clone(), files, nodes, shared);
        places.spawn(place.run());
    }
    Ok(places)
}

/// Kills one process after the other, and starts each again after a while.
async fn kill_in_turn(
    plan: &Plan,
    processes: &mut Processes,
    shared: &Shared,
    note: &impl Fn(&str),
) -> anyhow::Result<Vec<Kill>> {
    let mut kills: Vec<Kill> = Vec::new();
    let mut order = Order::new(plan.seed);
    let length_s = plan.length.as_secs_f64();
    let mut next_s = FIRST_KILL.as_secs_f64();
    let until = async |at_s: f64| {
        tokio::time::sleep(Duration::from_secs_f64((at_s - shared.now_s()).max(0.0))).await;
    };
    while let Some((nodes, nats)) = plan.away
        && next_s < length_s
    {
        until(next_s).await;
        processes.check()?;
        let member = order.next();
        processes.kill(member);
        let at_s = shared.now_s();
        note(&format!("{:.1} min: {member} is killed", at_s / 60.0));
        kills.push(Kill { at_s, member });
        let away = if matches!(member, Member::Node(_)) { nodes } else { nats };
        until(at_s + away.as_secs_f64()).await;
        processes.start_again(member)?;
        note(&format!("{:.1} min: {member} is started again", shared.now_s() / 60.0));
        next_s += KILL_EVERY.as_secs_f64();
    }
    until(length_s).await;
    Ok(kills)
}

/// Who is killed: all six before one comes again, in an order that the seed decides, nodes and servers of NATS in turn.
struct Order {
    rng: Rng,
    deck: Vec<Member>,
}

impl Order {
    fn new(seed: u64) -> Self {
        Self { rng: Rng::new(seed, 0), deck: Vec::new() }
    }

    fn next(&mut self) -> Member {
        if self.deck.is_empty() {
            let mut shuffled = || {
                let mut all: Vec<usize> = (0..N_EACH).collect();
                (1..N_EACH).for_each(|n| all.swap(n, self.rng.next_u64() as usize % (n + 1)));
                all
            };
            let (nodes, nats) = (shuffled(), shuffled());
            // Taken from its end: a node comes first.
            let pairs = nodes.into_iter().zip(nats);
            self.deck = pairs.flat_map(|(node, nats)| [Member::Nats(nats), Member::Node(node)]).collect();
        }
        self.deck.pop().unwrap_or(Member::Node(0))
    }
}

/// A folder whose files stay for people to read.
///
/// # Errors
/// It cannot be made.
pub fn kept_folder() -> anyhow::Result<PathBuf> {
    let folder = tempfile::Builder::new().prefix("cluster-soak-").tempdir()?;
    Ok(folder.keep())
}

/// Removes what [`kept_folder`] made.
pub fn remove_folder(folder: &Path) {
    // What cannot be removed is in the folder for temporary files.
    let _ = std::fs::remove_dir_all(folder);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_killed_before_one_comes_again_and_a_node_comes_first() {
        for seed in 0..20 {
            let mut order = Order::new(seed);
            for _ in 0..3 {
                let mut six: Vec<Member> = (0..2 * N_EACH).map(|_| order.next()).collect();
                assert!(matches!((six[0], six[1]), (Member::Node(_), Member::Nats(_))), "{six:?}");
                six.sort_unstable();
                six.dedup();
                assert_eq!(six.len(), 2 * N_EACH);
            }
        }
        let firsts: std::collections::BTreeSet<_> = (0..20).map(|seed| Order::new(seed).next()).collect();
        assert_eq!(firsts.len(), N_EACH, "every node may be the first");
    }
}
