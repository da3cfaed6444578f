//! Export and import: voices as one JSON file, open or sealed with a key.

use std::io::Write as _;
use std::path::Path;

use diarized_models::voiceprint::ModelId;
use serde::{Deserialize, Serialize};

use super::audit::note;
use super::checks::{check_content, is_id};
use super::error::StoreError;
use super::key::Key;
use super::name::checked_name;
use super::rows::{Person, check_free, find_in, has_recording, insert_person, insert_recording, read_voices};
use super::seal::Seal;
use super::store::Store;
use super::voice::{NewRecording, Voice};
use crate::private_file;

/// How an export is written.
#[derive(Debug, Clone, Copy)]
pub enum ExportForm<'a> {
    /// For everybody who has the file.
    Plain,
    /// Encrypted, for holders of the key.
    Sealed(&'a Key),
}

/// What an import did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct ImportCount {
    /// People who were not in the store.
    pub voices: usize,
    /// Recordings that were not in the store.
    pub recordings: usize,
}

/// The word in `format` of an open export.
const FORMAT: &str = "diarized-voices";
/// The word in `format` of a sealed one, and the place that it is sealed for.
const SEALED_FORMAT: &str = "diarized-voices-sealed";
const VERSION: u32 = 1;
/// Largest export that is read, in bytes.
const MAX_BYTES: u64 = 256 << 20;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Export {
    format: String,
    version: u32,
    voices: Vec<ExportedVoice>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExportedVoice {
    id: String,
    name: String,
    consent: Option<String>,
    created_unix_s: i64,
    recordings: Vec<ExportedRecording>,
}

#[derive(Serialize, Deserialize)]
struct ExportedRecording {
    id: String,
    model: String,
    model_sha256: String,
    created_unix_s: i64,
    #[serde(flatten)]
    content: NewRecording,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SealedExport {
    format: String,
    version: u32,
    sealed: String,
}

impl From<&Voice> for ExportedVoice {
    fn from(voice: &Voice) -> Self {
        let recordings = voice.recordings.iter().map(|r| ExportedRecording {
            id: r.id.clone(),
            model: r.model.name.clone(),
            model_sha256: r.model.sha256.clone(),
            created_unix_s: r.created_unix_s,
            content: r.content.clone(),
        });
        Self {
            id: voice.id.clone(),
            name: voice.name.clone(),
            consent: voice.consent.clone(),
            created_unix_s: voice.created_unix_s,
            recordings: recordings.collect(),
        }
    }
}

impl Store {
    /// Writes the people called `names`, or everybody, to the new file `path`, which only its owner may read. Returns
    /// how many.
    ///
    /// # Errors
    /// [`StoreError`]; `path` exists already or cannot be written.
    pub fn export(
        &mut self,
        names: &[String],
        form: ExportForm<'_>,
        path: &Path,
    ) -> Result<usize, StoreError> {
        let all = self.voices()?;
        let chosen: Vec<Voice> = match names {
            [] => all,
            names => names.iter().map(|name| find_in(all.clone(), name)).collect::<Result<_, _>>()?,
        };
        let voices: Vec<ExportedVoice> = chosen.iter().map(ExportedVoice::from).collect();
        let export = Export { format: FORMAT.to_owned(), version: VERSION, voices };
        let plain = serde_json::to_string_pretty(&export).expect("texts and finite numbers always serialise");
        let (text, how) = match form {
            ExportForm::Plain => (plain, "open"),
            ExportForm::Sealed(key) => {
                let sealed = hex::encode(Seal::new(key).seal(plain.as_bytes(), SEALED_FORMAT));
                let export = SealedExport { format: SEALED_FORMAT.to_owned(), version: VERSION, sealed };
                (serde_json::to_string_pretty(&export).expect("texts always serialise"), "sealed")
            }
        };
        let written = private_file::create_new(path).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.write_all(b"\n")?;
            file.sync_all()
        });
        written.map_err(|source| StoreError::File { what: "write", path: path.to_owned(), source })?;
        self.change(|tx, _| {
            for voice in &chosen {
                note(tx, "exported", &voice.id, how, "command")?;
            }
            Ok(())
        })?;
        Ok(chosen.len())
    }

    /// Takes everybody in the export at `path`, all or none. People who are here keep their name and get the
    /// recordings that are not here yet. `key` opens a sealed one.
    ///
    /// # Errors
    /// It is not an export, sealed with another key, or holds a name that another person has here.
    pub fn import(&mut self, path: &Path, key: &Key) -> Result<ImportCount, StoreError> {
        let export = read(path, key)?;
        let store = self.path().to_owned();
        self.change(|tx, seal| {
            let mut count = ImportCount::default();
            for voice in &export.voices {
                let name = checked_name(&voice.name)?;
                let all = read_voices(tx, seal, &store)?;
                if !all.iter().any(|known| known.id == voice.id) {
                    check_free(all, name, &voice.id)?;
                    let person = Person { name: name.to_owned(), consent: voice.consent.clone() };
                    insert_person(tx, seal, &voice.id, &person)?;
                    count.voices += 1;
                }
                let before = count.recordings;
                for recording in &voice.recordings {
                    if has_recording(tx, &recording.id)? {
                        continue;
                    }
                    let model =
                        ModelId { name: recording.model.clone(), sha256: recording.model_sha256.clone() };
                    let at = recording.created_unix_s;
                    insert_recording(tx, seal, &recording.id, &voice.id, &model, at, &recording.content)?;
                    count.recordings += 1;
                }
                note(
                    tx,
                    "imported",
                    &voice.id,
                    &format!("{} recordings", count.recordings - before),
                    "command",
                )?;
            }
            Ok(count)
        })
    }
}

fn read(path: &Path, key: &Key) -> Result<Export, StoreError> {
    let not = |reason: String| StoreError::NotAnExport { path: path.to_owned(), reason };
    let fail = |source| StoreError::File { what: "read", path: path.to_owned(), source };
    let size = std::fs::metadata(path).map_err(fail)?.len();
    if size > MAX_BYTES {
        return Err(not(format!("it has {size} bytes, at most {MAX_BYTES} are read")));
    }
    let text = std::fs::read_to_string(path).map_err(fail)?;
    let text = match serde_json::from_str::<SealedExport>(&text) {
        Ok(sealed) if sealed.format == SEALED_FORMAT && sealed.version == VERSION => {
            let opened =
                hex::decode(&sealed.sealed).ok().and_then(|bytes| Seal::new(key).open(&bytes, SEALED_FORMAT));
            let wrong = || StoreError::WrongKey { path: path.to_owned(), origin: key.origin.clone() };
            String::from_utf8(opened.ok_or_else(wrong)?).map_err(|e| not(e.to_string()))?
        }
        _ => text,
    };
    let export: Export = serde_json::from_str(&text).map_err(|e| not(e.to_string()))?;
    if export.format != FORMAT || export.version != VERSION {
        return Err(not(format!(
            "format {:?} version {}, expected {FORMAT:?} version {VERSION}",
            export.format, export.version
        )));
    }
    for voice in &export.voices {
        let ids = std::iter::once(&voice.id).chain(voice.recordings.iter().map(|r| &r.id));
        if let Some(bad) = ids.into_iter().find(|id| !is_id(id)) {
            return Err(not(format!("id {bad:?} must be 1 to 32 letters and digits")));
        }
        for recording in &voice.recordings {
            check_content(&recording.id, &recording.content).map_err(not)?;
        }
    }
    Ok(export)
}
