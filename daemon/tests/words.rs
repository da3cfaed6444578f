//! Words with speakers through the real binary: the example conversation, its reference as a recogniser's words.

mod common;

use std::collections::BTreeMap;
use std::io::BufReader;
use std::net::TcpStream;
use std::process::{Child, Stdio};

use diarized::protocol::ServerMessage;
use diarized::protocol::server_message::{Body, Snapshot};
use diarized_models::SessionState;
use diarized_models::rttm::parse_rttm;
use tokio_tungstenite::tungstenite::{self, Message};

use common::{address_of_ready, diarized, request};

/// A server on a free port; killed when dropped.
struct Server {
    child: Child,
    addr: String,
}

impl Server {
    fn start() -> Self {
        let mut command = diarized(&["serve", "--listen", "127.0.0.1:0"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let addr = address_of_ready(BufReader::new(child.stdout.take().unwrap()));
        Self { child, addr }
    }

    /// Status and body of a request.
    fn http(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        request(&self.addr, method, path, body)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A word of a third of a second, and who speaks it by the reference.
struct Said {
    start: f64,
    end: f64,
    who: String,
}

/// Words inside the speech of one person, where nobody else speaks.
fn reference_words() -> Vec<Said> {
    let rttm = std::fs::read(common::conversation().with_extension("rttm")).unwrap();
    let turns: Vec<_> = parse_rttm("reference", &rttm).unwrap();
    let times = |turn: &diarized_models::rttm::SpeakerTurn| (turn.start.seconds(), turn.end().seconds());
    let mut words = Vec::new();
    for (idx, turn) in turns.iter().enumerate() {
        let (from, to) = times(turn);
        let mut start = from + 0.02;
        while start + 0.3 < to {
            let end = start + 0.3;
            let is_alone = turns.iter().enumerate().all(|(other, turn)| {
                let (from, to) = times(turn);
                other == idx || to <= start || from >= end
            });
            if is_alone {
                words.push(Said { start, end, who: turn.speaker.clone() });
            }
            start += 0.35;
        }
    }
    words
}

fn as_json(words: &[Said]) -> String {
    let all: Vec<_> = words
        .iter()
        .map(|w| serde_json::json!({"start": w.start, "end": w.end, "text": w.who, "confidence": 0.8}))
        .collect();
    serde_json::json!({ "words": all }).to_string()
}

/// What the messages make of an empty state.
fn replay(messages: &[ServerMessage]) -> SessionState {
    let mut state = SessionState::new();
    for message in messages.iter().filter(|m| m.seq.is_some()) {
        if let Ok(event) = message.body.to_event() {
            state.apply(&event).unwrap();
        }
    }
    state
}

fn next(socket: &mut tungstenite::WebSocket<impl std::io::Read + std::io::Write>) -> Option<ServerMessage> {
    loop {
        match socket.read() {
            Ok(Message::Text(text)) => return Some(ServerMessage::parse(&text).unwrap()),
            Ok(Message::Close(_)) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}

#[test]
fn words_of_a_conversation_get_the_people_who_spoke_them() {
    let server = Server::start();
    let words = reference_words();
    assert!(words.len() > 100, "{}", words.len());
    // Half a minute of words before any audio, the rest behind it.
    let n_early = words.iter().take_while(|w| w.end < 30.0).count();
    let url = format!("ws://{}/v1/stream?session=talk", server.addr);
    let tcp = TcpStream::connect(&server.addr).unwrap();
    let (mut socket, _) = tungstenite::client(url, tcp).unwrap();
    assert!(matches!(next(&mut socket).unwrap().body, Body::Started(_)));
    assert_eq!(server.http("POST", "/v1/sessions/talk/words", &as_json(&words[..n_early])).0, 204);
    let samples = common::speech(None);
    for block in samples.chunks(16_000) {
        let bytes: Vec<u8> = block.iter().flat_map(|s| ((s * 32_767.0) as i16).to_le_bytes()).collect();
        socket.send(Message::Binary(bytes.into())).unwrap();
    }
    socket.send(Message::text(r#"{"type":"finalize"}"#)).unwrap();
    let mut all = Vec::new();
    while !all.last().is_some_and(|m: &ServerMessage| matches!(&m.body, Body::Ack(ack) if ack.finalized)) {
        all.push(next(&mut socket).expect("the session goes on"));
    }
    assert_eq!(server.http("POST", "/v1/sessions/talk/words", &as_json(&words[n_early..])).0, 204);
    socket.send(Message::text(r#"{"type":"close"}"#)).unwrap();
    while let Some(message) = next(&mut socket) {
        all.push(message);
    }
    assert!(all.iter().any(|message| matches!(message.body, Body::Ended(_))));

    let state = replay(&all);
    let (_, snapshot) = server.http("GET", "/v1/sessions/talk", "");
    let Body::Snapshot(snapshot) = ServerMessage::parse(&snapshot).unwrap().body else {
        panic!("{snapshot}")
    };
    assert_eq!(snapshot.to_state().unwrap(), state, "snapshot and events agree on the words");
    assert_eq!(snapshot.words.len(), words.len());
    let (n_right, n_all) = score(&snapshot);
    println!("{n_right} of {n_all} words have the speaker of the reference");
    assert!(n_right as f64 >= 0.95 * n_all as f64, "{n_right} of {n_all}");

    let (_, text) = server.http("GET", "/v1/sessions/talk.txt", "");
    // Words of a line are of one speaker of the reference, as their texts say, but for the few that are wrong.
    assert!(text.lines().count() > 8 && text.contains("  S1: awb awb"), "{text}");
    let (_, srt) = server.http("GET", "/v1/sessions/talk.srt", "");
    assert!(srt.contains("\nS1: awb awb awb"), "{srt}");
}

/// Words with the right speaker, and all words. The text of a word is its speaker in the reference.
fn score(snapshot: &Snapshot) -> (usize, usize) {
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for word in &snapshot.words {
        let label = word.speaker.as_deref().unwrap_or("nobody");
        *counts.entry((&word.text, label)).or_default() += 1;
    }
    let mut pairs: Vec<_> = counts.into_iter().filter(|((_, label), _)| *label != "nobody").collect();
    pairs.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    // One label for each person, the most frequent pairs first.
    let (mut people, mut labels, mut n_right) = (Vec::new(), Vec::new(), 0);
    for ((person, label), n) in pairs {
        if !people.contains(&person) && !labels.contains(&label) {
            people.push(person);
            labels.push(label);
            n_right += n;
        }
    }
    (n_right, snapshot.words.len())
}
