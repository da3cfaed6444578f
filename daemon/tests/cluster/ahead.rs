//! Followers while NATS' servers have no leader for their streams: one of three is left, which takes nothing.

use std::time::Duration;

use serde_json::Value;

use crate::common::{speech, until};
use crate::nats::Nats;
use crate::node::{Node, Socket};

/// Three servers, nodes that keep their streams on all of them, and a session with its publisher and token.
struct Place {
    servers: [Nats; 3],
    nodes: [Node; 3],
    publisher: Socket,
    token: String,
    _folder: tempfile::TempDir,
}

impl Place {
    fn new(samples: &[f32]) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let servers = Nats::start_three(folder.path())?;
        let urls = servers.iter().map(Nats::url).collect::<Vec<_>>().join(",");
        let nodes =
            ["a", "b", "c"].map(|name| Node::start_with(&urls, name, &["cluster.replicas=3"]).joined());
        let mut publisher = nodes[0].socket("/v1/stream?session=kitchen");
        let token = publisher.until("started")["token"].as_str().unwrap().to_owned();
        publisher.talk(samples);
        publisher.until("segment");
        let [a, b, _] = &nodes;
        until("kitchen", || (b.get("/v1/sessions/kitchen").0 == 200).then_some(()));
        // All of the audio is labelled when nothing new comes for a while.
        until("the same events", || {
            let before = seq(a);
            std::thread::sleep(Duration::from_millis(700));
            (before > 2 && [a, b].into_iter().all(|node| seq(node) == before)).then_some(())
        });
        Some(Self { servers, nodes, publisher, token, _folder: folder })
    }

    /// Leaves one server, to which all nodes come, and which knows that it leads nothing.
    fn leave_one(&mut self) {
        self.servers[1..].iter_mut().for_each(Nats::end);
        let is_there = |name| self.servers[0].has(name);
        until("all nodes at the server that is left", || {
            ["a", "b", "c"].into_iter().all(is_there).then_some(())
        });
        until("no leader", || (!self.servers[0].is_current()).then_some(()));
    }

    fn bring_back(&mut self) {
        self.servers[1..].iter_mut().for_each(Nats::begin);
        self.servers.iter().for_each(Nats::wait_until_current);
    }
}

fn seq(node: &Node) -> u64 {
    node.json("/v1/sessions/kitchen")["seq"].as_u64().unwrap()
}

#[test]
fn events_come_before_the_stream_has_them() {
    let samples = speech(Some(40));
    let Some(mut place) = Place::new(&samples[..320_000]) else { return };
    let mut at_b = place.nodes[1].socket("/v1/events?session=kitchen&since=0");
    place.leave_one();
    let [a, b, _] = &place.nodes;
    let before = seq(a);
    place.publisher.talk(&samples[320_000..]);
    until("new events at both", || (seq(a) > before + 2 && seq(b) == seq(a)).then_some(()));
    place.bring_back();
    place.publisher.send(r#"{"type":"close"}"#);
    place.publisher.events();
    let [a, b, c] = &place.nodes;
    let own = a.events_since("kitchen", 0);
    assert!(own.last().unwrap().contains("\"closed\""));
    assert_eq!(at_b.events(), own, "none is lost or doubled");
    for node in [b, c] {
        until("the end", || {
            (node.get("/v1/sessions/kitchen") == a.get("/v1/sessions/kitchen")).then_some(())
        });
    }
}

#[test]
fn events_that_the_stream_never_has_are_void() {
    let samples = speech(Some(40));
    let Some(mut place) = Place::new(&samples[..320_000]) else { return };
    let mut at_b = place.nodes[1].socket("/v1/events?session=kitchen&since=0");
    place.leave_one();
    let [a, b, _] = &place.nodes;
    let before = seq(b);
    place.publisher.talk(&samples[320_000..480_000]);
    until("new events at both", || (seq(a) > before + 2 && seq(b) == seq(a)).then_some(()));
    let void = seq(b);
    // What came ahead dies with its node: NATS does not have it, and another node goes on before it.
    let [a, b, c] = place.nodes;
    a.kill();
    place.servers[1..].iter_mut().for_each(Nats::begin);
    place.servers.iter().for_each(Nats::wait_until_current);
    let mut publisher = c.socket("/v1/stream");
    let token = &place.token;
    publisher.send(&format!(r#"{{"type":"start","resume":{{"session":"kitchen","token":"{token}"}}}}"#));
    let started: Value = serde_json::from_str(&publisher.next().unwrap()).unwrap();
    assert_eq!(started["resumed"], true, "{started}");
    publisher.talk(&samples[(started["received_s"].as_f64().unwrap() * 16_000.0) as usize..]);
    publisher.send(r#"{"type":"close"}"#);
    assert_eq!(publisher.until("ended")["reason"], "closed");
    let end = seq(&c);
    until("the end", || (b.get("/v1/sessions/kitchen") == c.get("/v1/sessions/kitchen")).then_some(()));
    assert_eq!(b.get("/v1/sessions/kitchen.rttm"), c.get("/v1/sessions/kitchen.rttm"));

    // The follower had the void events. It is sent away, comes back, and gets the session as it stands and the events behind that.
    let numbers = numbers_to_the_close(&mut at_b);
    if numbers.last() == Some(&end) {
        println!("the server had taken the events without a leader, and they are not void");
        return;
    }
    assert_eq!(numbers.last(), Some(&void));
    let mut at_b = b.socket(&format!("/v1/events?session=kitchen&since={void}"));
    let snapshot = at_b.until("snapshot")["seq"].as_u64().unwrap();
    let numbers = numbers_to_the_close(&mut at_b);
    assert_eq!(numbers.last().unwrap_or(&snapshot), &end);
}

/// The numbers of the events up to the close, which have no gap.
fn numbers_to_the_close(socket: &mut Socket) -> Vec<u64> {
    let events = socket.events();
    let seq = |event: &String| serde_json::from_str::<Value>(event).unwrap()["seq"].as_u64().unwrap();
    let numbers: Vec<u64> = events.iter().map(seq).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
    numbers
}
