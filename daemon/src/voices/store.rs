//! The store itself: one SQLite file, one transaction a change.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use diarized_models::voiceprint::{Gallery, KnownVoice, MatchRules, ModelId, Print, Recording};
use diarized_models::{Embedding, ModelCard};
use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::appear::{appear, make_folder};
use super::audit::{AuditEntry, note, read};
use super::error::StoreError;
use super::inner::Inner;
use super::key::Key;
use super::marks::{random_id, unix_now};
use super::name::checked_name;
use super::rows::{Person, check_free, find_in, insert_person, insert_recording, read_voices, update_person};
use super::seal::Seal;
use super::voice::{Enrolment, NewRecording, Voice};
use crate::private_file;

/// Version of the tables, in SQLite's `user_version`.
const SCHEMA: i64 = 1;
/// Marks the file as ours, in SQLite's `application_id`: "diar".
const APPLICATION: i64 = 0x6469_6172;
/// How long a change waits for another program that holds the store.
const BUSY: Duration = Duration::from_secs(5);
/// What the key must open for the store to be the key's.
const KEY_CHECK: &[u8] = b"diarized voices";
/// Of what was learned unasked no more recordings than this are kept, the oldest leave first.
pub(super) const MAX_LEARNED: usize = 8;
/// Source of what was learned unasked.
pub(super) const LEARNED: &str = "learned";

const TABLES: &str = "
    CREATE TABLE store (id INTEGER PRIMARY KEY CHECK (id = 1), key_check BLOB NOT NULL, generation INTEGER NOT NULL);
    CREATE TABLE voice (id TEXT PRIMARY KEY, created_unix_s INTEGER NOT NULL, changed_unix_s INTEGER NOT NULL,
        sealed BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE recording (id TEXT PRIMARY KEY, voice TEXT NOT NULL REFERENCES voice (id) ON DELETE CASCADE,
        model_name TEXT NOT NULL, model_sha256 TEXT NOT NULL, created_unix_s INTEGER NOT NULL, sealed BLOB NOT NULL)
        WITHOUT ROWID;
    CREATE INDEX recording_voice ON recording (voice);
    CREATE TABLE audit (id INTEGER PRIMARY KEY, at_unix_s INTEGER NOT NULL, action TEXT NOT NULL,
        voice TEXT NOT NULL, detail TEXT NOT NULL, actor TEXT NOT NULL);
";

/// What a transaction changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Effect {
    /// Nothing: it is undone.
    None,
    /// What stands beside the voices.
    Notes,
    /// Voices.
    Voices,
}

/// The open store; for one thread at a time.
pub struct Store {
    pub(super) db: Connection,
    pub(super) seal: Seal,
    path: PathBuf,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Store {
    /// Creates an empty store at `path`, readable by its owner only. A store created meanwhile by another process is opened.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn make(path: &Path, key: &Key) -> Result<Self, StoreError> {
        if let Some(folder) = path.parent() {
            make_folder(folder)?;
        }
        // Complete under another name first, so that no reader finds a partial store.
        let what = "make";
        appear(path, what, |draft| {
            private_file::create_new(draft).map_err(|source| StoreError::File {
                what,
                path: path.to_owned(),
                source,
            })?;
            let mut store = Self::connect(draft, path, key)?;
            let check = store.seal.seal(KEY_CHECK, "key");
            store.change(|tx, _| {
                tx.execute_batch(TABLES)?;
                tx.execute("INSERT INTO store VALUES (1, ?1, 0)", params![check])?;
                note(tx, "made", "", "", "command")?;
                tx.pragma_update(None, "application_id", APPLICATION)?;
                tx.pragma_update(None, "user_version", SCHEMA)?;
                Ok(())
            })?;
            store.fold_log()
        })?;
        Self::open(path, key)
    }

    /// Opens the store at `path`.
    ///
    /// # Errors
    /// It is not a store, damaged, of another version or another key's.
    pub fn open(path: &Path, key: &Key) -> Result<Self, StoreError> {
        let store = Self::connect(path, path, key)?;
        store.check(key)?;
        Ok(store)
    }

    /// Opens `file`, which is the store at `path`, or will be: faults name that.
    fn connect(file: &Path, path: &Path, key: &Key) -> Result<Self, StoreError> {
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE | rusqlite::OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connect = || {
            let db = Connection::open_with_flags(file, flags)?;
            db.busy_timeout(BUSY)?;
            // What is deleted is overwritten, and what is stored survives a power cut.
            db.pragma_update(None, "secure_delete", true)?;
            db.pragma_update(None, "foreign_keys", true)?;
            db.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
            db.pragma_update(None, "synchronous", "full")?;
            Ok(db)
        };
        let db = connect().map_err(|e| StoreError::of(path, e))?;
        Ok(Self { db, seal: Seal::new(key), path: path.to_owned() })
    }

    fn check(&self, key: &Key) -> Result<(), StoreError> {
        let path = || self.path.clone();
        let number = |pragma| self.db.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
        if number("application_id").map_err(|e| self.fault(e))? != APPLICATION {
            return Err(StoreError::NotAStore { path: path() });
        }
        let got = number("user_version").map_err(|e| self.fault(e))?;
        if got != SCHEMA {
            return Err(StoreError::Schema { path: path(), expected: SCHEMA, got });
        }
        let verdict = self.db.pragma_query_value(None, "quick_check", |row| row.get::<_, String>(0));
        let verdict = verdict.map_err(|e| self.fault(e))?;
        if verdict != "ok" {
            return Err(StoreError::Corrupt { path: path(), reason: verdict });
        }
        let sealed = self.db.query_row("SELECT key_check FROM store", [], |row| row.get::<_, Vec<u8>>(0));
        match self.seal.open(&sealed.map_err(|e| self.fault(e))?, "key") {
            Some(opened) if opened == KEY_CHECK => Ok(()),
            _ => Err(StoreError::WrongKey { path: path(), origin: key.origin.clone() }),
        }
    }

    /// Brings what lies in the write-ahead log into the file itself.
    fn fold_log(&self) -> Result<(), StoreError> {
        let fold = self.db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        fold.map_err(|e| self.fault(e))
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn fault(&self, source: rusqlite::Error) -> StoreError {
        StoreError::of(&self.path, source)
    }

    /// Runs `work` in a transaction that excludes other writers; a fault leaves everything as it was.
    pub(super) fn change<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>, &Seal) -> Result<T, Inner>,
    ) -> Result<T, StoreError> {
        self.change_if(|tx, seal| Ok((work(tx, seal)?, Effect::Voices)))
    }

    /// The same for work that finds out whether there is anything to change.
    pub(super) fn change_if<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>, &Seal) -> Result<(T, Effect), Inner>,
    ) -> Result<T, StoreError> {
        let Self { db, seal, path } = self;
        let run = || {
            let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let (done, effect) = work(&tx, seal)?;
            if effect == Effect::Voices {
                // Absent only while the store is being made.
                tx.execute("UPDATE store SET generation = generation + 1", [])?;
            }
            if effect != Effect::None {
                tx.commit()?;
            }
            Ok(done)
        };
        run().map_err(|error| match error {
            Inner::Database(source) => StoreError::of(path, source),
            Inner::Store(error) => error,
        })
    }

    /// A number that grows with every change by anybody.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn generation(&self) -> Result<i64, StoreError> {
        let read = self.db.query_row("SELECT generation FROM store", [], |row| row.get(0));
        read.map_err(|e| self.fault(e))
    }

    /// Everybody, by name.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn voices(&self) -> Result<Vec<Voice>, StoreError> {
        read_voices(&self.db, &self.seal, &self.path).map_err(|error| self.outer(error))
    }

    /// The person of this id or name; names are compared without regard to case.
    ///
    /// # Errors
    /// [`StoreError::Unknown`], or the store cannot be read.
    pub fn find(&self, name: &str) -> Result<Voice, StoreError> {
        find_in(self.voices()?, name)
    }

    /// Stores recordings of the person called `name`, who is new or gets a better voiceprint: all of them or none.
    ///
    /// # Errors
    /// [`StoreError`]; nothing is stored.
    pub fn enrol(
        &mut self,
        name: &str,
        consent: Option<&str>,
        model: &ModelId,
        recordings: &[NewRecording],
        actor: &str,
    ) -> Result<Enrolment, StoreError> {
        let name = checked_name(name)?.to_owned();
        as_print(model, recordings)?;
        let path = self.path.clone();
        self.change(|tx, seal| {
            let known = match find_in(read_voices(tx, seal, &path)?, &name) {
                Err(StoreError::Unknown { .. }) => None,
                found => Some(found?),
            };
            let is_new = known.is_none();
            let id = known.as_ref().map_or_else(|| random_id("v"), |voice| voice.id.clone());
            if is_new {
                let person = Person { name: name.clone(), consent: consent.map(str::to_owned) };
                insert_person(tx, seal, &id, &person)?;
            } else if let (Some(voice), Some(consent)) = (&known, consent) {
                let person = Person { name: voice.name.clone(), consent: Some(consent.to_owned()) };
                update_person(tx, seal, &id, &person)?;
                note(tx, "consent", &id, "", actor)?;
            }
            for recording in recordings {
                insert_recording(tx, seal, &random_id("r"), &id, model, unix_now(), recording)?;
            }
            tx.execute("UPDATE voice SET changed_unix_s = ?2 WHERE id = ?1", params![id, unix_now()])?;
            let speech_s: f32 = recordings.iter().map(|r| r.speech_s).sum();
            let n = recordings.len();
            note(tx, "enrolled", &id, &format!("{n} recordings, {speech_s:.1} s"), actor)?;
            Ok(Enrolment { voice: find_in(read_voices(tx, seal, &path)?, &id)?, is_new })
        })
    }

    /// Adds what was learned of a person from a session, and forgets the oldest of what was learned beyond a bound.
    ///
    /// # Errors
    /// [`StoreError`]; nothing is stored.
    pub fn learn(&mut self, id: &str, model: &ModelId, recording: NewRecording) -> Result<(), StoreError> {
        as_print(model, std::slice::from_ref(&recording))?;
        let path = self.path.clone();
        self.change(|tx, seal| {
            let voice = find_in(read_voices(tx, seal, &path)?, id)?;
            let learned = voice.recordings.iter().filter(|r| r.content.source == LEARNED);
            let surplus = (learned.clone().count() + 1).saturating_sub(MAX_LEARNED);
            for old in learned.take(surplus) {
                tx.execute("DELETE FROM recording WHERE id = ?1", params![old.id])?;
            }
            let detail = format!("1 recording, {:.1} s", recording.speech_s);
            insert_recording(tx, seal, &random_id("r"), id, model, unix_now(), &recording)?;
            tx.execute("UPDATE voice SET changed_unix_s = ?2 WHERE id = ?1", params![id, unix_now()])?;
            Ok(note(tx, "learned", id, &detail, "session")?)
        })
    }

    /// Changes the name or the note of consent of the person called `name`.
    ///
    /// # Errors
    /// [`StoreError`]; nothing is changed.
    pub fn edit(
        &mut self,
        name: &str,
        new_name: Option<&str>,
        consent: Option<&str>,
        actor: &str,
    ) -> Result<Voice, StoreError> {
        let new_name = new_name.map(checked_name).transpose()?;
        let path = self.path.clone();
        self.change(|tx, seal| {
            let all = read_voices(tx, seal, &path)?;
            let voice = find_in(all.clone(), name)?;
            if let Some(new_name) = new_name {
                check_free(all, new_name, &voice.id)?;
            }
            let person = Person {
                name: new_name.unwrap_or(&voice.name).to_owned(),
                consent: consent.map(str::to_owned).or(voice.consent),
            };
            update_person(tx, seal, &voice.id, &person)?;
            if new_name.is_some() {
                note(tx, "renamed", &voice.id, "", actor)?;
            }
            if consent.is_some() {
                note(tx, "consent", &voice.id, "", actor)?;
            }
            Ok(find_in(read_voices(tx, seal, &path)?, &voice.id)?)
        })
    }

    /// Deletes the person called `name` permanently: overwrites the pages, empties the log of changes and rewrites the file.
    /// Backups, and copies made by the disk itself, are beyond reach.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if another program still reads the store: the voice is deleted, and its traces leave
    /// with the next deletion. Any other fault leaves everything as it was.
    pub fn delete(&mut self, name: &str, actor: &str) -> Result<Voice, StoreError> {
        let path = self.path.clone();
        let voice = self.change(|tx, seal| {
            let voice = find_in(read_voices(tx, seal, &path)?, name)?;
            tx.execute("DELETE FROM recording WHERE voice = ?1", params![voice.id])?;
            tx.execute("DELETE FROM voice WHERE id = ?1", params![voice.id])?;
            note(tx, "deleted", &voice.id, &format!("{} recordings", voice.recordings.len()), actor)?;
            Ok(voice)
        })?;
        self.scrub()?;
        Ok(voice)
    }

    /// Rewrites the file and empties its log, so that neither holds bytes of deleted voices.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if another program still reads the store.
    pub(super) fn scrub(&self) -> Result<(), StoreError> {
        let empty_log = || {
            let blocked =
                self.db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
            match blocked.map_err(|e| self.fault(e))? {
                0 => Ok(()),
                _ => Err(StoreError::Locked { path: self.path.clone() }),
            }
        };
        empty_log()?;
        self.db.execute_batch("VACUUM").map_err(|e| self.fault(e))?;
        empty_log()
    }

    /// Everybody who has recordings by the model of `card`, ready to be matched, and the names of those who have
    /// none by it.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn gallery(&self, card: &ModelCard, rules: MatchRules) -> Result<(Gallery, Vec<String>), StoreError> {
        let model = ModelId::of(card);
        let mut gallery = Gallery::new(card, rules);
        let mut without = Vec::new();
        for voice in self.voices()? {
            let of_model = voice.recordings.iter().filter(|r| r.model == model);
            let contents: Vec<NewRecording> = of_model.map(|r| r.content.clone()).collect();
            let fits = contents.iter().all(|r| r.embedding.len() == card.embedding_dim);
            if contents.is_empty() || !fits {
                without.push(voice.name);
                continue;
            }
            let print = as_print(&model, &contents)?;
            let known = KnownVoice { id: Arc::from(voice.id), name: Arc::from(voice.name), print };
            gallery.add(known).expect("only recordings of the gallery's model were taken");
        }
        Ok((gallery, without))
    }

    fn outer(&self, error: Inner) -> StoreError {
        match error {
            Inner::Database(source) => self.fault(source),
            Inner::Store(error) => error,
        }
    }

    /// Lets the file grow to `n_pages` pages and no further, as on a disk that is full.
    #[cfg(test)]
    pub(super) fn limit_pages(&self, n_pages: i64) {
        self.db.pragma_update_and_check(None, "max_page_count", n_pages, |_| Ok(())).unwrap();
    }

    /// The trail, oldest first; of one voice if given.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn audit(&self, voice: Option<&str>) -> Result<Vec<AuditEntry>, StoreError> {
        read(&self.db, voice).map_err(|e| self.fault(e))
    }
}

fn as_print(model: &ModelId, recordings: &[NewRecording]) -> Result<Print, StoreError> {
    let contradiction = || StoreError::Print(diarized_models::voiceprint::PrintError::Contradiction);
    let recordings = recordings.iter().map(|r| {
        let embedding = Embedding::from_raw(&r.embedding).map_err(|_| contradiction())?;
        Ok(Recording { embedding, seconds: r.speech_s, weight: r.weight })
    });
    Ok(Print::try_new(model.clone(), recordings.collect::<Result<_, StoreError>>()?)?)
}
