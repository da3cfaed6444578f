//! Nodes that a network or their clocks keep apart.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::common::{speech, until};
use crate::line::Line;
use crate::moves::{assert_whole, finish, node, node_at, numbers, published, resume};
use crate::nats::Nats;
use crate::node::{Node, Socket};
use crate::voices::{Bench, KEY, RHYS};

/// Follows the session from its first event on, as soon as the node knows of it.
fn follow(node: &Node) -> Socket {
    until("kitchen", || (node.get("/v1/sessions/kitchen").0 == 200).then_some(()));
    node.socket("/v1/events?session=kitchen&since=0")
}

/// A follower of a node whose events became void: it comes back with what it has, and gets a snapshot and what follows, or only
/// what follows. Each number comes once, and none is missing.
fn assert_comes_back(node: &Node, seen: &[String], whole: &[String]) {
    assert_eq!(numbers(seen), (1..=seen.len() as u64).collect::<Vec<_>>());
    let mut again = node.socket(&format!("/v1/events?session=kitchen&since={}", seen.len()));
    let mut texts = Vec::new();
    while let Some(text) = again.next() {
        texts.push(text);
    }
    let messages: Vec<Value> = texts.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
    let snapshot = messages.iter().position(|message| message["type"] == "snapshot");
    let since = snapshot.map_or(seen.len() as u64, |at| messages[at]["seq"].as_u64().unwrap());
    let later = messages.iter().skip(snapshot.map_or(0, |at| at + 1));
    let later: Vec<u64> = later.filter_map(|message| message["seq"].as_u64()).collect();
    assert_eq!(later, (since + 1..=whole.len() as u64).collect::<Vec<_>>(), "{texts:?}");
}

/// The publisher of a session that goes on elsewhere is sent away, and the session does not end. Its node may have been asked for
/// the session while the line was cut, and say that.
fn assert_sent_away(stale: &mut Socket) {
    while let Some(text) = stale.next() {
        let message: Value = serde_json::from_str(&text).unwrap();
        let (kind, code) = (message["type"].as_str().unwrap(), message["code"].as_str());
        assert!(kind != "ended" && (kind != "error" || code == Some("superseded")), "{text}");
    }
}

/// A session whose node is cut off, for some seconds or until it notices, while its publisher goes to another one.
fn moves_while_cut_off(is_noticed: bool) {
    let folder = tempfile::tempdir().unwrap();
    let Some(nats) = Nats::start(folder.path()) else { return };
    let line = Line::to(&nats);
    let a = node_at(&line.url(), folder.path(), "a", &[]);
    let [b, c] = ["b", "c"].map(|name| node(&nats, folder.path(), name, &[]));
    let samples = speech(Some(40));
    let (mut stale, token) = published(&a, &samples[..320_000], 10.0);
    let [mut at_a, mut at_b, mut at_c] = [&a, &b, &c].map(follow);

    line.cut();
    // What still comes to the node that is cut off is labelled there, and is void.
    stale.talk(&samples[320_000..400_000]);
    let (mut publisher, received_s) = resume(&b, &token);
    assert!((10.0..=20.0).contains(&received_s), "{received_s}");
    publisher.talk(&samples[(received_s * 16_000.0) as usize..480_000]);
    until("labels at b", || (publisher.until("ack")["received_s"].as_f64()? > 25.0).then_some(()));
    if is_noticed {
        a.wait_for_ready("NATS is away since");
    }
    line.heal();

    a.wait_for_log("a session goes on at another node");
    assert_sent_away(&mut stale);
    finish(&mut publisher, &samples, 30.0);
    let (at_a, at_b, at_c) = (at_a.events(), at_b.events(), at_c.events());
    assert_whole(&at_b, &[&b, &c, &a]);
    // Where the stream was slow when the line was cut, the other followers have events that were sent ahead of it and are void.
    for (node, seen) in [(&a, &at_a), (&c, &at_c)] {
        assert_comes_back(node, seen, &at_b);
    }
    assert_eq!(a.events_since("kitchen", 0), at_b);
    until("its node at a", || (a.listed("kitchen")?["node"] == "b").then_some(()));
}

#[test]
fn a_node_that_is_cut_off_for_seconds_is_refused_and_follows() {
    moves_while_cut_off(false);
}

#[test]
fn a_node_that_has_lost_nats_is_refused_when_it_is_back_and_follows() {
    moves_while_cut_off(true);
}

/// A session that stays at its node, which is cut off for some seconds or until it notices.
fn stays_while_cut_off(is_noticed: bool) {
    let folder = tempfile::tempdir().unwrap();
    let Some(nats) = Nats::start(folder.path()) else { return };
    let line = Line::to(&nats);
    let a = node_at(&line.url(), folder.path(), "a", &[]);
    let b = node(&nats, folder.path(), "b", &[]);
    let samples = speech(Some(40));
    let (mut publisher, _) = published(&a, &samples[..160_000], 5.0);
    let mut at_b = follow(&b);
    let seq = |node: &Node| node.json("/v1/sessions/kitchen")["seq"].as_u64().unwrap();

    line.cut();
    let before = seq(&b);
    publisher.talk(&samples[160_000..480_000]);
    until("labels at its node", || (seq(&a) > before + 5).then_some(()));
    if is_noticed {
        a.wait_for_ready("NATS is away since");
    } else {
        std::thread::sleep(Duration::from_secs(3));
    }
    assert!(seq(&b) < seq(&a) && b.listed("kitchen").unwrap()["live"] == true);
    line.heal();
    publisher.talk(&samples[480_000..]);
    publisher.send(r#"{"type":"close"}"#);
    assert_eq!(publisher.until("ended")["reason"], "closed");
    let own = a.events_since("kitchen", 0);
    assert_eq!(at_b.events(), own, "none is lost or doubled");
    assert_whole(&own, &[&a, &b]);
    assert_eq!(a.json("/v1/sessions/kitchen")["at"], 40.0, "all of the audio is labelled");
    assert_eq!(b.listed("kitchen").unwrap()["node"], "a");
}

#[test]
fn a_session_of_a_node_that_is_cut_off_for_seconds_goes_on() {
    stays_while_cut_off(false);
}

#[test]
fn a_session_of_a_node_that_has_lost_nats_goes_on() {
    stays_while_cut_off(true);
}

#[test]
fn of_two_nodes_that_think_they_own_a_session_one_stops() {
    let folder = tempfile::tempdir().unwrap();
    let Some(nats) = Nats::start(folder.path()) else { return };
    let line = Line::to(&nats);
    let a = node_at(&line.url(), folder.path(), "a", &[]);
    let b = node(&nats, folder.path(), "b", &[]);
    let samples = speech(Some(30));
    let (mut stale, token) = published(&a, &samples[..320_000], 10.0);
    follow(&b);
    line.cut();
    let (mut publisher, received_s) = resume(&b, &token);

    // Both have it, take its audio, and are corrected.
    for (node, name) in [(&a, "a"), (&b, "b")] {
        assert_eq!(node.listed("kitchen").unwrap()["node"], name);
        let title = format!(r#"{{"title":"of {name}"}}"#);
        assert_eq!(node.post("/v1/sessions/kitchen/title", &title).0, 204);
    }
    stale.talk(&samples[320_000..400_000]);
    publisher.talk(&samples[(received_s * 16_000.0) as usize..400_000]);
    line.heal();

    // The one without the record stops: its publisher is sent away, and its labels are those of the other one.
    assert_sent_away(&mut stale);
    let title = |node: &Node| node.json("/v1/sessions/kitchen")["title"].clone();
    until("the session of b at a", || (title(&a) == "of b").then_some(()));
    until("its node at a", || (a.listed("kitchen")?["node"] == "b").then_some(()));
    assert_eq!((title(&b), a.metric("sessions"), b.metric("sessions")), ("of b".into(), 0.0, 1.0));
    finish(&mut publisher, &samples, 25.0);
    let own = b.events_since("kitchen", 0);
    assert_whole(&own, &[&b, &a]);
    assert_eq!(a.events_since("kitchen", 0), own);
}

/// Seconds that the clock of a node is ahead of ours, by the beginning of its session.
fn ahead_s(node: &Node, session: &str) -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    node.listed(session).unwrap()["began_unix_s"].as_f64().unwrap() - now
}

/// Which node has the session, which every node lists once.
fn node_of_kitchen(nodes: &[&Node]) -> Value {
    let of = |node: &Node| {
        let all = node.json("/v1/sessions");
        let listed = all["sessions"].as_array().unwrap().iter().filter(|one| one["session"] == "kitchen");
        let listed: Vec<Value> = listed.cloned().collect();
        assert_eq!(listed.len(), 1, "{listed:?}");
        assert_eq!(listed[0]["live"], true);
        listed[0]["node"].clone()
    };
    until("one answer", || nodes.windows(2).all(|pair| of(pair[0]) == of(pair[1])).then(|| of(nodes[0])))
}

#[test]
fn clocks_may_be_ten_minutes_apart() {
    let bench = Bench::new();
    let Some(nats) = bench.nats() else { return };
    let began = Instant::now();
    // A key of the voices for all, stores of their own, and the shortest patience with nodes that are away.
    let start = |name: &str, ahead_s: i32| {
        let keys = bench.keys(name, KEY);
        let keys: Vec<&str> = keys.iter().map(String::as_str).chain(["cluster.away_s=15"]).collect();
        Node::start_ahead(&nats.url(), name, &keys, ahead_s).map(Node::joined)
    };
    let (Some(a), Some(b), Some(c)) = (start("a", 0), start("b", 600), start("c", -600)) else { return };
    let samples = speech(Some(40));
    let (_at_a, token) = published(&a, &samples[..200_000], 8.0);
    let mut attic = b.socket("/v1/stream?session=attic");
    attic.until("started");
    assert!(ahead_s(&a, "kitchen") < 1.0 && (590.0..610.0).contains(&ahead_s(&b, "attic")));

    // A session goes there and back.
    let mut followed = follow(&c);
    assert_eq!(node_of_kitchen(&[&a, &b, &c]), "a");
    let (mut at_b, received_s) = resume(&b, &token);
    at_b.talk(&samples[(received_s * 16_000.0) as usize..400_000]);
    until("labels at b", || (at_b.until("ack")["received_s"].as_f64()? > 20.0).then_some(()));
    assert_eq!(node_of_kitchen(&[&b, &a, &c]), "b");

    // Of two changes the later one stands, whatever the clocks say.
    let clip = bench.clip(&RHYS);
    b.enrol("Reese", &clip);
    a.wait_for_known(&["Reese"]);
    a.rename("Reese", "Rhys");
    b.wait_for_known(&["Rhys"]);
    b.rename("Rhys", "Ross");
    a.wait_for_known(&["Ross"]);
    a.forget("Ross");
    b.wait_for_known(&[]);
    c.enrol("Rhys", &clip);
    for node in [&a, &b] {
        node.wait_for_known(&["Rhys"]);
    }

    // Longer than a node may be silent, and than the sessions of one that is away stay.
    while began.elapsed() < Duration::from_secs(25) {
        for node in [&a, &b, &c] {
            assert_eq!(node.metric("cluster_nodes"), 3.0);
            assert_eq!(node.get("/readyz").1, "ready\n");
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    let (mut publisher, received_s) = resume(&a, &token);
    assert_eq!(node_of_kitchen(&[&a, &b, &c]), "a");
    finish(&mut publisher, &samples, received_s);
    let followed = followed.events();
    assert_whole(&followed, &[&a, &b, &c]);
    assert!(!followed.iter().any(|event| event.contains("voices_lost")), "{followed:?}");
    let kitchen = a.json("/v1/sessions/kitchen");
    assert_eq!((&kitchen["at"], &kitchen["reason"]), (&40.0.into(), &"closed".into()));
}
