//! Real files, real sessions with a scripted diarizer.

mod age;
mod corrections;
mod going_on;
mod ids;
mod opening;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::hub::{Hub, HubParams};
use crate::protocol::AudioFormat;
use crate::protocol::ServerMessage;
use crate::protocol::server_message::EndReason;
use crate::session::scripted::{ScriptedFactory, script};
use crate::session::{Cursor, EngineFactory, JournalParams, ReadStatus, Session, Source};

const DAY: Duration = Duration::from_secs(86_400);

fn open(path: &Path) -> Arc<Storage> {
    Storage::open(StorageParams { keep: Some(30 * DAY), ..StorageParams::at(path) }).unwrap()
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
    while cursor.read(7, &mut out) == ReadStatus::More {}
    out.iter().map(|m| m.to_string()).filter(|m| !m.contains("\"stats\"")).collect()
}

#[test]
fn a_kept_session_says_what_it_said_when_it_ran() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("below").join("sessions.sqlite");
    let storage = open(&path);
    let hub = hub(&storage, HubParams::default());
    let session = talk(&hub, "a", &[(0.1, 5), (0.0, 2), (0.3, 4), (0.0, 1)]);
    session.set_title("Weekly");
    session.input().gap(1600, diarized_models::events::GapReason::Declared).unwrap();
    let range =
        diarized_dsp::SampleRange::new(diarized_dsp::SampleIndex(1600), diarized_dsp::SampleIndex(3200));
    let word = diarized_models::words::NewWord { range, text: "hello".into(), confidence: Some(0.9) };
    let words = crate::session::Command::Words { words: vec![word], is_final: true };
    pollster::block_on(pollster::block_on(session.input().command(words)).unwrap()).unwrap().unwrap();
    end(&session);
    assert_eq!(session.channel().now().state.words().len(), 1);
    let (snapshot, events) = (all_of(&session, None), all_of(&session, Some(0)));
    storage.close();
    drop((hub, storage));

    let storage = open(&path);
    let kept = storage.list(10).unwrap();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].title.as_deref(), Some("Weekly"));
    assert_eq!((kept[0].id.as_str(), kept[0].reason, kept[0].n_segments), ("a", Some(EndReason::Closed), 2));
    let again = storage.load("a").unwrap().unwrap();
    assert_eq!((all_of(&again, None), all_of(&again, Some(0))), (snapshot, events.clone()));
    assert_eq!(all_of(&again, Some(4)), events[4..]);
    assert_eq!((again.began(), again.format()), (kept[0].began, session.format()));
    assert!(again.input().push_interleaved(&[0.0; 16]).is_err(), "it takes no more");
    assert!(storage.load("b").unwrap().is_none());

    let params = StorageParams::at(&path);
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
    // A subscriber that received more than was written gets a snapshot instead.
    for since in [events.len() as u64, 1000] {
        assert!(all_of(&again, Some(since))[0].contains("\"snapshot\""));
    }
    // Opened once more, nothing is ended twice.
    storage.close();
    let storage = open(&copy.join("sessions.sqlite"));
    assert_eq!(all_of(&storage.load("a").unwrap().unwrap(), Some(0)), events);
}

/// All bytes of all files of the store.
fn files_of(folder: &Path) -> Vec<u8> {
    let files = std::fs::read_dir(folder).unwrap();
    files.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
}

#[test]
fn what_is_forgotten_is_in_no_file_while_the_store_is_open() {
    let folder = tempfile::tempdir().unwrap();
    let storage = open(&folder.path().join("sessions.sqlite"));
    let hub = hub(&storage, HubParams::default());
    let ids = ["anna", "berta", "carla", "dora"];
    let sessions = ids.map(|id| talk(&hub, id, &[(0.1, 2)]));
    // Written in turns, so that the pages of one session hold what was another's before they were split.
    for n in 0..60 {
        for session in &sessions {
            let reason = format!("Secret-{}-{n} {}", session.id(), "x".repeat(n * 37 % 400));
            session.warn("test", &reason);
        }
        storage.write();
    }
    sessions.iter().for_each(|session| end(session));
    storage.write();
    let holds = |id: &str| {
        let (bytes, secret) = (files_of(folder.path()), format!("Secret-{id}"));
        bytes.windows(secret.len()).any(|window| window == secret.as_bytes())
    };
    assert!(ids.iter().all(|id| holds(id)));
    for (n, id) in ids.iter().enumerate() {
        assert!(storage.forget(id).unwrap());
        assert!(!holds(id), "{id} is readable still");
        assert!(ids[n + 1..].iter().all(|id| holds(id) && storage.load(id).unwrap().is_some()));
    }
    // Forgotten before it was ever written.
    end(&talk(&hub, "b", &[(0.4, 3)]));
    storage.forget("b").unwrap();
    storage.write();
    assert!(storage.list(10).unwrap().is_empty());
}

#[test]
fn a_reader_that_holds_the_files_is_said_and_what_is_left_goes_later() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.sqlite");
    let storage = open(&path);
    let hub = hub(&storage, HubParams::default());
    let session = talk(&hub, "a", &[(0.1, 5)]);
    session.warn("test", "Secret");
    end(&session);
    storage.write();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN; SELECT count(*) FROM events").unwrap();
    storage.writer.lock().database.give_up_at_once();
    let error = storage.forget("a").unwrap_err();
    assert!(matches!(error, StorageError::Unclean { .. }), "{error}");
    assert!(storage.load("a").unwrap().is_none() && !storage.holds("a"));
    other.execute_batch("ROLLBACK").unwrap();
    storage.writer.lock().scrub_at = Some(Instant::now());
    storage.write();
    assert!(!files_of(folder.path()).windows(6).any(|window| window == b"Secret"));
}

#[test]
fn old_sessions_leave_by_age() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.sqlite");
    let storage =
        Storage::open(StorageParams { keep: Some(Duration::from_millis(1)), ..StorageParams::at(&path) })
            .unwrap();
    let hub = hub(&storage, HubParams::default());
    storage.write();
    end(&talk(&hub, "a", &[(0.1, 5)]));
    storage.write();
    assert_eq!(storage.list(10).unwrap().len(), 1, "the next look is in an hour");
    storage.close();
    drop(hub);
    std::thread::sleep(Duration::from_millis(5));
    let storage =
        Storage::open(StorageParams { keep: Some(Duration::from_millis(1)), ..StorageParams::at(&path) })
            .unwrap();
    storage.write();
    assert!(storage.list(10).unwrap().is_empty() && !storage.holds("a"));
    assert!(!files_of(folder.path()).windows(9).any(|window| window == b"\"speaker\""));
}

#[test]
fn a_clock_that_was_behind_makes_no_session_old() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.sqlite");
    let storage = open(&path);
    let hub = hub(&storage, HubParams::default());
    end(&talk(&hub, "a", &[(0.1, 5)]));
    storage.write();
    storage.close();
    drop(hub);
    // As if all that was written while the clock was 90 days behind.
    const BEHIND_MS: i64 = 90 * 86_400_000;
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute("UPDATE sessions SET ended_ms = ended_ms - ?1", [BEHIND_MS]).unwrap();
    other.execute("UPDATE clock SET wall_ms = wall_ms - ?1", [BEHIND_MS]).unwrap();
    let storage = open(&path);
    storage.write();
    assert!(storage.holds("a"), "it is as old as it would be by the right clock");
    storage.close();
    drop(storage);
    // Where the clock was right, 90 days are 90 days.
    other.execute("UPDATE sessions SET ended_ms = ended_ms - ?1", [BEHIND_MS]).unwrap();
    let storage = open(&path);
    storage.write();
    assert!(!storage.holds("a"));
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
    let events = all_of(&session, Some(session.channel().last_seq() - 1));
    assert!(events[0].contains("\"storage_failed\""), "who follows the session is warned: {events:?}");
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
    let params = StorageParams::at(&path);
    assert!(matches!(Storage::open(params.clone()), Err(StorageError::NoStore { .. })));
    std::fs::remove_file(&path).unwrap();
    let newer = rusqlite::Connection::open(&path).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    let error = Storage::open(params).unwrap_err();
    assert!(error.to_string().contains("newer version"), "{error}");
    let nowhere = StorageParams::at(folder.path().join("sessions.sqlite/x"));
    assert!(matches!(Storage::open(nowhere), Err(StorageError::Make { .. })));
}

#[test]
fn a_damaged_session_is_set_aside_and_the_rest_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.sqlite");
    let storage = open(&path);
    let hub = hub(&storage, HubParams::default());
    for id in ["a", "b", "c", "d", "e", "f", "good"] {
        end(&talk(&hub, id, &[(0.1, 5), (0.0, 1), (0.2, 3)]));
    }
    storage.write();
    storage.close();
    drop((hub, storage));
    let file = rusqlite::Connection::open(&path).unwrap();
    // A process that died, and what a bad disk or another program may leave.
    for damage in [
        "UPDATE sessions SET reason = NULL WHERE id IN ('a', 'b')",
        "DELETE FROM events WHERE seq = 2 AND session = (SELECT key FROM sessions WHERE id = 'a')",
        "UPDATE events SET message = x'ff00' WHERE seq = 1 AND session = (SELECT key FROM sessions WHERE id = 'b')",
        "UPDATE sessions SET format = 'nonsense' WHERE id = 'c'",
        "UPDATE sessions SET at = 'noon' WHERE id = 'd'",
        "UPDATE sessions SET token_hash = '' WHERE id = 'e'",
        "UPDATE sessions SET id = x'fe' WHERE id = 'f'",
    ] {
        file.execute_batch(damage).unwrap();
    }
    drop(file);
    let storage = open(&path);
    assert_eq!(storage.n_damaged(), 4, "what is known without reading every event");
    let listed: Vec<_> = storage.list(10).unwrap().into_iter().map(|kept| kept.id).collect();
    assert!(listed.contains(&"good".to_owned()) && !listed.contains(&"c".to_owned()), "{listed:?}");
    assert!(storage.load("good").unwrap().is_some());
    for id in ["a", "b", "c", "d", "e"] {
        let error = storage.load(id).unwrap_err();
        assert!(matches!(&error, StorageError::Damaged { id: of, .. } if of == id), "{error}");
        assert!(storage.holds(id), "its id is not given to another");
        assert!(storage.forget(id).unwrap(), "it can be deleted");
    }
    storage.close();
    assert_eq!(open(&path).n_damaged(), 0);
}

#[test]
fn a_storm_of_events_is_kept_as_the_labels_that_it_led_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.sqlite");
    let storage =
        Storage::open(StorageParams { max_session_bytes: 1 << 16, ..StorageParams::at(&path) }).unwrap();
    let hub = hub(&storage, HubParams::default());
    let session = talk(&hub, "a", &[(0.1, 5), (0.0, 1), (0.2, 5)]);
    for n in 0..100 {
        for _ in 0..20 {
            session.warn("storm", &"x".repeat(1000));
        }
        if n % 7 == 0 {
            storage.write();
        }
    }
    end(&session);
    storage.write();
    storage.close();
    assert!(std::fs::metadata(&path).unwrap().len() < 1 << 20, "two megabytes were said");
    let storage = open(&path);
    assert_eq!(all_of(&storage.load("a").unwrap().unwrap(), None), all_of(&session, None));
}

#[test]
fn a_full_store_keeps_what_it_has_and_sessions_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.sqlite");
    let storage = Storage::open(StorageParams { max_bytes: 1 << 20, ..StorageParams::at(&path) }).unwrap();
    let hub = hub(&storage, HubParams::default());
    end(&talk(&hub, "first", &[(0.1, 5)]));
    storage.write();
    let before = all_of(&storage.load("first").unwrap().unwrap(), Some(0));
    let storm = talk(&hub, "storm", &[(0.1, 5)]);
    let mut warned = false;
    for _ in 0..40 {
        for _ in 0..50 {
            storm.warn("storm", &"x".repeat(1000));
        }
        storage.write();
        let last = storm.channel().last_seq() - 1;
        warned |= all_of(&storm, Some(last)).iter().any(|m| m.contains("storage_failed"));
    }
    assert!(warned, "who follows is told");
    assert!(storage.is_failing() && std::fs::metadata(&path).unwrap().len() <= 1 << 20);
    assert_eq!(
        all_of(&storage.load("first").unwrap().unwrap(), Some(0)),
        before,
        "nobody's labels made room"
    );
    end(&storm);
    // Who deletes makes room.
    storage.forget("storm").unwrap();
    end(&talk(&hub, "next", &[(0.2, 5)]));
    storage.write();
    assert!(!storage.is_failing() && storage.load("next").unwrap().is_some());
}
