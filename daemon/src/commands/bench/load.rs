//! A server under load: live sessions over real WebSockets, real audio, real time.

mod client;
mod own_files;
mod server;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use diarized_config::Config;
use diarized_dsp::SAMPLE_RATE_HZ;
use diarized_models::Diarizer;
use serde::Serialize;
use tokio::time::Instant;

use super::audio::{BLOCK, BenchAudio};
use super::machine::{ThreadTimes, memory_of, thread_times, time_between};
use super::progress::Progress;
use super::spread::Spread;
use crate::engine::{diarizer_params, load_embedder};
use client::{Client, Received};
use server::ServerProcess;

/// Audio before the measurement: every session is under way and has its first windows.
const WARM_UP: Duration = Duration::from_secs(3);
/// Audio after the measurement, so that no session ends within it.
const COOL_DOWN: Duration = Duration::from_secs(1);
/// How often the clock and Ctrl-C are looked at.
const POLL: Duration = Duration::from_millis(100);
/// Most sessions that are tried in a search.
const MAX_SESSIONS: usize = 4096;

/// What to measure.
pub(super) struct Plan {
    /// Sessions at once; where a search begins.
    pub(super) n_sessions: usize,
    /// Length of one measurement, behind the warm-up.
    pub(super) seconds: f64,
    /// Search the most sessions whose lag p99 is below this, in seconds.
    pub(super) find_below_s: Option<f64>,
    /// Arguments of the server that give it this command's configuration.
    pub(super) server_args: Vec<String>,
    /// Cores of the server, as taskset takes them.
    pub(super) server_cores: Option<String>,
}

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Figures {
    /// Name and version of the voice model.
    #[serde(skip)]
    pub(super) model: String,
    /// The run, or of a search the one with the most sessions that held the limit.
    pub(super) best: Option<Run>,
    /// Every run, in the order of the search.
    pub(super) runs: Vec<Run>,
    /// The limit of the search, in seconds.
    pub(super) limit_s: Option<f64>,
    /// Cores of the server, as taskset takes them; all if there is none.
    pub(super) server_cores: Option<String>,
}

/// One measurement with one number of sessions.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Run {
    pub(super) n_sessions: usize,
    /// Length of the measurement, by the wall clock.
    pub(super) seconds: f64,
    /// From the onset of speech to the arrival of its first label, by the wall clock.
    pub(super) onset_to_label_s: Spread,
    /// From the moment that the last audio which a first label needed was spoken to the label's arrival.
    pub(super) lag_s: Spread,
    /// Largest `lag_s` in the server's `stats`.
    pub(super) server_lag_s_max: f64,
    /// Processor time of the server for each second of each session; `None` if the system does not report it.
    pub(super) cpu_per_session_second: Option<f64>,
    /// The same by the kind of the server's threads, largest first.
    pub(super) cpu_by_thread: Vec<(String, f64)>,
    /// Cores that the server kept busy.
    pub(super) cores_busy: Option<f64>,
    /// Cores that the clients kept busy.
    pub(super) client_cores_busy: Option<f64>,
    /// Resident memory of the server before any session, in bytes.
    pub(super) base_bytes: Option<u64>,
    /// What each session added at the end of the measurement, in bytes.
    pub(super) bytes_per_session: Option<u64>,
    /// Windows that the sessions' audio asks for in a second, all together.
    pub(super) windows_per_s: f64,
    /// What went wrong, one line a client; a run with any is not held to be good.
    pub(super) faults: Vec<String>,
}

impl Run {
    fn holds(&self, limit_s: f64) -> bool {
        self.faults.is_empty() && self.lag_s.n > 0 && self.lag_s.p99 < limit_s
    }
}

/// Measures as planned; `None` if it was interrupted before there was a figure.
///
/// # Errors
/// The server does not start, or the model cannot be loaded.
pub(super) fn measure(
    plan: &Plan,
    config: &Config,
    audio: &BenchAudio,
    progress: &Progress,
    stop: &AtomicBool,
) -> anyhow::Result<Option<Figures>> {
    let (model, windows) = windows_per_s(config, audio)?;
    // A client's work is small beside the server's: one thread carries thousands.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut runs: Vec<Run> = Vec::new();
    let mut search = Search { good: 0, bad: None, next: plan.n_sessions };
    while !stop.load(Ordering::Relaxed) {
        let Some(run) = runtime.block_on(run(plan, config, search.next, windows, audio, progress, stop))?
        else {
            break;
        };
        let Some(limit_s) = plan.find_below_s else {
            runs.push(run);
            break;
        };
        let is_good = run.holds(limit_s);
        let verdict = if is_good { "holds" } else { "does not hold" };
        let faults = match run.faults.first() {
            Some(fault) => format!("; {} clients failed: {fault}", run.faults.len()),
            None => String::new(),
        };
        progress.note(&format!(
            "{} sessions: lag p50 {:.2} s, p99 {:.2} s: {verdict}{faults}",
            run.n_sessions, run.lag_s.median, run.lag_s.p99
        ));
        runs.push(run);
        if !search.learn(is_good) {
            break;
        }
    }
    let best = match plan.find_below_s {
        Some(limit_s) => runs.iter().filter(|run| run.holds(limit_s)).max_by_key(|run| run.n_sessions),
        None => runs.first(),
    };
    if runs.is_empty() {
        return Ok(None);
    }
    let (limit_s, server_cores) = (plan.find_below_s, plan.server_cores.clone());
    Ok(Some(Figures { model, best: best.cloned(), runs, limit_s, server_cores }))
}

/// Doubling while it goes well, then halving between the best and the worst, to a sixteenth.
struct Search {
    good: usize,
    bad: Option<usize>,
    next: usize,
}

impl Search {
    /// Whether another number is worth trying.
    fn learn(&mut self, is_good: bool) -> bool {
        if is_good {
            self.good = self.next;
        } else {
            self.bad = Some(self.next);
        }
        self.next = match self.bad {
            None => (self.good * 2).min(MAX_SESSIONS),
            Some(bad) => self.good.midpoint(bad),
        };
        match self.bad {
            None => self.next > self.good,
            Some(bad) => self.next > self.good && bad - self.good > (self.good / 16).max(1),
        }
    }
}

/// Name and version of the model, and the windows that a session asks for in a second of this audio, in the mean over
/// one round.
fn windows_per_s(config: &Config, audio: &BenchAudio) -> anyhow::Result<(String, f64)> {
    let params = diarizer_params(&config.diarization)?;
    let embedder = load_embedder(&config.model, &params)?;
    let mut diarizer = Diarizer::new(params, embedder.card());
    let mut n_windows = 0_u32;
    for block in audio.start(f64::INFINITY).chunks(BLOCK) {
        diarizer.push(block)?;
        while diarizer.poll_work().is_some() {
            n_windows += 1;
        }
    }
    let model = format!("{} {}", embedder.card().name, embedder.card().version);
    Ok((model, f64::from(n_windows) / audio.length_s()))
}

/// What the system counts of the server and of this process at one moment.
struct Counted {
    at: Instant,
    server: ThreadTimes,
    clients: ThreadTimes,
    resident_bytes: Option<u64>,
}

impl Counted {
    fn now(server: &ServerProcess) -> Self {
        Self {
            at: Instant::now(),
            server: thread_times(&server.pid()),
            clients: thread_times("self"),
            resident_bytes: memory_of(&server.pid()).map(|memory| memory.resident_bytes),
        }
    }
}

async fn run(
    plan: &Plan,
    config: &Config,
    n_sessions: usize,
    windows_per_session: f64,
    audio: &BenchAudio,
    progress: &Progress,
    stop: &AtomicBool,
) -> anyhow::Result<Option<Run>> {
    let server = ServerProcess::start(n_sessions, config, &plan.server_args, plan.server_cores.as_deref())
        .context("the server of the bench does not start")?;
    let base_bytes = memory_of(&server.pid()).map(|memory| memory.resident_bytes);
    let length = Duration::from_secs_f64(plan.seconds);
    progress.begin(format!("{n_sessions} live sessions"), (WARM_UP + length).as_millis() as u64);
    let began = Instant::now();
    let measure_from = began + WARM_UP;
    let mut clients =
        start_clients(&server, audio, n_sessions, (measure_from, measure_from + length + COOL_DOWN))?;
    let mut before = None;
    while Instant::now() < measure_from + length {
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        if before.is_none() && Instant::now() >= measure_from {
            before = Some(Counted::now(&server));
        }
        progress.at(began.elapsed().as_millis() as u64);
        tokio::time::sleep(POLL).await;
    }
    // The sessions live until their clients are stopped, after this.
    let after = Counted::now(&server);
    let before = before.context("the measurement is shorter than its clock")?;
    let mut received = Received::default();
    while let Some(joined) = clients.join_next().await {
        received.add(joined.context("a client panicked")?);
    }
    let windows_per_s = windows_per_session * n_sessions as f64;
    Ok(Some(run_of(&before, &after, received, n_sessions, base_bytes, windows_per_s)))
}

/// Starts a client for each session. It sends until the end of `measured`, and its figures count from the start.
fn start_clients(
    server: &ServerProcess,
    audio: &BenchAudio,
    n_sessions: usize,
    measured: (Instant, Instant),
) -> anyhow::Result<tokio::task::JoinSet<Received>> {
    let round =
        Arc::new(audio.start(f64::INFINITY).iter().map(|s| (s * 32_767.0) as i16).collect::<Vec<_>>());
    let mut clients = tokio::task::JoinSet::new();
    for idx in 0..n_sessions {
        let client = Client {
            request: server
                .request(&format!("/v1/stream?sample_rate={SAMPLE_RATE_HZ}&session=bench-{idx}"))?,
            round: Arc::clone(&round),
            // Clients send different audio at different moments.
            offset: round.len() / n_sessions * idx,
            delay: Duration::from_secs_f64(1.0).mul_f64(idx as f64 / n_sessions as f64),
            measure_from: measured.0,
            until: measured.1,
        };
        clients.spawn(client.run());
    }
    Ok(clients)
}

/// The figures between two counts.
fn run_of(
    before: &Counted,
    after: &Counted,
    mut received: Received,
    n_sessions: usize,
    base_bytes: Option<u64>,
    windows_per_s: f64,
) -> Run {
    let seconds = (after.at - before.at).as_secs_f64();
    let by_thread = time_between(&before.server, &after.server);
    let session_seconds = seconds * n_sessions as f64;
    let mut cpu_by_thread: Vec<_> =
        by_thread.into_iter().map(|(kind, s)| (kind, s / session_seconds)).collect();
    cpu_by_thread.sort_by(|a, b| b.1.total_cmp(&a.1));
    let cpu: f64 = cpu_by_thread.iter().map(|(_, s)| s).sum();
    let clients_s: f64 = time_between(&before.clients, &after.clients).values().sum();
    let is_measured = !after.server.is_empty();
    Run {
        n_sessions,
        seconds,
        onset_to_label_s: Spread::of(&mut received.onset_to_label_s),
        lag_s: Spread::of(&mut received.lag_s),
        server_lag_s_max: received.server_lag_s_max,
        cpu_per_session_second: is_measured.then_some(cpu),
        cpu_by_thread,
        cores_busy: is_measured.then_some(cpu * n_sessions as f64),
        client_cores_busy: is_measured.then_some(clients_s / seconds),
        base_bytes,
        bytes_per_session: base_bytes
            .zip(after.resident_bytes)
            .map(|(base, after)| after.saturating_sub(base) / n_sessions as u64),
        windows_per_s,
        faults: received.faults,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers that a search tries, and its answer, where up to `capacity` sessions are carried.
    fn search(first: usize, capacity: usize) -> (Vec<usize>, usize) {
        let mut search = Search { good: 0, bad: None, next: first };
        let mut tried = Vec::new();
        loop {
            tried.push(search.next);
            let is_good = search.next <= capacity;
            if !search.learn(is_good) {
                return (tried, search.good);
            }
        }
    }

    #[test]
    fn a_search_finds_the_capacity_to_a_sixteenth() {
        assert_eq!(search(4, 13), (vec![4, 8, 16, 12, 14, 13], 13));
        assert_eq!(search(8, 1), (vec![8, 4, 2, 1], 1));
        assert_eq!(search(1, 0), (vec![1], 0));
        for capacity in [1, 2, 3, 7, 31, 100, 333, 1000] {
            let (tried, found) = search(4, capacity);
            assert!(found <= capacity && capacity - found <= (found / 16).max(1), "{found} of {capacity}");
            assert!(tried.len() < 20);
        }
        assert_eq!(search(4, usize::MAX).1, MAX_SESSIONS);
    }
}
