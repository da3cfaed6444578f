//! Many voices that several nodes change at once, and values that somebody else changed.

use std::time::Instant;

use serde_json::{Value, json};

use crate::common::{diarized, run, until};
use crate::node::Node;
use crate::voices::{Bench, RHYS, Sealed};

/// As many voices are imported at one node.
const N: usize = 60;

/// Runs `diarized voices` on the store of a node.
fn manage(bench: &Bench, store: &str, args: &[&str]) {
    let file = |kind: &str| bench.path(&format!("{store}.{kind}")).display().to_string();
    let (db, key) = (file("db"), file("key"));
    let (code, _, errors) = run(diarized(&["voices"]).args(args).args(["--store", &db, "--key-file", &key]));
    assert_eq!(code, 0, "{errors}");
}

/// An export with many more people than the one that is enrolled at `store`.
fn many_voices(bench: &Bench, store: &str) -> String {
    let path = bench.path("one.json").display().to_string();
    manage(bench, store, &["export", &path, "--plain"]);
    let mut export: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let one = export["voices"][0].clone();
    export["voices"] = (0..N)
        .map(|n| {
            let mut voice = one.clone();
            voice["id"] = json!(format!("v{n:016x}"));
            voice["name"] = json!(format!("Person {n}"));
            voice["recordings"][0]["id"] = json!(format!("r{n:016x}"));
            voice
        })
        .collect();
    let path = bench.path("many.json");
    std::fs::write(&path, export.to_string()).unwrap();
    path.display().to_string()
}

/// Everybody as a node shows them.
fn all(node: &Node) -> Value {
    node.voices("GET", "/v1/speakers", "", "", b"").1["speakers"].clone()
}

#[test]
fn nodes_that_change_voices_at_once_agree() {
    let bench = Bench::new();
    let Some(nats) = bench.nats() else { return };
    let [a, b, c] = ["a", "b", "c"].map(|name| bench.node(&nats, name));
    let rhys = a.enrol("Rhys", &bench.clip(&RHYS));
    let many = many_voices(&bench, "a");
    let began = Instant::now();
    manage(&bench, "a", &["import", &many]);
    for node in [&b, &c] {
        until("all voices", || (node.known().len() == N + 1).then_some(()));
    }
    println!("{N} voices at two other nodes after {:.1} s", began.elapsed().as_secs_f32());

    // Two rename the same people, the third deletes some of them; none waits for another.
    let change = |node: &Node, n: usize, word: &str| {
        let body = json!({ "name": format!("{word} {n}") }).to_string();
        let path = format!("/v1/speakers/v{n:016x}");
        let (status, _) = node.voices("PATCH", &path, "application/json", "", body.as_bytes());
        assert!(status == 200 || status == 404, "{status}");
    };
    std::thread::scope(|scope| {
        scope.spawn(|| (0..40).for_each(|n| change(&a, n, "Anna")));
        scope.spawn(|| (0..40).rev().for_each(|n| change(&b, n, "Bert")));
        scope.spawn(|| {
            for n in (0..N).step_by(3) {
                let (status, _) = c.voices("DELETE", &format!("/v1/speakers/v{n:016x}"), "", "", b"");
                assert_eq!(status, 204);
            }
        });
    });
    let n_left = N + 1 - N.div_ceil(3);
    let agreed = until("agreement", || {
        let [at_a, at_b, at_c] = [&a, &b, &c].map(all);
        (at_a == at_b && at_b == at_c && at_a.as_array().unwrap().len() == n_left).then_some(at_a)
    });
    let names: Vec<&str> = agreed.as_array().unwrap().iter().map(|v| v["name"].as_str().unwrap()).collect();
    assert_eq!(names.iter().filter(|name| name.starts_with("Person")).count(), 14, "{names:?}");
    for node in [&a, &b, &c] {
        until("all is well", || (node.get("/readyz").1 == "ready\n").then_some(()));
        until("all is written", || (node.metric("cluster_voices") == n_left as f64).then_some(()));
    }
    let values = Sealed::of(&nats).values();
    assert_eq!(values.len(), N + 2, "one for each voice, deleted ones as well, and the one of the key");
    assert!(values.iter().any(|(key, value)| key.ends_with(&rhys) && value.len() > 1000));
}

#[test]
fn a_value_that_others_changed_is_left_alone_and_one_that_they_purged_comes_back() {
    let bench = Bench::new();
    let Some(nats) = bench.nats() else { return };
    let [a, b] = ["a", "b"].map(|name| bench.node(&nats, name));
    let rhys = a.enrol("Rhys", &bench.clip(&RHYS));
    until("Rhys at b", || (b.known() == ["Rhys"]).then_some(()));
    let sealed = Sealed::of(&nats);
    let (key, value) = sealed.values().into_iter().find(|(key, _)| key.ends_with(&rhys)).unwrap();
    sealed.meddle(&key, Some(b"damaged"));
    for node in [&a, &b] {
        node.wait_for_ready("cannot be used and are left alone");
        assert!(node.get("/readyz").1.contains(&key));
        assert_eq!(node.known(), ["Rhys"], "what is known stays known");
    }
    assert_eq!(sealed.value_of(&rhys).as_deref(), Some(&b"damaged"[..]));
    sealed.meddle(&key, None);
    for node in [&a, &b] {
        until("all is well", || (node.get("/readyz").1 == "ready\n").then_some(()));
    }
    let again = until("the value", || sealed.value_of(&rhys));
    assert!(again.len() > 1000 && again != value);
    assert_eq!((a.known(), b.known()), (vec!["Rhys".to_owned()], vec!["Rhys".to_owned()]));
}
