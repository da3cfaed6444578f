//! StoredSession sessions are corrected, and what was corrected is kept.

use super::*;
use crate::protocol::server_message::Snapshot;
use crate::session::{Again, Correction};

fn correct(hub: &Arc<Hub>, id: &str, correction: Correction) -> Arc<Session> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let session = hub.find(id).await.unwrap().unwrap();
        hub.correct(&session, correction, Some("desk".to_owned())).await.unwrap();
        session
    })
}

fn merge() -> Correction {
    Correction::Merge { from: diarized_models::SpeakerId(2), into: diarized_models::SpeakerId(1) }
}

fn title(title: &str) -> Correction {
    Correction::Title { title: title.to_owned() }
}

#[test]
fn corrections_of_kept_sessions_outlive_the_process_and_are_undone_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.sqlite");
    let storage = open(&path);
    let first = hub(&storage, HubParams::default());
    let session = talk(&first, "a", &[(0.1, 5), (0.0, 2), (0.2, 4), (0.0, 1)]);
    end(&session);
    let before = session.channel().now();
    storage.write();
    let ended_ms = || -> i64 {
        let file = rusqlite::Connection::open(&path).unwrap();
        file.query_row("SELECT ended_ms FROM sessions", [], |row| row.get(0)).unwrap()
    };
    let ended = ended_ms();
    // In memory, after its end.
    correct(&first, "a", merge());
    correct(&first, "a", title("Weekly"));
    storage.close();
    drop((first, storage, session));

    let storage = open(&path);
    let second = hub(&storage, HubParams::default());
    let kept = storage.list(10).unwrap();
    assert_eq!((kept[0].title.as_deref(), kept[0].n_speakers), (Some("Weekly"), 1));
    assert_eq!((kept[0].reason, ended_ms()), (Some(EndReason::Closed), ended), "it has not ended anew");
    // Stored, and read by a process that never ran it.
    let session = correct(&second, "a", Again::Undo.correction(Some(2)));
    correct(&second, "a", Again::Undo.correction(None));
    let corrected = session.channel().now();
    // Numbers are kept as they are on the wire.
    let labels = |moment: &crate::session::StateAt| Snapshot::of(&moment.state, "stream", None);
    assert_eq!((labels(&corrected), &corrected.about.title), (labels(&before), &None));
    let entries = session.channel().corrections();
    let kinds: Vec<_> = entries.iter().map(|entry| entry.kind.as_str()).collect();
    assert_eq!(kinds, ["merge", "title", "undo", "undo"]);
    assert!(entries.iter().all(|entry| entry.by.as_deref() == Some("desk") && entry.unix_ms > 0));
    assert!(corrected.seq > before.seq + 4, "the numbers count on");
    let (snapshot, events) = (all_of(&session, None), all_of(&session, Some(0)));
    storage.close();
    drop((second, storage, session));

    let storage = open(&path);
    let third = hub(&storage, HubParams::default());
    let again = storage.load("a").unwrap().unwrap();
    assert_eq!((all_of(&again, None), all_of(&again, Some(0))), (snapshot, events));
    let session = correct(&third, "a", Again::Redo.correction(Some(1)));
    assert_eq!(session.channel().now().state.speakers().len(), 1);
    // A look-up gives the session that is corrected, and a new speaker gets a label of its own.
    let split = Correction::Split {
        speaker: diarized_models::SpeakerId(1),
        segments: vec![diarized_models::SegmentId(2)],
    };
    let same = correct(&third, "a", split);
    assert!(Arc::ptr_eq(&session, &same));
    let labels: Vec<_> = same.channel().now().state.speakers().map(|info| info.id.0).collect();
    assert_eq!(labels, [1, 3]);
}

#[test]
fn what_is_deleted_is_not_written_again_by_a_correction() {
    let folder = tempfile::tempdir().unwrap();
    let storage = open(&folder.path().join("sessions.sqlite"));
    let hub = hub(&storage, HubParams::default());
    end(&talk(&hub, "a", &[(0.1, 5), (0.0, 1)]));
    storage.write();
    let session = correct(&hub, "a", title("Secret-1"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    assert!(runtime.block_on(hub.forget("a")).unwrap());
    let late = runtime.block_on(hub.correct(&session, title("Secret-2"), None));
    assert!(late.unwrap_err().to_string().contains("deleted"));
    storage.follow_again(&session);
    storage.write();
    assert!(storage.list(10).unwrap().is_empty());
    let files = files_of(folder.path());
    assert!(!files.windows(7).any(|bytes| bytes == b"Secret-"), "nothing of it is in a file");
}
