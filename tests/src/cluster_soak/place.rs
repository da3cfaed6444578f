//! One publisher after the other, as a place in the load: each plays the conversation through the balancer, and its session is
//! followed at every node.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use diarized::audio_file::AudioFile;
use diarized::client::{Address, Follow, News, Playback, publish};
use diarized::protocol::ServerMessage;
use diarized::protocol::server_message::{Body, EndReason};
use diarized_models::SessionState;
use diarized_test_network::{Backends, Balancer, Choice};
use parking_lot::Mutex;
use tokio::task::JoinSet;

use super::heard::{Faults, Heard};
use super::http::get;

/// Wait before what failed is tried again.
const AGAIN: Duration = Duration::from_millis(250);
/// How long the followers may take to receive the end, and the nodes to hold the same snapshot.
const LAST_WORDS: Duration = Duration::from_secs(60);
/// Age from which on a follower's connection has nothing to catch up.
const STEADY_S: f64 = 3.0;

/// A message of a session as it came to one follower.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Arrival {
    /// When, in seconds after the beginning.
    pub at_s: f64,
    /// Number of the node that sent it.
    pub node: usize,
    /// Number of the event; none of `stats`.
    pub seq: Option<u64>,
    /// Whether the connection was there for a while.
    pub is_steady: bool,
}

/// What became of one session.
#[derive(Debug, Clone, Default)]
pub struct SessionReport {
    /// Its id.
    pub id: String,
    /// From `started` to its end, in seconds after the beginning.
    pub lasted_s: (f64, f64),
    /// How it ended if not as `closed`.
    pub other_end: Option<String>,
    /// Number of its last event.
    pub n_events: u64,
    /// What came to each follower.
    pub followers: Vec<Vec<Arrival>>,
    /// What was wrong.
    pub faults: Faults,
    /// Number of events that were taken back from the publisher.
    pub n_withdrawn: usize,
    /// For each follower, the events that were taken back from it.
    pub withdrawn: Vec<Vec<u64>>,
    /// Times that the publisher came back.
    pub n_resumed: usize,
    /// Warnings and errors at followers, by their code.
    pub warnings: BTreeMap<String, usize>,
}

/// What all places share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) began: Instant,
    /// Set when no further session is to begin.
    pub(super) stop: AtomicBool,
    pub(super) backends: Arc<Backends>,
    /// Sessions that were cut off before they had begun.
    pub(super) n_unstarted: AtomicUsize,
    pub(super) reports: Mutex<Vec<SessionReport>>,
}

impl Shared {
    pub(super) fn new(backends: Arc<Backends>) -> Self {
        let (stop, n_unstarted, reports) = (AtomicBool::new(false), AtomicUsize::new(0), Mutex::default());
        Self { began: Instant::now(), stop, backends, n_unstarted, reports }
    }

    pub(super) fn now_s(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }
}

/// One place.
#[derive(Debug)]
pub(super) struct Place {
    idx: usize,
    /// The balancer.
    address: Address,
    /// What is played first, so that sessions do not all end at once, and then.
    files: [PathBuf; 2],
    /// The way of each follower to its node.
    ways: Vec<Arc<Balancer>>,
    shared: Arc<Shared>,
}

/// What one follower has received.
#[derive(Debug, Default)]
struct Track {
    heard: Heard,
    arrivals: Vec<Arrival>,
    /// Last reason why it was sent away.
    refusal: Option<String>,
}

type Tracks = Vec<Arc<Mutex<Track>>>;

impl Place {
    /// With a follower at each of these nodes.
    pub(super) fn new(
        idx: usize,
        address: Address,
        files: [PathBuf; 2],
        nodes: impl Iterator<Item = usize>,
        shared: &Arc<Shared>,
    ) -> Self {
        let way = |node| Arc::new(Balancer::over(&shared.backends, Choice::Rather(node)));
        let ways = nodes.map(way).collect();
        Self { idx, address, files, ways, shared: Arc::clone(shared) }
    }

    /// Plays until it is stopped, and the session of that moment to its end.
    pub(super) async fn run(self) {
        let mut round = 0;
        while !self.shared.stop.load(Ordering::Relaxed) {
            let id = format!("soak-{}-{round}", self.idx);
            match self.session(&id, &self.files[usize::from(round > 0)]).await {
                Some(report) => self.shared.reports.lock().push(report),
                None => {
                    self.shared.n_unstarted.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(AGAIN).await;
                }
            }
            round += 1;
        }
    }

    /// One session; none where it did not begin.
    async fn session(&self, id: &str, file: &Path) -> Option<SessionReport> {
        let shared = &self.shared;
        let file = match AudioFile::open(file) {
            Ok(file) => file,
            Err(error) => panic!("{}: {error}", file.display()),
        };
        let tracks: Tracks = self.ways.iter().map(|_| Arc::default()).collect();
        let (mut own, mut began_s, mut n_resumed) = (Heard::default(), None, 0);
        let mut followers = JoinSet::new();
        let played = publish(&self.address, Some(id), file, Playback { speed: 1.0 }, |news| match news {
            News::Message(message, text) => {
                if matches!(message.body, Body::Started(_)) && began_s.is_none() {
                    began_s = Some(shared.now_s());
                    for (way, track) in self.ways.iter().zip(&tracks) {
                        let (way, track, shared) = (Arc::clone(way), Arc::clone(track), Arc::clone(shared));
                        followers.spawn(follow(way, id.to_owned(), track, shared));
                    }
                }
                own.take(&message, &text);
            }
            News::Back => n_resumed += 1,
            _ => {}
        })
        .await;
        let lasted_s = (began_s?, shared.now_s());
        let mut report = SessionReport { id: id.to_owned(), lasted_s, n_resumed, ..SessionReport::default() };
        match played {
            Ok(summary) => {
                let (counted_s, sent_s) = (summary.ended.duration_s.0, summary.sent_s);
                if (counted_s - sent_s).abs() >= 0.01 {
                    let line = format!("{sent_s} s were sent, and the session is {counted_s} s long");
                    report.faults.lines.push(line);
                }
                let all = async { while followers.join_next().await.is_some() {} };
                let _ = tokio::time::timeout(LAST_WORDS, all).await;
                check_ends(&mut report, &own, &tracks);
                check_snapshots(&mut report, &own.state, shared).await;
            }
            Err(error) => report.other_end = Some(error.to_string()),
        }
        followers.shutdown().await;
        gather(&mut report, own, &tracks);
        Some(report)
    }
}

/// Whether every follower has received the end.
fn check_ends(report: &mut SessionReport, own: &Heard, tracks: &Tracks) {
    for (idx, track) in tracks.iter().enumerate() {
        let track = track.lock();
        match track.heard.ended {
            Some(EndReason::Closed) => {}
            Some(other) => report.other_end = Some(format!("{} at follower {}", other.as_str(), idx + 1)),
            None => {
                let at = track.heard.seq;
                report.faults.n_lost += own.seq.saturating_sub(at);
                let why = track.refusal.clone().unwrap_or_default();
                let line = format!("follower {} has event {at} of {} only: {why}", idx + 1, own.seq);
                report.faults.lines.push(line);
            }
        }
        if track.heard.state != own.state {
            report.faults.lines.push(format!("follower {} holds other labels than the publisher", idx + 1));
        }
    }
}

/// Whether the snapshot of every node is what the events make.
async fn check_snapshots(report: &mut SessionReport, state: &SessionState, shared: &Shared) {
    if state.segments().len() == 0 {
        report.faults.lines.push("nothing was labelled".to_owned());
    }
    let began = Instant::now();
    loop {
        let mut fault = None;
        for (idx, node) in shared.backends.healthy() {
            let path = format!("/v1/sessions/{}", report.id);
            let read = get(node, &path).await.and_then(|(status, body)| {
                anyhow::ensure!(status == 200, "{status} {body}");
                let Body::Snapshot(snapshot) = ServerMessage::parse(&body)?.body else {
                    anyhow::bail!("it is no snapshot: {body}")
                };
                Ok(snapshot.to_state()?)
            });
            fault = match read {
                Ok(read) if read == *state => continue,
                Ok(_) => Some(format!("the snapshot at node{} is not what the events make", idx + 1)),
                Err(error) => Some(format!("no snapshot at node{}: {error:#}", idx + 1)),
            };
            break;
        }
        let Some(fault) = fault else { return };
        if began.elapsed() > LAST_WORDS {
            return report.faults.lines.push(fault);
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Puts what the clients received into the report.
fn gather(report: &mut SessionReport, own: Heard, tracks: &Tracks) {
    let mut add = |faults: &Faults, whose: &str| {
        report.faults.n_lost += faults.n_lost;
        report.faults.n_doubled += faults.n_doubled;
        report.faults.lines.extend(faults.lines.iter().map(|line| format!("{whose}: {line}")));
    };
    add(&own.faults, "publisher");
    for (idx, track) in tracks.iter().enumerate() {
        let track = std::mem::take(&mut *track.lock());
        let mut faults = track.heard.faults.clone();
        let n_differing = track.heard.differing(&own);
        if n_differing > 0 {
            faults.n_doubled += n_differing;
            faults.lines.push(format!("{n_differing} events are others than the publisher has"));
        }
        add(&faults, &format!("follower {}", idx + 1));
        report.followers.push(track.arrivals);
        report.withdrawn.push(track.heard.withdrawn);
        for (code, n) in track.heard.warnings {
            *report.warnings.entry(code).or_default() += n;
        }
    }
    (report.n_withdrawn, report.n_events) = (own.withdrawn.len(), own.seq);
}

/// Follows a session to its end, whatever happens to the nodes.
async fn follow(way: Arc<Balancer>, id: String, track: Arc<Mutex<Track>>, shared: Arc<Shared>) {
    let Ok(address) = Address::parse(&way.addr.to_string()) else { return };
    loop {
        let since = track.lock().heard.seq;
        if let Ok(mut follow) = Follow::connect(address.clone(), &id, Some(since)).await {
            let (mut node, mut since_s) = (way.chosen().unwrap_or(0), shared.now_s());
            loop {
                match follow.next().await {
                    News::Message(message, text) => {
                        let (at_s, mut track) = (shared.now_s(), track.lock());
                        if message.seq.is_some() || matches!(message.body, Body::Stats(_)) {
                            let is_steady = at_s > since_s + STEADY_S;
                            track.arrivals.push(Arrival { at_s, node, seq: message.seq, is_steady });
                        }
                        track.heard.take(&message, &text);
                    }
                    News::Back => (node, since_s) = (way.chosen().unwrap_or(0), shared.now_s()),
                    News::Closed { code: 1000, .. } => return,
                    News::Closed { code, reason } => {
                        track.lock().refusal = Some(format!("{code} {}", reason.unwrap_or_default()));
                        break;
                    }
                    News::Lost { .. } | News::Unknown(_) => {}
                }
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}
