//! Nodes that come, go, take each other's name, or have no NATS.

use serde_json::Value;

use crate::common::{diarized, run, until};
use crate::nats::Nats;
use crate::node::Node;

/// What `diarized cluster status` says: exit code, output, errors.
fn status(nats: &str, args: &[&str]) -> (i32, String, String) {
    let mut command = diarized(&["cluster", "status"]);
    command.args(["--set", &format!("cluster.nats={nats}"), "--set", "cluster.node=me"]);
    run(command.args(args))
}

/// The names of the nodes that are there.
fn names(nats: &str) -> Vec<String> {
    let (code, json, errors) = status(nats, &["--json"]);
    assert_eq!(code, 0, "{errors}");
    let seen: Value = serde_json::from_str(&json).unwrap();
    seen["nodes"].as_array().unwrap().iter().map(|n| n["node"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn nodes_are_listed_as_long_as_they_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let Some(nats) = Nats::start(folder.path()) else { return };
    let one = Node::start_with(&nats.url(), "one", &["cluster.address=http://10.0.0.1:7007"]).joined();
    let two = Node::start_with(&nats.url(), "two", &["server.max_sessions=3"]).joined();
    assert_eq!(names(&nats.url()), ["one", "two"]);
    until("both nodes", || (one.metric("cluster_nodes") == 2.0).then_some(()));
    let (code, table, _) = status(&nats.url(), &[]);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!((code, lines.len()), (0, 3), "{table}");
    assert!(
        lines[0].starts_with("NODE  SESSIONS  MOST") && lines[1].contains("http://10.0.0.1:7007"),
        "{table}"
    );
    assert!(
        lines[2]
            .split_whitespace()
            .eq(["two", "0", "3", "0.0", "s"].into_iter().chain(lines[2].split_whitespace().skip(5))),
        "{table}"
    );

    two.terminate();
    assert_eq!(names(&nats.url()), ["one"], "one that ends in good order leaves at once");
    one.kill();
    until("the end of a node that was killed", || names(&nats.url()).is_empty().then_some(()));
    assert_eq!(status(&nats.url(), &[]).1, "no node is there\n");
    let again = Node::start(&nats.url(), "one").joined();
    assert_eq!(names(&nats.url()), ["one"]);
    again.terminate();
}

#[test]
fn a_name_belongs_to_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let Some(nats) = Nats::start(folder.path()) else { return };
    let first = Node::start(&nats.url(), "one").joined();
    let second = Node::start(&nats.url(), "one");
    second.wait_for_ready("another process is the node \"one\"");
    assert_eq!((second.get("/readyz").0, first.get("/readyz").0), (503, 200));
    first.kill();
    second.wait_for_ready("ready");
}

#[test]
fn nats_may_be_away_at_the_start_and_later() {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut nats) = Nats::start(folder.path()) else { return };
    nats.end();
    let node = Node::start(&nats.url(), "one");
    node.wait_for_ready("has not joined its cluster");
    assert_eq!((node.get("/readyz").0, node.get("/healthz").0), (503, 200));
    assert_eq!(node.metric("cluster_connected"), 0.0);
    nats.begin();
    node.wait_for_ready("ready");
    nats.end();
    node.wait_for_ready("cluster: NATS is away since");
    assert_eq!(node.get("/readyz").0, 200, "its own sessions go on");
    nats.begin();
    until("the return", || (node.get("/readyz").1 == "ready\n").then_some(()));
    until("its name", || (names(&nats.url()) == ["one"]).then_some(()));
    node.terminate();
}

#[test]
fn a_server_without_jetstream_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let Some(nats) = Nats::start_with(folder.path(), &[]) else { return };
    let node = Node::start(&nats.url(), "one");
    node.wait_for_ready("start nats-server with -js");
    let (code, _, errors) = status(&nats.url(), &[]);
    assert!(code == 1 && errors.contains("start nats-server with -js"), "{errors}");
}

#[test]
fn passwords_are_sent_and_wrong_ones_reported() {
    let folder = tempfile::tempdir().unwrap();
    let Some(nats) = Nats::start_with(folder.path(), &["-js", "--user", "ann", "--pass", "secret"]) else {
        return;
    };
    for (file, password) in [("right", "secret\n"), ("wrong", "guess\n"), ("empty", "\n")] {
        std::fs::write(folder.path().join(file), password).unwrap();
    }
    let keys = |file: &str| {
        let path = folder.path().join(file);
        ["cluster.user=ann".to_owned(), format!("cluster.password_file={}", path.display())]
    };
    let keys_of = |keys: &[String; 2]| Node::start_with(&nats.url(), "one", &[&keys[0], &keys[1]]);
    keys_of(&keys("right")).joined().terminate();
    keys_of(&keys("wrong")).wait_for_ready("authorization violation");
    for (file, fault) in
        [("empty", "one line that is not empty"), ("absent", "cannot read cluster.password_file")]
    {
        let [user, password] = keys(file);
        let (code, _, errors) = status(&nats.url(), &["--set", &user, "--set", &password]);
        assert!(code == 1 && errors.contains(fault), "{errors}");
    }
}

#[test]
fn faults_of_the_configuration_are_named() {
    let nobody = "nats://127.0.0.1:9";
    let (code, _, errors) = status(nobody, &[]);
    assert!(code == 1 && errors.contains("NATS cannot be reached at nats://127.0.0.1:9: "), "{errors}");
    let (code, _, errors) = run(&mut diarized(&["cluster", "status"]));
    assert!(code == 78 && errors.contains("cluster.nats"), "{errors}");
    for (key, fault) in [
        ("cluster.nats=nats://ann:secret@a", "without user and password"),
        ("cluster.node=a b", "1 to 32 letters"),
    ] {
        let (code, _, errors) = status(nobody, &["--set", key]);
        assert!(code == 78 && errors.contains(fault), "{errors}");
    }
    let missing = ["--set", "cluster.credentials_file=/nowhere/node.creds"];
    let (code, _, errors) = status(nobody, &missing);
    assert!(code == 1 && errors.contains("/nowhere/node.creds"), "{errors}");
    let mut serve =
        diarized(&["serve", "--listen", "127.0.0.1:0", "--set", "cluster.nats=nats://127.0.0.1:9"]);
    let (code, _, errors) = run(serve.args(["--set", "cluster.node=one"]).args(missing));
    assert!(code == 78 && errors.contains("cluster.credentials_file"), "{errors}");
}
