//! Joins the store with what other machines have of the same voices, in one transaction.

use std::collections::{BTreeMap, BTreeSet};

use diarized_models::voiceprint::ModelId;
use rusqlite::{Connection, params};

use super::base::{
    Base, Registers, Trail, add_line, make_tables, mark_line, read_bases, read_trails, write_base,
};
use super::version::{Alive, Deed, Register, SharedRecording, Stamp, Version, forget_learned, join_trails};
use crate::voices::error::StoreError;
use crate::voices::inner::Inner;
use crate::voices::rows::{Person, has_recording, insert_recording, put_person, read_voices};
use crate::voices::seal::Seal;
use crate::voices::store::{Effect, Store};
use crate::voices::voice::Voice;

/// What a joining gave.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Shared {
    /// All that is known now of the voices by the model, and of those that were deleted, by id.
    pub voices: BTreeMap<String, Version>,
    /// Voices of this store that others added or changed.
    pub n_taken: usize,
    /// Voices of this store that others deleted.
    pub deleted: Vec<String>,
}

/// What other machines have.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Others {
    /// Voices by the model of this machine, by id.
    pub voices: BTreeMap<String, Version>,
    /// Deletions of voices by other models: a deletion is the person's.
    pub deleted: BTreeMap<String, Version>,
}

/// For what a store is joined.
#[derive(Clone, Copy)]
struct Terms<'a> {
    model: &'a ModelId,
    seal: &'a Seal,
}

/// One voice before the joining.
struct Local<'a> {
    n_deleted: u64,
    person: Option<Registers>,
    voice: Option<&'a Voice>,
}

impl Store {
    /// Joins this store, that of `node`, with what others have of voices by `model`, and takes what is newer there. A fault changes
    /// nothing.
    ///
    /// What others have deleted is gone from the tables; its traces in the file leave when the store is scrubbed.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn share(&mut self, node: &str, model: &ModelId, others: &Others) -> Result<Shared, StoreError> {
        let path = self.path().to_owned();
        self.change_if(|tx, seal| {
            make_tables(tx)?;
            let terms = Terms { model, seal };
            let voices = read_voices(tx, seal, &path)?;
            let voices: BTreeMap<&str, &Voice> = voices.iter().map(|voice| (&*voice.id, voice)).collect();
            let bases = read_bases(tx, seal, &path)?;
            let mut trails = read_trails(tx, node)?;
            let has_own = |voice: &&Voice| voice.recordings.iter().any(|r| r.model == *model);
            let own = voices.values().filter(|voice| has_own(voice)).map(|voice| &*voice.id);
            let known = bases.keys().chain(others.voices.keys()).map(String::as_str);
            let deleted = others.deleted.keys().map(String::as_str).filter(|id| voices.contains_key(id));
            let ids: BTreeSet<&str> = own.chain(known).chain(deleted).collect();
            let (mut shared, mut effect) = (Shared::default(), Effect::None);
            for id in ids {
                let mut trail = trails.remove(id).unwrap_or_default();
                let (base, voice) = (bases.get(id), voices.get(id).copied());
                let other = others.of(id);
                let local = Local::of(base, voice, &trail, node);
                let (joined, more) = join_one(tx, terms, id, &local, &other, &mut trail)?;
                effect = effect.max(more);
                if more == Effect::Voices {
                    match joined.n_deleted > local.n_deleted && voice.is_some() {
                        true => shared.deleted.push(id.to_owned()),
                        false => shared.n_taken += 1,
                    }
                }
                let base_now = base_after(&joined, &local);
                if base_now.is_worth_keeping() && base != Some(&base_now) {
                    write_base(tx, seal, id, &base_now)?;
                    effect = effect.max(Effect::Notes);
                }
                if joined.is_worth_sharing() {
                    shared.voices.insert(id.to_owned(), joined);
                }
            }
            Ok((shared, effect))
        })
    }
}

impl Others {
    fn of(&self, id: &str) -> Version {
        let all = [&self.voices, &self.deleted].into_iter().filter_map(|versions| versions.get(id));
        all.cloned().reduce(Version::join).unwrap_or_default()
    }
}

impl<'a> Local<'a> {
    /// What was done here since the last joining shows against what was joined then.
    fn of(base: Option<&Base>, voice: Option<&'a Voice>, trail: &Trail, node: &str) -> Self {
        let mut before = base.and_then(|base| base.person.as_ref());
        let is_noted = trail.new.iter().any(|line| line.deed.action == "deleted");
        let was_deleted = before.is_some() && (voice.is_none() || is_noted);
        if was_deleted {
            before = None;
        }
        let person = voice.map(|voice| Registers {
            name: changed(before.map(|b| &b.name), &voice.name, node),
            consent: changed(before.map(|b| &b.consent), &voice.consent, node),
        });
        let n_deleted = base.map_or(0, |base| base.n_deleted) + u64::from(was_deleted);
        Self { n_deleted, person, voice }
    }

    /// The version of the voice by `model`. A voice without recordings by it is none, unless `others` have it.
    fn version(&self, model: &ModelId, others_have_it: bool, trail: BTreeMap<String, Deed>) -> Version {
        let alive = self.voice.zip(self.person.as_ref()).and_then(|(voice, person)| {
            let own = voice.recordings.iter().filter(|r| r.model == *model);
            let of = |r: &crate::voices::StoredRecording| {
                (
                    r.id.clone(),
                    SharedRecording { created_unix_s: r.created_unix_s, content: r.content.clone() },
                )
            };
            let mut recordings: BTreeMap<String, SharedRecording> = own.map(of).collect();
            forget_learned(&mut recordings);
            (others_have_it || !recordings.is_empty()).then(|| Alive {
                name: person.name.clone(),
                consent: person.consent.clone(),
                created_unix_s: voice.created_unix_s,
                changed_unix_s: voice.changed_unix_s,
                recordings,
            })
        });
        Version { n_deleted: self.n_deleted, alive, trail: join_trails(trail, BTreeMap::new()) }
    }
}

/// A value with the stamp of its last change; it is changed where it is not as it was.
fn changed<T: Clone + PartialEq>(before: Option<&Register<T>>, now: &T, node: &str) -> Register<T> {
    match before {
        Some(before) if before.value == *now => before.clone(),
        _ => {
            let n = before.map_or(0, |before| before.stamp.n) + 1;
            Register { stamp: Stamp { n, node: node.to_owned() }, value: now.clone() }
        }
    }
}

/// Joins one voice and writes what is new here.
fn join_one(
    tx: &Connection,
    terms: Terms<'_>,
    id: &str,
    local: &Local<'_>,
    other: &Version,
    trail: &mut Trail,
) -> Result<(Version, Effect), Inner> {
    let mut effect = Effect::None;
    for line in std::mem::take(&mut trail.new) {
        trail.marked.insert(mark_line(tx, &line)?, line.deed);
        effect = Effect::Notes;
    }
    let own = local.version(terms.model, other.alive.is_some(), trail.marked.clone());
    let joined = own.clone().join(other.clone());
    let mut news: Vec<(&String, &Deed)> =
        joined.trail.iter().filter(|(mark, _)| !trail.marked.contains_key(*mark)).collect();
    news.sort_by_key(|(mark, deed)| (deed.at_unix_s, *mark));
    for (mark, deed) in news {
        add_line(tx, id, mark, deed)?;
        effect = Effect::Notes;
    }
    let mut known = local.voice;
    if joined.n_deleted > own.n_deleted && known.is_some() {
        remove(tx, id)?;
        (known, effect) = (None, Effect::Voices);
    }
    let is_as_before = known.is_some() && own.alive == joined.alive;
    if let Some(alive) = joined.alive.as_ref().filter(|_| !is_as_before) {
        effect = effect.max(put(tx, terms, id, alive, known)?);
    }
    Ok((joined, effect))
}

fn remove(tx: &Connection, id: &str) -> rusqlite::Result<()> {
    tx.execute("DELETE FROM recording WHERE voice = ?1", params![id])?;
    tx.execute("DELETE FROM voice WHERE id = ?1", params![id])?;
    Ok(())
}

/// Writes what of a voice is not as it is joined; recordings by other models stay as they are.
fn put(
    tx: &Connection,
    terms: Terms<'_>,
    id: &str,
    alive: &Alive,
    known: Option<&Voice>,
) -> rusqlite::Result<Effect> {
    let Terms { model, seal, .. } = terms;
    let mut effect = Effect::None;
    let Alive { name, consent, created_unix_s, changed_unix_s, recordings } = alive;
    let is_same = |voice: &Voice| {
        (&voice.name, &voice.consent) == (&name.value, &consent.value)
            && (voice.created_unix_s, voice.changed_unix_s) == (*created_unix_s, *changed_unix_s)
    };
    if !known.is_some_and(is_same) {
        let person = Person { name: name.value.clone(), consent: consent.value.clone() };
        put_person(tx, seal, id, &person, (*created_unix_s, *changed_unix_s))?;
        effect = Effect::Voices;
    }
    for (recording_id, recording) in recordings {
        if !has_recording(tx, recording_id)? {
            let SharedRecording { created_unix_s, content } = recording;
            insert_recording(tx, seal, recording_id, id, model, *created_unix_s, content)?;
            effect = Effect::Voices;
        }
    }
    // What was learned and is too old leaves.
    let own = known.iter().flat_map(|voice| &voice.recordings).filter(|r| r.model == *model);
    for old in own.filter(|r| !recordings.contains_key(&r.id)) {
        tx.execute("DELETE FROM recording WHERE id = ?1", params![old.id])?;
        effect = Effect::Voices;
    }
    Ok(effect)
}

impl Base {
    fn is_worth_keeping(&self) -> bool {
        self.n_deleted > 0 || self.person.is_some()
    }
}

/// What is remembered of a voice when it is joined.
fn base_after(joined: &Version, local: &Local<'_>) -> Base {
    let is_newer = joined.n_deleted > local.n_deleted;
    let of = |alive: &Alive| Registers { name: alive.name.clone(), consent: alive.consent.clone() };
    let person = match &joined.alive {
        Some(alive) => Some(of(alive)),
        // It is here by another model.
        None if !is_newer => local.person.clone(),
        None => None,
    };
    Base { n_deleted: joined.n_deleted, person }
}
