//! Real files, real sessions with a scripted diarizer.

use std::path::Path;

use super::*;
use crate::hub::{Hub, HubParams};
use crate::protocol::ServerMessage;
use crate::session::scripted::{ScriptedFactory, script};
use crate::session::{EngineFactory, JournalParams};

const DAY: Duration = Duration::from_secs(86_400);

fn open(path: &Path) -> Arc<Storage> {
    Storage::open(StorageParams { path: path.to_owned(), keep: Some(30 * DAY) }).unwrap()
}

fn hub(storage: &Arc<Storage>, params: HubParams) -> Arc<Hub> {
    Hub::keeping(
        params,
        Arc::new(ScriptedFactory::default()) as Arc<dyn EngineFactory>,
        Some(Arc::clone(storage)),
    )
}

fn talk(hub: &Hub, id: &str, parts: &[(f32, usize)]) -> Arc<Session> {
    let session = hub.open(Some(id), Source::Stream, AudioFormat::default()).unwrap();
    let samples: Vec<f32> =
        script(parts).chunks(2).map(|b| f32::from(i16::from_le_bytes([b[0], b[1]])) / 32_768.0).collect();
    for block in samples.chunks(1600) {
        session.input().push_interleaved(block).unwrap();
    }
    session
}

fn end(session: &Session) {
    session.finish(EndReason::Closed);
    session.join();
}

/// Every message that a subscriber gets, as text.
fn all_of(session: &Session, since: Option<u64>) -> Vec<String> {
    let mut cursor = match since {
        Some(seq) => Cursor::since(session.channel(), seq),
        None => Cursor::from_now(session.channel()),
    };
    let mut out = Vec::new();
    while cursor.read(7, &mut out) == Delivery::More {}
    out.iter().map(|m| m.as_str().to_owned()).filter(|m| !m.contains("\"stats\"")).collect()
}

#[test]
fn a_kept_session_says_what_it_said_when_it_ran() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("below").join("sessions.sqlite");
    let storage = open(&path);
    let hub = hub(&storage, HubParams::default());
    let session = talk(&hub, "a", &[(0.1, 5), (0.0, 2), (0.3, 4), (0.0, 1)]);
    session.input().gap(1600, diarized_models::events::GapReason::Declared).unwrap();
    end(&session);
    let (snapshot, events) = (all_of(&session, None), all_of(&session, Some(0)));
    storage.close();
    drop((hub, storage));

    let storage = open(&path);
    let kept = storage.list(10).unwrap();
    assert_eq!(kept.len(), 1);
    assert_eq!((kept[0].id.as_str(), kept[0].reason, kept[0].n_segments), ("a", Some(EndReason::Closed), 2));
    let again = storage.load("a").unwrap().unwrap();
    assert_eq!((all_of(&again, None), all_of(&again, Some(0))), (snapshot, events.clone()));
    assert_eq!(all_of(&again, Some(4)), events[4..]);
    assert_eq!((again.began(), again.format()), (kept[0].began, session.format()));
    assert!(again.input().push_interleaved(&[0.0; 16]).is_err(), "it takes no more");
    assert!(storage.load("b").unwrap().is_none());

    let params = StorageParams { path: path.clone(), keep: None };
    assert!(
        matches!(Storage::open(params.clone()), Err(StorageError::InUse { .. })),
        "one process at a time"
    );
    storage.close();
    Storage::open(params).unwrap();
}

#[cfg(unix)]
#[test]
fn the_files_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let storage = open(&folder.path().join("sessions.sqlite"));
    end(&talk(&hub(&storage, HubParams::default()), "a", &[(0.1, 5)]));
    storage.write();
    let mut n_files = 0;
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        n_files += 1;
        assert_eq!(entry.unwrap().metadata().unwrap().permissions().mode() & 0o077, 0);
    }
    assert!(n_files >= 2, "the file and what SQLite keeps beside it");
}

#[test]
fn a_session_that_nobody_ended_is_interrupted_with_all_that_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.sqlite");
    let storage = open(&path);
    let hub = hub(&storage, HubParams::default());
    let session = talk(&hub, "a", &[(0.1, 5), (0.0, 2), (0.2, 5)]);
    while session.channel().now().at.0 < 12 * 1600 {
        std::thread::sleep(Duration::from_millis(1));
    }
    storage.write();
    let seen = all_of(&session, Some(0));
    // A copy of the files is what a process leaves that is killed now.
    let copy = folder.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    for name in ["sessions.sqlite", "sessions.sqlite-wal"] {
        std::fs::copy(folder.path().join(name), copy.join(name)).unwrap();
    }
    end(&session);

    let storage = open(&copy.join("sessions.sqlite"));
    let again = storage.load("a").unwrap().unwrap();
    assert_eq!(again.channel().ended(), Some(EndReason::Interrupted));
    let events = all_of(&again, Some(0));
    assert_eq!(events[..seen.len()], seen);
    assert_eq!(events.len(), seen.len() + 1);
    let last = ServerMessage::parse(events.last().unwrap()).unwrap();
    assert_eq!((last.body.kind(), last.seq), ("ended", Some(events.len() as u64)));
    // Whoever heard more than was written is told how it stands instead.
    for since in [events.len() as u64, 1000] {
        assert!(all_of(&again, Some(since))[0].contains("\"snapshot\""));
    }
    // Opened once more, nothing is ended twice.
    storage.close();
    let storage = open(&copy.join("sessions.sqlite"));
    assert_eq!(all_of(&storage.load("a").unwrap().unwrap(), Some(0)), events);
}

#[test]
fn an_id_that_is_used_again_replaces_and_what_is_forgotten_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.sqlite");
    let storage = open(&path);
    let hub = hub(&storage, HubParams::default());
    end(&talk(&hub, "a", &[(0.1, 5)]));
    storage.write();
    end(&talk(&hub, "a", &[(0.2, 3)]));
    storage.write();
    let events = all_of(&storage.load("a").unwrap().unwrap(), Some(0));
    assert!(events[0].contains("\"S2\""), "{events:?}");
    assert_eq!(storage.list(10).unwrap().len(), 1);
    assert!(storage.forget("a").unwrap() && !storage.forget("a").unwrap());
    assert!(storage.load("a").unwrap().is_none());
    // Forgotten before it was ever written.
    end(&talk(&hub, "b", &[(0.4, 3)]));
    storage.forget("b").unwrap();
    storage.write();
    assert!(storage.list(10).unwrap().is_empty());
    storage.close();
    let bytes = std::fs::read(&path).unwrap();
    assert!(!bytes.windows(9).any(|w| w == b"\"speaker\""), "it is overwritten, not just unlinked");
}

#[test]
fn old_sessions_leave_by_age() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.sqlite");
    let storage =
        Storage::open(StorageParams { path: path.clone(), keep: Some(Duration::from_millis(1)) }).unwrap();
    let hub = hub(&storage, HubParams::default());
    storage.write();
    end(&talk(&hub, "a", &[(0.1, 5)]));
    storage.write();
    assert_eq!(storage.list(10).unwrap().len(), 1, "the next look is in an hour");
    storage.close();
    drop(hub);
    std::thread::sleep(Duration::from_millis(5));
    let storage = Storage::open(StorageParams { path, keep: Some(Duration::from_millis(1)) }).unwrap();
    storage.write();
    assert!(storage.list(10).unwrap().is_empty());
}

#[test]
fn what_left_the_journal_while_writing_failed_is_made_up_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.sqlite");
    let storage = open(&path);
    let params =
        HubParams { journal: JournalParams { max_events: 3, max_bytes: 1 << 20 }, ..HubParams::default() };
    let hub = hub(&storage, params);
    let session = talk(&hub, "a", &[(0.1, 3)]);
    while session.channel().last_seq() < 2 {
        std::thread::sleep(Duration::from_millis(1));
    }
    // Another program holds the file for longer than one connection waits.
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    storage.writer.lock().database.give_up_at_once();
    storage.write();
    assert!(storage.is_failing() && storage.n_errors() >= 1);
    let told = all_of(&session, Some(session.channel().last_seq() - 1));
    assert!(told[0].contains("\"storage_failed\""), "who follows the session is warned: {told:?}");
    let samples: Vec<f32> = script(&[(0.2, 5), (0.0, 1), (0.4, 5)])
        .chunks(2)
        .map(|b| f32::from(i16::from_le_bytes([b[0], b[1]])) / 32_768.0)
        .collect();
    session.input().push_interleaved(&samples).unwrap();
    end(&session);
    storage.write();
    assert!(storage.is_failing());
    other.execute_batch("ROLLBACK").unwrap();
    storage.write();
    assert!(!storage.is_failing());
    let again = storage.load("a").unwrap().unwrap();
    assert_eq!(all_of(&again, None), all_of(&session, None));
}

#[test]
fn a_file_of_another_kind_or_a_newer_version_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.sqlite");
    std::fs::write(&path, "this is no database, and long enough to look like the header of one to SQLite")
        .unwrap();
    let params = StorageParams { path: path.clone(), keep: None };
    assert!(matches!(Storage::open(params.clone()), Err(StorageError::Sqlite(_))));
    std::fs::remove_file(&path).unwrap();
    let newer = rusqlite::Connection::open(&path).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    let error = Storage::open(params).unwrap_err();
    assert!(error.to_string().contains("newer version"), "{error}");
    let nowhere = StorageParams { path: folder.path().join("sessions.sqlite/x"), keep: None };
    assert!(matches!(Storage::open(nowhere), Err(StorageError::Make { .. })));
}
