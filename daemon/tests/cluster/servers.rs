//! NATS as several servers, behind TLS, and with nothing left of what it had.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::{diarized, run, speech, until};
use crate::nats::Nats;
use crate::node::Node;

fn is_there(node: &Node, session: &str) {
    until(session, || (node.get(&format!("/v1/sessions/{session}")).0 == 200).then_some(()));
}

/// Kills the server that a node is connected to and gives its number.
fn kill_server_of(node: &str, servers: &mut [Nats; 3]) -> usize {
    let of_node = until("its server", || servers.iter().position(|server| server.has(node)));
    servers[of_node].end();
    of_node
}

#[test]
fn servers_of_nats_are_killed_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut servers) = Nats::start_three(folder.path()) else { return };
    let urls = servers.iter().map(Nats::url).collect::<Vec<_>>().join(",");
    let keys = &["cluster.replicas=3"];
    let [a, b] = ["a", "b"].map(|name| Node::start_with(&urls, name, keys).joined());
    let samples = speech(Some(40));
    let mut parts = samples.chunks(160_000);
    let mut publisher = a.socket("/v1/stream?session=kitchen");
    publisher.talk(parts.next().unwrap());
    publisher.until("segment");
    is_there(&b, "kitchen");
    let mut at_b = b.socket("/v1/events?session=kitchen&since=0");

    // The server of the session's node, then that of the other one; one of three is away at a time.
    for node in ["a", "b"] {
        servers.iter().for_each(Nats::wait_until_current);
        let killed = kill_server_of(node, &mut servers);
        publisher.talk(parts.next().unwrap());
        let moved = |servers: &[Nats; 3]| servers.iter().any(|server| server.has(node)).then_some(());
        until("another server of the node", || moved(&servers));
        // NATS 2.9 sometimes needs the killed server back before its streams have a leader again.
        let began = Instant::now();
        let seqs = || [&a, &b].map(|node| node.json("/v1/sessions/kitchen")["seq"].as_u64().unwrap());
        while seqs().windows(2).any(|pair| pair[0] != pair[1]) && began.elapsed() < Duration::from_secs(15) {
            std::thread::sleep(Duration::from_millis(50));
        }
        servers[killed].begin();
        for node in [&a, &b] {
            until("both nodes", || (node.get("/readyz").1 == "ready\n").then_some(()));
        }
    }
    publisher.talk(parts.next().unwrap());
    publisher.send(r#"{"type":"close"}"#);
    publisher.events();
    let own = a.events_since("kitchen", 0);
    assert!(own.last().unwrap().contains("\"closed\""));
    assert_eq!(at_b.events(), own, "none is lost or doubled");
    until("the end", || (b.get("/v1/sessions/kitchen") == a.get("/v1/sessions/kitchen")).then_some(()));
}

fn tls(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls").join(name).display().to_string()
}

#[test]
fn nodes_and_nats_speak_tls_and_show_a_password() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = (tls("first.pem"), tls("first.key"));
    let args = ["-js", "--tls", "--tlscert", &cert, "--tlskey", &key, "--user", "ann", "--pass", "secret"];
    let Some(nats) = Nats::start_with(folder.path(), &args) else { return };
    assert!(nats.url().starts_with("tls://"));
    let password = folder.path().join("password");
    std::fs::write(&password, "secret\n").unwrap();
    let ca = format!("cluster.ca_file={}", tls("authority.pem"));
    let password = format!("cluster.password_file={}", password.display());
    let keys = [ca.as_str(), "cluster.user=ann", &password];
    let [a, b] = ["a", "b"].map(|name| Node::start_with(&nats.url(), name, &keys).joined());
    let mut publisher = a.socket("/v1/stream?session=kitchen");
    publisher.talk(&speech(Some(10)));
    publisher.send(r#"{"type":"close"}"#);
    let own = publisher.events();
    is_there(&b, "kitchen");
    assert_eq!(b.events_since("kitchen", 0), own);

    // A stranger's certificate, nobody's password, and a server whose encryption is not asked for.
    let untrusted = Node::start_with(&nats.url(), "c", &keys[1..]);
    untrusted.wait_for_ready("`diarized cluster status` shows the cause");
    let (nats_key, node_key) = (format!("cluster.nats={}", nats.url()), "cluster.node=me");
    let (code, _, errors) = run(&mut diarized(&["cluster", "status", "--set", &nats_key, "--set", node_key]));
    assert!(code == 1 && errors.contains("invalid peer certificate"), "{errors}");
    Node::start_with(&nats.url(), "d", &keys[..1]).wait_for_ready("authorization violation");
    let plain = nats.url().replace("tls://", "nats://");
    Node::start_with(&plain, "e", &keys).joined();
}

#[test]
fn nats_comes_back_with_nothing_and_sessions_are_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut nats) = Nats::start(folder.path()) else { return };
    let path = format!("storage.path={}", folder.path().join("a.sqlite").display());
    let a = Node::start_with(&nats.url(), "a", &[&path]).joined();
    let b = Node::start(&nats.url(), "b").joined();
    let samples = speech(Some(30));
    let mut ended = a.socket("/v1/stream?session=attic");
    ended.talk(&samples[..160_000]);
    ended.send(r#"{"type":"close"}"#);
    ended.events();
    let mut publisher = a.socket("/v1/stream?session=kitchen");
    publisher.talk(&samples[..160_000]);
    publisher.until("segment");
    is_there(&b, "kitchen");
    is_there(&b, "attic");
    let mut at_b = b.socket("/v1/events?session=kitchen&since=0");

    nats.end();
    std::fs::remove_dir_all(nats.streams()).unwrap();
    publisher.talk(&samples[160_000..320_000]);
    nats.begin();
    for node in [&a, &b] {
        until("its return", || (node.get("/readyz").1 == "ready\n").then_some(()));
    }
    publisher.talk(&samples[320_000..]);
    publisher.send(r#"{"type":"close"}"#);
    publisher.events();
    let own = a.events_since("kitchen", 0);
    assert!(own.last().unwrap().contains("\"closed\""));
    let there = until("the end at b", || {
        let (status, body) = b.get("/v1/sessions/kitchen");
        (status == 200 && body.contains("\"closed\"")).then_some(body)
    });
    assert_eq!(there, a.get("/v1/sessions/kitchen").1);
    // Who followed at b is sent away and comes back, or has everything.
    let live = at_b.events();
    let since = live.len() as u64;
    assert_eq!(live, own[..live.len()], "none is lost or doubled");
    assert_eq!(b.events_since("kitchen", since), own[live.len()..]);
    // What had ended is at its own node only.
    until("the loss at b", || b.listed("attic").is_none().then_some(()));
    assert_eq!(b.get("/v1/sessions/attic").0, 404);
    assert!(a.get("/v1/sessions/attic").1.contains("\"closed\""));
}

/// What became of one attempt to open a session.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Opened {
    /// It has the id in the whole cluster.
    Whole,
    /// It was opened and goes on at its node only.
    Warned,
    /// Another node had the id already.
    Refused,
}

/// Opens a session and talks until it is clear what became of it, as a third node sees it.
fn open(node: &Node, name: &str, third: &Node, id: &str, samples: &[f32]) -> Opened {
    let mut publisher = node.socket(&format!("/v1/stream?session={id}"));
    let first: Value = serde_json::from_str(&publisher.next().unwrap()).unwrap();
    if first["type"] == "error" {
        assert_eq!(first["code"], "conflict", "{first}");
        return Opened::Refused;
    }
    publisher.talk(samples);
    let listed = until("the session at the third node", || third.listed(id));
    let opened = if listed["node"] == name {
        Opened::Whole
    } else {
        assert_eq!(publisher.until("warning")["code"], "cluster_conflict");
        Opened::Warned
    };
    publisher.talk(samples);
    publisher.send(r#"{"type":"close"}"#);
    let events = publisher.events();
    assert!(events.last().unwrap().contains("\"closed\""), "it goes on at its own node: {events:?}");
    assert!(!events.iter().any(|event| event.contains("cluster_conflict")));
    opened
}

#[test]
fn two_nodes_open_one_id_at_the_same_moment() {
    let folder = tempfile::tempdir().unwrap();
    let Some(nats) = Nats::start(folder.path()) else { return };
    let [a, b, c] = ["a", "b", "c"].map(|name| Node::start(&nats.url(), name).joined());
    let samples = speech(Some(5));
    let mut n_warned = 0;
    for round in 0..6 {
        let id = format!("kitchen-{round}x");
        let barrier = std::sync::Barrier::new(2);
        let (at_a, at_b) = std::thread::scope(|scope| {
            let [at_a, at_b] = [(&a, "a"), (&b, "b")].map(|(node, name)| {
                let (id, samples, barrier, c) = (&id, &samples, &barrier, &c);
                scope.spawn(move || {
                    barrier.wait();
                    open(node, name, c, id, samples)
                })
            });
            (at_a.join().unwrap(), at_b.join().unwrap())
        });
        let n_whole = [at_a, at_b].iter().filter(|opened| **opened == Opened::Whole).count();
        assert_eq!(n_whole, 1, "{id}: {at_a:?} at a, {at_b:?} at b");
        n_warned += [at_a, at_b].iter().filter(|opened| **opened == Opened::Warned).count();
        let winner = if at_a == Opened::Whole { &a } else { &b };
        until("its end at c", || c.listed(&id).filter(|listed| listed["live"] == false));
        let path = format!("/v1/sessions/{id}");
        assert_eq!(c.get(&path), winner.get(&path));
    }
    assert!(n_warned > 0, "they never met");
}
