//! Sessions of one node at the others: the same events, exports, corrections and refusals.

use serde_json::Value;

use crate::common::{speech, until};
use crate::nats::Nats;
use crate::node::Node;

/// The seconds of the example conversation in which several people speak.
const SECONDS: usize = 20;

fn numbers(events: &[String]) -> Vec<u64> {
    let seq = |event: &String| serde_json::from_str::<Value>(event).unwrap()["seq"].as_u64().unwrap();
    events.iter().map(seq).collect()
}

#[test]
fn every_node_serves_a_session() {
    let folder = tempfile::tempdir().unwrap();
    let Some(nats) = Nats::start(folder.path()) else { return };
    let [a, b, c] = ["a", "b", "c"].map(|name| Node::start(&nats.url(), name).joined());

    let mut publisher = a.socket("/v1/stream?session=kitchen&title=Weekly");
    let mut at_b = b_follows(&b);
    let mut all_at_c = c.socket("/v1/events?session=*");
    publisher.talk(&speech(Some(SECONDS)));
    assert_eq!(all_at_c.until("snapshot")["session"], "kitchen");
    assert_eq!(at_b.until("stats")["session"], "kitchen");

    let listed = until("kitchen at c", || c.listed("kitchen").filter(|listed| listed["title"] == "Weekly"));
    assert_eq!(
        (&listed["node"], &listed["live"], &listed["source"]),
        (&"a".into(), &true.into(), &"stream".into())
    );
    assert_eq!(a.listed("kitchen").unwrap()["node"], "a");
    let refused = b.socket("/v1/stream?session=kitchen").until("error");
    assert_eq!(refused["code"], "conflict", "{refused}");

    publisher.send(r#"{"type":"close"}"#);
    assert_eq!(all_at_c.until("ended")["session"], "kitchen");
    let own = publisher.events();
    assert!(own.len() > 10 && own.last().unwrap().contains("ended"), "{own:?}");
    assert_eq!(numbers(&own), (1..=own.len() as u64).collect::<Vec<_>>());
    let from_the_middle = own.len() as u64 / 2;
    for node in [&a, &b, &c] {
        assert_eq!(node.events_since("kitchen", 0), own);
        assert_eq!(node.events_since("kitchen", from_the_middle), own[from_the_middle as usize..]);
    }
    let live = at_b.events();
    assert_eq!(live, own[own.len() - live.len()..], "what came while it ran");
    for end in ["", ".json", ".rttm", ".srt", ".vtt", ".txt", ".md", ".csv"] {
        let path = format!("/v1/sessions/kitchen{end}");
        let expected = a.get(&path);
        assert_eq!(expected.0, 200);
        assert_eq!((b.get(&path), c.get(&path)), (expected.clone(), expected), "{path}");
    }
    let listed = until("its end at b", || b.listed("kitchen").filter(|listed| listed["live"] == false));
    assert_eq!((&listed["reason"], &listed["seq"]), (&"closed".into(), &own.len().into()));
    assert_eq!(b.get("/v1/sessions/attic").0, 404);

    let started = c.socket("/v1/stream?session=kitchen").until("started");
    assert_eq!(started["session"], "kitchen-2", "an id is given once");
    assert!(a.metric("cluster_events_total") >= own.len() as f64);
}

/// Follows the session as soon as `b` knows of it.
fn b_follows(b: &Node) -> crate::node::Socket {
    until("kitchen at b", || (b.get("/v1/sessions/kitchen").0 == 200).then_some(()));
    b.socket("/v1/events?session=kitchen")
}

#[test]
fn corrections_and_their_refusals_go_to_the_node_and_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let Some(nats) = Nats::start(folder.path()) else { return };
    let [a, b] = ["a", "b"].map(|name| Node::start(&nats.url(), name).joined());
    let mut publisher = a.socket("/v1/stream?session=kitchen");
    let mut at_b = b_follows(&b);
    publisher.talk(&speech(Some(SECONDS)));
    publisher.until("speaker");
    until("a speaker at b", || b.get("/v1/sessions/kitchen").1.contains("\"S1\"").then_some(()));

    // While it runs: by HTTP, and over the WebSocket of a follower.
    assert_eq!(b.post("/v1/sessions/kitchen/rename", r#"{"speaker":"S1","name":"Ann"}"#).0, 204);
    assert!(b.get("/v1/sessions/kitchen").1.contains("\"Ann\""), "its events are there when it is answered");
    let wrong =
        [("rename", r#"{"speaker":"S77","name":"Bob"}"#), ("reassign", r#"{"segment":9999,"speaker":"S1"}"#)];
    for (what, body) in wrong {
        let path = format!("/v1/sessions/kitchen/{what}");
        let (at_a, at_b) = (a.post(&path, body), b.post(&path, body));
        assert_eq!((at_a.0, &at_a), (404, &at_b));
    }
    at_b.send(r#"{"type":"rename","speaker":"S78","name":"Bob"}"#);
    let error = at_b.until("error");
    assert_eq!((&error["code"], &error["fatal"]), (&"unknown_speaker".into(), &false.into()), "{error}");
    at_b.send(r#"{"type":"finalize"}"#);
    while at_b.until("ack")["finalized"] != true {}
    at_b.send(r#"{"type":"title","title":"Weekly"}"#);
    assert_eq!(at_b.until("title")["title"], "Weekly");
    let words = r#"{"words":[{"start":1.0,"end":1.4,"text":"good"},{"start":1.5,"end":1.9,"text":"morning"}],"final":true}"#;
    let (status, refusal) = b.post("/v1/sessions/kitchen/words", words);
    assert_eq!(status, 204, "{refusal}");
    assert!(b.get("/v1/sessions/kitchen.txt").1.contains("morning"));

    // After its end, with what undoes it.
    publisher.send(r#"{"type":"close"}"#);
    publisher.events();
    until("its end", || b.get("/v1/sessions/kitchen").1.contains("\"reason\":\"closed\"").then_some(()));
    assert_eq!(b.post("/v1/sessions/kitchen/note", r#"{"text":"late"}"#).0, 204);
    assert_eq!(b.post("/v1/sessions/kitchen/undo", "").0, 204);
    let at_a = a.get("/v1/sessions/kitchen/corrections");
    assert_eq!(at_a.1.matches("\"kind\"").count(), 4, "{}", at_a.1);
    assert_eq!(b.get("/v1/sessions/kitchen/corrections"), at_a);
    assert_eq!(b.get("/v1/sessions/kitchen"), a.get("/v1/sessions/kitchen"));

    // Without its secret an ended session is resumed nowhere.
    let mut stranger = b.socket("/v1/stream");
    stranger.send(r#"{"type":"start","resume":{"session":"kitchen","token":"x"}}"#);
    assert_eq!(stranger.until("error")["code"], "unauthorised");

    // Deleted at one node, it is gone at all.
    assert_eq!(b.delete("kitchen").0, 204);
    for node in [&a, &b] {
        until("its deletion", || (node.get("/v1/sessions/kitchen").0 == 404).then_some(()));
    }
    assert_eq!(b.delete("kitchen").0, 404);
    let started = b.socket("/v1/stream?session=kitchen").until("started");
    assert_eq!(started["session"], "kitchen", "its id is free");
}

#[test]
fn a_running_session_is_ended_from_another_node() {
    let folder = tempfile::tempdir().unwrap();
    let Some(nats) = Nats::start(folder.path()) else { return };
    let [a, b] = ["a", "b"].map(|name| Node::start(&nats.url(), name).joined());
    let mut publisher = a.socket("/v1/stream?session=kitchen");
    publisher.until("started");
    let mut at_b = b_follows(&b);
    assert_eq!(b.delete("kitchen").0, 204);
    assert_eq!(publisher.until("ended")["reason"], "deleted");
    assert_eq!(at_b.until("ended")["reason"], "deleted");
}
