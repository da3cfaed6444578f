//! `diarized voices`: manages enrolled people.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Value, json};

use super::voice_args::{StoreArgs, day_and_time, table, tell};
use crate::exit;
use crate::output::write_stdout;
use crate::voices::{ExportForm, KeySource, Place, Store, StoreError, Voice};

/// Arguments of `diarized voices`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Create an empty store and its key.
    Init(Common),
    /// List enrolled people.
    List(Common),
    /// Show one person's recordings, note of consent and audit trail.
    Show {
        /// Name or id.
        name: String,
        #[command(flatten)]
        common: Common,
    },
    /// Change the name or the note of consent of a person.
    Rename {
        /// Name or id.
        name: String,
        /// The new name.
        new_name: String,
        /// The consent of the person, in words.
        #[arg(long, value_name = "TEXT")]
        consent: Option<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Delete people permanently: the data is overwritten and the file rewritten.
    Delete {
        /// Names or ids.
        #[arg(required = true)]
        names: Vec<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Export people to a file, encrypted with the key of the store or another one.
    Export {
        /// The file, which must not exist.
        file: PathBuf,
        /// Names or ids [default: everybody].
        names: Vec<String>,
        /// Write without encryption: the file alone gives access to the voiceprints.
        #[arg(long, conflicts_with = "seal_with")]
        plain: bool,
        /// Encrypt with the key in this file instead of the store's.
        #[arg(long, value_name = "KEY_FILE")]
        seal_with: Option<PathBuf>,
        #[command(flatten)]
        common: Common,
    },
    /// Import people from a file of `export`.
    Import {
        /// The file.
        file: PathBuf,
        /// Decrypt with the key in this file instead of the store's.
        #[arg(long, value_name = "KEY_FILE")]
        sealed_with: Option<PathBuf>,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Debug, clap::Args)]
struct Common {
    /// Write JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreArgs,
}

/// Runs the command and gives the exit code.
///
/// # Errors
/// Standard output cannot be written.
pub fn run(args: &Args) -> anyhow::Result<u8> {
    let common = match &args.action {
        Action::Init(common) | Action::List(common) => common,
        Action::Show { common, .. }
        | Action::Rename { common, .. }
        | Action::Delete { common, .. }
        | Action::Export { common, .. }
        | Action::Import { common, .. } => common,
    };
    let place = match common.store.place() {
        Ok(place) => place,
        Err(code) => return Ok(code),
    };
    match act(&args.action, common.json, &place) {
        Ok(text) => {
            write_stdout(&text)?;
            Ok(exit::OK)
        }
        Err(error) => Ok(tell(error)),
    }
}

fn act(action: &Action, as_json: bool, place: &Place) -> Result<String, StoreError> {
    let say = |value: Value, text: String| if as_json { format!("{value:#}\n") } else { text };
    match action {
        Action::Init(_) => {
            let store = place.open_or_make()?;
            let key = match &place.key {
                KeySource::Given(_) => "the environment".to_owned(),
                KeySource::File(path) => path.display().to_string(),
            };
            let path = store.path().display();
            Ok(say(
                json!({"store": path.to_string(), "key": key}),
                format!("the store is {path}, its key is in {key}\n"),
            ))
        }
        Action::List(_) => {
            let voices = place.open()?.voices()?;
            let rows: Vec<Vec<String>> = voices.iter().map(row).collect();
            let head = ["name", "id", "recordings", "speech", "models", "changed (UTC)", "consent"];
            Ok(say(
                json!({"voices": voices.iter().map(summary).collect::<Vec<_>>()}),
                table(&head, &rows, &[2, 3]),
            ))
        }
        Action::Show { name, .. } => show(&place.open()?, name, as_json),
        Action::Rename { name, new_name, consent, .. } => {
            let voice = place.open()?.edit(name, Some(new_name), consent.as_deref(), "command")?;
            Ok(say(summary(&voice), format!("{} is called {} now\n", voice.id, voice.name)))
        }
        Action::Delete { names, .. } => {
            delete(&mut place.open()?, names).map(|(value, text)| say(value, text))
        }
        Action::Export { file, names, plain, seal_with, .. } => {
            let mut store = place.open()?;
            let key = match seal_with {
                Some(path) => KeySource::File(path.clone()).read(&place.path)?,
                None => place.key.read(&place.path)?,
            };
            let form = if *plain { ExportForm::Plain } else { ExportForm::Sealed(&key) };
            let n = store.export(names, form, file)?;
            let how = if *plain { "open: anyone who has the file has the voices" } else { "sealed" };
            Ok(say(
                json!({"voices": n, "file": file.display().to_string()}),
                format!("wrote {n} voices to {} ({how})\n", file.display()),
            ))
        }
        Action::Import { file, sealed_with, .. } => {
            let mut store = place.open_or_make()?;
            let key = match sealed_with {
                Some(path) => KeySource::File(path.clone()).read(&place.path)?,
                None => place.key.read(&place.path)?,
            };
            let count = store.import(file, &key)?;
            let text = format!("took {} new voices and {} new recordings\n", count.voices, count.recordings);
            Ok(say(json!(count), text))
        }
    }
}

/// Deletes voices; all names are checked before the first deletion, so that a misspelling deletes nothing.
fn delete(store: &mut Store, names: &[String]) -> Result<(Value, String), StoreError> {
    names.iter().try_for_each(|name| store.find(name).map(drop))?;
    let mut text = String::new();
    let mut ids = Vec::new();
    for name in names {
        let voice = store.delete(name, "command")?;
        text.push_str(&format!("deleted {} ({})\n", voice.name, voice.id));
        ids.push(voice.id);
    }
    Ok((json!({"deleted": ids}), text))
}

fn show(store: &Store, name: &str, as_json: bool) -> Result<String, StoreError> {
    let voice = store.find(name)?;
    let trail = store.audit(Some(&voice.id))?;
    if as_json {
        let mut object = summary(&voice);
        object["audit"] = json!(trail);
        object["made_from"] = voice
            .recordings
            .iter()
            .map(|r| {
                json!({"id": r.id, "source": r.content.source, "speech_s": tenths(r.content.speech_s),
                       "weight": tenths(r.content.weight), "snr_db": r.content.snr_db.map(tenths),
                       "model": r.model.name, "created_unix_s": r.created_unix_s})
            })
            .collect();
        return Ok(format!("{object:#}\n"));
    }
    let mut text = format!(
        "{} ({}), enrolled {}\nconsent: {}\n\n",
        voice.name,
        voice.id,
        day_and_time(voice.created_unix_s),
        voice.consent.as_deref().unwrap_or("no note")
    );
    let recordings: Vec<Vec<String>> = voice
        .recordings
        .iter()
        .map(|r| {
            vec![
                r.content.source.clone(),
                format!("{:.1} s", r.content.speech_s),
                r.content.snr_db.map_or("-".to_owned(), |snr| format!("{snr:.0} dB")),
                r.model.to_string(),
                day_and_time(r.created_unix_s),
            ]
        })
        .collect();
    text.push_str(&table(&["recording", "speech", "SNR", "model", "stored (UTC)"], &recordings, &[1, 2]));
    let trail: Vec<Vec<String>> = trail
        .into_iter()
        .map(|entry| {
            let by = entry.node.map_or(entry.actor.clone(), |node| format!("{} at {node}", entry.actor));
            vec![day_and_time(entry.at_unix_s), entry.action, entry.detail, by]
        })
        .collect();
    text.push('\n');
    text.push_str(&table(&["at (UTC)", "what", "how much", "by"], &trail, &[]));
    Ok(text)
}

fn speech_s(voice: &Voice) -> f32 {
    voice.recordings.iter().map(|r| r.content.speech_s).sum()
}

fn models(voice: &Voice) -> Vec<String> {
    let mut models: Vec<String> = voice.recordings.iter().map(|r| r.model.to_string()).collect();
    models.sort();
    models.dedup();
    models
}

fn row(voice: &Voice) -> Vec<String> {
    vec![
        voice.name.clone(),
        voice.id.clone(),
        voice.recordings.len().to_string(),
        format!("{:.1} s", speech_s(voice)),
        models(voice).join(", "),
        day_and_time(voice.changed_unix_s),
        voice.consent.clone().unwrap_or_default(),
    ]
}

fn tenths(value: f32) -> f64 {
    (f64::from(value) * 10.0).round() / 10.0
}

/// A voice as JSON, without its embeddings.
fn summary(voice: &Voice) -> Value {
    json!({
        "id": voice.id,
        "name": voice.name,
        "consent": voice.consent,
        "recordings": voice.recordings.len(),
        "speech_s": tenths(speech_s(voice)),
        "models": models(voice),
        "created_unix_s": voice.created_unix_s,
        "changed_unix_s": voice.changed_unix_s,
    })
}
