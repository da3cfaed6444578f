//! Voices that the nodes share: the real binary and its model, a real nats-server and its files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use async_nats::jetstream::stream::Config;
use futures_util::TryStreamExt as _;
use serde_json::Value;

use crate::common::{diarized, run, speech, until};
use crate::nats::Nats;
use crate::node::Node;

/// Pieces of the example conversation in which one voice speaks alone, in seconds.
pub(crate) const RHYS: [(f64, f64); 2] = [(13.95, 22.05), (23.2, 28.2)];
const RHYS_LATER: [(f64, f64); 2] = [(42.6, 45.6), (65.6, 69.2)];
const ABEL: [(f64, f64); 2] = [(0.85, 7.85), (53.7, 60.4)];
const SAM: [(f64, f64); 2] = [(8.45, 13.3), (29.3, 33.9)];

pub(crate) const KEY: &str = "5e";
const BUCKET: &str = "diarized_voices";

pub(crate) struct Bench {
    folder: tempfile::TempDir,
    samples: Vec<f32>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), samples: speech(None) }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn nats(&self) -> Option<Nats> {
        Nats::start(&self.path("nats"))
    }

    fn cut(&self, pieces: &[(f64, f64)]) -> Vec<f32> {
        let at = |seconds: f64| (seconds * 16_000.0) as usize;
        pieces.iter().flat_map(|&(start, end)| self.samples[at(start)..at(end)].to_vec()).collect()
    }

    pub(crate) fn clip(&self, pieces: &[(f64, f64)]) -> Vec<u8> {
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: 16_000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut bytes = std::io::Cursor::new(Vec::new());
        let mut writer = hound::WavWriter::new(&mut bytes, spec).unwrap();
        self.cut(pieces).iter().for_each(|s| writer.write_sample((s * 32_767.0) as i16).unwrap());
        writer.finalize().unwrap();
        bytes.into_inner()
    }

    /// The keys of a node whose store is called `name`, sealed with this key.
    pub(crate) fn keys(&self, name: &str, key: &str) -> Vec<String> {
        let key_file = self.path(&format!("{name}.key"));
        std::fs::write(&key_file, key.repeat(32)).unwrap();
        std::fs::set_permissions(&key_file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let store = self.path(&format!("{name}.db"));
        vec![
            "voices.enabled=true".to_owned(),
            format!("voices.path={}", store.display()),
            format!("voices.key_file={}", key_file.display()),
        ]
    }

    /// Where NATS has the bucket on its disk.
    pub(crate) fn bucket(&self) -> PathBuf {
        self.path("nats/jetstream/jetstream/$G/streams").join(format!("KV_{BUCKET}"))
    }

    /// A node that shares its voices, which lie in a file of its name.
    pub(crate) fn node(&self, nats: &Nats, name: &str) -> Node {
        self.node_with(nats, name, &self.keys(name, KEY)).joined()
    }

    fn node_with(&self, nats: &Nats, name: &str, keys: &[String]) -> Node {
        Node::start_with(&nats.url(), name, &keys.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// What `diarized voices show` says of a voice in the store of this name: action, actor and node of each line of its trail.
    fn trail(&self, store: &str, voice: &str) -> Vec<String> {
        let file = |kind: &str| self.path(&format!("{store}.{kind}")).display().to_string();
        let args = ["voices", "show", voice, "--json", "--store", &file("db"), "--key-file", &file("key")];
        let (code, json, errors) = run(&mut diarized(&args));
        assert_eq!(code, 0, "{errors}");
        let shown: Value = serde_json::from_str(&json).unwrap();
        let text = |line: &Value, key: &str| line[key].as_str().unwrap_or("-").to_owned();
        let line = |line: &Value| ["action", "actor", "node"].map(|key| text(line, key)).join(" ");
        shown["audit"].as_array().unwrap().iter().map(line).collect()
    }
}

impl Node {
    /// Enrols and gives the id.
    pub(crate) fn enrol(&self, name: &str, clip: &[u8]) -> String {
        let (status, made) = self.voices("POST", &format!("/v1/speakers?name={name}"), "audio/wav", "", clip);
        assert!(status == 200 || status == 201, "{made}");
        made["id"].as_str().unwrap().to_owned()
    }

    pub(crate) fn rename(&self, name: &str, to: &str) {
        let body = serde_json::json!({ "name": to }).to_string();
        let path = format!("/v1/speakers/{name}");
        let (status, answer) = self.voices("PATCH", &path, "application/json", "", body.as_bytes());
        assert_eq!(status, 200, "{answer}");
    }

    pub(crate) fn forget(&self, name: &str) {
        assert_eq!(self.voices("DELETE", &format!("/v1/speakers/{name}"), "", "", b"").0, 204);
    }

    /// Who is known here.
    pub(crate) fn known(&self) -> Vec<String> {
        let (_, all) = self.voices("GET", "/v1/speakers", "", "", b"");
        all["speakers"].as_array().unwrap().iter().map(|v| v["name"].as_str().unwrap().to_owned()).collect()
    }

    pub(crate) fn wait_for_known(&self, names: &[&str]) {
        until(&format!("{names:?}"), || (self.known() == names).then_some(()));
    }

    fn identify(&self, clip: &[u8]) -> Value {
        self.voices("POST", "/v1/identify", "audio/wav", "", clip).1["name"].clone()
    }
}

/// The stream of sealed voices, as the tools of NATS see it.
pub(crate) struct Sealed {
    runtime: tokio::runtime::Runtime,
    url: String,
}

impl Sealed {
    pub(crate) fn of(nats: &Nats) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { runtime, url: nats.url() }
    }

    /// All values by key.
    pub(crate) fn values(&self) -> BTreeMap<String, Vec<u8>> {
        self.runtime.block_on(async {
            let client = async_nats::connect(&self.url).await.unwrap();
            let bucket = async_nats::jetstream::new(client).get_key_value(BUCKET).await.unwrap();
            let keys: Vec<String> = bucket.keys().await.unwrap().try_collect().await.unwrap();
            let mut values = BTreeMap::new();
            for key in keys {
                if let Some(value) = bucket.get(&key).await.unwrap() {
                    values.insert(key, value.to_vec());
                }
            }
            values
        })
    }

    /// The value of a voice; none in the moment in which a node writes another.
    pub(crate) fn value_of(&self, voice: &str) -> Option<Vec<u8>> {
        self.values().into_iter().find(|(key, _)| key.ends_with(voice)).map(|(_, value)| value)
    }

    /// Writes over a value, as somebody without the key can; `None` purges it.
    pub(crate) fn meddle(&self, key: &str, value: Option<&'static [u8]>) {
        self.runtime.block_on(async {
            let client = async_nats::connect(&self.url).await.unwrap();
            let bucket = async_nats::jetstream::new(client).get_key_value(BUCKET).await.unwrap();
            match value {
                Some(value) => drop(bucket.put(key, value.into()).await.unwrap()),
                None => bucket.purge(key).await.unwrap(),
            }
        });
    }

    /// Makes the bucket with room for so many bytes, or gives it so many.
    fn make_room(&self, max_bytes: i64) {
        self.runtime.block_on(async {
            let client = async_nats::connect(&self.url).await.unwrap();
            let config = Config {
                name: format!("KV_{BUCKET}"),
                subjects: vec![format!("$KV.{BUCKET}.>")],
                max_messages_per_subject: 1,
                discard: async_nats::jetstream::stream::DiscardPolicy::New,
                allow_rollup: true,
                max_bytes,
                ..Config::default()
            };
            let jetstream = async_nats::jetstream::new(client);
            jetstream.get_or_create_stream(&config).await.unwrap();
            jetstream.update_stream(&config).await.unwrap();
        });
    }
}

/// Whether a file in the folder holds these bytes.
fn holds(folder: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return holds(&path, bytes);
        }
        let held = std::fs::read(&path).unwrap_or_default();
        held.windows(bytes.len()).any(|window| window == bytes)
    })
}

#[test]
fn a_voice_is_known_at_all_nodes_and_its_deletion_leaves_nothing() {
    let bench = Bench::new();
    let Some(nats) = bench.nats() else { return };
    let [a, b] = ["a", "b"].map(|name| bench.node(&nats, name));
    let mut publisher = b.socket("/v1/stream?session=kitchen");
    publisher.talk(&bench.cut(&RHYS));
    publisher.until("segment");
    let id = a.enrol("Rhys", &bench.clip(&RHYS));
    b.wait_for_known(&["Rhys"]);
    assert_eq!(b.identify(&bench.clip(&RHYS_LATER)), "Rhys");
    // A session that runs names the person as after an enrolment at its own node.
    publisher.talk(&bench.cut(&[RHYS_LATER, RHYS].concat()));
    while publisher.until("speaker")["name"] != "Rhys" {}

    let sealed = Sealed::of(&nats);
    let first = sealed.value_of(&id).unwrap();
    assert!(holds(&bench.bucket(), &first[..64]));
    b.rename("Rhys", "Morgan");
    a.wait_for_known(&["Morgan"]);
    b.enrol("Morgan", &bench.clip(&RHYS_LATER));
    until("both recordings", || {
        (a.voices("GET", "/v1/speakers/Morgan", "", "", b"").1["recordings"] == 2).then_some(())
    });
    let trail = ["enrolled http a", "renamed http b", "enrolled http b"];
    assert_eq!(
        (bench.trail("a", &id), bench.trail("b", &id)),
        (trail.map(str::to_owned).to_vec(), trail.map(str::to_owned).to_vec())
    );
    let second = until("the second value", || sealed.value_of(&id).filter(|second| *second != first));
    for open in ["Rhys", "Morgan", "embedding", "enrolled"] {
        assert!(!holds(&bench.bucket(), open.as_bytes()), "{open} lies open");
    }
    assert!(!sealed.values().keys().any(|key| key.contains("Rhys")));

    b.forget("Morgan");
    a.wait_for_known(&[]);
    until("the deletion in NATS", || sealed.value_of(&id).filter(|tombstone| *tombstone != second));
    for gone in [&first, &second] {
        let ends = [&gone[..64], &gone[gone.len() - 64..]];
        assert!(!ends.iter().any(|end| holds(&bench.bucket(), end)), "sealed bytes are left");
    }
    assert!(a.identify(&bench.clip(&RHYS_LATER)).is_null());
    // The same person is somebody new.
    assert_ne!(a.enrol("Rhys", &bench.clip(&RHYS)), id);
    b.wait_for_known(&["Rhys"]);
    assert_eq!(a.get("/readyz").1, "ready\n");
    assert_eq!(b.metric("cluster_voices"), 1.0);
}

#[test]
fn the_token_of_the_origin_is_in_the_trail_of_all_nodes() {
    let bench = Bench::new();
    let Some(nats) = bench.nats() else { return };
    let tokens = bench.path("tokens").display().to_string();
    let (_, token, _) = run(&mut diarized(&["token", "add", "desk", "--scope", "admin", "--file", &tokens]));
    let mut keys = bench.keys("a", KEY);
    keys.push(format!("server.token_file={tokens}"));
    let a = bench.node_with(&nats, "a", &keys).joined();
    let b = bench.node(&nats, "b");
    let path = "/v1/speakers?name=Rhys";
    let (status, made) = a.voices("POST", path, "audio/wav", token.trim(), &bench.clip(&RHYS));
    assert_eq!(status, 201, "{made}");
    b.wait_for_known(&["Rhys"]);
    assert_eq!(bench.trail("b", "Rhys"), ["enrolled http desk a"]);
}

#[test]
fn a_node_with_another_key_is_named_and_changes_nothing() {
    let bench = Bench::new();
    let Some(nats) = bench.nats() else { return };
    let a = bench.node(&nats, "a");
    a.enrol("Rhys", &bench.clip(&RHYS));
    let sealed = Sealed::of(&nats);
    until("the voice", || (a.metric("cluster_voices") == 1.0).then_some(()));
    let before = sealed.values();
    let b = bench.node_with(&nats, "b", &bench.keys("b", "66"));
    b.wait_for_ready("is not the key that the voices in NATS are sealed with");
    b.wait_for_log("is not the key that the voices in NATS are sealed with");
    assert_eq!(b.get("/readyz").0, 200, "all the rest works");
    // It knows its own people all the same.
    b.enrol("Abel", &bench.clip(&ABEL));
    b.forget("Abel");
    b.enrol("Sam", &bench.clip(&SAM));
    a.enrol("Abel", &bench.clip(&ABEL));
    until("Abel in NATS", || (sealed.values().len() == before.len() + 1).then_some(()));
    let now = sealed.values();
    assert!(before.iter().all(|(key, value)| now.get(key) == Some(value)));
    assert_eq!((b.known(), a.known()), (vec!["Sam".to_owned()], vec!["Abel".to_owned(), "Rhys".to_owned()]));
    b.terminate();
    // With the right key, and so a store of its own again, it gets all.
    let again = bench.keys("again", KEY);
    bench.node_with(&nats, "b", &again).wait_for_known(&["Abel", "Rhys"]);
}

#[test]
fn what_changes_without_nats_is_carried_over() {
    let bench = Bench::new();
    let Some(mut nats) = bench.nats() else { return };
    let [a, b] = ["a", "b"].map(|name| bench.node(&nats, name));
    a.enrol("Rhys", &bench.clip(&RHYS));
    a.enrol("Sam", &bench.clip(&SAM));
    b.wait_for_known(&["Rhys", "Sam"]);
    nats.end();
    b.wait_for_ready("NATS is away since");
    assert_eq!(b.identify(&bench.clip(&RHYS_LATER)), "Rhys");
    // One deletes a voice that the other adds to and renames; both enrol.
    a.forget("Rhys");
    b.enrol("Rhys", &bench.clip(&RHYS_LATER));
    b.rename("Rhys", "Morgan");
    b.rename("Sam", "Samuel");
    let abel = a.enrol("Abel", &bench.clip(&ABEL));
    let again = a.enrol("Rhys", &bench.clip(&RHYS));
    // One of them is even started again meanwhile.
    a.terminate();
    let a = bench.node_with(&nats, "a", &bench.keys("a", KEY));
    nats.begin();
    for node in [&a, &b] {
        node.wait_for_known(&["Abel", "Rhys", "Samuel"]);
        let (_, rhys) = node.voices("GET", "/v1/speakers/Rhys", "", "", b"");
        assert_eq!((rhys["id"].as_str(), rhys["recordings"].as_u64()), (Some(&*again), Some(1)));
    }
    b.terminate();
    // A node that has lost its store gets all of them, and takes nothing from the others.
    let empty = bench.node_with(&nats, "b", &bench.keys("empty", KEY)).joined();
    empty.wait_for_known(&["Abel", "Rhys", "Samuel"]);
    assert_eq!(bench.trail("empty", &abel), ["enrolled http a"]);
    assert_eq!(empty.identify(&bench.clip(&ABEL)), "Abel");
    assert_eq!(a.known().len(), 3);
}

#[test]
fn nodes_with_other_models_leave_each_others_voices_alone() {
    let bench = Bench::new();
    let Some(nats) = bench.nats() else { return };
    let zoo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/zoo/nexttdnn-c128-b122");
    let model = bench.path("model");
    std::fs::create_dir(&model).unwrap();
    for file in ["model.onnx", "plda.f32"] {
        std::fs::copy(zoo.join(file), model.join(file)).unwrap();
    }
    let card = std::fs::read_to_string(zoo.join("model.toml")).unwrap();
    let (line, rest) =
        card.split_once("\nname = \"").map(|(a, b)| (a, b.split_once('"').unwrap().1)).unwrap();
    std::fs::write(model.join("model.toml"), format!("{line}\nname = \"other\"{rest}")).unwrap();

    let a = bench.node(&nats, "a");
    let rhys = a.enrol("Rhys", &bench.clip(&RHYS));
    let mut keys = bench.keys("b", KEY);
    keys.push(format!("model.path={}", model.display()));
    let b = bench.node_with(&nats, "b", &keys).joined();
    b.enrol("Abel", &bench.clip(&ABEL));
    let sealed = Sealed::of(&nats);
    until("both voices", || (sealed.values().len() == 3).then_some(()));
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert_eq!((a.known(), b.known()), (vec!["Rhys".to_owned()], vec!["Abel".to_owned()]));
    assert!(a.get("/readyz").1 == "ready\n" && b.get("/readyz").1 == "ready\n");
    let value = sealed.value_of(&rhys).unwrap();
    b.forget("Abel");
    until("the deletion", || (b.metric("cluster_voices") == 0.0).then_some(()));
    assert_eq!(sealed.value_of(&rhys), Some(value));
}

#[test]
fn a_full_bucket_is_named_and_loses_nothing() {
    let bench = Bench::new();
    let Some(nats) = bench.nats() else { return };
    let sealed = Sealed::of(&nats);
    sealed.make_room(5000);
    let [a, b] = ["a", "b"].map(|name| bench.node(&nats, name));
    let rhys = a.enrol("Rhys", &bench.clip(&RHYS));
    b.wait_for_known(&["Rhys"]);
    a.enrol("Abel", &bench.clip(&ABEL));
    a.wait_for_ready("maximum bytes exceeded");
    assert_eq!((a.identify(&bench.clip(&ABEL)), a.get("/readyz").0), ("Abel".into(), 200));
    assert_eq!(b.known(), ["Rhys"]);
    // A better voice has no room either, and what is there stays.
    b.enrol("Rhys", &bench.clip(&RHYS_LATER));
    b.wait_for_ready("maximum bytes exceeded");
    until("Rhys, as before", || sealed.value_of(&rhys).filter(|value| value.len() > 1000));
    // A deletion makes room.
    b.forget("Rhys");
    for node in [&a, &b] {
        node.wait_for_known(&["Abel"]);
    }
    a.enrol("Sam", &bench.clip(&SAM));
    a.wait_for_ready("maximum bytes exceeded");
    sealed.make_room(1 << 20);
    b.wait_for_known(&["Abel", "Sam"]);
    until("the end of the fault", || (a.get("/readyz").1 == "ready\n").then_some(()));
}

#[test]
fn nodes_may_keep_their_voices_to_themselves() {
    let bench = Bench::new();
    let Some(nats) = bench.nats() else { return };
    let mut keys = bench.keys("a", KEY);
    keys.push("cluster.voices=false".to_owned());
    let a = bench.node_with(&nats, "a", &keys).joined();
    let b = bench.node(&nats, "b");
    a.enrol("Rhys", &bench.clip(&RHYS));
    b.enrol("Abel", &bench.clip(&ABEL));
    let sealed = Sealed::of(&nats);
    until("Abel", || (b.metric("cluster_voices") == 1.0).then_some(()));
    assert_eq!((sealed.values().len(), a.known().len(), b.known().len()), (2, 1, 1));
    // Nothing in the store shows that there is a cluster.
    assert_eq!(bench.trail("a", "Rhys"), ["enrolled http -"]);
}
