//! Audio that one node takes in and another one labels: the roles of `cluster.roles`.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::{speech, until};
use crate::moves::{assert_whole, finish, node, published, resume, speakers};
use crate::nats::Nats;
use crate::node::Node;

const INTAKE: &[&str] = &["cluster.roles=intake"];
const LABEL: &[&str] = &["cluster.roles=label"];

/// Waits until a node lists `n` nodes.
fn knows(node: &Node, n: u32) {
    until("the other nodes", || (node.metric("cluster_nodes") == f64::from(n)).then_some(()));
}

/// The node that labels a session, once there is one of these names.
fn labelled_by(node: &Node, names: &[&str]) -> String {
    until("a node that labels it", || {
        let name = node.listed("kitchen")?["node"].as_str()?.to_owned();
        names.contains(&name.as_str()).then_some(name)
    })
}

/// The code of the error that answers this first message.
fn refusal(node: &Node, path: &str, first: Option<&str>) -> (String, String) {
    let mut socket = node.socket(path);
    if let Some(first) = first {
        socket.send(first);
    }
    let error = socket.until("error");
    (error["code"].as_str().unwrap().to_owned(), error["reason"].as_str().unwrap().to_owned())
}

fn end(message: &Value) -> f64 {
    message["duration_s"].as_f64().unwrap()
}

#[test]
fn labels_are_those_of_one_node() {
    let folder = tempfile::tempdir().unwrap();
    let Some(nats) = Nats::start(folder.path()) else { return };
    let alone = node(&nats, folder.path(), "alone", &["cluster.prefix=alone"]);
    let samples = speech(None);
    let mut publisher = alone.socket("/v1/stream?session=kitchen&title=Weekly");
    publisher.until("started");
    finish(&mut publisher, &samples, 0.0);
    alone.json("/v1/sessions/kitchen");
    let wanted = alone.get("/v1/sessions/kitchen.rttm");
    drop(alone);

    let i = node(&nats, folder.path(), "i", INTAKE);
    let [b, c] = ["b", "c"].map(|name| node(&nats, folder.path(), name, LABEL));
    knows(&i, 3);
    let mut publisher = i.socket("/v1/stream?session=kitchen&title=Weekly");
    let started = publisher.until("started");
    assert_eq!(started["token"].as_str().unwrap().len(), 32, "{started}");
    publisher.talk(&samples[..160_000]);
    labelled_by(&i, &["b", "c"]);
    let mut followed = c.socket("/v1/events?session=kitchen&since=0");
    publisher.talk(&samples[160_000..]);
    publisher.send(r#"{"type":"close"}"#);
    let mut live = publisher.events();
    assert!(live.last().unwrap().contains("\"closed\""), "{:?}", live.last());
    live.retain(|event| event.contains("\"seq\""));
    let followed = followed.events();
    assert_eq!(live, followed, "its publisher has every event, too");
    assert_whole(&followed, &[&i, &b, &c]);
    assert_eq!(i.get("/v1/sessions/kitchen.rttm"), wanted);
    assert!(i.get("/v1/sessions/kitchen").1.contains("Weekly"));
    assert!(i.metric("cluster_audio_bytes_total") > samples.len() as f64 * 2.0);
    assert_eq!(i.metric("cluster_intakes"), 0.0);
    until("the end of its audio in NATS", || (nats.n_messages("diarized_audio") == 0).then_some(()));
}

#[test]
fn another_node_labels_on_when_one_dies() {
    let folder = tempfile::tempdir().unwrap();
    let Some(nats) = Nats::start(folder.path()) else { return };
    let i = node(&nats, folder.path(), "i", INTAKE);
    let mut nodes =
        vec![("b", node(&nats, folder.path(), "b", LABEL)), ("c", node(&nats, folder.path(), "c", LABEL))];
    knows(&i, 3);
    let samples = speech(Some(40));
    let (mut publisher, _) = published(&i, &samples[..400_000], 15.0);
    let dead = labelled_by(&i, &["b", "c"]);
    let mut followed = i.socket("/v1/events?session=kitchen&since=0");
    let known = until("two people", || Some(speakers(&i)).filter(|known| known.len() >= 2));
    // The voices are copied every ten seconds, and this audio came faster than it was spoken.
    std::thread::sleep(Duration::from_secs(12));
    let before = i.json("/v1/sessions/kitchen")["seq"].as_u64().unwrap();
    let idx = nodes.iter().position(|(name, _)| *name == dead).unwrap();
    nodes.remove(idx).1.kill();
    let died = Instant::now();
    let (other, left) = nodes.pop().unwrap();
    labelled_by(&i, &[other]);
    until("its taking", || (left.metric("cluster_taken_total") == 1.0).then_some(()));
    assert!(died.elapsed() < Duration::from_secs(5), "{:?}", died.elapsed());
    println!("taken after {:?}", died.elapsed());
    // The publisher's connection stays, and it sends nothing again.
    publisher.talk(&samples[400_000..]);
    publisher.send(r#"{"type":"close"}"#);
    let ended = publisher.until("ended");
    assert!((end(&ended) - 40.0).abs() < 0.01, "{ended}");
    let followed = followed.events();
    assert!(followed.len() as u64 > before);
    assert_whole(&followed, &[&i, &left]);
    assert!(!followed.iter().any(|event| event.contains("voices_lost")), "{followed:?}");
    let later = i.json("/v1/sessions/kitchen")["segments"].as_array().unwrap().iter().any(|segment| {
        segment["start"].as_f64() > Some(26.0) && known.contains(&segment["speaker"].to_string())
    });
    assert!(
        later,
        "somebody who spoke before is known again: {known:?} {}",
        i.get("/v1/sessions/kitchen.rttm").1
    );
}

#[test]
fn a_node_that_drains_hands_its_sessions_to_another() {
    let folder = tempfile::tempdir().unwrap();
    let Some(nats) = Nats::start(folder.path()) else { return };
    let i = node(&nats, folder.path(), "i", INTAKE);
    let b = node(&nats, folder.path(), "b", LABEL);
    knows(&i, 2);
    let samples = speech(Some(40));
    let (mut publisher, _) = published(&i, &samples[..320_000], 10.0);
    labelled_by(&i, &["b"]);
    let mut followed = i.socket("/v1/events?session=kitchen&since=0");
    let c = node(&nats, folder.path(), "c", LABEL);
    b.terminate();
    labelled_by(&i, &["c"]);
    publisher.talk(&samples[320_000..]);
    publisher.send(r#"{"type":"close"}"#);
    assert!((end(&publisher.until("ended")) - 40.0).abs() < 0.01);
    assert_whole(&followed.events(), &[&i, &c]);
}

#[test]
fn a_publisher_comes_to_another_node_when_its_own_dies() {
    let folder = tempfile::tempdir().unwrap();
    let Some(nats) = Nats::start(folder.path()) else { return };
    let [i, j] = ["i", "j"].map(|name| node(&nats, folder.path(), name, INTAKE));
    let b = node(&nats, folder.path(), "b", LABEL);
    knows(&i, 3);
    let samples = speech(Some(40));
    let (mut first, token) = published(&i, &samples[..160_000], 5.0);
    let mut followed = b.socket("/v1/events?session=kitchen&since=0");

    // While its node lives, the older connection is superseded.
    let (mut second, received_s) = resume(&j, &token);
    assert!((5.0..=10.0).contains(&received_s), "{received_s}");
    first.talk(&samples[..8000]);
    assert_eq!(first.until("error")["code"], "superseded");
    second.talk(&samples[(received_s * 16_000.0) as usize..320_000]);
    until("audio that is safe", || (second.until("ack")["received_s"].as_f64()? >= 15.0).then_some(()));
    j.kill();
    let (mut third, received_s) = resume(&i, &token);
    assert!((15.0..=20.0).contains(&received_s), "{received_s}");
    finish(&mut third, &samples, received_s);
    let followed = followed.events();
    assert_whole(&followed, &[&b, &i]);
    let last: Value = serde_json::from_str(followed.last().unwrap()).unwrap();
    assert!((end(&last) - 40.0).abs() < 0.01, "{last}: none is lost or doubled");
}

#[test]
fn nodes_refuse_what_is_not_their_role() {
    let folder = tempfile::tempdir().unwrap();
    let Some(nats) = Nats::start(folder.path()) else { return };
    let i = node(&nats, folder.path(), "i", INTAKE);
    let (code, reason) = refusal(&i, "/v1/stream?session=kitchen", None);
    assert_eq!(code, "overloaded", "{reason}");
    assert!(reason.contains("no node of the cluster that labels"), "{reason}");
    let b = node(&nats, folder.path(), "b", &["cluster.roles=label", "server.max_sessions=1"]);
    knows(&i, 2);
    let (code, reason) = refusal(&b, "/v1/stream?session=kitchen", None);
    assert_eq!(code, "elsewhere", "{reason}");
    assert!(reason.contains("cluster.roles"), "{reason}");
    let (mut publisher, token) = published(&i, &speech(Some(10)), 5.0);
    let resumption = format!(r#"{{"type":"start","resume":{{"session":"kitchen","token":"{token}"}}}}"#);
    let (code, reason) = refusal(&b, "/v1/stream", Some(&resumption));
    assert_eq!(code, "elsewhere", "{reason}");
    assert!(reason.contains("cluster.roles"), "{reason}");
    assert_eq!(refusal(&i, "/v1/stream?session=kitchen", None).0, "conflict");
    until("a full node", || (refusal(&i, "/v1/stream?session=attic", None).0 == "overloaded").then_some(()));
    publisher.send(r#"{"type":"close"}"#);
    assert_eq!(publisher.until("ended")["reason"], "closed");
}

#[test]
fn a_full_node_takes_audio_in_for_others() {
    let folder = tempfile::tempdir().unwrap();
    let Some(nats) = Nats::start(folder.path()) else { return };
    let a = node(&nats, folder.path(), "a", &["server.max_sessions=1"]);
    let b = node(&nats, folder.path(), "b", &[]);
    knows(&a, 2);
    let samples = speech(Some(20));
    let mut own = a.socket("/v1/stream?session=attic");
    own.until("started");
    own.talk(&samples[..16_000]);
    until("attic", || a.listed("attic"));
    assert_eq!(
        (a.listed("attic").unwrap()["node"].as_str(), a.metric("cluster_audio_bytes_total")),
        (Some("a"), 0.0)
    );
    let (mut publisher, token) = published(&a, &samples[..160_000], 5.0);
    labelled_by(&a, &["b"]);
    assert_eq!(a.metric("cluster_intakes"), 1.0);
    // Its publisher comes to the node that labels it: its audio comes in there.
    let (mut at_b, received_s) = resume(&b, &token);
    publisher.talk(&samples[..8000]);
    assert_eq!(publisher.until("error")["code"], "superseded");
    finish(&mut at_b, &samples, received_s);
    assert_whole(&a.events_since("kitchen", 0), &[&a, &b]);
    own.send(r#"{"type":"close"}"#);
    assert_eq!(own.until("ended")["reason"], "closed");
}

#[test]
fn a_publisher_waits_and_nothing_is_lost_while_nobody_labels() {
    let folder = tempfile::tempdir().unwrap();
    let Some(nats) = Nats::start(folder.path()) else { return };
    let i = node(&nats, folder.path(), "i", INTAKE);
    let b = node(&nats, folder.path(), "b", LABEL);
    knows(&i, 2);
    let mut samples = speech(Some(50));
    samples.extend_from_within(..);
    let (mut publisher, _) = published(&i, &samples[..80_000], 2.0);
    labelled_by(&i, &["b"]);
    b.kill();
    let received = std::thread::scope(|scope| {
        let talking = scope.spawn(|| {
            publisher.talk(&samples[80_000..]);
            publisher
        });
        let taken = || i.metric("cluster_audio_bytes_total") / 32_000.0;
        until("a minute of audio", || (taken() > 58.0).then_some(()));
        std::thread::sleep(Duration::from_secs(2));
        let taken = taken();
        assert!(taken < 75.0, "{taken} s are in NATS, and no node labels them");
        let c = node(&nats, folder.path(), "c", LABEL);
        let mut publisher = talking.join().unwrap();
        publisher.send(r#"{"type":"close"}"#);
        let ended = publisher.until("ended");
        assert_whole(&c.events_since("kitchen", 0), &[&c, &i]);
        end(&ended)
    });
    assert!((received - 100.0).abs() < 0.01, "{received} s of 100 s are labelled");
}

#[test]
fn nothing_is_lost_while_nats_is_away() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut nats) = Nats::start(folder.path()) else { return };
    let i = node(&nats, folder.path(), "i", INTAKE);
    let b = node(&nats, folder.path(), "b", LABEL);
    knows(&i, 2);
    let samples = speech(Some(40));
    let (mut publisher, _) = published(&i, &samples[..160_000], 5.0);
    labelled_by(&i, &["b"]);
    let mut followed = i.socket("/v1/events?session=kitchen&since=0");
    nats.end();
    publisher.talk(&samples[160_000..240_000]);
    std::thread::sleep(Duration::from_secs(3));
    nats.begin();
    publisher.talk(&samples[240_000..]);
    publisher.send(r#"{"type":"close"}"#);
    let ended = publisher.until("ended");
    assert!((end(&ended) - 40.0).abs() < 0.01, "{ended}");
    assert_whole(&followed.events(), &[&i, &b]);
}

#[test]
fn a_session_goes_on_whose_node_died_before_its_first_event() {
    let folder = tempfile::tempdir().unwrap();
    let Some(nats) = Nats::start(folder.path()) else { return };
    let i = node(&nats, folder.path(), "i", INTAKE);
    let b = node(&nats, folder.path(), "b", LABEL);
    knows(&i, 2);
    let mut publisher = i.socket("/v1/stream?session=kitchen");
    publisher.until("started");
    labelled_by(&i, &["b"]);
    until("its taking", || (b.metric("cluster_taken_total") == 1.0).then_some(()));
    b.kill();
    let c = node(&nats, folder.path(), "c", LABEL);
    publisher.talk(&speech(Some(10)));
    publisher.send(r#"{"type":"close"}"#);
    assert!((end(&publisher.until("ended")) - 10.0).abs() < 0.01);
    assert_whole(&c.events_since("kitchen", 0), &[&c, &i]);
}
