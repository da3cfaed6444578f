//! Sessions that go on at another node: after the death of theirs, while it lives, and on its way out.

use std::path::Path;

use serde_json::Value;

use crate::common::{speech, until};
use crate::nats::Nats;
use crate::node::{Node, Socket};

/// A node whose key of voices is the same as that of the others.
pub(crate) fn node(nats: &Nats, folder: &Path, name: &str, keys: &[&str]) -> Node {
    node_at(&nats.url(), folder, name, keys)
}

/// The same, which reaches NATS by this address.
pub(crate) fn node_at(nats: &str, folder: &Path, name: &str, keys: &[&str]) -> Node {
    let key = folder.join("voices.key");
    if !key.exists() {
        diarized::private_file::open_or_create(&key).unwrap();
        std::fs::write(&key, "5".repeat(64)).unwrap();
    }
    let key = format!("voices.key_file={}", key.display());
    Node::start_with(nats, name, &[&[key.as_str()], keys].concat()).joined()
}

/// A publisher that has sent these samples, with its token. So many seconds of them are safe.
pub(crate) fn published(node: &Node, samples: &[f32], safe_s: f64) -> (Socket, String) {
    let mut publisher = node.socket("/v1/stream?session=kitchen");
    let token = publisher.until("started")["token"].as_str().unwrap().to_owned();
    publisher.talk(samples);
    until("audio that is safe", || (publisher.until("ack")["received_s"].as_f64()? >= safe_s).then_some(()));
    (publisher, token)
}

/// Takes a session up again; gives where its audio goes on, in seconds.
pub(crate) fn resume(node: &Node, token: &str) -> (Socket, f64) {
    let mut publisher = node.socket("/v1/stream");
    publisher.send(&resumption(token));
    let started: Value = serde_json::from_str(&publisher.next().unwrap()).unwrap();
    assert_eq!(started["resumed"], true, "{started}");
    (publisher, started["received_s"].as_f64().unwrap())
}

fn resumption(token: &str) -> String {
    format!(r#"{{"type":"start","resume":{{"session":"kitchen","token":"{token}"}}}}"#)
}

/// Sends the rest of the audio and ends the session.
pub(crate) fn finish(publisher: &mut Socket, samples: &[f32], received_s: f64) {
    publisher.talk(&samples[(received_s * 16_000.0) as usize..]);
    publisher.send(r#"{"type":"close"}"#);
    assert_eq!(publisher.until("ended")["reason"], "closed");
}

pub(crate) fn numbers(events: &[String]) -> Vec<u64> {
    let seq = |event: &String| serde_json::from_str::<Value>(event).unwrap()["seq"].as_u64().unwrap();
    events.iter().map(seq).collect()
}

/// The labels of the people so far.
pub(crate) fn speakers(node: &Node) -> Vec<String> {
    let session = node.json("/v1/sessions/kitchen");
    session["speakers"].as_array().unwrap().iter().map(|speaker| speaker["id"].to_string()).collect()
}

/// What a follower has from the first event on is all of the session, each event once, as every node has it.
pub(crate) fn assert_whole(followed: &[String], nodes: &[&Node]) {
    assert_eq!(numbers(followed), (1..=followed.len() as u64).collect::<Vec<_>>());
    let end = followed.len() as u64;
    for node in nodes {
        until("its end", || (node.json("/v1/sessions/kitchen")["seq"] == end).then_some(()));
        assert_eq!(node.get("/v1/sessions/kitchen.rttm"), nodes[0].get("/v1/sessions/kitchen.rttm"));
        assert_eq!(node.get("/v1/sessions/kitchen"), nodes[0].get("/v1/sessions/kitchen"));
    }
}

#[test]
fn a_session_goes_on_when_its_node_dies() {
    let folder = tempfile::tempdir().unwrap();
    let Some(nats) = Nats::start(folder.path()) else { return };
    let [a, b, c] = ["a", "b", "c"].map(|name| node(&nats, folder.path(), name, &[]));
    let samples = speech(Some(40));
    let (_publisher, token) = published(&a, &samples[..400_000], 15.0);
    until("kitchen", || (c.get("/v1/sessions/kitchen").0 == 200).then_some(()));
    let [mut at_b, mut at_c] = [&b, &c].map(|node| node.socket("/v1/events?session=kitchen&since=0"));
    let known = until("two people at b", || Some(speakers(&b)).filter(|known| known.len() >= 2));
    a.kill();

    let (mut publisher, received_s) = resume(&b, &token);
    assert!(received_s >= 15.0, "{received_s} s: what was safe is not sent again");
    finish(&mut publisher, &samples, received_s);
    let (at_b, at_c) = (at_b.events(), at_c.events());
    assert!(at_b == at_c, "{} and {} events", at_b.len(), at_c.len());
    assert_whole(&at_c, &[&b, &c]);
    assert!(!at_c.iter().any(|event| event.contains("voices_lost")), "{at_c:?}");
    let later = c.json("/v1/sessions/kitchen")["segments"].as_array().unwrap().iter().any(|segment| {
        segment["start"].as_f64() > Some(received_s) && known.contains(&segment["speaker"].to_string())
    });
    assert!(later, "somebody who spoke before is known again: {known:?}");
    assert_eq!(b.listed("kitchen").unwrap()["node"], "b");
    assert_eq!(c.listed("kitchen").unwrap()["node"], "b");
    assert_eq!(b.metric("cluster_taken_total"), 1.0);
}

#[test]
fn a_node_that_lives_hands_its_session_over() {
    let folder = tempfile::tempdir().unwrap();
    let Some(nats) = Nats::start(folder.path()) else { return };
    let paths = ["a", "b"].map(|name| format!("storage.path={}", folder.path().join(name).display()));
    let a = node(&nats, folder.path(), "a", &[&paths[0], "storage.audio=opus"]);
    let b = node(&nats, folder.path(), "b", &[&paths[1]]);
    let samples = speech(Some(40));
    let (mut at_a, token) = published(&a, &samples[..320_000], 10.0);
    until("kitchen", || (b.get("/v1/sessions/kitchen").0 == 200).then_some(()));
    let mut followed = b.socket("/v1/events?session=kitchen&since=0");

    let mut stranger = b.socket("/v1/stream");
    stranger.send(&resumption("0123456789abcdef0123456789abcdef"));
    assert_eq!(stranger.until("error")["code"], "unauthorised");
    assert_eq!(a.listed("kitchen").unwrap()["node"], "a");

    let (mut publisher, received_s) = resume(&b, &token);
    assert!((10.0..=20.0).contains(&received_s), "{received_s}");
    assert_eq!(at_a.until("error")["code"], "superseded", "as by a newer connection to one node");
    let (status, body) = a.post("/v1/sessions/kitchen/title", r#"{"title":"Weekly"}"#);
    assert_eq!(status, 204, "{body}");
    finish(&mut publisher, &samples, received_s);
    let followed = followed.events();
    assert_whole(&followed, &[&a, &b]);
    assert!(a.get("/v1/sessions/kitchen").1.contains("Weekly"));
    assert_eq!(a.listed("kitchen").unwrap()["node"], "b");
    // Both keep something of it, and it is one session: also after a restart, and until it is deleted.
    b.terminate();
    let b = node(&nats, folder.path(), "b", &[&paths[1]]);
    assert_whole(&followed, &[&b, &a]);
    let beginning = folder.path().join("a-audio/kitchen.opus");
    assert!(beginning.exists());
    assert_eq!(b.delete("kitchen").0, 204);
    until("its deletion", || (a.get("/v1/sessions/kitchen").0 == 404).then_some(()));
    until("the deletion of its beginning", || (!beginning.exists()).then_some(()));
}

#[test]
fn a_node_that_drains_leaves_its_sessions_to_others() {
    let folder = tempfile::tempdir().unwrap();
    let Some(nats) = Nats::start(folder.path()) else { return };
    let path = format!("storage.path={}", folder.path().join("a").display());
    let a = node(&nats, folder.path(), "a", &[&path]);
    let b = node(&nats, folder.path(), "b", &[]);
    let samples = speech(Some(40));
    let (_publisher, token) = published(&a, &samples[..320_000], 10.0);
    until("kitchen", || (b.get("/v1/sessions/kitchen").0 == 200).then_some(()));
    let mut followed = b.socket("/v1/events?session=kitchen&since=0");
    a.terminate();

    let (mut publisher, received_s) = resume(&b, &token);
    assert!(received_s > 19.0, "{received_s}: a node in good order labels all that it has");
    // Its former node comes back with its store, and has it no more.
    let a = node(&nats, folder.path(), "a", &[&path]);
    a.wait_for_log("a session goes on at another node");
    finish(&mut publisher, &samples, received_s);
    assert_whole(&followed.events(), &[&b, &a]);
    assert_eq!(a.listed("kitchen").unwrap()["node"], "b");
}

#[test]
fn a_node_that_slept_is_barred_and_follows() {
    let folder = tempfile::tempdir().unwrap();
    let Some(nats) = Nats::start(folder.path()) else { return };
    let [a, b] = ["a", "b"].map(|name| node(&nats, folder.path(), name, &[]));
    let samples = speech(Some(40));
    let (_publisher, token) = published(&a, &samples[..320_000], 10.0);
    until("kitchen", || (b.get("/v1/sessions/kitchen").0 == 200).then_some(()));
    let mut followed = b.socket("/v1/events?session=kitchen&since=0");
    a.signal("STOP");
    let (mut publisher, received_s) = resume(&b, &token);
    publisher.talk(&samples[(received_s * 16_000.0) as usize..480_000]);
    until("labels at b", || (publisher.until("ack")["received_s"].as_f64()? > 25.0).then_some(()));
    a.signal("CONT");
    a.wait_for_log("a session goes on at another node");
    finish(&mut publisher, &samples, 30.0);
    assert_whole(&followed.events(), &[&b, &a]);
    assert_eq!(a.events_since("kitchen", 0), b.events_since("kitchen", 0));
}

#[test]
fn a_session_goes_on_without_a_key_and_says_what_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let Some(nats) = Nats::start(folder.path()) else { return };
    let home = format!("voices.key_file={}", folder.path().join("none.key").display());
    let [a, b] = ["a", "b"].map(|name| Node::start_with(&nats.url(), name, &[&home]).joined());
    let samples = speech(Some(30));
    let (_publisher, token) = published(&a, &samples[..320_000], 10.0);
    until("kitchen", || (b.get("/v1/sessions/kitchen").0 == 200).then_some(()));
    let mut followed = b.socket("/v1/events?session=kitchen&since=0");
    a.kill();
    let (mut publisher, received_s) = resume(&b, &token);
    finish(&mut publisher, &samples, received_s);
    let followed = followed.events();
    assert_whole(&followed, &[&b]);
    assert!(followed.iter().any(|event| event.contains("voices_lost")), "{followed:?}");
}
