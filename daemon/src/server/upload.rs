//! Bodies of requests, read into memory within one budget for all requests.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, header};
use futures_util::StreamExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::fault::Fault;
use crate::protocol::ErrorCode;

/// Key of the largest clip.
pub(super) const MAX_CLIP_KEY: &str = "voices.max_clip_bytes";
/// Number of bodies of maximum size in the budget; more of smaller ones fit.
const AT_ONCE: usize = 2;
/// The unit of the budget, in bytes.
const UNIT: usize = 1024;
/// Memory that a declared length gets before anything of it has come.
const FIRST_BYTES: usize = 64 * 1024;

/// The budget.
#[derive(Debug)]
pub(super) struct Uploads {
    units: Arc<Semaphore>,
}

/// A body and its share of the budget, which is given back with the last copy.
#[derive(Debug, Clone)]
pub(super) struct Upload {
    pub(super) bytes: Bytes,
    share: Share,
}

/// A share of the budget, which is given back with the last clone.
#[derive(Debug, Clone)]
pub(super) struct Share {
    _permits: Arc<Vec<OwnedSemaphorePermit>>,
}

/// The length that the headers of a request promise.
pub(super) fn declared_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH).and_then(|n| n.to_str().ok()?.parse().ok())
}

impl Upload {
    /// A body that holds this share of the budget.
    pub(super) fn of(bytes: Bytes, share: Share) -> Self {
        Self { bytes, share }
    }

    /// The bytes, and their share of the budget apart from them.
    pub(super) fn into_parts(self) -> (Bytes, Share) {
        (self.bytes, self.share)
    }

    /// A part of it.
    pub(super) fn slice(&self, range: impl std::ops::RangeBounds<usize>) -> Self {
        Self { bytes: self.bytes.slice(range), ..self.clone() }
    }
}

impl Uploads {
    /// A budget for bodies of at most `max_bytes`.
    pub(super) fn new(max_bytes: usize) -> Self {
        let n_units = AT_ONCE * max_bytes.div_ceil(UNIT);
        Self { units: Arc::new(Semaphore::new(n_units.min(Semaphore::MAX_PERMITS))) }
    }

    /// Reads a body of at most `max` bytes, which the key `limit` sets. What has not come yet takes nothing of the budget.
    /// `declared`: its length as its sender promises it.
    ///
    /// # Errors
    /// 413 if it is larger, 503 if the budget is used up, 400 if it breaks off.
    pub(super) async fn read(
        &self,
        declared: Option<usize>,
        body: Body,
        max: usize,
        limit: &str,
    ) -> Result<Upload, Fault> {
        let too_large = || {
            let reason = format!("the body is above {max} bytes ({limit})");
            Fault(StatusCode::PAYLOAD_TOO_LARGE, ErrorCode::FrameTooLarge, reason)
        };
        let full = || {
            let reason = "as much is being uploaded as the server holds at once; try again in some seconds";
            Fault(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Overloaded, reason.to_owned())
        };
        if declared.is_some_and(|n| n > max) {
            return Err(too_large());
        }
        if declared.is_some_and(|n| n.div_ceil(UNIT) > self.units.available_permits()) {
            return Err(full());
        }
        let first = declared.unwrap_or(0).min(FIRST_BYTES);
        let (mut bytes, mut share) = (Vec::with_capacity(first), Vec::new());
        let mut n_held = 0;
        let mut chunks = body.into_data_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| {
                let reason = format!("the body breaks off: {error}");
                Fault(StatusCode::BAD_REQUEST, ErrorCode::BadMessage, reason)
            })?;
            if bytes.len() + chunk.len() > max {
                return Err(too_large());
            }
            bytes.extend_from_slice(&chunk);
            let missing = bytes.len().div_ceil(UNIT) - n_held;
            let n_units = u32::try_from(missing).map_err(|_| too_large())?;
            let units = Arc::clone(&self.units).try_acquire_many_owned(n_units);
            share.push(units.map_err(|_| full())?);
            n_held += missing;
        }
        Ok(Upload { bytes: bytes.into(), share: Share { _permits: Arc::new(share) } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status<T>(outcome: Result<T, Fault>) -> u16 {
        outcome.map_or_else(|Fault(status, ..)| status.as_u16(), |_| 200)
    }

    #[tokio::test]
    async fn bodies_share_a_budget_and_give_it_back() {
        let uploads = Uploads::new(10 * UNIT);
        let body = |n: usize| Body::from(vec![7; n]);
        let declared = |n: usize| {
            let headers = HeaderMap::from_iter([(header::CONTENT_LENGTH, n.to_string().parse().unwrap())]);
            declared_length(&headers)
        };
        let read = async |declared, n| uploads.read(declared, body(n), 10 * UNIT, "limit").await;
        assert_eq!(status(read(None, 10 * UNIT + 1).await), 413);
        assert_eq!(status(read(declared(10 * UNIT + 1), 5).await), 413);
        assert_eq!(uploads.units.available_permits(), 20, "what was refused holds nothing");
        let mut held = Vec::new();
        for _ in 0..2 {
            held.push(read(None, 10 * UNIT).await.unwrap_or_else(|_| panic!("there is room")));
        }
        assert_eq!(status(read(None, 1).await), 503);
        assert_eq!(status(read(declared(1), 1).await), 503);
        assert_eq!(status(read(None, 0).await), 200, "nothing needs no room");
        let part = held.remove(0).slice(..5);
        assert_eq!((part.bytes.len(), status(read(None, 1).await)), (5, 503), "a part holds the whole");
        drop(part);
        assert_eq!(status(read(declared(10 * UNIT), 10 * UNIT).await), 200);
    }
}
