//! Speech recognisers that misbehave, with the real binary: words may be missing, labels never. Real recognisers are in the
//! tests of the Python client.

mod common;

use std::io::{BufReader, Read as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use diarized::protocol::ServerMessage;
use diarized::protocol::server_message::{Body, Snapshot};
use tokio_tungstenite::tungstenite::{self, Message, WebSocket};

use common::{address_of_ready, diarized, request, speech};

/// A server on a free port; killed when dropped.
struct Server {
    child: Child,
    addr: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start(settings: &[String]) -> Self {
        let mut args = vec!["serve", "--listen", "127.0.0.1:0"];
        settings.iter().for_each(|setting| args.extend(["--set", setting]));
        let mut child = diarized(&args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let addr = address_of_ready(BufReader::new(child.stdout.take().unwrap()));
        Self { child, addr }
    }

    fn with_vosk(listener: &TcpListener) -> Self {
        let url = format!("asr.url=ws://{}", listener.local_addr().unwrap());
        Self::start(&["asr.kind=vosk".to_owned(), url, "asr.timeout_s=2".to_owned()])
    }

    /// Sends twelve seconds of the conversation with a gap after six, and returns the labels and warnings at the end. More of
    /// the query may follow the id.
    fn talk(&self, session: &str) -> (Snapshot, Vec<String>) {
        let url = format!("ws://{}/v1/stream?session={session}", self.addr);
        let (mut socket, _) = tungstenite::client(url, TcpStream::connect(&self.addr).unwrap()).unwrap();
        for (idx, block) in speech(Some(12)).chunks(8000).enumerate() {
            if idx == 12 {
                socket.send(Message::text(r#"{"type":"gap","duration_s":10.0}"#)).unwrap();
            }
            let bytes: Vec<u8> = block.iter().flat_map(|s| ((s * 32_767.0) as i16).to_le_bytes()).collect();
            socket.send(Message::Binary(bytes.into())).unwrap();
            std::thread::sleep(Duration::from_millis(20));
        }
        socket.send(Message::text(r#"{"type":"close"}"#)).unwrap();
        let mut warnings = Vec::new();
        loop {
            match socket.read() {
                Ok(Message::Text(text)) => match ServerMessage::parse(&text).unwrap().body {
                    Body::Warning(warning) => warnings.push(warning.code),
                    Body::Ended(_) => break,
                    _ => {}
                },
                Ok(_) => {}
                Err(error) => panic!("the session broke: {error}"),
            }
        }
        (self.snapshot(session.split('&').next().unwrap()), warnings)
    }

    fn snapshot(&self, session: &str) -> Snapshot {
        let (_, snapshot) = request(&self.addr, "GET", &format!("/v1/sessions/{session}"), "");
        match ServerMessage::parse(&snapshot).unwrap().body {
            Body::Snapshot(snapshot) => snapshot,
            other => panic!("{other:?}"),
        }
    }

    fn metric(&self, name: &str) -> f64 {
        let (_, page) = request(&self.addr, "GET", "/metrics", "");
        let line =
            page.lines().find_map(|line| line.strip_prefix(&format!("diarized_{name} ")).map(str::to_owned));
        line.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
    }
}

/// Segments, without what words add.
fn labels(snapshot: &Snapshot) -> String {
    serde_json::to_string(&snapshot.segments).unwrap()
}

/// Serves the connections of one recogniser on threads, until the test ends.
fn recogniser(serve: fn(WebSocket<TcpStream>)) -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let accepting = listener.try_clone().unwrap();
    std::thread::spawn(move || {
        while let Ok((tcp, _)) = accepting.accept() {
            std::thread::spawn(move || {
                if let Ok(socket) = tungstenite::accept(tcp) {
                    serve(socket);
                }
            });
        }
    });
    listener
}

/// Answers every frame of audio and the end.
fn answer(mut socket: WebSocket<TcpStream>, reply: impl Fn(usize) -> String) {
    let mut n_bytes = 0;
    while let Ok(message) = socket.read() {
        let is_end = match &message {
            Message::Binary(bytes) => {
                n_bytes += bytes.len();
                false
            }
            Message::Text(text) if text.contains("eof") => true,
            _ => continue,
        };
        if socket.send(Message::text(reply(n_bytes))).is_err() || is_end {
            let _ = socket.close(None);
            return;
        }
    }
}

#[test]
fn words_behind_a_gap_lie_on_the_clock_of_the_session() {
    // One word for every second of audio that the recogniser got.
    let listener = recogniser(|socket| {
        answer(socket, |n| {
            let (second, rest) = (n / 32_000, n % 32_000);
            if rest != 0 || second == 0 {
                return r#"{"partial": "well"}"#.to_owned();
            }
            let (start, end) = (second as f64 - 0.8, second as f64 - 0.3);
            format!(
                r#"{{"result": [{{"word": "w{second}", "start": {start}, "end": {end}, "conf": 1.0}}], "text": "w"}}"#
            )
        });
    });
    let server = Server::with_vosk(&listener);
    let (snapshot, warnings) = server.talk("gap");
    assert_eq!(warnings, [0; 0].map(|_: i32| String::new()));
    let words: Vec<_> =
        snapshot.words.iter().filter(|w| w.text.starts_with('w') && w.text != "well").collect();
    assert_eq!(words.len(), 12, "{words:?}");
    for (idx, word) in words.iter().enumerate() {
        let gap = if idx < 6 { 0.0 } else { 10.0 };
        assert!((word.start.0 - (idx as f64 + 0.2 + gap)).abs() < 0.002, "{word:?}");
    }
    assert!(words.iter().filter(|word| word.speaker.is_some()).count() >= 8, "{words:?}");
    assert_eq!(server.metric("asr_audio_sent_seconds_total"), 12.0);
    assert_eq!(server.metric("asr_failures_total"), 0.0);
}

#[test]
fn no_label_suffers_from_a_recogniser_that_fails() {
    let plain = Server::start(&[]);
    let (expected, _) = plain.talk("plain");
    let closes = recogniser(|mut socket| {
        let _ = (socket.read(), socket.read(), socket.close(None));
    });
    let floods = recogniser(|socket| {
        let word = r#"{"word": "spam", "start": 0.0, "end": 0.1}"#;
        let flood = format!(r#"{{"result": [{}], "text": "x"}}"#, vec![word; 5000].join(","));
        answer(socket, move |_| flood.clone());
    });
    let lies = recogniser(|socket| {
        answer(socket, |_| {
            r#"{"result": [{"word": "late", "start": 1e9, "end": 1e9}], "text": "late"}"#.to_owned()
        });
    });
    let garbage = recogniser(|socket| answer(socket, |_| "<html>".to_owned()));
    let away = TcpListener::bind("127.0.0.1:0").unwrap();
    for (name, listener, warning) in [
        ("closes", closes, "recogniser_failed"),
        ("floods", floods, "recogniser_wrong"),
        ("lies", lies, "recogniser_wrong"),
        ("garbage", garbage, "recogniser_failed"),
    ] {
        let server = Server::with_vosk(&listener);
        let (got, warnings) = server.talk(name);
        assert_eq!(labels(&got), labels(&expected), "{name}");
        assert!(warnings.iter().any(|w| w == warning) && warnings.len() <= 2, "{name}: {warnings:?}");
        assert!(got.words.iter().all(|word| word.text == "spam"), "{name}");
        let n_dropped = server.metric("asr_words_dropped_total");
        assert_eq!(n_dropped > 0.0, warning == "recogniser_wrong", "{name}: {n_dropped}");
    }
    let address = away.local_addr().unwrap();
    drop(away);
    let url = format!("asr.url=ws://{address}");
    let server = Server::start(&["asr.kind=vosk".to_owned(), url]);
    let (got, warnings) = server.talk("away");
    assert_eq!((labels(&got), warnings), (labels(&expected), vec!["recogniser_failed".to_owned()]));
    assert_eq!((server.metric("asr_words_total"), server.metric("asr_audio_waiting_seconds")), (0.0, 0.0));
    assert!(
        server.metric("asr_failures_total") >= 1.0 && server.metric("asr_audio_dropped_seconds_total") > 6.0
    );
}

#[test]
fn a_recogniser_that_hangs_delays_the_end_by_a_moment_only() {
    // It accepts, takes nothing, and never answers.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let accepting = listener.try_clone().unwrap();
    std::thread::spawn(move || {
        let all: Vec<_> =
            accepting.incoming().filter_map(|tcp| tungstenite::accept(tcp.ok()?).ok()).collect();
        drop(all);
    });
    let server = Server::with_vosk(&listener);
    let took = |settings: &[&str], session: &str| {
        let url = format!("asr.url=ws://{}", listener.local_addr().unwrap());
        let more = settings.iter().map(|setting| (*setting).to_owned());
        let settings: Vec<String> = ["asr.kind=vosk".to_owned(), url].into_iter().chain(more).collect();
        let server = Server::start(&settings);
        let began = Instant::now();
        let (got, _) = server.talk(session);
        assert!(!got.segments.is_empty() && got.words.is_empty() && !got.live);
        (began.elapsed(), server)
    };
    let (without, _server) = took(&["asr.end_wait_s=0", "asr.timeout_s=60"], "unwaited");
    let (with, _server) = took(&["asr.timeout_s=60"], "hangs");
    println!("the end came after {without:?} without a wait, {with:?} with the usual one");
    assert!(with < without + Duration::from_secs(5), "asr.timeout_s is not waited for");
    // Its time limit gives it away.
    let (_, warnings) = server.talk("known");
    assert!(warnings.len() <= 1, "{warnings:?}");
    let began = Instant::now();
    while server.metric("asr_failures_total") < 1.0 {
        assert!(began.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn words_that_come_after_the_end_are_added_to_the_ended_session() {
    // It answers every frame at once, and the end six seconds late.
    let listener = recogniser(|mut socket| {
        while let Ok(message) = socket.read() {
            let reply = match &message {
                Message::Binary(_) => r#"{"partial": "goo"}"#,
                Message::Text(text) if text.contains("eof") => {
                    std::thread::sleep(Duration::from_secs(6));
                    r#"{"result": [{"word": "good", "start": 1.0, "end": 1.3, "conf": 1.0}], "text": "good"}"#
                }
                _ => continue,
            };
            if socket.send(Message::text(reply)).is_err() {
                return;
            }
        }
    });
    let url = format!("asr.url=ws://{}", listener.local_addr().unwrap());
    let server = Server::start(&["asr.kind=vosk".to_owned(), url, "asr.end_wait_s=0.5".to_owned()]);
    let (at_end, warnings) = server.talk("late");
    assert_eq!((at_end.live, warnings.len()), (false, 0));
    assert!(at_end.words.iter().all(|word| !word.is_final), "{:?}", at_end.words);
    let began = Instant::now();
    let got = loop {
        let got = server.snapshot("late");
        if got.words.iter().any(|word| word.is_final) {
            break got;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", got.words);
        std::thread::sleep(Duration::from_millis(50));
    };
    let words: Vec<_> = got.words.iter().map(|word| (word.text.as_str(), word.speaker.as_deref())).collect();
    assert_eq!(words, [("good", Some("S1"))], "what was provisional is gone");
    assert_eq!(labels(&got), labels(&at_end));
}

#[test]
fn a_session_can_refuse_the_recogniser() {
    let listener = recogniser(|socket| answer(socket, |_| r#"{"partial": "well"}"#.to_owned()));
    let server = Server::with_vosk(&listener);
    let (got, warnings) = server.talk("refuses&asr=false");
    assert!(!got.segments.is_empty() && got.words.is_empty() && warnings.is_empty());
    assert_eq!(server.metric("asr_audio_sent_seconds_total"), 0.0);
    server.talk("takes");
    assert_eq!(server.metric("asr_audio_sent_seconds_total"), 12.0);
}

#[test]
fn a_wyoming_server_with_lying_lengths_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for tcp in listener.incoming() {
            let Ok(mut tcp) = tcp else { return };
            let _ = tcp.read(&mut [0; 4096]);
            let line = "{\"type\": \"transcript\", \"data_length\": 99999999999}\n";
            let _ = std::io::Write::write_all(&mut tcp, line.as_bytes());
        }
    });
    let url = format!("asr.url=tcp://{address}");
    let server = Server::start(&["asr.kind=wyoming".to_owned(), url]);
    let (got, warnings) = server.talk("lies");
    assert!(!got.segments.is_empty() && got.words.is_empty());
    assert_eq!(warnings, ["recogniser_failed"]);
}
