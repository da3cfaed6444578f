//! `diarized serve`, `stream` and `listen` as a person runs them: the real binary, its real model, real sockets.

mod common;

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener;
use std::process::{Child, ChildStdout, Command, Stdio};

use diarized::engine::LiveEngines;
use diarized::protocol::server_message::{Body, EndReason, Snapshot};
use diarized::protocol::{Latency, ServerMessage, SessionOptions, SpeakerHints};
use diarized::session::{Engine, EngineFactory as _};
use diarized_models::events::Event;
use diarized_models::{SessionState, TimedEvent};

use common::{address_of_ready, conversation as example, diarized};

fn run(args: &[&str]) -> (i32, String, String) {
    common::run(&mut diarized(args))
}

/// A server on a free port; killed when dropped.
struct Server {
    child: Child,
    stdout: BufReader<ChildStdout>,
    url: String,
}

impl Server {
    fn start() -> Self {
        let mut child = diarized(&["serve", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let url = format!("ws://{}", address_of_ready(&mut stdout));
        Self { child, stdout, url }
    }

    fn terminate(&self) {
        let status = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for the end and gives the exit code.
    fn wait(mut self) -> Option<i32> {
        let code = self.child.wait().unwrap().code();
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "", "one line says that the server is ready; all else is the log");
        code
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a subscriber's or publisher's messages make of an empty state or a snapshot.
fn replay(json: &str) -> (SessionState, Option<EndReason>) {
    let (mut state, mut ended) = (SessionState::new(), None);
    for line in json.lines() {
        match ServerMessage::parse(line).unwrap().body {
            Body::Snapshot(snapshot) => state = snapshot.to_state().unwrap(),
            Body::Ended(end) => ended = Some(end.reason),
            body => {
                if let Ok(event) = body.to_event() {
                    state.apply(&event).unwrap();
                }
            }
        }
    }
    (state, ended)
}

/// The labels of a whole signal.
fn label(engine: &mut dyn Engine, samples: &[f32]) -> SessionState {
    let mut state = SessionState::new();
    events(engine, samples).iter().for_each(|emitted| state.apply(&emitted.event).unwrap());
    state
}

fn events(engine: &mut dyn Engine, samples: &[f32]) -> Vec<TimedEvent> {
    engine.push(samples).unwrap();
    engine.finish().unwrap();
    let mut emitted = Vec::new();
    engine.drive(&mut emitted).unwrap();
    while engine.n_pending() > 0 {
        let mut select = crossbeam_channel::Select::new();
        engine.register(&mut select);
        select.ready();
        engine.drive(&mut emitted).unwrap();
    }
    emitted
}

#[test]
fn a_stream_gets_the_labels_that_the_file_gets() {
    let server = Server::start();
    let file = example();
    let args = ["stream", file.to_str().unwrap(), "--url", &server.url, "--speed", "max", "--json"];
    let (code, stdout, stderr) = run(&args);
    assert_eq!((code, stderr.as_str()), (0, ""));
    let (streamed, ended) = replay(&stdout);
    assert_eq!(ended, Some(EndReason::Closed));

    let (code, stdout, stderr) = run(&["listen", &server.url, "--session", "nobody"]);
    assert_eq!(code, 1);
    assert_eq!(
        (stdout + &stderr).matches("there is no session \"nobody\"").count(),
        1,
        "a fault is said once"
    );

    // The same engine over the whole file at once; at 16 kHz no front end is needed.
    let samples = common::speech(None);
    let mut engine = LiveEngines::start(&diarized_config::Config::default()).unwrap().engine().unwrap();
    let whole = label(&mut *engine, &samples);
    assert!(whole.speakers().len() > 1 && whole.segments().len() > 5, "there is a conversation to compare");
    // Through the wire's milliseconds, as the stream came.
    let whole = Snapshot::of(&whole, "stream", None).to_state().unwrap();
    assert_eq!(streamed, whole);
}

#[test]
fn a_session_that_knows_its_number_of_speakers_has_no_more() {
    let config = diarized_config::Config::default();
    let engines = LiveEngines::start(&config).unwrap();
    let samples = common::speech(Some(30));
    let wish = |speakers| SessionOptions { speakers, ..SessionOptions::default() };
    let n_speakers = |hints: SpeakerHints| {
        let mut engine = engines.engine_for(wish(hints)).unwrap();
        label(&mut *engine, &samples).speakers().len()
    };
    assert!(n_speakers(SpeakerHints::default()) > 1);
    assert_eq!(n_speakers(SpeakerHints { max: Some(1), expected: None }), 1);
    let faults = engines.engine_for(wish(SpeakerHints { max: Some(1), expected: Some(2) }));
    assert!(faults.err().unwrap().to_string().contains("expected_speakers"));
}

#[test]
fn a_session_says_how_long_its_labels_may_wait() {
    let engines = LiveEngines::start(&diarized_config::Config::default()).unwrap();
    let samples = common::speech(Some(20));
    // Median delay of the final event of a segment that has run for two seconds.
    let wait_s = |latency| {
        let mut engine = engines.engine_for(SessionOptions { latency, ..SessionOptions::default() }).unwrap();
        let emitted = events(&mut *engine, &samples);
        let waits = emitted.iter().filter_map(|emitted| match &emitted.event {
            Event::Segment(s) if !s.is_final && s.range.len() > 32_000 => {
                Some((emitted.at.0 - s.range.end().0) as f64 / 16_000.0)
            }
            _ => None,
        });
        let mut waits: Vec<f64> = waits.collect();
        waits.sort_by(f64::total_cmp);
        waits[waits.len() / 2]
    };
    let (low, normal, high) = (wait_s(Some(Latency::Low)), wait_s(None), wait_s(Some(Latency::High)));
    assert!(low < 0.4, "{low}");
    assert!((0.5..0.9).contains(&normal), "{normal}");
    assert!((1.5..1.9).contains(&high), "{high}");
}

#[test]
fn a_terminated_server_finishes_its_sessions_and_ends_well() {
    let server = Server::start();
    let file = example();
    let mut stream = diarized(&[
        "stream",
        file.to_str().unwrap(),
        "--url",
        &server.url,
        "--session",
        "talk",
        "--speed",
        "8",
    ])
    .stdout(Stdio::null())
    .stderr(Stdio::piped())
    .spawn()
    .unwrap();
    let mut listen = diarized(&["listen", &server.url, "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(listen.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut heard = String::new();
    let mut hear_until = |word: &str| {
        for line in lines.by_ref() {
            heard.push_str(&line);
            heard.push('\n');
            if line.contains(word) {
                return heard.clone();
            }
        }
        panic!("no {word} in {heard}");
    };
    hear_until("\"final\":false");
    server.terminate();
    let heard = hear_until("\"ended\"");
    let (state, ended) = replay(&heard);
    assert_eq!(ended, Some(EndReason::Shutdown));
    assert!(state.segments().len() > 0 && state.segments().all(|s| s.is_final), "open segments are finished");
    assert_eq!(server.wait(), Some(0));
    // The publisher gets the reason; the subscriber of all sessions waits for the server to come back.
    let mut told = String::new();
    stream.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert_eq!(stream.wait().unwrap().code(), Some(1));
    assert!(told.contains("closed the stream with 1001: the server shuts down"), "{told}");
    assert!(listen.try_wait().unwrap().is_none(), "it waits");
    let pid = listen.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert_eq!(listen.wait().unwrap().code(), Some(0), "a stop signal ends it properly");
}

#[test]
fn what_stops_a_server_says_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let (code, stdout, stderr) = run(&["serve", "--listen", &addr]);
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.contains(&format!("cannot listen on {addr}")) && stderr.contains("--listen"), "{stderr}");

    let (code, _, stderr) = run(&["serve", "--listen", "0.0.0.0:0"]);
    assert_eq!(code, 78);
    assert!(stderr.contains("without authentication") && stderr.contains("--allow-insecure"), "{stderr}");

    let (code, _, stderr) = run(&["serve", "--listen", "127.0.0.1:0", "--model", "/nonexistent"]);
    assert_eq!(code, 66);
    assert!(stderr.contains("/nonexistent") && stderr.contains("model.toml"), "{stderr}");

    let (code, _, stderr) = run(&["serve", "--set", "server.max_sessions=0"]);
    assert_eq!(code, 78);
    assert!(stderr.contains("server.max_sessions"), "{stderr}");
}

#[test]
fn clients_without_a_server_say_so() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("ws://{free}");
    let file = example();
    for args in [vec!["listen", &url], vec!["stream", file.to_str().unwrap(), "--url", &url]] {
        let (code, _, stderr) = run(&args);
        assert_eq!(code, 1, "{args:?}");
        assert!(stderr.contains("start `diarized serve`"), "{stderr}");
    }
    let (code, _, stderr) = run(&["stream", "/nonexistent.wav", "--url", &url]);
    assert_eq!(code, 66);
    assert!(stderr.contains("/nonexistent.wav"), "{stderr}");
}

#[test]
fn a_session_id_that_is_none_is_refused_before_anything_is_sent() {
    let file = example();
    for id in ["a b", "x&encoding=mulaw", "", "a/b"] {
        for args in [&["stream", file.to_str().unwrap(), "--session", id][..], &["listen", "--session", id]] {
            let (code, stdout, stderr) = run(args);
            assert_eq!((code, &*stdout), (2, ""), "{args:?}: {stderr}");
            assert!(stderr.contains("expected 1 to 64 letters, digits, - and _"), "{args:?}: {stderr}");
        }
    }
}
