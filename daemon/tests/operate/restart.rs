//! A restart in the middle of a session, by signal or by accident: the same session goes on with the same people.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Lines};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use diarized::audio_file::{MonoFile, Opening};
use diarized::protocol::ServerMessage;
use diarized::protocol::server_message::{Body, EndReason};
use diarized_dsp::{ChannelSelect, SampleIndex};
use diarized_models::rttm::{SpeakerTurn, parse_rttm};
use diarized_models::{SessionState, SpeakerId};

use super::common::{conversation, diarized, run};
use super::server::{PATIENCE, Server};
use super::stream;

const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
/// Where the server stops: everybody has spoken for some seconds, and speaks again later but for one.
const STOP_S: f64 = 50.0;

/// What a client of one session has seen.
#[derive(Default)]
struct Seen {
    state: SessionState,
    seq: u64,
    n_snapshots: usize,
    warnings: Vec<String>,
    ended: Option<EndReason>,
}

impl Seen {
    fn take(&mut self, line: &str) {
        let message = ServerMessage::parse(line).unwrap();
        if let Body::Snapshot(snapshot) = &message.body {
            self.n_snapshots += 1;
            (self.state, self.seq) = (snapshot.to_state().unwrap(), message.seq.unwrap());
            return;
        }
        if let Some(seq) = message.seq {
            assert_eq!(seq, self.seq + 1, "no loss, no doubling: {line}");
            self.seq = seq;
        }
        match message.body {
            Body::Ended(end) => self.ended = Some(end.reason),
            Body::Warning(warning) => self.warnings.push(warning.code),
            body => {
                if let Ok(event) = body.to_event() {
                    self.state.apply(&event).unwrap();
                }
            }
        }
    }
}

/// A store in a folder, and a server on it that can be started again at its address.
struct Place {
    folder: tempfile::TempDir,
    server: Option<Server>,
    settings: Vec<String>,
    key: Option<&'static str>,
}

impl Place {
    fn start(settings: &[&str], key: Option<&'static str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let of = |name: &str| folder.path().join(name).display().to_string();
        let store = format!("storage.path={}", of("sessions.sqlite"));
        // No key of the user who runs this test.
        let no_key = format!("voices.key_file={}", of("voices.key"));
        let settings = settings.iter().copied().chain([store.as_str(), no_key.as_str()]);
        let settings = settings.flat_map(|setting| ["--set".to_owned(), setting.to_owned()]).collect();
        let mut place = Self { folder, server: None, settings, key };
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        place.start_at(free);
        place
    }

    fn start_at(&mut self, addr: std::net::SocketAddr) {
        let settings: Vec<&str> = self.settings.iter().map(String::as_str).collect();
        self.server = Some(Server::start_at(addr, &settings, self.key));
    }

    fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    fn stop(&mut self, signal: &str) -> std::net::SocketAddr {
        let server = self.server.take().unwrap();
        server.signal(signal);
        let addr = server.addr;
        assert_eq!(server.wait(), (signal == "TERM").then_some(0));
        addr
    }

    fn restart(&mut self, signal: &str) {
        let addr = self.stop(signal);
        self.start_at(addr);
    }

    fn sealed(&self) -> std::path::PathBuf {
        self.folder.path().join("sessions.sqlite-voices/talk.sealed")
    }

    fn wait_until_erased(&self) {
        let began = Instant::now();
        while self.sealed().exists() {
            assert!(began.elapsed() < PATIENCE, "the voices are erased at the end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Streams the conversation, four times as fast as it was, as the session `talk`.
fn publish(place: &Place) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut publisher = stream(&place.server().url, &["--speed", "4", "--session", "talk"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(publisher.stdout.take().unwrap()).lines();
    (publisher, lines)
}

fn see_until(lines: &mut Lines<BufReader<ChildStdout>>, seen: &mut Seen, is_enough: impl Fn(&str) -> bool) {
    for line in lines.map(Result::unwrap) {
        seen.take(&line);
        if is_enough(&line) {
            return;
        }
    }
    panic!("the publisher ended early");
}

fn has_labels_until(seconds: f64) -> impl Fn(&str) -> bool {
    move |line| ServerMessage::parse(line).unwrap().at.is_some_and(|at| at.0 >= seconds)
}

/// Who really speaks: the person, and from when to when in seconds.
fn reference() -> Vec<(String, f64, f64)> {
    let path = conversation().with_extension("rttm");
    let turns = parse_rttm("the reference", &std::fs::read(path).unwrap()).unwrap();
    let seconds = |turn: &SpeakerTurn| (turn.start.seconds(), turn.end().seconds());
    turns.iter().map(|turn| (turn.speaker.clone(), seconds(turn).0, seconds(turn).1)).collect()
}

/// The label that most of a person's speech in this stretch has, by the reference of the conversation.
fn labels(state: &SessionState, from_s: f64, to_s: f64) -> BTreeMap<String, SpeakerId> {
    let turns = reference();
    let mut votes: BTreeMap<String, BTreeMap<SpeakerId, f64>> = BTreeMap::new();
    for (person, turn_start_s, turn_end_s) in &turns {
        for segment in state.segments().filter(|segment| !segment.overlap) {
            let start_s = turn_start_s.max(segment.range.start().seconds()).max(from_s);
            let end_s = turn_end_s.min(segment.range.end().seconds()).min(to_s);
            if end_s > start_s {
                let of = votes.entry(person.clone()).or_default();
                *of.entry(segment.speaker).or_default() += end_s - start_s;
            }
        }
    }
    let longest = |votes: BTreeMap<SpeakerId, f64>| votes.into_iter().max_by(|a, b| a.1.total_cmp(&b.1));
    let sure = |(person, votes)| {
        let (speaker, seconds) = longest(votes)?;
        (seconds > 2.0).then_some((person, speaker))
    };
    votes.into_iter().filter_map(sure).collect()
}

/// Speech by the reference in this stretch that no segment covers, in seconds.
fn missed_s(state: &SessionState, from_s: f64, to_s: f64) -> f64 {
    let turns = reference();
    let steps = (0..((to_s - from_s) * 100.0) as usize).map(|n| from_s + n as f64 / 100.0);
    let is_missed = |at: &f64| {
        let is_speech = turns.iter().any(|(_, start_s, end_s)| (start_s..end_s).contains(&at));
        let at = SampleIndex::from_seconds(*at);
        is_speech && !state.segments().any(|s| s.range.start() <= at && at < s.range.end())
    };
    steps.filter(is_missed).count() as f64 / 100.0
}

fn decoded_s(path: &Path) -> f64 {
    let file = Opening::default().memory("kept audio", std::fs::read(path).unwrap()).unwrap();
    let mut mono = MonoFile::new(file, ChannelSelect::Mix).unwrap();
    let mut samples = Vec::new();
    while mono.read(&mut samples).unwrap() {}
    samples.len() as f64 / 16_000.0
}

/// A session over a restart by this signal, seen by its publisher and a follower, to its end.
fn over_a_restart(place: &mut Place, signal: &str) -> Seen {
    let (mut publisher, mut lines) = publish(place);
    let mut seen = Seen::default();
    see_until(&mut lines, &mut seen, has_labels_until(5.0));
    let mut follower = diarized(&["listen", &place.server().url, "--session", "talk", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    see_until(&mut lines, &mut seen, has_labels_until(STOP_S));
    let before = labels(&seen.state, 0.0, STOP_S - 3.0);
    assert_eq!(before.len(), 4, "{before:?}");
    place.restart(signal);
    lines.map(Result::unwrap).for_each(|line| seen.take(&line));
    assert_eq!(publisher.wait().unwrap().code(), Some(0));
    assert_eq!(seen.ended, Some(EndReason::Closed));
    let mut followed = Seen::default();
    let output = BufReader::new(follower.stdout.take().unwrap());
    output.lines().map(Result::unwrap).for_each(|line| followed.take(&line));
    assert!(follower.wait().unwrap().success());
    assert_eq!((&followed.state, followed.ended), (&seen.state, seen.ended));
    assert_eq!(labels(&seen.state, 0.0, STOP_S - 3.0), before, "the labels of before stay");
    assert!(
        seen.state.gaps().is_empty(),
        "the publisher has sent again what was not stored: {:?}",
        seen.state.gaps()
    );
    assert!(seen.state.segments().all(|segment| segment.is_final));
    let missed = missed_s(&seen.state, STOP_S - 5.0, STOP_S + 5.0);
    assert!(missed < 1.0, "{missed} s of speech around the restart have no label");
    seen
}

/// What the server holds of the session is what its publisher has seen.
fn assert_kept(place: &Place, seen: &Seen) {
    let events = ["listen", &place.server().url, "--session", "talk", "--since", "0", "--json"];
    let (code, events, stderr) = run(&mut diarized(&events));
    assert_eq!(code, 0, "{stderr}");
    let mut kept = Seen::default();
    events.lines().for_each(|line| kept.take(line));
    assert_eq!((&kept.state, kept.seq, kept.n_snapshots), (&seen.state, seen.seq, 0));
}

#[test]
fn a_session_goes_on_after_a_kill_with_the_same_people() {
    let mut place = Place::start(&["storage.audio=opus"], Some(KEY));
    let seen = over_a_restart(&mut place, "KILL");
    assert_eq!(seen.warnings, [""; 0]);
    let (before, after) = (labels(&seen.state, 0.0, STOP_S - 3.0), labels(&seen.state, STOP_S, 100.0));
    assert_eq!(after.len(), 3, "{after:?}");
    for (person, label) in &after {
        assert_eq!(before.get(person), Some(label), "{person}: {before:?}, {after:?}");
    }
    assert_kept(&place, &seen);
    place.wait_until_erased();
    // The audio goes on in the same file.
    place.restart("TERM");
    let audio = place.folder.path().join("sessions.sqlite-audio/talk.opus");
    let kept_s = decoded_s(&audio);
    assert!((73.0..75.0).contains(&kept_s), "{kept_s} s of 73.6 s");
    assert_kept(&place, &seen);
}

#[test]
fn a_session_goes_on_after_an_orderly_restart_and_loses_nothing() {
    let mut place = Place::start(&[], Some(KEY));
    let seen = over_a_restart(&mut place, "TERM");
    assert_eq!((seen.n_snapshots, seen.warnings.len()), (0, 0), "{:?}", seen.warnings);
    let (before, after) = (labels(&seen.state, 0.0, STOP_S - 3.0), labels(&seen.state, STOP_S, 100.0));
    for (person, label) in &after {
        assert_eq!(before.get(person), Some(label), "{person}: {before:?}, {after:?}");
    }
    assert_kept(&place, &seen);
    place.wait_until_erased();
}

#[test]
fn without_a_key_people_get_new_labels_and_that_is_said() {
    let mut place = Place::start(&[], None);
    let seen = over_a_restart(&mut place, "KILL");
    assert_eq!(seen.warnings, ["voices_lost"]);
    let (before, after) = (labels(&seen.state, 0.0, STOP_S - 3.0), labels(&seen.state, STOP_S, 100.0));
    let last = before.values().max().unwrap();
    assert!(after.len() >= 3 && after.values().all(|label| label > last), "{before:?}, {after:?}");
    assert!(!place.folder.path().join("sessions.sqlite-voices").exists());
}

#[test]
fn voices_on_the_disk_are_sealed_and_of_no_use_when_damaged_or_too_late() {
    let mut place = Place::start(&["server.resume_grace_s=1"], Some(KEY));
    let (mut publisher, mut lines) = publish(&place);
    let mut seen = Seen::default();
    see_until(&mut lines, &mut seen, has_labels_until(20.0));
    let began = Instant::now();
    while !place.sealed().exists() {
        assert!(began.elapsed() < PATIENCE, "the voices are kept within seconds");
        std::thread::sleep(Duration::from_millis(20));
    }
    let addr = place.stop("KILL");
    publisher.kill().unwrap();
    publisher.wait().unwrap();
    let mut sealed = std::fs::read(place.sealed()).unwrap();
    let is_readable = |text: &str| sealed.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(sealed.len() > 5000 && !is_readable("nexttdnn"), "{} bytes", sealed.len());
    sealed[2000] ^= 1;
    std::fs::write(place.sealed(), &sealed).unwrap();

    // It is taken up all the same, and ends when nobody comes.
    place.start_at(addr);
    place.server().wait_for_log("is damaged, or was sealed with another key");
    let began = Instant::now();
    let ended = loop {
        let (_, snapshot) = place.server().http("GET", "/v1/sessions/talk");
        let Body::Snapshot(snapshot) = ServerMessage::parse(&snapshot).unwrap().body else {
            panic!("{snapshot}")
        };
        if !snapshot.live {
            break snapshot;
        }
        assert!(began.elapsed() < PATIENCE, "it ends after the grace period");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(ended.reason, Some(EndReason::Interrupted));
    place.wait_until_erased();
}
