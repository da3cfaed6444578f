//! Copies of the voices of running sessions in NATS: sealed with the key of the voices, for the node that goes on with the
//! session, and erased at its end.

use std::sync::Arc;

use bytes::Bytes;

use super::error::{ClusterError, refused};
use super::link::{Link, Stores};
use super::record::{GoingOn, VoicesCopy};
use crate::voices::{Key, Seal};

/// Bytes of one value at most, well below what NATS takes unless it is configured otherwise (1 MiB).
const MAX_VALUE: usize = 512 << 10;
/// Parts of a copy at most: larger ones are not made.
const MAX_PARTS: usize = 64;

/// Makes and reads them.
pub(super) struct Copies {
    link: Arc<Link>,
    /// Without a key there are none.
    seal: Option<Seal>,
}

impl std::fmt::Debug for Copies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Copies").finish_non_exhaustive()
    }
}

impl Copies {
    pub(super) fn new(link: &Arc<Link>, key: Option<&Key>) -> Arc<Self> {
        Arc::new(Self { link: Arc::clone(link), seal: key.map(Seal::new) })
    }

    /// Makes a copy beside the one before, which stays until the record names the new one. `None` where none is made.
    ///
    /// # Errors
    /// NATS does not take it.
    pub(super) async fn write(
        &self,
        stores: &Stores,
        id: &str,
        before: &GoingOn,
        voices: &[u8],
    ) -> Result<Option<VoicesCopy>, ClusterError> {
        let Some(seal) = &self.seal else { return Ok(None) };
        let number = before.copy.filter(|copy| copy.moves == before.moves).map_or(1, |copy| copy.number + 1);
        let moves = before.moves;
        let sealed = Bytes::from(seal.seal(voices, &place(id, moves, number)));
        let n_parts = sealed.len().div_ceil(MAX_VALUE);
        if n_parts > MAX_PARTS {
            tracing::debug!(
                session = id,
                bytes = sealed.len(),
                "the voices of a session are too large to copy"
            );
            return Ok(None);
        }
        for n in 0..n_parts {
            let part = sealed.slice(n * MAX_VALUE..sealed.len().min((n + 1) * MAX_VALUE));
            let written = stores.copies.put(key(id, moves, number, n as u32), part).await;
            written.map_err(|error| refused("the voices of a session", &error))?;
        }
        self.link.counts.copies.add(1);
        Ok(Some(VoicesCopy { moves, number, parts: n_parts as u32 }))
    }

    /// What is known of the voices of a session, or why nothing is.
    pub(super) async fn read(
        &self,
        stores: &Stores,
        id: &str,
        going_on: &GoingOn,
    ) -> Result<Vec<u8>, String> {
        let Some(copy) = going_on.copy else { return Err("they were not copied".to_owned()) };
        let Some(seal) = &self.seal else { return Err("this node has no key to open them with".to_owned()) };
        let mut sealed = Vec::new();
        for n in 0..copy.parts.min(MAX_PARTS as u32) {
            match stores.copies.get(key(id, copy.moves, copy.number, n)).await {
                Ok(Some(part)) => sealed.extend_from_slice(&part),
                Ok(None) => return Err("a part of them is missing".to_owned()),
                Err(error) => return Err(refused("their copy", &error).to_string()),
            }
        }
        let opened = seal.open(&sealed, &place(id, copy.moves, copy.number));
        opened.ok_or_else(|| "they are damaged, or were sealed with another key".to_owned())
    }

    /// Erases all copies of a session. What cannot be erased now leaves with its age.
    pub(super) async fn erase(&self, stores: &Stores, id: &str) {
        let subjects = format!("$KV.{}.{id}.>", self.link.names.copies());
        if let Err(error) = stores.copies.stream.purge().filter(subjects).await {
            tracing::debug!(session = id, %error, "the copies of the voices of a session are not erased");
        }
    }
}

/// Two copies take turns, so that a node that dies while it writes one leaves the other.
fn key(id: &str, moves: u32, number: u64, part: u32) -> String {
    format!("{id}.{moves}.{}.{part}", number % 2)
}

/// What a copy belongs to: sealed for another session, or a part of another copy, it does not open.
fn place(id: &str, moves: u32, number: u64) -> String {
    format!("voices of the session {id} after {moves} moves, copy {number}")
}
