//! Stores that are opened after the clock was set, or after damage.

use super::*;

/// Set back by 40 days and later forward by 71: what ended before it was set back is not older than the last look.
#[test]
fn a_clock_that_was_set_back_and_far_forward_makes_no_session_old() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.sqlite");
    let storage = open(&path);
    let hub = hub(&storage, HubParams::default());
    end(&talk(&hub, "a", &[(0.1, 5)]));
    storage.write();
    storage.close();
    drop(hub);
    const DAY_MS: i64 = 86_400_000;
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute("UPDATE sessions SET ended_ms = ended_ms - ?1", [31 * DAY_MS]).unwrap();
    other.execute("UPDATE clock SET wall_ms = wall_ms - ?1", [71 * DAY_MS]).unwrap();
    let storage = open(&path);
    storage.write();
    assert!(storage.holds("a"));
}

#[test]
fn a_file_that_is_no_store_is_named_with_a_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.sqlite");
    let storage = open(&path);
    let hub = hub(&storage, HubParams::default());
    for id in ["a", "b", "c", "d"] {
        end(&talk(&hub, id, &[(0.1, 5)]));
    }
    storage.write();
    storage.close();
    drop(hub);
    drop(storage);
    let whole = std::fs::read(&path).unwrap();
    for bytes in [&whole[..whole.len() / 2], &b"no database at all, but a text that is long enough to be looked at, of more than a hundred bytes and so on"[..]] {
        std::fs::write(&path, bytes).unwrap();
        let error = Storage::open(StorageParams::at(&path)).unwrap_err();
        assert!(matches!(error, StorageError::NoStore { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("sessions.sqlite is damaged") && text.contains("move it away"), "{text}");
    }
}
