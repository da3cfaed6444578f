//! Writes a value over another one, so that no byte of that one is left.
//!
//! A bucket that keeps one value for each key drops the old one, and its bytes stay in NATS' files for long. So the old one is
//! erased first, which NATS does by overwriting, and only if it still is the last. Every node has in its store what it
//! has seen, so that nothing is lost where a node fails between the two steps.

use async_nats::jetstream::kv::{Store, UpdateErrorKind};
use async_nats::jetstream::stream::DeleteMessageErrorKind;
use bytes::Bytes;

use super::held::Value;
use crate::cluster::error::{ClusterError, refused};

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// It is there, with this revision.
    Done(u64),
    /// Another node was faster.
    Conflict,
}

const WHAT: &str = "a voice";

/// Writes `bytes` where `before` is. Where NATS does not take it, `before` is there again, if it is `worth_keeping`.
///
/// # Errors
/// NATS refuses, or does not answer.
pub(super) async fn replace(
    bucket: &Store,
    key: &str,
    bytes: Bytes,
    before: Option<&Value>,
    worth_keeping: bool,
) -> Result<Written, ClusterError> {
    let mut last = 0;
    if let Some(before) = before {
        match erase(bucket, key, before.revision).await? {
            Erased::Done => {}
            Erased::Conflict => return Ok(Written::Conflict),
            Erased::Forbidden => last = before.revision,
        }
    }
    let error = match bucket.update(key, bytes, last).await {
        Ok(revision) => return Ok(Written::Done(revision)),
        Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => return Ok(Written::Conflict),
        Err(error) => error,
    };
    if last == 0
        && worth_keeping
        && let Some(bytes) = before.and_then(|before| before.bytes.clone())
    {
        // If this fails, too, the nodes have it in their stores.
        let _ = bucket.update(key, bytes, 0).await;
    }
    Err(refused(WHAT, &error))
}

enum Erased {
    Done,
    Conflict,
    /// The bucket was made by hand and keeps what it has.
    Forbidden,
}

async fn erase(bucket: &Store, key: &str, revision: u64) -> Result<Erased, ClusterError> {
    let error = match bucket.stream.delete_message(revision).await {
        Ok(_) => return Ok(Erased::Done),
        Err(error) => error,
    };
    if !matches!(error.kind(), DeleteMessageErrorKind::JetStream(_)) {
        return Err(refused(WHAT, &error));
    }
    // NATS names one reason for both.
    let now = bucket.entry(key).await.map_err(|error| refused(WHAT, &error))?;
    if now.is_some_and(|now| now.revision == revision) {
        tracing::debug!(key, %error, "NATS does not erase a value; it is replaced");
        return Ok(Erased::Forbidden);
    }
    Ok(Erased::Conflict)
}
