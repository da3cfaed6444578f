//! Limits of a token over several nodes: its sessions and its audio are counted in one place.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::common::{diarized, run, speech, until};
use crate::line::Line;
use crate::nats::Nats;
use crate::node::{Node, Socket};

/// A file with the tokens `ann`, who has these limits, and `root`.
struct Tokens {
    file: String,
    ann: String,
    root: String,
}

impl Tokens {
    fn new(folder: &Path, limits: &[&str]) -> Self {
        let file = folder.join("tokens").display().to_string();
        let add = |name: &str, scope: &str, limits: &[&str]| {
            let (code, token, errors) =
                run(diarized(&["token", "add", name, "--scope", scope, "--file", &file]).args(limits));
            assert_eq!(code, 0, "{errors}");
            token.trim().to_owned()
        };
        let (ann, root) = (add("ann", "publish,subscribe", limits), add("root", "admin", &[]));
        Self { file, ann, root }
    }

    fn node(&self, nats: &str, name: &str, keys: &[&str]) -> Node {
        let key = format!("server.token_file={}", self.file);
        Node::start_with(nats, name, &[&[key.as_str()], keys].concat()).joined()
    }

    /// A publisher of ann's, with the first message that it gets.
    fn open(&self, node: &Node, id: &str) -> (Socket, Value) {
        let mut publisher = node.socket_as(&format!("/v1/stream?session={id}"), &self.ann);
        let first = serde_json::from_str(&publisher.next().unwrap()).unwrap();
        (publisher, first)
    }

    fn opened(&self, node: &Node, id: &str) -> Socket {
        let (publisher, first) = self.open(node, id);
        assert_eq!(first["type"], "started", "{first}");
        publisher
    }

    /// Why ann may open no session.
    fn refusal(&self, node: &Node, id: &str) -> String {
        let (mut publisher, first) = self.open(node, id);
        assert_eq!((&first["code"], &first["fatal"]), (&"quota_exceeded".into(), &true.into()), "{first}");
        assert!(publisher.next().is_none());
        first["reason"].as_str().unwrap().to_owned()
    }

    /// What a node knows of ann's use.
    fn usage(&self, node: &Node) -> Value {
        let (status, usage) = node.voices("GET", "/v1/usage", "", &self.root, b"");
        assert_eq!(status, 200, "{usage}");
        usage["tokens"].as_array().unwrap().iter().find(|one| one["token"] == "ann").unwrap().clone()
    }

    fn audio_s(&self, node: &Node) -> f64 {
        self.usage(node)["audio_s"].as_f64().unwrap()
    }

    fn wait_for_sessions(&self, node: &Node, n: usize) {
        until("ann's sessions", || (self.usage(node)["sessions"] == n).then_some(()));
    }
}

#[test]
fn sessions_of_a_token_are_counted_over_all_nodes() {
    let folder = tempfile::tempdir().unwrap();
    let Some(nats) = Nats::start(folder.path()) else { return };
    let tokens = Tokens::new(folder.path(), &["--max-sessions", "2"]);
    let [a, b] = ["a", "b"].map(|name| tokens.node(&nats.url(), name, &[]));
    let mut kitchen = tokens.opened(&a, "kitchen");
    tokens.wait_for_sessions(&b, 1);
    let _attic = tokens.opened(&b, "attic");
    for node in [&a, &b] {
        tokens.wait_for_sessions(node, 2);
        let reason = tokens.refusal(node, "cellar");
        assert!(reason.contains("\"ann\" runs 2 sessions of 2"), "{reason}");
    }

    // One that ends makes room at every node.
    kitchen.send(r#"{"type":"close"}"#);
    assert_eq!(kitchen.until("ended")["reason"], "closed");
    tokens.wait_for_sessions(&b, 1);
    let _cellar = tokens.opened(&b, "cellar");
    tokens.wait_for_sessions(&a, 2);
    tokens.refusal(&a, "loft");
}

#[test]
fn a_session_counts_for_its_token_wherever_it_goes() {
    let folder = tempfile::tempdir().unwrap();
    let Some(nats) = Nats::start(folder.path()) else { return };
    let tokens = Tokens::new(folder.path(), &["--max-sessions", "1", "--audio-s-a-day", "1000"]);
    let [a, b] = ["a", "b"].map(|name| tokens.node(&nats.url(), name, &[]));
    let (mut publisher, started) = tokens.open(&a, "kitchen");
    let samples = speech(Some(20));
    publisher.talk(&samples[..160_000]);
    until("audio that is safe", || (publisher.until("ack")["received_s"].as_f64()? > 5.0).then_some(()));
    tokens.wait_for_sessions(&b, 1);

    // Taking it up is no opening. Another token does so, and it counts for ann still.
    let mut again = b.socket_as("/v1/stream", &tokens.root);
    let resume = serde_json::json!({"session": "kitchen", "token": started["token"]});
    again.send(&serde_json::json!({"type": "start", "resume": resume}).to_string());
    let resumed = again.until("started");
    let received_s = resumed["received_s"].as_f64().unwrap();
    again.talk(&samples[(received_s * 16_000.0) as usize..]);
    for node in [&a, &b] {
        tokens.wait_for_sessions(node, 1);
        let sent_again = 10.0 - received_s;
        until("its audio", || ((tokens.audio_s(node) - 20.0 - sent_again).abs() < 0.01).then_some(()));
        tokens.refusal(node, "attic");
    }
    again.send(r#"{"type":"close"}"#);
    again.until("ended");
    tokens.wait_for_sessions(&a, 0);
}

#[test]
fn audio_of_a_token_is_counted_over_all_nodes() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut nats) = Nats::start(folder.path()) else { return };
    let tokens = Tokens::new(folder.path(), &["--audio-s-a-day", "60"]);
    let [a, b] = ["a", "b"].map(|name| tokens.node(&nats.url(), name, &[]));
    let samples = speech(Some(30));
    let mut kitchen = tokens.opened(&a, "kitchen");
    let mut attic = tokens.opened(&b, "attic");
    kitchen.talk(&samples[..320_000]);
    attic.talk(&samples[..240_000]);
    for node in [&a, &b] {
        until("the audio of both nodes", || (tokens.audio_s(node) == 35.0).then_some(()));
    }

    // A node that dies has counted for its next process, too.
    a.kill();
    let a = tokens.node(&nats.url(), "a", &[]);
    until("what it had", || (tokens.audio_s(&a) == 35.0).then_some(()));

    // While NATS is away each goes on from what it knows, and nothing is counted twice or lost.
    nats.end();
    a.wait_for_ready("NATS is away since");
    let mut cellar = tokens.opened(&a, "cellar");
    cellar.talk(&samples[..160_000]);
    attic.talk(&samples[..80_000]);
    until("its own count", || (tokens.audio_s(&a) == 45.0).then_some(()));
    until("its own count", || (tokens.audio_s(&b) == 40.0).then_some(()));
    nats.begin();
    for node in [&a, &b] {
        until("the audio of both nodes", || (tokens.audio_s(node) == 50.0).then_some(()));
    }

    // One passes 90 %, then all of it: sessions at both nodes are warned and end in good order, with all of their labels.
    attic.talk(&samples[80_000..160_000]);
    for publisher in [&mut cellar, &mut attic] {
        let warning =
            until("the warning", || Some(publisher.until("warning")).filter(|w| w["code"] == "quota_near"));
        assert!(warning["reason"].as_str().unwrap().contains(" s left of its 60 s of audio"), "{warning}");
    }
    cellar.talk(&samples[160_000..240_000]);
    for publisher in [&mut cellar, &mut attic] {
        assert_eq!(publisher.until("ended")["reason"], "quota_exceeded");
        assert!(publisher.events().is_empty());
    }
    for (node, id) in [(&a, "cellar"), (&b, "attic"), (&a, "attic")] {
        let path = format!("/v1/sessions/{id}");
        let session = until("its end", || {
            Some(node.json_as(&path, &tokens.root)).filter(|session| session["reason"] == "quota_exceeded")
        });
        let at = if id == "cellar" { 15.0 } else { 25.0 };
        assert_eq!(session["at"], at, "{id}");
        let reason = tokens.refusal(node, "loft");
        assert!(reason.contains("has used its 60 s of audio") && reason.contains("T00:00:00Z"), "{reason}");
    }
    assert_eq!(a.metric_as("quota_ended_total", &tokens.root), 1.0);
}

#[test]
fn a_node_that_is_cut_off_counts_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let Some(nats) = Nats::start(folder.path()) else { return };
    let line = Line::to(&nats);
    let tokens = Tokens::new(folder.path(), &["--audio-s-a-day", "1000"]);
    let a = tokens.node(&line.url(), "a", &[]);
    let b = tokens.node(&nats.url(), "b", &[]);
    let samples = speech(Some(20));
    let (mut kitchen, mut attic) = (tokens.opened(&a, "kitchen"), tokens.opened(&b, "attic"));
    kitchen.talk(&samples[..160_000]);
    until("its audio at b", || (tokens.audio_s(&b) == 10.0).then_some(()));
    line.cut();
    kitchen.talk(&samples[..160_000]);
    attic.talk(&samples[..160_000]);
    // A write that is under way waits in the line.
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!((tokens.audio_s(&a), tokens.audio_s(&b)), (20.0, 20.0));
    line.heal();
    for node in [&a, &b] {
        until("the audio of both nodes", || (tokens.audio_s(node) == 30.0).then_some(()));
    }
}

impl Node {
    /// Opens a WebSocket with a token.
    fn socket_as(&self, path: &str, token: &str) -> Socket {
        use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
        let mut request = format!("ws://{}{path}", self.addr).into_client_request().unwrap();
        request.headers_mut().insert("Authorization", format!("Bearer {token}").parse().unwrap());
        self.socket_of(request)
    }

    /// The JSON of a `GET` with a token, once it succeeds.
    fn json_as(&self, path: &str, token: &str) -> Value {
        until(path, || Some(self.voices("GET", path, "", token, b"")).filter(|(status, _)| *status == 200)).1
    }

    /// A number of `/metrics`.
    fn metric_as(&self, name: &str, token: &str) -> f64 {
        let (_, page) = self.ask("GET", "/metrics", "", token, b"");
        let name = format!("diarized_{name} ");
        page.lines()
            .find_map(|line| line.strip_prefix(&name)?.parse().ok())
            .unwrap_or_else(|| panic!("{page}"))
    }
}
