//! Audio that leaves by its age, before its session.

use super::*;

fn keeping_audio(path: &Path, keep: Option<Duration>) -> Arc<Storage> {
    let audio = AudioParams { is_on: true, keep, ..AudioParams::default() };
    Storage::open(StorageParams { audio, ..StorageParams::at(path) }).unwrap()
}

#[test]
fn audio_leaves_by_its_age_and_the_labels_stay() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.sqlite");
    let file = folder.path().join("sessions.sqlite-audio/a.opus");
    let storage = keeping_audio(&path, Some(10 * DAY));
    let hub = hub(&storage, HubParams::default());
    end(&talk(&hub, "a", &[(0.1, 20)]));
    let running = talk(&hub, "b", &[(0.1, 20)]);
    storage.write();
    storage.close();
    end(&running);
    drop(hub);
    assert!(file.metadata().unwrap().len() > 1000);

    // Nine days later it is there, eleven days later it is not.
    let other = rusqlite::Connection::open(&path).unwrap();
    for (days, is_there) in [(9, true), (2, false)] {
        let update = "UPDATE sessions SET ended_ms = ended_ms - ?1 WHERE id = 'a'";
        other.execute(update, [i64::from(days) * 86_400_000]).unwrap();
        let storage = keeping_audio(&path, Some(10 * DAY));
        storage.write();
        let recordings = storage.recordings().unwrap();
        assert_eq!((recordings.holds("a"), file.exists()), (is_there, is_there), "after {days} more days");
        assert!(recordings.holds("b"), "what ended later is younger");
        let session = storage.load("a").unwrap().unwrap();
        assert_eq!(session.channel().keeps_audio(), is_there);
        assert!(session.channel().now().state.segments().len() > 0, "the labels stay");
        storage.close();
    }
}

#[test]
fn audio_without_an_age_of_its_own_stays_as_long_as_its_session() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.sqlite");
    let storage = keeping_audio(&path, None);
    let hub = hub(&storage, HubParams::default());
    end(&talk(&hub, "a", &[(0.1, 20)]));
    storage.write();
    storage.close();
    drop(hub);
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute("UPDATE sessions SET ended_ms = ended_ms - ?1", [400_i64 * 86_400_000]).unwrap();
    let storage = keeping_audio(&path, None);
    storage.write();
    assert!(storage.recordings().unwrap().holds("a"));
    storage.close();
    drop(storage);
    let audio = AudioParams { is_on: true, ..AudioParams::default() };
    let storage =
        Storage::open(StorageParams { keep: Some(30 * DAY), audio, ..StorageParams::at(&path) }).unwrap();
    storage.write();
    assert!(!storage.holds("a") && !storage.recordings().unwrap().holds("a"));
    assert!(!folder.path().join("sessions.sqlite-audio/a.opus").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_session_that_cannot_be_deleted_stays_and_is_still_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.sqlite");
    let file = folder.path().join("sessions.sqlite-audio/a.opus");
    let storage = keeping_audio(&path, None);
    let hub = hub(&storage, HubParams::default());
    let session = talk(&hub, "a", &[(0.1, 20)]);
    end(&session);
    drop(session);
    storage.recordings().unwrap().close();
    std::fs::rename(&file, folder.path().join("aside")).unwrap();
    std::fs::create_dir(&file).unwrap();
    let error = hub.forget("a").await.unwrap_err();
    assert!(matches!(error, StorageError::AudioStays { .. }), "{error}");
    assert!(hub.get("a").is_some());
    storage.write();
    assert!(storage.load("a").unwrap().is_some());

    std::fs::remove_dir(&file).unwrap();
    assert!(hub.forget("a").await.unwrap());
    storage.write();
    assert!(hub.get("a").is_none() && storage.load("a").unwrap().is_none() && !storage.holds("a"));
}
