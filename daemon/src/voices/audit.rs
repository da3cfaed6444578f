//! The audit trail: time and kind of each change of a voiceprint, without names or embeddings.

use rusqlite::{Connection, params};

use super::marks::unix_now;
use super::shared::is_shared;

/// One line of the trail. It stays after the voice is deleted; its only reference to the person is a random id.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct AuditEntry {
    /// Seconds since 1970.
    pub at_unix_s: i64,
    /// `enrolled`, `learned`, `renamed`, `consent`, `deleted`, `exported`, `imported` or `made`.
    pub action: String,
    /// Id of the voice; empty for what concerns the whole store.
    pub voice: String,
    /// How much, such as `2 recordings, 41.5 s`.
    pub detail: String,
    /// Who asked: `command`, `session`, or `http` and the name of the token.
    pub actor: String,
    /// Node of a cluster where it was done; none where the voice was never shared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
}

/// Appends a line inside the caller's transaction.
pub(super) fn note(
    db: &Connection,
    action: &str,
    voice: &str,
    detail: &str,
    actor: &str,
) -> rusqlite::Result<()> {
    db.execute(
        "INSERT INTO audit (at_unix_s, action, voice, detail, actor) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![unix_now(), action, voice, detail, actor],
    )?;
    Ok(())
}

/// The trail, oldest first; of one voice if given.
pub(super) fn read(db: &Connection, voice: Option<&str>) -> rusqlite::Result<Vec<AuditEntry>> {
    let sql = match is_shared(db)? {
        true => {
            "SELECT at_unix_s, action, voice, detail, actor, node FROM audit \
             LEFT JOIN shared_deed ON shared_deed.audit = audit.id WHERE ?1 IS NULL OR voice = ?1 ORDER BY audit.id"
        }
        false => {
            "SELECT at_unix_s, action, voice, detail, actor, NULL FROM audit WHERE ?1 IS NULL OR voice = ?1 ORDER BY id"
        }
    };
    let mut query = db.prepare(sql)?;
    let entries = query.query_map(params![voice], |row| {
        Ok(AuditEntry {
            at_unix_s: row.get(0)?,
            action: row.get(1)?,
            voice: row.get(2)?,
            detail: row.get(3)?,
            actor: row.get(4)?,
            node: row.get(5)?,
        })
    })?;
    entries.collect()
}
