//! What a store remembers of the last joining, so that it sees what was changed here since: two tables beside the voices, made
//! at the first joining.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, params};
use serde::{Deserialize, Serialize};

use super::version::{Deed, Register};
use crate::voices::error::StoreError;
use crate::voices::inner::Inner;
use crate::voices::marks::random_id;
use crate::voices::seal::Seal;

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS shared_voice (id TEXT PRIMARY KEY, sealed BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS shared_deed (audit INTEGER PRIMARY KEY REFERENCES audit (id), mark TEXT NOT NULL UNIQUE,
        node TEXT NOT NULL);
";

/// What of a voice was joined last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Base {
    pub(super) n_deleted: u64,
    /// Name and note of consent; none of a voice that is deleted.
    pub(super) person: Option<Registers>,
}

/// What the person's last changes were.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Registers {
    pub(super) name: Register<String>,
    pub(super) consent: Register<Option<String>>,
}

/// A line of the trail in the store.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) id: i64,
    pub(super) deed: Deed,
}

/// The trail of one voice.
#[derive(Debug, Clone, Default)]
pub(super) struct Trail {
    /// Lines that were joined, by their marks.
    pub(super) marked: BTreeMap<String, Deed>,
    /// Lines since then, all of this machine.
    pub(super) new: Vec<Line>,
}

/// Whether the store was ever joined with others.
pub(in crate::voices) fn is_shared(db: &Connection) -> rusqlite::Result<bool> {
    let found = db.query_row("SELECT 1 FROM sqlite_master WHERE name = 'shared_deed'", [], |_| Ok(()));
    Ok(found.optional()?.is_some())
}

pub(super) fn make_tables(tx: &Connection) -> rusqlite::Result<()> {
    tx.execute_batch(TABLES)
}

pub(super) fn read_bases(db: &Connection, seal: &Seal, path: &Path) -> Result<BTreeMap<String, Base>, Inner> {
    let mut query = db.prepare("SELECT id, sealed FROM shared_voice")?;
    let mut rows = query.query([])?;
    let mut bases = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let (id, sealed): (String, Vec<u8>) = (row.get(0)?, row.get(1)?);
        let opened = seal.open(&sealed, &place_of(&id)).and_then(|plain| serde_json::from_slice(&plain).ok());
        let Some(base) = opened else {
            return Err(StoreError::Tampered { path: path.to_owned(), entry: id }.into());
        };
        bases.insert(id, base);
    }
    Ok(bases)
}

pub(super) fn write_base(tx: &Connection, seal: &Seal, id: &str, base: &Base) -> rusqlite::Result<()> {
    let plain = serde_json::to_vec(base).expect("texts and numbers always serialise");
    let sealed = seal.seal(&plain, &place_of(id));
    tx.execute("INSERT OR REPLACE INTO shared_voice VALUES (?1, ?2)", params![id, sealed])?;
    Ok(())
}

fn place_of(id: &str) -> String {
    format!("shared {id}")
}

/// The trails of all voices; a new line is of `node`.
pub(super) fn read_trails(db: &Connection, node: &str) -> rusqlite::Result<BTreeMap<String, Trail>> {
    let mut query = db.prepare(
        "SELECT audit.id, at_unix_s, action, voice, detail, actor, mark, node FROM audit \
         LEFT JOIN shared_deed ON shared_deed.audit = audit.id WHERE voice <> '' ORDER BY audit.id",
    )?;
    let mut rows = query.query([])?;
    let mut trails: BTreeMap<String, Trail> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let trail = trails.entry(row.get(3)?).or_default();
        let mark: Option<String> = row.get(6)?;
        let of: Option<String> = row.get(7)?;
        let deed = Deed {
            at_unix_s: row.get(1)?,
            action: row.get(2)?,
            detail: row.get(4)?,
            actor: row.get(5)?,
            node: of.unwrap_or_else(|| node.to_owned()),
        };
        match mark {
            Some(mark) => drop(trail.marked.insert(mark, deed)),
            None => trail.new.push(Line { id: row.get(0)?, deed }),
        }
    }
    Ok(trails)
}

/// Gives a line of this machine a mark by which others know it. Marks are in the order of the lines.
pub(super) fn mark_line(tx: &Connection, line: &Line) -> rusqlite::Result<String> {
    let mark = random_id(&format!("a{:08x}", line.id & 0xffff_ffff));
    tx.execute("INSERT INTO shared_deed VALUES (?1, ?2, ?3)", params![line.id, mark, line.deed.node])?;
    Ok(mark)
}

/// Adds a line of another machine.
pub(super) fn add_line(tx: &Connection, voice: &str, mark: &str, deed: &Deed) -> rusqlite::Result<()> {
    let Deed { at_unix_s, action, detail, actor, node } = deed;
    tx.execute(
        "INSERT INTO audit (at_unix_s, action, voice, detail, actor) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![at_unix_s, action, voice, detail, actor],
    )?;
    tx.execute("INSERT INTO shared_deed VALUES (?1, ?2, ?3)", params![tx.last_insert_rowid(), mark, node])?;
    Ok(())
}
