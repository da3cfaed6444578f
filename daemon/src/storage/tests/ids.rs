//! No session takes the place of another one.

use super::*;

#[test]
fn an_id_is_never_given_again_while_its_session_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.sqlite");
    let storage = open(&path);
    let first = hub(&storage, HubParams::default());
    end(&talk(&first, "a", &[(0.1, 5)]));
    storage.write();
    let said = all_of(&storage.load("a").unwrap().unwrap(), Some(0));
    let again = talk(&first, "a", &[(0.2, 3)]);
    assert_eq!(again.id(), "a-2");
    end(&again);
    storage.close();
    drop((first, storage));
    // After a restart nobody in memory knows the ids.
    let storage = open(&path);
    let second = hub(&storage, HubParams::default());
    let third = talk(&second, "a", &[(0.4, 3)]);
    assert_eq!(third.id(), "a-3");
    end(&third);
    storage.write();
    assert_eq!(all_of(&storage.load("a").unwrap().unwrap(), Some(0)), said);
    assert!(all_of(&storage.load("a-2").unwrap().unwrap(), Some(0))[0].contains("\"S2\""));
    assert_eq!(storage.list(10).unwrap().len(), 3);
    assert!(storage.forget("a").unwrap() && !storage.forget("a").unwrap());
    assert_eq!(talk(&second, "a", &[(0.1, 1)]).id(), "a", "who deletes it frees it");
}

#[test]
fn every_session_of_the_microphone_is_kept_and_its_word_is_the_newest() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sessions.sqlite");
    let storage = open(&path);
    let first = hub(&storage, HubParams::default());
    let word = crate::hub::MICROPHONE_SESSION;
    assert_eq!(talk(&first, word, &[(0.1, 3)]).id(), "microphone-2", "the word is no id");
    for id in ["microphone-2026-11-29", "microphone-2026-11-29-2"] {
        let wanted = Some("microphone-2026-11-29");
        let session = first.open(wanted, Source::Microphone, AudioFormat::default()).unwrap();
        assert_eq!((session.id(), first.get(word).unwrap().id()), (id, id));
    }
    assert!(
        first.delete(word) && first.get(word).unwrap().id() == "microphone-2026-11-29",
        "that still runs"
    );
    first.sessions().iter().for_each(|session| end(session));
    storage.write();
    assert_eq!(storage.list(10).unwrap().len(), 3);
    storage.close();
    drop((first, storage));
    let storage = open(&path);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let found = runtime.block_on(hub(&storage, HubParams::default()).find(word)).unwrap();
    assert_eq!(found.unwrap().id(), "microphone-2026-11-29-2");
}
