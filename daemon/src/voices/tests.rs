//! The store on real files: what it keeps, what it hides, what it forgets, and its errors.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use diarized_models::ModelCard;
use diarized_models::voiceprint::{MatchRules, ModelId};
use rusqlite::Connection;

use super::*;

struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn place(&self) -> Place {
        Place { path: self.path("sub/voices.db"), key: KeySource::File(self.path("conf/voices.key")) }
    }

    fn store(&self) -> Store {
        self.place().open_or_make().unwrap()
    }

    /// Bytes of the store and of everything beside it.
    fn bytes(&self) -> Vec<u8> {
        let mut all = Vec::new();
        for entry in std::fs::read_dir(self.path("sub")).unwrap() {
            all.extend(std::fs::read(entry.unwrap().path()).unwrap());
        }
        all
    }
}

fn card() -> ModelCard {
    diarized_models::Embedder::load(&diarized_models::ModelSource::Builtin, &[]).unwrap().card().clone()
}

fn model() -> ModelId {
    ModelId { name: "m".to_owned(), sha256: "ab".repeat(32) }
}

fn recording(source: &str, axis: usize) -> NewRecording {
    let mut embedding = vec![0.0; 192];
    embedding[axis] = 0.8;
    embedding[axis + 1] = 0.6;
    NewRecording { source: source.to_owned(), speech_s: 12.5, weight: 1.0, snr_db: Some(21.0), embedding }
}

fn enrol(store: &mut Store, name: &str, axis: usize) -> Voice {
    store.enrol(name, None, &model(), &[recording("a.wav", axis)], "command").unwrap().voice
}

fn holds(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

#[test]
fn what_is_stored_is_there_after_opening_again() {
    let bench = Bench::new();
    let mut store = bench.store();
    let first = store.enrol(" Ann ", Some("by mail"), &model(), &[recording("a.wav", 3)], "command").unwrap();
    assert!(first.is_new && first.voice.name == "Ann" && first.voice.id.len() == 17);
    let more = [recording("b.wav", 3), recording("c.wav", 3)];
    let second = store.enrol("ann", None, &model(), &more, "http").unwrap();
    assert!(!second.is_new && second.voice.id == first.voice.id);
    drop(store);
    let store = bench.place().open().unwrap();
    let voice = store.find(&first.voice.id.to_uppercase()).unwrap();
    assert_eq!(voice, second.voice);
    let mut sources: Vec<&str> = voice.recordings.iter().map(|r| r.content.source.as_str()).collect();
    sources.sort_unstable();
    assert_eq!((sources, voice.consent.as_deref()), (vec!["a.wav", "b.wav", "c.wav"], Some("by mail")));
    assert!(voice.recordings.iter().all(|r| r.content.embedding == recording("", 3).embedding));
    let trail = store.audit(Some(&voice.id)).unwrap();
    let told: Vec<(&str, &str, &str)> =
        trail.iter().map(|e| (e.action.as_str(), e.detail.as_str(), e.actor.as_str())).collect();
    let expected =
        [("enrolled", "1 recordings, 12.5 s", "command"), ("enrolled", "2 recordings, 25.0 s", "http")];
    assert_eq!(told, expected);
}

#[test]
fn only_the_owner_may_read_and_nothing_personal_lies_open() {
    let bench = Bench::new();
    let mut store = bench.store();
    store.enrol("Annabella", Some("a note"), &model(), &[recording("kitchen.wav", 3)], "command").unwrap();
    for file in ["sub/voices.db", "conf/voices.key"] {
        let mode = std::fs::metadata(bench.path(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let bytes = bench.bytes();
    assert!(bytes.len() > 8192, "the tables are there");
    for secret in ["Annabella", "a note", "kitchen.wav", "0.8,", "embedding"] {
        assert!(!holds(&bytes, secret.as_bytes()), "{secret} can be read in the file");
    }
    let raw: Vec<u8> = [0.8_f32, 0.6].iter().flat_map(|v| v.to_le_bytes()).collect();
    assert!(!holds(&bytes, &raw));
}

#[test]
fn deletion_leaves_no_trace_but_the_audit() {
    let bench = Bench::new();
    let mut store = bench.store();
    let ann = enrol(&mut store, "Ann", 3);
    enrol(&mut store, "Bob", 9);
    // Another connection sees the sealed bytes as they stand on the disk.
    let peek = Connection::open(store.path()).unwrap();
    let sealed: Vec<u8> =
        peek.query_row("SELECT sealed FROM recording WHERE voice = ?1", [&ann.id], |row| row.get(0)).unwrap();
    drop(peek);
    assert!(holds(&bench.bytes(), &sealed[..64]));
    assert_eq!(store.delete("ANN", "command").unwrap().id, ann.id);
    assert!(!holds(&bench.bytes(), &sealed[..64]) && !holds(&bench.bytes(), &sealed[sealed.len() - 64..]));
    assert!(matches!(store.find("Ann"), Err(StoreError::Unknown { .. })));
    assert_eq!(store.voices().unwrap().len(), 1);
    let trail = store.audit(Some(&ann.id)).unwrap();
    assert_eq!(trail.last().map(|e| e.action.as_str()), Some("deleted"));
    assert!(matches!(store.delete("Ann", "command"), Err(StoreError::Unknown { .. })));
}

#[test]
fn names_are_one_persons() {
    let bench = Bench::new();
    let mut store = bench.store();
    enrol(&mut store, "Ann", 3);
    let bob = enrol(&mut store, "Bob", 9);
    let error = store.edit("bob", Some("ANN"), None, "command").unwrap_err().to_string();
    assert!(error.starts_with("\"ANN\" is the name of v"), "{error}");
    // The same name in other letters is a change of the own name.
    assert_eq!(store.edit("bob", Some("BOB"), Some("yes"), "http").unwrap().name, "BOB");
    let voice = store.edit(&bob.id, Some("Robert"), None, "http").unwrap();
    assert_eq!((voice.name.as_str(), voice.consent.as_deref()), ("Robert", Some("yes")));
    for bad in ["a\nb", &"x".repeat(101), "A\u{202e}nn", "S2"] {
        assert!(matches!(store.edit("Ann", Some(bad), None, "http"), Err(StoreError::BadName(_))));
    }
    for none in ["", "  "] {
        assert!(matches!(store.edit("Ann", Some(none), None, "http"), Err(StoreError::NoName)));
    }
    assert!(matches!(store.find("Bob"), Err(StoreError::Unknown { .. })));
}

#[test]
fn keys_that_do_not_fit_are_told_apart() {
    let bench = Bench::new();
    enrol(&mut bench.store(), "Ann", 3);
    let place = bench.place();
    let with = |text: &str| Place { key: KeySource::Given(text.to_owned()), ..place.clone() };
    let told = |place: &Place| place.open().unwrap_err().to_string();
    let wrong = told(&with(&"00".repeat(32)));
    assert!(wrong.starts_with("the environment variable DIARIZED_VOICES_KEY is not the key of "), "{wrong}");
    assert!(told(&with("abc")).contains("expected 64 hexadecimal digits, got 3 digits"));
    let secret = "my secret passphrase";
    let message = told(&with(secret));
    assert!(message.contains("20 characters") && !message.contains(secret), "{message}");
    let key = std::fs::read_to_string(bench.path("conf/voices.key")).unwrap();
    assert_eq!(with(&key).open().unwrap().voices().unwrap().len(), 1);

    let file = bench.path("conf/voices.key");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(told(&place).contains("mode 644"), "{}", told(&place));
    std::fs::remove_file(&file).unwrap();
    assert!(told(&place).contains("put the key file back"), "{}", told(&place));
    // An enrolment must not make another key for a store that has one.
    assert!(matches!(place.open_or_make(), Err(StoreError::NoKey { .. })));
    assert!(!file.exists());
}

#[test]
fn a_row_that_was_moved_or_changed_is_found_out() {
    let change = |sql: &str| {
        let bench = Bench::new();
        let mut store = bench.store();
        enrol(&mut store, "Ann", 3);
        enrol(&mut store, "Bob", 9);
        Connection::open(store.path()).unwrap().execute_batch(sql).unwrap();
        match store.voices() {
            Err(StoreError::Tampered { entry, .. }) => entry,
            other => panic!("{sql}: {other:?}"),
        }
    };
    let swapped =
        "UPDATE recording SET sealed = (SELECT r.sealed FROM recording r WHERE r.id <> recording.id)";
    assert!(change(swapped).starts_with('r'));
    assert!(change("UPDATE recording SET model_sha256 = 'other'").starts_with('r'));
    assert!(change("UPDATE voice SET sealed = zeroblob(200)").starts_with('v'));
}

#[test]
fn files_that_are_no_store_are_told_apart() {
    let bench = Bench::new();
    let place = bench.place();
    assert!(matches!(place.open(), Err(StoreError::Absent { .. })));
    enrol(&mut bench.store(), "Ann", 3);
    let key = place.key.read(&place.path).unwrap();
    let open = |path: &Path| Store::open(path, &key).unwrap_err();

    let text = bench.path("text");
    std::fs::write(&text, "a shopping list, long enough to be looked at ".repeat(100)).unwrap();
    assert!(matches!(open(&text), StoreError::NotAStore { .. }), "{:?}", open(&text));
    let other = bench.path("other.db");
    Connection::open(&other).unwrap().execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (1);").unwrap();
    assert!(matches!(open(&other), StoreError::NotAStore { .. }));
    Connection::open(&place.path).unwrap().pragma_update(None, "user_version", 7).unwrap();
    let error = place.open().unwrap_err().to_string();
    assert!(error.contains("has schema 7, this version of diarized reads schema 1"), "{error}");

    let bench = Bench::new();
    let mut store = bench.store();
    (0..40).for_each(|n| drop(enrol(&mut store, &format!("person {n}"), n)));
    drop(store);
    let path = bench.place().path;
    let mut bytes = std::fs::read(&path).unwrap();
    // Everything behind the first page.
    bytes[4096..].iter_mut().step_by(3).for_each(|b| *b ^= 0x5a);
    std::fs::write(&path, bytes).unwrap();
    let error = bench.place().open().unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
    assert!(error.to_string().contains("restore a backup"), "{error}");
}

#[test]
fn whoever_looks_while_a_store_is_made_sees_none_or_a_whole_one() {
    for _ in 0..20 {
        let bench = Bench::new();
        let place = bench.place();
        let barrier = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            let look = || {
                for _ in 0..30 {
                    match place.open() {
                        Ok(store) => assert!(store.voices().unwrap().len() <= 2),
                        Err(StoreError::Absent { .. }) => {}
                        Err(error) => panic!("{error:?}"),
                    }
                }
            };
            let (place, barrier) = (&place, &barrier);
            let make = |name: &'static str| {
                move || {
                    barrier.wait();
                    enrol(&mut place.open_or_make().unwrap(), name, 3);
                }
            };
            scope.spawn(look);
            scope.spawn(look);
            scope.spawn(make("Ann"));
            scope.spawn(make("Bob"));
        });
        assert_eq!(place.open().unwrap().voices().unwrap().len(), 2);
        let folder = place.path.parent().unwrap();
        let names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(names.iter().all(|name| !name.to_string_lossy().contains("new-")), "{names:?}");
    }
}

#[test]
fn a_locked_store_and_a_full_disk_lose_nothing() {
    let bench = Bench::new();
    let mut store = bench.store();
    enrol(&mut store, "Ann", 3);
    store.db.busy_timeout(std::time::Duration::from_millis(50)).unwrap();
    let other = Connection::open(store.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = store.enrol("Bob", None, &model(), &[recording("b.wav", 5)], "command").unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }) && error.to_string().contains("try again"), "{error}");
    assert_eq!(store.voices().unwrap().len(), 1, "reading goes on");
    other.execute_batch("ROLLBACK").unwrap();

    let n_pages: i64 = store.db.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    store.limit_pages(n_pages + 1);
    let many: Vec<NewRecording> = (0..30).map(|n| recording(&format!("{n}.wav"), 5)).collect();
    let error = store.enrol("Bob", None, &model(), &many, "command").unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    assert!(error.to_string().contains("nothing was stored"), "{error}");
    drop(store);
    let store = bench.place().open().unwrap();
    let names: Vec<String> = store.voices().unwrap().into_iter().map(|v| v.name).collect();
    assert_eq!(names, ["Ann"]);
    assert!(store.audit(None).unwrap().iter().all(|e| e.detail != "30 recordings, 375.0 s"));
}

/// Run as a child of the test below: begins an enrolment of many recordings and is killed inside it.
#[test]
fn child_that_is_killed_while_it_stores() {
    let Ok(path) = std::env::var("VOICES_TEST_STORE") else { return };
    let key = KeySource::File(PathBuf::from(std::env::var("VOICES_TEST_KEY").unwrap()));
    let mut store = Place { path: PathBuf::from(path), key }.open().unwrap();
    let _ = store.change(|tx, seal| {
        for n in 0..500 {
            let recording = recording(&format!("{n}.wav"), 5);
            let id = super::marks::random_id("r");
            let owner: String = tx.query_row("SELECT id FROM voice", [], |row| row.get(0))?;
            rows::insert_recording(tx, seal, &id, &owner, &model(), 0, &recording)?;
        }
        // The pages are on the disk, the transaction is not done.
        tx.cache_flush()?;
        println!("inside");
        loop {
            std::thread::sleep(std::time::Duration::from_secs(1));
        }
        #[expect(unreachable_code, reason = "the child never returns; this tells the closure's type")]
        Ok(())
    });
}

#[test]
fn a_kill_in_the_middle_leaves_nothing_half_written() {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};
    let bench = Bench::new();
    enrol(&mut bench.store(), "Ann", 3);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["voices::tests::child_that_is_killed_while_it_stores", "--exact", "--nocapture"])
        .env("VOICES_TEST_STORE", bench.path("sub/voices.db"))
        .env("VOICES_TEST_KEY", bench.path("conf/voices.key"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.contains("inside")), "the child stores");
    let before = bench.bytes().len();
    // SIGKILL on Unix: nothing of the child runs any more.
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(before > 500_000, "{before} bytes: what it wrote had reached the disk");
    let mut store = bench.place().open().unwrap();
    let voices = store.voices().unwrap();
    assert_eq!((voices.len(), voices[0].recordings.len()), (1, 1));
    assert_eq!(store.audit(None).unwrap().len(), 2, "made, enrolled");
    assert_eq!(enrol(&mut store, "Bob", 9).recordings.len(), 1, "the store goes on");
}

#[test]
fn exports_come_back_open_and_sealed() {
    let bench = Bench::new();
    let mut store = bench.store();
    let ann = enrol(&mut store, "Ann", 3);
    enrol(&mut store, "Bob", 9);
    let key = bench.place().key.read(&bench.place().path).unwrap();
    let (open, sealed) = (bench.path("open.json"), bench.path("sealed.json"));
    assert_eq!(store.export(&[], ExportForm::Plain, &open).unwrap(), 2);
    assert_eq!(store.export(&["ann".to_owned()], ExportForm::Sealed(&key), &sealed).unwrap(), 1);
    let text = std::fs::read_to_string(&open).unwrap();
    assert!(text.contains("\"Ann\"") && text.contains("0.8"));
    assert!(!std::fs::read_to_string(&sealed).unwrap().contains("Ann"));
    assert!(
        matches!(store.export(&[], ExportForm::Plain, &open), Err(StoreError::File { .. })),
        "not overwritten"
    );

    let target = Bench::new();
    let mut fresh = target.store();
    let other_key = target.place().key.read(&target.place().path).unwrap();
    assert!(matches!(fresh.import(&sealed, &other_key), Err(StoreError::WrongKey { .. })));
    assert_eq!(fresh.import(&sealed, &key).unwrap(), ImportCount { voices: 1, recordings: 1 });
    assert_eq!(
        fresh.import(&open, &key).unwrap(),
        ImportCount { voices: 1, recordings: 1 },
        "Ann is here already"
    );
    let came = fresh.find("Ann").unwrap();
    assert_eq!((came.id, came.recordings[0].content.clone()), (ann.id, recording("a.wav", 3)));

    // All or nothing: a name that another person has here refuses the whole file.
    let third = Bench::new();
    let mut full = third.store();
    enrol(&mut full, "bob", 20);
    assert!(matches!(full.import(&open, &key), Err(StoreError::NameTaken { .. })));
    assert_eq!(full.voices().unwrap().len(), 1);
    for (text, word) in [("{", "EOF"), ("{\"format\":\"x\",\"version\":1,\"voices\":[]}", "format \"x\"")] {
        std::fs::write(bench.path("bad.json"), text).unwrap();
        let error = full.import(&bench.path("bad.json"), &key).unwrap_err().to_string();
        assert!(error.contains("is not an export of voices") && error.contains(word), "{error}");
    }
}

#[test]
fn voices_of_another_model_are_named_and_left_out() {
    let bench = Bench::new();
    let mut store = bench.store();
    let card = card();
    enrol(&mut store, "Old", 3);
    store.enrol("New", None, &ModelId::of(&card), &[recording("n.wav", 7)], "command").unwrap();
    let (gallery, without) = store.gallery(&card, MatchRules::default()).unwrap();
    assert_eq!(without, ["Old"]);
    assert_eq!(gallery.voices().iter().map(|v| &*v.name).collect::<Vec<_>>(), ["New"]);
    // Enrolled again with the present model the person is known again, and what was there stays.
    store.enrol("Old", None, &ModelId::of(&card), &[recording("again.wav", 3)], "command").unwrap();
    let (gallery, without) = store.gallery(&card, MatchRules::default()).unwrap();
    assert_eq!((gallery.voices().len(), without.len()), (2, 0));
    assert_eq!(store.find("Old").unwrap().recordings.len(), 2);
}

#[test]
fn a_registry_learns_only_from_long_clean_sure_speech_and_forgets_the_oldest() {
    use diarized_models::diarizer::SpeakerVoice;
    let bench = Bench::new();
    let card = card();
    let id = bench
        .store()
        .enrol("Ann", None, &ModelId::of(&card), &[recording("a", 3)], "command")
        .unwrap()
        .voice
        .id;
    let registry = |learn: bool| {
        let mut config = diarized_config::Config::default().voices;
        config.path = Some(bench.path("sub/voices.db"));
        config.key_file = Some(bench.path("conf/voices.key"));
        config.learn = learn;
        let registry = Registry::new(&config, &card);
        registry.refresh().unwrap();
        registry
    };
    let voice = |axis: usize, speech_s: f32, snr_db: f32| {
        let embedding = diarized_models::Embedding::from_raw(&recording("", axis).embedding).unwrap();
        SpeakerVoice { embedding, speech_s, snr_db: Some(snr_db) }
    };
    let fine = voice(3, 60.0, 25.0);
    assert!(!registry(false).learn(&id, 1.0, &fine).unwrap(), "not asked to");
    let registry = registry(true);
    for (why, probability, voice) in [
        ("unsure", 0.9, fine.clone()),
        ("short", 1.0, voice(3, 29.0, 25.0)),
        ("noisy", 1.0, voice(3, 60.0, 10.0)),
        ("another voice under her name", 1.0, voice(50, 60.0, 25.0)),
    ] {
        assert!(!registry.learn(&id, probability, &voice).unwrap(), "{why}");
    }
    for _ in 0..12 {
        assert!(registry.learn(&id, 0.995, &fine).unwrap());
    }
    let stored = bench.place().open().unwrap().find("Ann").unwrap();
    let learned = stored.recordings.iter().filter(|r| r.content.source == "learned").count();
    assert_eq!((stored.recordings.len(), learned), (9, 8), "what she enrolled stays");
    let version = registry.version();
    bench.place().open().unwrap().delete("Ann", "command").unwrap();
    registry.refresh().unwrap();
    assert!(registry.gallery().is_empty() && registry.version() > version);
}
