//! The rules of joining, on versions alone and on real stores.

use std::collections::BTreeMap;

use diarized_models::voiceprint::ModelId;
use proptest::prelude::*;

use super::*;
use crate::voices::store::LEARNED;
use crate::voices::{AuditEntry, KeySource, NewRecording, Store, StoreError};

fn recording(source: &str, axis: usize) -> NewRecording {
    let mut embedding = vec![0.0; 4];
    embedding[axis % 4] = 1.0;
    NewRecording { source: source.to_owned(), speech_s: 12.5, weight: 1.0, snr_db: Some(21.0), embedding }
}

fn model() -> ModelId {
    ModelId { name: "m".to_owned(), sha256: "ab".repeat(32) }
}

fn other_model() -> ModelId {
    ModelId { name: "n".to_owned(), sha256: "cd".repeat(32) }
}

prop_compose! {
    fn stamp()(n in 1_u64..4, node in 0..3) -> Stamp {
        Stamp { n, node: format!("n{node}") }
    }
}

prop_compose! {
    fn shared_recording(source: &'static str)(created_unix_s in 0_i64..4, axis in 0_usize..3) -> SharedRecording {
        SharedRecording { created_unix_s, content: recording(source, axis) }
    }
}

prop_compose! {
    fn alive()(
        (name, consent) in (stamp(), stamp()),
        (value, consented) in ("[AB]", proptest::option::of("[ab]")),
        (created_unix_s, changed_unix_s) in (0_i64..9, 0_i64..9),
        // An id is random and given once: what is learned under it is learned everywhere.
        mut recordings in proptest::collection::btree_map("r[0-9]{1,2}", shared_recording("clip"), 1..10),
        learned in proptest::collection::btree_map("l[0-9]{1,2}", shared_recording(LEARNED), 0..20),
    ) -> Alive {
        recordings.extend(learned);
        Alive {
            name: Register { stamp: name, value },
            consent: Register { stamp: consent, value: consented },
            created_unix_s,
            changed_unix_s,
            recordings,
        }
    }
}

prop_compose! {
    fn version()(
        n_deleted in 0_u64..3,
        alive in proptest::option::of(alive()),
        trail in proptest::collection::btree_map("a[0-9]{1,3}", 0_i64..9, 0..120),
    ) -> Version {
        let deed = |at_unix_s| Deed {
            at_unix_s,
            action: "enrolled".to_owned(),
            detail: String::new(),
            actor: "http".to_owned(),
            node: "n0".to_owned(),
        };
        let trail = trail.into_iter().map(|(mark, at)| (mark, deed(at))).collect();
        // As joining leaves it: bounded.
        Version { n_deleted, alive, trail }.join(Version::default())
            .normal()
    }
}

impl Version {
    fn normal(self) -> Self {
        self.clone().join(self)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn joining_does_not_depend_on_order_or_repetition(a in version(), b in version(), c in version()) {
        let join = |a: &Version, b: &Version| a.clone().join(b.clone());
        prop_assert_eq!(join(&a, &b), join(&b, &a));
        prop_assert_eq!(join(&join(&a, &b), &c), join(&a, &join(&b, &c)));
        let ab = join(&a, &b);
        prop_assert_eq!(join(&ab, &a), ab.clone());
        prop_assert_eq!(join(&ab, &ab), ab);
    }

    #[test]
    fn a_version_travels_unchanged(version in version()) {
        let json = version.to_json(&model());
        prop_assert_eq!(Version::parse(&json), Ok((model(), version)));
    }
}

#[test]
fn what_is_no_version_is_refused_with_its_fault() {
    let fine =
        r#"{"format":1,"model":"m","model_sha256":"ab","version":{"n_deleted":1,"alive":null,"trail":{}}}"#;
    assert!(Version::parse(fine.as_bytes()).is_ok());
    for (from, to, fault) in [
        ("\"format\":1", "\"format\":2", "format 2"),
        ("\"trail\"", "\"more\"", "more"),
        ("\"n_deleted\":1", "\"n_deleted\":18446744073709551615", "count"),
        (
            "\"trail\":{}",
            "\"trail\":{\"a.b\":{\"at_unix_s\":1,\"action\":\"a\",\"detail\":\"\",\"actor\":\"\",\"node\":\"\"}}",
            "a.b",
        ),
        (
            "\"trail\":{}",
            "\"trail\":{\"a\":{\"at_unix_s\":1,\"action\":\"a\\n\",\"detail\":\"\",\"actor\":\"\",\"node\":\"\"}}",
            "no line",
        ),
    ] {
        let error = Version::parse(fine.replace(from, to).as_bytes()).unwrap_err().to_string();
        assert!(error.contains(fault), "{error}");
    }
}

/// A machine with a store of its own.
struct Machine {
    node: &'static str,
    store: Store,
    _folder: tempfile::TempDir,
}

impl Machine {
    fn new(node: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = KeySource::Given("5e".repeat(32)).read(folder.path()).unwrap();
        let store = Store::make(&folder.path().join("voices.db"), &key).unwrap();
        Self { node, store, _folder: folder }
    }

    fn enrol(&mut self, name: &str, axis: usize) -> String {
        let outcome = self.store.enrol(name, None, &model(), &[recording("a.wav", axis)], "http ann");
        outcome.unwrap().voice.id
    }

    /// Joins with what lies in the middle, and leaves there what is known now.
    fn join(&mut self, middle: &mut BTreeMap<String, Version>) -> Shared {
        let others = Others { voices: middle.clone(), ..Others::default() };
        let shared = self.store.share(self.node, &model(), &others).unwrap();
        middle.extend(shared.voices.clone());
        shared
    }

    fn names(&self) -> Vec<String> {
        self.store.voices().unwrap().into_iter().map(|voice| voice.name).collect()
    }

    /// Who did what to a voice where.
    fn trail(&self, id: &str) -> Vec<String> {
        let line =
            |AuditEntry { action, actor, node, .. }| format!("{action} {actor} {}", node.unwrap_or_default());
        self.store.audit(Some(id)).unwrap().into_iter().map(line).collect()
    }
}

#[test]
fn voices_and_their_trail_are_taken_over() {
    let (mut one, mut two, mut middle) = (Machine::new("one"), Machine::new("two"), BTreeMap::new());
    let ann = one.enrol("Ann", 0);
    one.join(&mut middle);
    assert_eq!(two.join(&mut middle).n_taken, 1);
    assert_eq!(two.store.voices().unwrap(), one.store.voices().unwrap());
    two.store.edit("ann", Some("Anna"), Some("by mail"), "http bob").unwrap();
    two.enrol("Anna", 1);
    two.join(&mut middle);
    one.join(&mut middle);
    assert_eq!(one.store.voices().unwrap(), two.store.voices().unwrap());
    let voice = one.store.find(&ann).unwrap();
    assert_eq!((voice.name.as_str(), voice.recordings.len()), ("Anna", 2));
    let trail =
        ["enrolled http ann one", "renamed http bob two", "consent http bob two", "enrolled http ann two"];
    assert_eq!(
        (one.trail(&ann), two.trail(&ann)),
        (trail.map(str::to_owned).to_vec(), trail.map(str::to_owned).to_vec())
    );
    // When nothing is new, nothing is written.
    let before = one.store.generation().unwrap();
    let now = middle.clone();
    let shared = one.join(&mut middle);
    assert_eq!((shared.n_taken, one.store.generation().unwrap(), &middle), (0, before, &now));
}

#[test]
fn a_deletion_wins_over_what_did_not_know_of_it() {
    let (mut one, mut two, mut middle) = (Machine::new("one"), Machine::new("two"), BTreeMap::new());
    let ann = one.enrol("Ann", 0);
    one.join(&mut middle);
    two.join(&mut middle);
    // Neither knows of the other's change.
    one.store.delete("Ann", "http ann").unwrap();
    two.enrol("Ann", 1);
    two.store.edit("Ann", Some("Anna"), None, "command").unwrap();
    two.join(&mut middle);
    one.join(&mut middle);
    assert_eq!(two.join(&mut middle).deleted, std::slice::from_ref(&ann));
    assert!(one.names().is_empty() && two.names().is_empty());
    assert!(
        middle[&ann].alive.is_none()
            && !String::from_utf8(middle[&ann].to_json(&model())).unwrap().contains("Ann")
    );
    assert!(two.trail(&ann).contains(&"deleted http ann one".to_owned()), "{:?}", two.trail(&ann));
    // An old copy does not bring it back, and a new enrolment lives.
    let again = two.enrol("Ann", 0);
    assert_ne!(again, ann);
    two.join(&mut middle);
    one.join(&mut middle);
    assert_eq!(one.names(), ["Ann"]);
}

#[test]
fn what_is_imported_after_its_deletion_lives() {
    let (mut one, mut two, mut middle) = (Machine::new("one"), Machine::new("two"), BTreeMap::new());
    let ann = one.enrol("Ann", 0);
    let file = tempfile::tempdir().unwrap();
    let file = file.path().join("ann.json");
    one.store.export(&[], crate::voices::ExportForm::Plain, &file).unwrap();
    one.join(&mut middle);
    two.join(&mut middle);
    two.store.delete("Ann", "command").unwrap();
    two.join(&mut middle);
    one.join(&mut middle);
    let key = KeySource::Given("5e".repeat(32)).read(&file).unwrap();
    one.store.import(&file, &key).unwrap();
    one.join(&mut middle);
    two.join(&mut middle);
    assert_eq!((two.names(), two.store.find("Ann").unwrap().id), (vec!["Ann".to_owned()], ann.clone()));
    // Deleted and imported between two joinings: the former recordings are gone, and it lives.
    two.store.delete("Ann", "command").unwrap();
    two.store.import(&file, &key).unwrap();
    two.join(&mut middle);
    one.join(&mut middle);
    assert_eq!((one.names().len(), middle[&ann].n_deleted), (1, 2));
}

#[test]
fn an_empty_store_gets_all_and_deletes_nothing() {
    let (mut one, mut middle) = (Machine::new("one"), BTreeMap::new());
    one.enrol("Ann", 0);
    one.enrol("Bob", 1);
    one.join(&mut middle);
    let mut new = Machine::new("one");
    assert_eq!(new.join(&mut middle).n_taken, 2);
    assert_eq!(new.names(), ["Ann", "Bob"]);
}

#[test]
fn voices_by_another_model_stay_apart() {
    let (mut one, mut middle) = (Machine::new("one"), BTreeMap::new());
    one.store.enrol("Cid", None, &other_model(), &[recording("c.wav", 2)], "command").unwrap();
    let ann = one.enrol("Ann", 0);
    one.store.enrol("Ann", None, &other_model(), &[recording("a2.wav", 2)], "command").unwrap();
    let shared = one.join(&mut middle);
    assert_eq!(shared.voices.keys().collect::<Vec<_>>(), [&ann]);
    assert_eq!(shared.voices[&ann].alive.as_ref().unwrap().recordings.len(), 1);
    // A deletion is the person's, whatever the model.
    let gone = Version { n_deleted: 1, ..Version::default() };
    let others =
        |id: &str| Others { deleted: BTreeMap::from([(id.to_owned(), gone.clone())]), ..Others::default() };
    one.store.share("one", &model(), &others(&ann)).unwrap();
    assert_eq!(one.names(), ["Cid"]);
    // Of somebody unknown nothing is remembered.
    assert_eq!(
        one.store.share("one", &model(), &others("v1")).unwrap().voices.keys().collect::<Vec<_>>(),
        [&ann]
    );
}

#[test]
fn two_people_of_one_name_are_told_apart_by_their_ids() {
    let (mut one, mut two, mut middle) = (Machine::new("one"), Machine::new("two"), BTreeMap::new());
    let ids = [one.enrol("Ann", 0), two.enrol("ann", 1)];
    one.join(&mut middle);
    two.join(&mut middle);
    one.join(&mut middle);
    for store in [&mut one.store, &mut two.store] {
        let error = store.delete("ANN", "command").unwrap_err();
        assert!(matches!(error, StoreError::Ambiguous { .. }), "{error}");
        assert!(ids.iter().all(|id| error.to_string().contains(id)));
    }
    one.store.edit(&ids[1], Some("Anna"), None, "command").unwrap();
    one.join(&mut middle);
    two.join(&mut middle);
    assert_eq!(
        (two.names(), two.store.find("Ann").unwrap().id),
        (vec!["Ann".to_owned(), "Anna".to_owned()], ids[0].clone())
    );
}

/// What may happen to one of three machines.
#[derive(Debug, Clone)]
enum Step {
    Enrol(usize, usize),
    Rename(usize, usize, usize),
    Delete(usize, usize),
    Join(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..3_usize, 0..3_usize).prop_map(|(m, who)| Step::Enrol(m, who)),
        1 => (0..3_usize, 0..3_usize, 3..6_usize).prop_map(|(m, who, to)| Step::Rename(m, who, to)),
        1 => (0..3_usize, 0..6_usize).prop_map(|(m, who)| Step::Delete(m, who)),
        3 => (0..3_usize).prop_map(Step::Join),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is done where, and in whatever order the machines are joined, they agree in the end, and what was
    /// deleted at one is at none unless it was enrolled again.
    #[test]
    fn machines_agree(steps in proptest::collection::vec(step(), 1..24)) {
        let mut machines = ["one", "two", "three"].map(Machine::new);
        let mut middle = BTreeMap::new();
        let mut deleted = Vec::new();
        for step in steps {
            match step {
                Step::Enrol(m, who) => {
                    let _ = machines[m].store.enrol(&format!("P{who}x"), None, &model(), &[recording("a", who)], "http");
                }
                Step::Rename(m, who, to) => {
                    let _ = machines[m].store.edit(&format!("P{who}x"), Some(&format!("P{to}x")), None, "http");
                }
                Step::Delete(m, who) => {
                    let was_shared = |id: &String, middle: &BTreeMap<String, Version>| middle.contains_key(id);
                    if let Ok(voice) = machines[m].store.delete(&format!("P{who}x"), "http")
                        && was_shared(&voice.id, &middle)
                    {
                        deleted.push(voice.id);
                    }
                }
                Step::Join(m) => drop(machines[m].join(&mut middle)),
            }
        }
        for _ in 0..2 {
            machines.iter_mut().for_each(|machine| drop(machine.join(&mut middle)));
        }
        let all = machines.each_ref().map(|machine| machine.store.voices().unwrap());
        prop_assert_eq!(&all[0], &all[1]);
        prop_assert_eq!(&all[0], &all[2]);
        // New enrolments have new ids.
        prop_assert!(all[0].iter().all(|voice| !deleted.contains(&voice.id)));
        for id in middle.keys() {
            let sorted = |machine: &Machine| {
                let mut trail = machine.trail(id);
                trail.sort();
                trail
            };
            prop_assert_eq!(sorted(&machines[0]), sorted(&machines[1]));
        }
    }
}
