//! Rows of the store's tables: sealed on the way in, opened and checked on the way out.

use std::path::Path;

use diarized_models::voiceprint::ModelId;
use rusqlite::{Connection, OptionalExtension as _, params};
use serde::{Deserialize, Serialize};

use super::error::StoreError;
use super::inner::Inner;
use super::marks::unix_now;
use super::seal::Seal;
use super::voice::{NewRecording, StoredRecording, Voice};

/// What of a person is sealed.
#[derive(Serialize, Deserialize)]
pub(super) struct Person {
    pub(super) name: String,
    pub(super) consent: Option<String>,
}

/// The person of this id or name. Only where machines share their voices may two have one name.
pub(super) fn find_in(voices: Vec<Voice>, name: &str) -> Result<Voice, StoreError> {
    let wanted = name.trim().to_lowercase();
    let is_it = |voice: &Voice| voice.id == wanted || voice.name.to_lowercase() == wanted;
    let mut found: Vec<Voice> = voices.into_iter().filter(is_it).collect();
    if let Some(by_id) = found.iter().position(|voice| voice.id == wanted) {
        return Ok(found.swap_remove(by_id));
    }
    match found.len() {
        0 => Err(StoreError::Unknown { name: name.to_owned() }),
        1 => Ok(found.remove(0)),
        _ => {
            let ids: Vec<String> = found.into_iter().map(|voice| voice.id).collect();
            Err(StoreError::Ambiguous { name: name.to_owned(), ids: ids.join(", ") })
        }
    }
}

/// Refuses a name that anybody but the voice `id` has.
pub(super) fn check_free(voices: Vec<Voice>, name: &str, id: &str) -> Result<(), StoreError> {
    match find_in(voices, name) {
        Ok(other) if other.id != id => Err(StoreError::NameTaken { name: name.to_owned(), id: other.id }),
        Err(error @ StoreError::Ambiguous { .. }) => Err(error),
        _ => Ok(()),
    }
}

pub(super) fn read_voices(db: &Connection, seal: &Seal, path: &Path) -> Result<Vec<Voice>, Inner> {
    fn open<T: serde::de::DeserializeOwned>(
        seal: &Seal,
        path: &Path,
        id: &str,
        sealed: &[u8],
        place: &str,
    ) -> Result<T, StoreError> {
        seal.open(sealed, place)
            .and_then(|plain| serde_json::from_slice(&plain).ok())
            .ok_or_else(|| StoreError::Tampered { path: path.to_owned(), entry: id.to_owned() })
    }
    let mut voices = Vec::new();
    let mut query = db.prepare("SELECT id, created_unix_s, changed_unix_s, sealed FROM voice")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let id: String = row.get(0)?;
        let person: Person = open(seal, path, &id, &row.get::<_, Vec<u8>>(3)?, &place_of_voice(&id))?;
        let (created_unix_s, changed_unix_s) = (row.get(1)?, row.get(2)?);
        let Person { name, consent } = person;
        voices.push(Voice { id, name, consent, created_unix_s, changed_unix_s, recordings: Vec::new() });
    }
    let mut query = db.prepare(
        "SELECT id, voice, model_name, model_sha256, created_unix_s, sealed FROM recording ORDER BY created_unix_s, id",
    )?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let (id, voice): (String, String) = (row.get(0)?, row.get(1)?);
        let model = ModelId { name: row.get(2)?, sha256: row.get(3)? };
        let place = place_of_recording(&id, &voice, &model);
        let content = open(seal, path, &id, &row.get::<_, Vec<u8>>(5)?, &place)?;
        if let Some(owner) = voices.iter_mut().find(|v| v.id == voice) {
            owner.recordings.push(StoredRecording { id, model, created_unix_s: row.get(4)?, content });
        }
    }
    voices.sort_by_key(|voice| voice.name.to_lowercase());
    Ok(voices)
}

fn place_of_voice(id: &str) -> String {
    format!("voice {id}")
}

fn place_of_recording(id: &str, voice: &str, model: &ModelId) -> String {
    format!("recording {id} of {voice} by {} {}", model.sha256, model.name)
}

fn sealed_person(seal: &Seal, id: &str, person: &Person) -> Vec<u8> {
    let plain = serde_json::to_vec(person).expect("texts always serialise");
    seal.seal(&plain, &place_of_voice(id))
}

pub(super) fn insert_person(tx: &Connection, seal: &Seal, id: &str, person: &Person) -> rusqlite::Result<()> {
    let now = unix_now();
    tx.execute(
        "INSERT INTO voice VALUES (?1, ?2, ?2, ?3)",
        params![id, now, sealed_person(seal, id, person)],
    )?;
    Ok(())
}

/// Writes a person with the times of creation and of the last change, new or known.
pub(super) fn put_person(
    tx: &Connection,
    seal: &Seal,
    id: &str,
    person: &Person,
    (created_unix_s, changed_unix_s): (i64, i64),
) -> rusqlite::Result<()> {
    let sealed = sealed_person(seal, id, person);
    tx.execute(
        "INSERT INTO voice VALUES (?1, ?2, ?3, ?4) ON CONFLICT (id) DO UPDATE \
         SET created_unix_s = excluded.created_unix_s, changed_unix_s = excluded.changed_unix_s, sealed = excluded.sealed",
        params![id, created_unix_s, changed_unix_s, sealed],
    )?;
    Ok(())
}

pub(super) fn update_person(tx: &Connection, seal: &Seal, id: &str, person: &Person) -> rusqlite::Result<()> {
    let sealed = sealed_person(seal, id, person);
    tx.execute(
        "UPDATE voice SET changed_unix_s = ?2, sealed = ?3 WHERE id = ?1",
        params![id, unix_now(), sealed],
    )?;
    Ok(())
}

pub(super) fn insert_recording(
    tx: &Connection,
    seal: &Seal,
    id: &str,
    voice: &str,
    model: &ModelId,
    created_unix_s: i64,
    recording: &NewRecording,
) -> rusqlite::Result<()> {
    let plain = serde_json::to_vec(recording).expect("texts and finite numbers always serialise");
    let sealed = seal.seal(&plain, &place_of_recording(id, voice, model));
    tx.execute(
        "INSERT INTO recording VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![id, voice, model.name, model.sha256, created_unix_s, sealed],
    )?;
    Ok(())
}

pub(super) fn has_recording(tx: &Connection, id: &str) -> rusqlite::Result<bool> {
    let found = tx.query_row("SELECT 1 FROM recording WHERE id = ?1", params![id], |_| Ok(()));
    Ok(found.optional()?.is_some())
}
