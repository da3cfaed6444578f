//! A soak: the real server under a steady load of live sessions that come, break, go on and go, for as long as is asked
//! for. What grows, of memory or of lag, is reported as a slope; what breaks is reported as a fault.

mod clients;
mod hostile;
mod line;
mod server;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use diarized::audio_file::AudioFile;
use diarized::client::Address;
use diarized::percentile::percentile;
use diarized_test_network::{Fate, Proxy};
use tokio::sync::mpsc;

use clients::{ClientReport, Place, Shared};
pub use hostile::{Acts, HostileBounds, HostilePlan, HostileReport, run_hostile};
pub use line::Line;
pub use server::Measured;
use server::Server;

/// Time between two looks at the server.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Share of the time that does not count: caches, arenas and the memory of ended sessions fill up.
const WARM_UP: f64 = 0.25;
/// Faults that are reported in full.
const MAX_FAULTS: usize = 10;
/// How long a connection over the network that breaks lasts at least, in seconds; the next one lasts a second longer, up
/// to twice as long.
const HOLDS_S: u64 = 20;
/// Every third place is behind a network that breaks.
const BROKEN_EVERY: usize = 3;
/// Shortest piece of a conversation that a place begins with, in seconds.
const SHORTEST_S: f64 = 15.0;

/// What to do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The binary.
    pub program: PathBuf,
    /// A conversation, mono at 16 kHz.
    pub conversation: PathBuf,
    /// Live sessions at once.
    pub n_sessions: usize,
    /// How long.
    pub length: Duration,
}

/// What may not be exceeded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// Memory that the server may gain over the measured time, by the line through all measurements, in bytes.
    pub growth_bytes: f64,
    /// Lag that 99 of 100 events may have, in seconds.
    pub lag_p99_s: f64,
    /// Seconds that the lag may gain over the measured time, by the line through each second's largest.
    pub lag_growth_s: f64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { growth_bytes: 8e6, lag_p99_s: 1.0, lag_growth_s: 0.25 }
    }
}

/// What was measured.
#[derive(Debug, Clone)]
pub struct Report {
    /// From when to when, in seconds after the beginning.
    pub measured_s: (f64, f64),
    /// Time in seconds and resident memory in bytes.
    pub memory: Vec<(f64, f64)>,
    /// Time in seconds and the largest lag of that second, in seconds.
    pub lag: Vec<(f64, f64)>,
    /// Every lag, in seconds.
    pub lags_s: Vec<f64>,
    /// The server before the first session, and after the last.
    pub idle: (Measured, Measured),
    /// Sessions that went as they should.
    pub n_sessions: usize,
    /// Times that a stream was taken up again, and connections broken on purpose.
    pub n_resumed: (usize, usize),
    /// What went wrong.
    pub faults: Vec<String>,
}

/// Soaks as planned.
///
/// # Errors
/// The server does not start, or is gone.
pub fn run(plan: &Plan, mut note: impl FnMut(&str)) -> anyhow::Result<Report> {
    let folder = tempfile::tempdir()?;
    let n_sessions = plan.n_sessions;
    let settings = [
        format!("server.max_sessions={}", 2 * n_sessions + 8),
        format!("server.max_connections={}", 8 * n_sessions + 64),
        format!("server.max_connections_per_address={}", 8 * n_sessions + 64),
    ];
    let server = Server::start(&plan.program, folder.path(), &settings)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut report = runtime.block_on(soak(plan, &server, folder.path(), &mut note))?;
    let (code, errors) = server.stop()?;
    if code != Some(0) {
        report.faults.push(format!("the server ended with {code:?}"));
    }
    report.faults.extend(errors.into_iter().map(|line| format!("the server's log: {line}")));
    Ok(report)
}

async fn soak(
    plan: &Plan,
    server: &Server,
    folder: &Path,
    note: &mut impl FnMut(&str),
) -> anyhow::Result<Report> {
    let lasting = (0..)
        .map(|idx| Fate { lasts: Some(Duration::from_secs(HOLDS_S + idx % HOLDS_S)), ..Fate::default() });
    let network = Proxy::with(server.addr, lasting);
    let shared = Arc::new(Shared::default());
    let (report, reports) = mpsc::channel(100_000);
    let before = server.measure()?;
    let mut places = tokio::task::JoinSet::new();
    for place in places_of(plan, server, &network, folder)? {
        places.spawn(place.run(Arc::clone(&shared), report.clone()));
    }
    drop(report);
    let length_s = plan.length.as_secs_f64();
    let mut look = Look { from_s: length_s * WARM_UP, reports, seen: Seen::default() };
    let began = Instant::now();
    let mut looked = tokio::time::interval(LOOK_EVERY);
    while began.elapsed() < plan.length {
        looked.tick().await;
        let now_s = began.elapsed().as_secs_f64();
        look.once(now_s, server.measure()?, &shared, note);
    }
    shared.stop.store(true, Ordering::Relaxed);
    while let Some(done) = places.join_next().await {
        done.context("a client panicked")?;
    }
    let from_s = look.from_s;
    let Seen { memory, lag, lags_s, mut faults } = look.rest();
    let after = settled(server, &before).await?;
    faults.extend(left_behind(server)?);
    Ok(Report {
        measured_s: (from_s, length_s),
        memory,
        lag,
        lags_s,
        idle: (before, after),
        n_sessions: shared.n_sessions.load(Ordering::Relaxed),
        n_resumed: (shared.n_resumed.load(Ordering::Relaxed), network.n_cut.load(Ordering::Relaxed)),
        faults,
    })
}

/// One place for each session; some reach the server through a network that breaks.
fn places_of(plan: &Plan, server: &Server, network: &Proxy, folder: &Path) -> anyhow::Result<Vec<Place>> {
    let token = Some(server.token.as_str());
    let direct = Address::parse(&server.addr.to_string())?.with_token(token);
    let broken = Address::parse(&network.addr.to_string())?.with_token(token);
    let place = |(idx, first)| {
        let is_broken = idx % BROKEN_EVERY == BROKEN_EVERY - 1;
        Place {
            idx,
            address: if is_broken { broken.clone() } else { direct.clone() },
            direct: direct.clone(),
            is_timed: !is_broken,
            files: [first, plan.conversation.clone()],
        }
    };
    Ok(beginnings(&plan.conversation, folder, plan.n_sessions)?.into_iter().enumerate().map(place).collect())
}

/// What is measured on the way. Pairs begin with the time in seconds.
#[derive(Default)]
struct Seen {
    memory: Vec<(f64, f64)>,
    lag: Vec<(f64, f64)>,
    lags_s: Vec<f64>,
    faults: Vec<String>,
}

/// Looks at the server and at what the clients report.
struct Look {
    /// Memory and lag count from here on.
    from_s: f64,
    reports: mpsc::Receiver<ClientReport>,
    seen: Seen,
}

impl Look {
    fn once(&mut self, now_s: f64, measured: Measured, shared: &Shared, note: &mut impl FnMut(&str)) {
        let (seen, is_measured) = (&mut self.seen, now_s >= self.from_s);
        let mut largest_s: Option<f64> = None;
        while let Ok(reports) = self.reports.try_recv() {
            match reports {
                ClientReport::Lag(lag_s) => {
                    largest_s = Some(largest_s.map_or(lag_s, |largest| largest.max(lag_s)));
                    seen.lags_s.extend(Some(lag_s).filter(|_| is_measured));
                }
                ClientReport::Fault(fault) => {
                    if seen.faults.len() < MAX_FAULTS {
                        note(&format!("{:.1} min: {fault}", now_s / 60.0));
                    }
                    seen.faults.push(fault);
                }
            }
        }
        if is_measured {
            seen.memory.push((now_s, measured.resident_bytes));
            seen.lag.extend(largest_s.map(|largest_s| (now_s, largest_s)));
        }
        if (now_s as u64).is_multiple_of(60) {
            note(&format!(
                "{:.0} min: {:.1} MB, largest lag {:.2} s, {} sessions done, {} faults",
                now_s / 60.0,
                measured.resident_bytes / 1e6,
                largest_s.unwrap_or(0.0),
                shared.n_sessions.load(Ordering::Relaxed),
                seen.faults.len()
            ));
        }
    }

    /// Everything seen, with the faults that came after the last look.
    fn rest(mut self) -> Seen {
        while let Ok(reports) = self.reports.try_recv() {
            if let ClientReport::Fault(fault) = reports {
                self.seen.faults.push(fault);
            }
        }
        self.seen
    }
}

/// Faults of a server that everybody has left.
fn left_behind(server: &Server) -> anyhow::Result<Vec<String>> {
    let mut faults = Vec::new();
    for name in ["diarized_sessions", "diarized_connections", "diarized_storage_failing"] {
        let got = server.metric(name)?;
        if got != 0.0 {
            faults.push(format!("{name} is {got} when everybody has left"));
        }
    }
    Ok(faults)
}

/// The server when it has closed what its clients left; what it never closes is in what is measured.
async fn settled(server: &Server, before: &Measured) -> anyhow::Result<Measured> {
    let began = Instant::now();
    loop {
        let now = server.measure()?;
        let is_back = now.n_threads <= before.n_threads && now.n_files <= before.n_files;
        if is_back || began.elapsed() > Duration::from_secs(30) {
            return Ok(now);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// A beginning for each place: the last part of the conversation, of another length for each.
pub(crate) fn beginnings(conversation: &Path, folder: &Path, n: usize) -> anyhow::Result<Vec<PathBuf>> {
    let mut file = AudioFile::open(conversation)?;
    anyhow::ensure!(
        (file.sample_rate_hz(), file.n_channels()) == (16_000, 1),
        "the conversation must be mono at 16 kHz"
    );
    let (mut samples, mut block) = (Vec::new(), Vec::new());
    while file.read(&mut block)? {
        samples.extend_from_slice(&block);
    }
    let shortest = (SHORTEST_S * 16_000.0) as usize;
    anyhow::ensure!(samples.len() > shortest, "the conversation must be longer than {SHORTEST_S} s");
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 16_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    (0..n)
        .map(|idx| {
            let path = folder.join(format!("beginning-{idx}.wav"));
            let mut writer = hound::WavWriter::create(&path, spec)?;
            for sample in &samples[(samples.len() - shortest) * idx / n..] {
                writer.write_sample((sample * 32_767.0) as i16)?;
            }
            writer.finalize()?;
            Ok(path)
        })
        .collect()
}

impl Report {
    fn sorted_lags_s(&self) -> Vec<f64> {
        let mut lags_s = self.lags_s.clone();
        lags_s.sort_unstable_by(f64::total_cmp);
        lags_s
    }

    /// What is out of bounds, and every fault.
    #[must_use]
    pub fn verdict(&self, bounds: &Bounds) -> Vec<String> {
        let mut all: Vec<_> = self.faults.iter().take(MAX_FAULTS).cloned().collect();
        all.extend((self.faults.len() > MAX_FAULTS).then(|| format!("{} faults in all", self.faults.len())));
        let growth = |points: &[(f64, f64)]| {
            Line::through(points).map(|line| line.growth(self.measured_s.0, self.measured_s.1))
        };
        match growth(&self.memory) {
            Some(grown) if grown > bounds.growth_bytes => {
                all.push(format!(
                    "memory grew by {:.1} MB, more than {:.1}",
                    grown / 1e6,
                    bounds.growth_bytes / 1e6
                ));
            }
            Some(_) => {}
            None => all.push("memory was not measured".to_owned()),
        }
        match growth(&self.lag) {
            Some(grown) if grown > bounds.lag_growth_s => {
                all.push(format!("the lag grew by {grown:.2} s, more than {:.2}", bounds.lag_growth_s));
            }
            Some(_) => {}
            None => all.push("no lag was measured".to_owned()),
        }
        let p99_s = percentile(&self.sorted_lags_s(), 0.99);
        if p99_s > bounds.lag_p99_s {
            all.push(format!("lag p99 is {p99_s:.2} s, more than {:.2}", bounds.lag_p99_s));
        }
        let (before, after) = self.idle;
        if after.n_threads > before.n_threads {
            all.push(format!("{} threads before, {} after", before.n_threads, after.n_threads));
        }
        if after.n_files > before.n_files {
            all.push(format!("{} open files before, {} after", before.n_files, after.n_files));
        }
        if self.n_sessions == 0 {
            all.push("no session went as it should".to_owned());
        }
        all
    }

    /// The figures, for people.
    #[must_use]
    pub fn text(&self) -> String {
        let (from_s, to_s) = self.measured_s;
        let mut out = String::new();
        let lags_s = self.sorted_lags_s();
        let slope = |points: &[(f64, f64)]| Line::through(points).map_or(0.0, |line| line.slope * 3600.0);
        let memory: Vec<f64> = self.memory.iter().map(|point| point.1 / 1e6).collect();
        let (low, high) = memory.iter().fold((f64::INFINITY, 0.0_f64), |(l, h), m| (l.min(*m), h.max(*m)));
        let (before, after) = self.idle;
        // Writing to a string cannot fail.
        let _ = writeln!(out, "measured from {from_s:.0} s to {to_s:.0} s");
        let _ = writeln!(
            out,
            "memory: {low:.1} to {high:.1} MB, slope {:+.2} MB an hour; idle {:.1} MB before, {:.1} MB after",
            slope(&self.memory) / 1e6,
            before.resident_bytes / 1e6,
            after.resident_bytes / 1e6
        );
        let _ = writeln!(
            out,
            "lag: median {:.3} s, p99 {:.3} s, largest {:.3} s of {} events, slope {:+.3} s an hour",
            percentile(&lags_s, 0.5),
            percentile(&lags_s, 0.99),
            percentile(&lags_s, 1.0),
            lags_s.len(),
            slope(&self.lag)
        );
        let _ = writeln!(
            out,
            "sessions: {} to their end with every event heard; {} connections broken, streams taken up again {} times",
            self.n_sessions, self.n_resumed.1, self.n_resumed.0
        );
        let _ = writeln!(
            out,
            "threads: {} before, {} after; open files: {} before, {} after",
            before.n_threads, after.n_threads, before.n_files, after.n_files
        );
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let idle = Measured { resident_bytes: 50e6, n_threads: 7, n_files: 20 };
        let points = |at_zero: f64, slope: f64| {
            (100..200).map(|n| (f64::from(n), at_zero + slope * f64::from(n))).collect::<Vec<_>>()
        };
        Report {
            measured_s: (100.0, 200.0),
            memory: points(60e6, 1000.0),
            lag: points(0.2, 0.0),
            lags_s: vec![0.2; 1000],
            idle: (idle, idle),
            n_sessions: 4,
            n_resumed: (3, 3),
            faults: Vec::new(),
        }
    }

    #[test]
    fn a_quiet_soak_passes_and_whatever_grows_or_breaks_does_not() {
        let bounds = Bounds::default();
        assert_eq!(report().verdict(&bounds), Vec::<String>::new());
        assert!(report().text().contains("slope +3.60 MB an hour"), "{}", report().text());
        let fails = |change: fn(&mut Report), words: &str| {
            let mut report = report();
            change(&mut report);
            let verdict = report.verdict(&bounds);
            assert!(verdict.len() == 1 && verdict[0].contains(words), "{words}: {verdict:?}");
        };
        fails(|r| r.memory.iter_mut().for_each(|p| p.1 += 1e5 * p.0), "memory grew by 10.1 MB");
        fails(|r| r.memory.clear(), "memory was not measured");
        fails(|r| r.lag.iter_mut().for_each(|p| p.1 += 0.01 * p.0), "the lag grew by 1.00 s");
        fails(|r| r.lag.clear(), "no lag");
        fails(|r| r.lags_s[..20].fill(1.5), "lag p99 is 1.50 s");
        fails(|r| r.idle.1.n_threads = 8, "7 threads before, 8 after");
        fails(|r| r.idle.1.n_files = 21, "20 open files before, 21 after");
        fails(|r| r.faults.push("lost".to_owned()), "lost");
        fails(|r| r.n_sessions = 0, "no session");
    }
}
