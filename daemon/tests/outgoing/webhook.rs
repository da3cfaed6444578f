//! Webhooks against a web server that hangs, fails, refuses, and then takes what comes.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use diarized::protocol::ServerMessage;
use diarized::protocol::server_message::Body;
use hmac::{Hmac, KeyInit as _, Mac as _};
use parking_lot::Mutex;
use serde_json::Value;

use crate::common::until;
use crate::server::Server;

/// What the server does with the next request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    Answers(u16),
    Hangs,
    Closes,
}

/// One request as it came.
#[derive(Debug, Clone)]
struct Got {
    head: String,
    body: String,
    answer: Does,
}

impl Got {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    fn events(&self) -> Vec<Value> {
        serde_json::from_str::<Value>(&self.body).unwrap()["events"].as_array().unwrap().clone()
    }
}

/// A web server that does one thing after the other, and then answers 204.
fn receiver(script: &[Does]) -> (String, Arc<Mutex<Vec<Got>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook?a=b", listener.local_addr().unwrap());
    let all = Arc::new(Mutex::new(Vec::new()));
    let (to, mut script) = (Arc::clone(&all), VecDeque::from(script.to_vec()));
    std::thread::spawn(move || {
        let mut hanging = Vec::new();
        for tcp in listener.incoming().map_while(Result::ok) {
            let mut tcp = tcp;
            let Some((head, body)) = read_request(&mut tcp) else { continue };
            let answer = script.pop_front().unwrap_or(Does::Answers(204));
            to.lock().push(Got { head, body, answer });
            match answer {
                Does::Answers(status) => {
                    let _ = write!(tcp, "HTTP/1.1 {status} Whatever\r\nContent-Length: 0\r\n\r\n");
                }
                Does::Hangs => hanging.push(tcp),
                Does::Closes => {}
            }
        }
    });
    (url, all)
}

fn read_request(tcp: &mut TcpStream) -> Option<(String, String)> {
    let (mut bytes, mut block) = (Vec::new(), [0; 4096]);
    loop {
        let n = tcp.read(&mut block).ok().filter(|n| *n > 0)?;
        bytes.extend_from_slice(&block[..n]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length =
            head.lines().find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            return Some((head.to_owned(), body.to_owned()));
        }
    }
}

#[test]
fn chosen_events_come_once_in_order_and_signed_whatever_the_server_does() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), "top secret\n").unwrap();
    let (url, all) = receiver(&[Does::Answers(503), Does::Hangs, Does::Closes, Does::Answers(429)]);
    let config = format!(
        "[webhook]\nurls = [\"{url}\"]\nsecret_file = \"secret\"\ntimeout_s = 1\n\
         events = [\"speaker\", \"segment\", \"revision\", \"words\", \"ended\"]\n"
    );
    let server = Server::start(folder.path(), &config);
    let talk = server.talk("kitchen", 20);
    let word = r#"{"words": [{"start": 1.0, "end": 1.2, "text": "hello"}]}"#;
    assert_eq!(server.post("/v1/sessions/kitchen/words", word), 204);
    let events = talk.close();
    let wanted = |message: &&ServerMessage| match &message.body {
        Body::Segment(segment) => segment.is_final,
        body => ["speaker", "revision", "words", "ended"].contains(&body.kind()),
    };
    let expected: Vec<u64> = events.iter().filter(wanted).filter_map(|m| m.seq).collect();
    let accepted = || {
        let all = all.lock();
        let accepted = all.iter().filter(|got| got.answer == Does::Answers(204));
        accepted.flat_map(Got::events).collect::<Vec<_>>()
    };
    until("the last event", || accepted().iter().any(|e| e["type"] == "ended").then_some(()));
    let got: Vec<u64> = accepted().iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(got, expected, "each chosen event once, in order");
    assert!(accepted().iter().all(|event| event["session"] == "kitchen"));

    let counted = ["webhook_sent_total", "webhook_failures_total", "webhook_dropped_total"];
    let expected_counts = [expected.len() as f64, 4.0, 0.0];
    until("the counters", || (counted.map(|name| server.metric(name)) == expected_counts).then_some(()));
    until("an empty queue", || (server.metric("webhook_waiting") == 0.0).then_some(()));
    // What comes after the end is sent as well.
    assert_eq!(server.post("/v1/sessions/kitchen/words", &word.replace("hello", "late")), 204);
    until("the late word", || {
        accepted().last().filter(|event| event["words"][0]["text"] == "late").map(drop)
    });
    let all = all.lock().clone();
    let ids: Vec<_> = all[..5].iter().map(|got| got.header("x-diarized-delivery").unwrap()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "a repetition has the same id: {ids:?}");
    assert!(all[..5].iter().all(|got| got.body == all[0].body));
    for got in &all {
        assert!(got.head.starts_with("POST /hook?a=b HTTP/1.1"), "{}", got.head);
        assert_eq!(got.header("content-type"), Some("application/json"));
        let signature = got.header("x-diarized-signature").unwrap();
        let (time, v1) = signature.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(b"top secret").unwrap();
        mac.update(format!("{time}.{}", got.body).as_bytes());
        mac.verify_slice(&hex::decode(v1).unwrap()).expect("the signature is right");
    }
    server.terminate();
}

#[test]
fn a_refusal_for_good_drops_its_events_and_the_end_of_the_process_sends_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let (url, all) = receiver(&[Does::Answers(400)]);
    let config = format!("[webhook]\nurls = [\"{url}\"]\nevents = [\"ended\"]\n");
    let server = Server::start(folder.path(), &config);
    drop(server.talk("a", 2).close());
    until("the first request", || (all.lock().len() == 1).then_some(()));
    until("the counter", || (server.metric("webhook_dropped_total") == 1.0).then_some(()));
    let _talk = server.talk("b", 2);
    until("session b", || server.snapshot("b"));
    // It ends with the server.
    server.terminate();
    let all = all.lock().clone();
    assert_eq!(all.len(), 2, "{all:#?}");
    assert_eq!(all[0].events()[0]["session"], "a");
    let last = all[1].events();
    assert_eq!((&last[0]["session"], &last[0]["reason"]), (&"b".into(), &"shutdown".into()));
    assert_eq!(all[1].header("x-diarized-signature"), None);
}

#[test]
fn a_web_server_that_hangs_loses_the_oldest_events_and_hinders_no_session() {
    let folder = tempfile::tempdir().unwrap();
    let (url, all) = receiver(&[Does::Hangs; 100]);
    let config = format!(
        "[webhook]\nurls = [\"{url}\"]\ntimeout_s = 60\nqueue_events = 100\nevents = [\"words\", \"ended\"]\n"
    );
    let server = Server::start(folder.path(), &config);
    let talk = server.talk("kitchen", 2);
    for n in 0..250 {
        let word = format!(r#"{{"words": [{{"start": 1.0, "end": 1.2, "text": "w{n}"}}]}}"#);
        assert_eq!(server.post("/v1/sessions/kitchen/words", &word), 204);
    }
    until("events that wait", || (server.metric("webhook_waiting") > 90.0).then_some(()));
    assert!(server.metric("webhook_waiting") <= 200.0, "a request and a full queue");
    let events = talk.close();
    assert!(events.iter().any(|message| matches!(message.body, Body::Ended(_))));
    assert!(all.lock().len() <= 2, "one request at a time");
}
