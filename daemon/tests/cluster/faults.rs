//! NATS and nodes that go away in the middle of a session.

use serde_json::Value;

use crate::common::{speech, until};
use crate::nats::Nats;
use crate::node::{Node, Socket};

fn is_there(node: &Node, session: &str) {
    until(session, || (node.get(&format!("/v1/sessions/{session}")).0 == 200).then_some(()));
}

fn seq(node: &Node, session: &str) -> u64 {
    node.json(&format!("/v1/sessions/{session}"))["seq"].as_u64().unwrap()
}

#[test]
fn a_session_goes_on_without_nats_and_all_of_it_follows() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut nats) = Nats::start(folder.path()) else { return };
    let [a, b] = ["a", "b"].map(|name| Node::start(&nats.url(), name).joined());
    let samples = speech(Some(30));
    let mut publisher = a.socket("/v1/stream?session=kitchen");
    publisher.talk(&samples[..160_000]);
    publisher.until("speaker");
    is_there(&b, "kitchen");
    let mut at_b = b.socket("/v1/events?session=kitchen");
    at_b.until("snapshot");

    nats.end();
    publisher.talk(&samples[160_000..320_000]);
    assert_eq!(publisher.until("warning")["code"], "cluster_away");
    a.wait_for_ready("NATS is away since");
    let before = seq(&a, "kitchen");
    publisher.talk(&samples[320_000..]);
    until("labels without NATS", || (seq(&a, "kitchen") > before).then_some(()));
    let (status, body) = b.post("/v1/sessions/kitchen/title", r#"{"title":"Weekly"}"#);
    assert!(status == 409 && body.contains("NATS is away"), "{status} {body}");

    nats.begin();
    until("the return of NATS", || (a.get("/readyz").1 == "ready\n").then_some(()));
    publisher.send(r#"{"type":"close"}"#);
    publisher.events();
    let own = a.events_since("kitchen", 0);
    assert!(own.last().unwrap().contains("\"ended\""));
    let followed = at_b.events();
    assert_eq!(followed, own[own.len() - followed.len()..], "none is lost or doubled");
    assert_eq!(b.events_since("kitchen", 0), own);
}

#[test]
fn sessions_of_a_node_that_died_are_ended_once() {
    let folder = tempfile::tempdir().unwrap();
    let Some(nats) = Nats::start(folder.path()) else { return };
    let away = &["cluster.away_s=15"];
    let [a, b, c] = ["a", "b", "c"].map(|name| Node::start_with(&nats.url(), name, away).joined());
    let mut publisher = a.socket("/v1/stream?session=kitchen");
    publisher.talk(&speech(Some(10)));
    publisher.until("segment");
    is_there(&b, "kitchen");
    let [mut at_b, mut at_c] = [&b, &c].map(|node| node.socket("/v1/events?session=kitchen&since=0"));
    a.kill();
    let (at_b, at_c) = (at_b.events(), at_c.events());
    assert_eq!(at_b, at_c);
    let last: Value = serde_json::from_str(at_b.last().unwrap()).unwrap();
    assert_eq!((&last["type"], &last["reason"]), (&"ended".into(), &"interrupted".into()));
    assert_eq!(last["seq"], at_b.len());
    let listed = until("its end", || b.listed("kitchen").filter(|listed| listed["live"] == false));
    assert_eq!(listed["reason"], "interrupted");
    let (status, body) = b.post("/v1/sessions/kitchen/title", r#"{"title":"Weekly"}"#);
    assert!(status == 409 && body.contains("node \\\"a\\\" of the session is away"), "{status} {body}");
    assert_eq!(b.delete("kitchen").0, 204, "without its node there is nothing but what NATS has");
    until("its deletion", || (c.get("/v1/sessions/kitchen").0 == 404).then_some(()));
}

/// Takes a session up again.
fn resume(node: &Node, token: &str) -> (Socket, f64) {
    let mut publisher = node.socket("/v1/stream");
    let start = format!(r#"{{"type":"start","resume":{{"session":"kitchen","token":"{token}"}}}}"#);
    publisher.send(&start);
    let started = publisher.until("started");
    (publisher, started["received_s"].as_f64().unwrap())
}

#[test]
fn a_node_that_is_killed_and_started_again_goes_on_for_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let Some(nats) = Nats::start(folder.path()) else { return };
    let path = format!("storage.path={}", folder.path().join("a.sqlite").display());
    let a = Node::start_with(&nats.url(), "a", &[&path]).joined();
    let b = Node::start(&nats.url(), "b").joined();
    let samples = speech(Some(30));
    let mut publisher = a.socket("/v1/stream?session=kitchen");
    let token = publisher.until("started")["token"].as_str().unwrap().to_owned();
    publisher.talk(&samples[..320_000]);
    publisher.until("segment");
    until("audio that is safe", || (publisher.until("ack")["received_s"].as_f64()? > 8.0).then_some(()));
    is_there(&b, "kitchen");
    a.kill();

    let a = Node::start_with(&nats.url(), "a", &[&path]).joined();
    let (mut publisher, received_s) = resume(&a, &token);
    publisher.talk(&samples[(received_s * 16_000.0) as usize..]);
    publisher.send(r#"{"type":"close"}"#);
    let own = publisher.events();
    assert!(own.last().unwrap().contains("\"ended\""));
    let end = seq(&a, "kitchen");
    until("the end at b", || (seq(&b, "kitchen") == end).then_some(()));
    assert_eq!(b.get("/v1/sessions/kitchen"), a.get("/v1/sessions/kitchen"));
    assert_eq!(b.get("/v1/sessions/kitchen.rttm"), a.get("/v1/sessions/kitchen.rttm"));
    a.terminate();
    // Kept at its node, it is served by NATS all the same.
    assert!(b.get("/v1/sessions/kitchen").1.contains("\"reason\":\"closed\""));
}

#[test]
fn a_session_that_others_ended_ends_at_its_node() {
    let folder = tempfile::tempdir().unwrap();
    let Some(nats) = Nats::start(folder.path()) else { return };
    let away = &["cluster.away_s=15"];
    let a = Node::start_with(&nats.url(), "a", away).joined();
    let b = Node::start_with(&nats.url(), "b", away).joined();
    let mut publisher = a.socket("/v1/stream?session=kitchen");
    publisher.talk(&speech(Some(10)));
    publisher.until("segment");
    is_there(&b, "kitchen");
    let mut at_b = b.socket("/v1/events?session=kitchen");
    // It stands still as long as a machine that sleeps.
    a.signal("STOP");
    assert_eq!(at_b.until("ended")["reason"], "interrupted");
    a.signal("CONT");
    publisher.talk(&speech(Some(5)));
    assert_eq!(publisher.until("ended")["reason"], "interrupted");
    a.wait_for_log("another node has ended this session");
}
