//! What is written where, and what opens.

use std::collections::BTreeMap;
use std::path::Path;

use async_nats::jetstream::kv::{Entry, Operation};
use diarized_models::voiceprint::ModelId;

use super::cabinet::{CHECK, Cabinet, key_of, parts_of};
use super::fault::Fault;
use super::held::Held;
use super::sync::twins_of;
use crate::voices::{Alive, KeySource, Register, Stamp, Version};

fn model(name: &str) -> ModelId {
    ModelId { name: name.to_owned(), sha256: "ab".repeat(32) }
}

fn cabinet(digits: &str) -> Cabinet {
    let key = KeySource::Given(digits.repeat(32)).read(Path::new("voices.db")).unwrap();
    Cabinet::new(&key, "d_voices".to_owned())
}

fn version(name: &str, n_deleted: u64) -> Version {
    let stamp = Stamp { n: 1, node: "a".to_owned() };
    let alive = Alive {
        name: Register { stamp: stamp.clone(), value: name.to_owned() },
        consent: Register { stamp, value: None },
        created_unix_s: 5,
        changed_unix_s: 6,
        recordings: BTreeMap::new(),
    };
    Version { n_deleted, alive: Some(alive), trail: BTreeMap::new() }
}

fn entry(key: &str, value: bytes::Bytes, revision: u64) -> Entry {
    Entry {
        bucket: "d_voices".to_owned(),
        key: key.to_owned(),
        value,
        revision,
        delta: 0,
        created: time::OffsetDateTime::UNIX_EPOCH,
        operation: Operation::Put,
        seen_current: true,
    }
}

#[test]
fn keys_show_nothing_of_a_person_and_values_open_in_their_place_only() {
    let (ann, key) = (version("Ann", 0), key_of(&model("m"), "v0123456789abcdef"));
    let (mark, id) = parts_of(&key).unwrap();
    assert_eq!((mark.len(), id), (16, "v0123456789abcdef"));
    assert_ne!(key, key_of(&model("n"), id), "models differ by name and by network");
    for foreign in [CHECK, "a.b", "0123456789abcdef.", "0123456789abcdef.a.b", "0123456789abcdeg.v1"] {
        assert_eq!(parts_of(foreign), None);
    }
    let cabinet = cabinet("5e");
    let sealed = cabinet.seal(&key, &model("m"), &ann);
    assert!(!sealed.windows(3).any(|window| window == b"Ann"));
    assert_eq!(cabinet.open(&key, &sealed), Ok((model("m"), ann.clone())));
    let elsewhere = key_of(&model("m"), "v2");
    assert!(cabinet.open(&elsewhere, &sealed).unwrap_err().contains("changed outside"));
    assert!(self::cabinet("66").open(&key, &sealed).is_err());
    let wrong = cabinet.seal(&key, &model("n"), &ann);
    assert!(cabinet.open(&key, &wrong).unwrap_err().contains("another model"));
    assert!(cabinet.opens(&cabinet.check()) && !self::cabinet("66").opens(&cabinet.check()));
}

#[test]
fn what_differs_is_written_and_what_cannot_be_read_is_left_alone() {
    let (cabinet, own, other) = (cabinet("5e"), model("m"), model("n"));
    let mut held = Held::default();
    let mut put = |model: &ModelId, id: &str, version: &Version, revision| {
        let key = key_of(model, id);
        held.take(&entry(&key, cabinet.seal(&key, model, version), revision))
    };
    assert!(put(&own, "v1", &version("Ann", 0), 1));
    assert!(put(&own, "v2", &version("Bob", 0), 2));
    assert!(put(&other, "v2", &version("Bob", 0), 3));
    assert!(put(&other, "v3", &version("Cid", 1), 4));
    assert!(!put(&own, "v2", &version("older", 0), 1), "an older value is no news");
    held.take(&entry(&key_of(&own, "v4"), "damaged".into(), 5));
    let Some(Fault::Unreadable { n: 1, key, .. }) = held.open(&cabinet) else { panic!("v4 is not named") };
    assert_eq!(key, key_of(&own, "v4"));
    let others = held.others(&own);
    assert_eq!(others.voices.keys().collect::<Vec<_>>(), ["v1", "v2"]);
    assert_eq!(others.deleted.keys().collect::<Vec<_>>(), ["v3"]);
    assert!(others.deleted["v3"].alive.is_none());

    let now = BTreeMap::from([
        ("v1".to_owned(), version("Ann", 0)),
        ("v2".to_owned(), Version { n_deleted: 1, ..Version::default() }),
        ("v4".to_owned(), version("Dan", 0)),
        ("v5".to_owned(), version("Eve", 0)),
    ]);
    let due: Vec<String> = held.due(&own, &now).into_iter().map(|due| due.key).collect();
    // Bob is deleted by both models, before Eve takes room.
    assert_eq!(due, [key_of(&own, "v2"), key_of(&other, "v2"), key_of(&own, "v5")]);
}

#[test]
fn voices_of_one_name_are_found() {
    let mut voices =
        BTreeMap::from([("v1".to_owned(), version("Ann", 0)), ("v2".to_owned(), version("Bob", 0))]);
    assert_eq!(twins_of(&voices), None);
    voices.insert("v3".to_owned(), version("ANN", 0));
    assert_eq!(twins_of(&voices).as_deref(), Some("v1 and v3"));
}
