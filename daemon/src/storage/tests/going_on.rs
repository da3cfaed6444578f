//! Sessions that outlive their process, with a scripted diarizer whose voices are a text.

use super::*;
use crate::voices::KeySource;

fn handing_over(path: &Path, has_key: bool) -> Arc<Storage> {
    let key = has_key.then(|| KeySource::Given("a".repeat(64)).read(path).unwrap());
    Storage::open(StorageParams { hands_over: true, key, ..StorageParams::at(path) }).unwrap()
}

/// A process that dies with the sessions `given`, whose publishers can come back, and `own`, which has none.
fn die(path: &Path, has_key: bool) -> Arc<Session> {
    let storage = handing_over(path, has_key);
    let hub = hub(&storage, HubParams::default());
    for id in ["given", "own"] {
        let session = talk(&hub, id, &[(0.1, 10), (0.0, 5), (0.3, 10)]);
        if id == "given" {
            session.take_token().unwrap();
        }
    }
    let given = hub.get("given").unwrap();
    let own = hub.get("own").unwrap();
    // All audio is processed, and the thread looks once more at what it leaves.
    for session in [&given, &own] {
        session.input().push_interleaved(&[0.0; 1600]).unwrap();
    }
    while given.safe_s() < 2.6 || own.channel().now().state.segments().len() < 2 {
        std::thread::sleep(Duration::from_millis(5));
        storage.write();
    }
    storage.close();
    given
}

#[tokio::test]
async fn a_session_with_a_publisher_goes_on_and_another_one_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.sqlite");
    let before = die(&path, true).channel().now();
    let storage = handing_over(&path, true);
    let hub = hub(&storage, HubParams::default());
    assert_eq!(hub.go_on(Duration::from_secs(60)), 1);
    assert!(hub.open(Some("given"), Source::Stream, AudioFormat::default()).is_err(), "the id is not free");
    let session = hub.get("given").unwrap();
    assert_eq!((session.end_reason(), session.take_token()), (None, None));
    assert_eq!(session.input().n_received(), 26 * 1600, "the next sample is the first that is not labelled");
    while !session.channel().now().state.segments().all(|segment| segment.is_final) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let now = session.channel().now();
    assert_eq!(now.state.segments().len(), before.state.segments().len());
    session.channel().returned();
    assert!(!all_of(&session, Some(0)).iter().any(|message| message.contains("voices_lost")));
    // Who has events that the dead process did not keep gets the labels instead of others' events.
    let has_snapshot =
        |since| all_of(&session, Some(since)).iter().any(|message| message.contains("\"snapshot\""));
    assert!(has_snapshot(before.seq + 1) && !has_snapshot(before.seq));
    // Speech goes on under new numbers; a label that was given is not given to somebody else.
    talk_on(&session, &[(0.5, 10), (0.0, 5)]);
    end(&session);
    let state = session.channel().now().state;
    assert_eq!(state.segments().last().unwrap().id.0, before.last_segment + 1);
    storage.write();
    let sealed = folder.path().join("sessions.sqlite-voices/given.sealed");
    assert!(!sealed.exists(), "the voices are erased at the end");

    let own = storage.load("own").unwrap().unwrap();
    assert_eq!(own.channel().ended(), Some(EndReason::Interrupted));
}

fn talk_on(session: &Session, parts: &[(f32, usize)]) {
    let samples: Vec<f32> =
        script(parts).chunks(2).map(|b| f32::from(i16::from_le_bytes([b[0], b[1]])) / 32_768.0).collect();
    session.input().push_interleaved(&samples).unwrap();
}

#[tokio::test]
async fn lost_voices_are_said_when_the_publisher_is_back_and_nobody_waits_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.sqlite");
    die(&path, false);
    let storage = handing_over(&path, false);
    let hub = hub(&storage, HubParams::default());
    assert_eq!(hub.go_on(Duration::from_millis(50)), 1);
    let session = hub.get("given").unwrap();
    assert!(!all_of(&session, Some(0)).iter().any(|message| message.contains("voices_lost")));
    session.channel().returned();
    session.channel().returned();
    let warnings = all_of(&session, Some(0)).into_iter().filter(|message| message.contains("voices_lost"));
    assert_eq!(warnings.count(), 1, "once");
    session.channel().wait_ended().await;
    assert_eq!(session.channel().ended(), Some(EndReason::Interrupted));
    session.join();
    storage.write();
    assert_eq!(storage.load("given").unwrap().unwrap().channel().ended(), Some(EndReason::Interrupted));
}

#[tokio::test]
async fn an_orderly_end_leaves_sessions_to_the_next_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.sqlite");
    let storage = handing_over(&path, true);
    let first = hub(&storage, HubParams::default());
    let given = talk(&first, "given", &[(0.1, 10)]);
    given.take_token().unwrap();
    let own = talk(&first, "own", &[(0.1, 10)]);
    first.shut_down();
    first.drained().await;
    assert_eq!((given.channel().ended(), own.channel().ended()), (None, Some(EndReason::Shutdown)));
    assert!(given.channel().is_over());
    let mut cursor = Cursor::since(given.channel(), 0);
    let mut out = Vec::new();
    let last = std::iter::repeat_with(|| cursor.read(7, &mut out)).find(|status| *status != ReadStatus::More);
    assert_eq!(last, Some(ReadStatus::HandedOver));
    let correction = crate::session::Correction::Title { title: "late".to_owned() };
    let refused = first.correct(&given, correction, None).await.unwrap_err().to_string();
    assert!(refused.contains("restarts"), "{refused}");
    storage.close();

    let storage = handing_over(&path, true);
    let second = hub(&storage, HubParams::default());
    assert_eq!(second.go_on(Duration::from_secs(60)), 1);
    let again = second.get("given").unwrap();
    assert_eq!(again.channel().last_seq(), given.channel().last_seq());
    end(&again);
    let sealed = folder.path().join("sessions.sqlite-voices/given.sealed");
    assert!(sealed.exists());
    assert!(storage.forget("given").unwrap());
    assert!(!sealed.exists(), "a deletion takes the voices, too");
}
