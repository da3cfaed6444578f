//! `/v1/sessions/ID/audio`: the kept audio of a session, whole or a part of it, also while the session runs.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;

use super::fault::{failure, unreadable_reason};
use super::range::{Wanted, wanted};
use super::shared::Shared;
use crate::protocol::ErrorCode;
use crate::protocol::lenient::read_number;
use crate::recording::{CutError, Recordings, cut};
use crate::session::Session;

/// Bytes that are read and sent at once.
const CHUNK_BYTES: u64 = 1 << 16;

/// What is sent: a part in memory, or the file.
enum Audio {
    Cut(Vec<u8>),
    File(File, u64),
}

pub(super) async fn audio(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Response {
    let part = match part_of(&query) {
        Ok(part) => part,
        Err(reason) => return failure(StatusCode::BAD_REQUEST, ErrorCode::BadMessage, reason),
    };
    let session = match shared.hub.find(&id).await {
        Ok(Some(session)) => session,
        Ok(None) => {
            let reason = format!("there is no session {id:?}; GET /v1/sessions lists them");
            return failure(StatusCode::NOT_FOUND, ErrorCode::NotFound, reason);
        }
        Err(error) => {
            let reason = unreadable_reason(&error);
            return failure(StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Internal, reason);
        }
    };
    let recordings = shared.hub.storage().and_then(|storage| storage.recordings()).cloned();
    let opened = match recordings {
        Some(recordings) => {
            let session = Arc::clone(&session);
            tokio::task::spawn_blocking(move || open(&recordings, &session, part)).await.ok()
        }
        None => Some(Ok(None)),
    };
    match opened {
        Some(Ok(Some(audio))) => answer(audio, &headers),
        Some(Ok(None)) => {
            let reason = format!("no audio of session {:?} is kept (storage.audio)", session.id());
            failure(StatusCode::NOT_FOUND, ErrorCode::NotFound, reason)
        }
        Some(Err(error)) => refused(&error),
        None => failure(StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Internal, "the audio cannot be read"),
    }
}

/// Start and end in seconds, where a part is asked for.
fn part_of(query: &[(String, String)]) -> Result<Option<(f64, Option<f64>)>, String> {
    let (mut start, mut end) = (None, None);
    for (key, value) in query {
        let field = match key.as_str() {
            "start" => &mut start,
            "end" => &mut end,
            _ => return Err(format!("unknown query parameter `{key}`, expected start, end")),
        };
        let number = read_number::<f64>(value).filter(|n| n.is_finite());
        *field =
            Some(number.ok_or_else(|| format!("query parameter {key}={value:?} is not a number in range"))?);
    }
    Ok((start.is_some() || end.is_some()).then(|| (start.unwrap_or(0.0), end)))
}

fn open(
    recordings: &Recordings,
    session: &Session,
    part: Option<(f64, Option<f64>)>,
) -> Result<Option<Audio>, CutError> {
    let Some(file) = recordings.read(session.id())? else { return Ok(None) };
    Ok(Some(match part {
        Some((start, end)) => Audio::Cut(cut(file, start, end)?.bytes),
        None => {
            let n_bytes = file.metadata()?.len();
            Audio::File(file, n_bytes)
        }
    }))
}

fn refused(error: &CutError) -> Response {
    match error {
        CutError::Times { .. } => failure(StatusCode::BAD_REQUEST, ErrorCode::BadMessage, error),
        CutError::Beyond { .. } => failure(StatusCode::RANGE_NOT_SATISFIABLE, ErrorCode::BadMessage, error),
        _ => {
            let cause: &dyn std::error::Error = error;
            tracing::error!(error = cause, "kept audio cannot be read");
            failure(StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Internal, error)
        }
    }
}

fn answer(audio: Audio, headers: &HeaderMap) -> Response {
    let n_bytes = match &audio {
        Audio::Cut(bytes) => bytes.len() as u64,
        Audio::File(_, n_bytes) => *n_bytes,
    };
    // This server gives no validator that a condition on the range could hold.
    let range = headers.get(header::RANGE).filter(|_| !headers.contains_key(header::IF_RANGE));
    let range = range.and_then(|value| value.to_str().ok());
    let wanted = wanted(range, n_bytes);
    let (status, part) = match wanted {
        Wanted::All => (StatusCode::OK, 0..n_bytes),
        Wanted::Part(part) => (StatusCode::PARTIAL_CONTENT, part),
        Wanted::Beyond => {
            let reason = format!("the audio has {n_bytes} bytes");
            let refused = failure(StatusCode::RANGE_NOT_SATISFIABLE, ErrorCode::BadMessage, reason);
            return ([(header::CONTENT_RANGE, format!("bytes */{n_bytes}"))], refused).into_response();
        }
    };
    let n_sent = part.end - part.start;
    let content_range = format!("bytes {}-{}/{n_bytes}", part.start, part.end.saturating_sub(1));
    let body = match audio {
        Audio::Cut(bytes) => {
            let bytes = Bytes::from(bytes);
            Body::from(bytes.slice(part.start as usize..part.end as usize))
        }
        Audio::File(file, _) => file_body(file, part),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let sent = response.headers_mut();
    sent.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("audio/ogg"));
    sent.insert(header::ACCEPT_RANGES, header::HeaderValue::from_static("bytes"));
    sent.insert(header::CONTENT_LENGTH, header::HeaderValue::from(n_sent));
    if status == StatusCode::PARTIAL_CONTENT
        && let Ok(value) = header::HeaderValue::try_from(content_range)
    {
        sent.insert(header::CONTENT_RANGE, value);
    }
    response
}

/// Part of a file, read as it is sent. A file that is deleted meanwhile is sent to its end.
fn file_body(file: File, part: Range<u64>) -> Body {
    let chunks = stream::unfold((file, part), async |(mut file, part)| {
        if part.is_empty() {
            return None;
        }
        let read = move || {
            let n = CHUNK_BYTES.min(part.end - part.start);
            let mut bytes = vec![0; n as usize];
            file.seek(SeekFrom::Start(part.start))?;
            file.read_exact(&mut bytes)?;
            Ok::<_, io::Error>((bytes, file, part.start + n..part.end))
        };
        let outcome =
            tokio::task::spawn_blocking(read).await.unwrap_or_else(|panic| Err(io::Error::other(panic)));
        match outcome {
            Ok((bytes, file, rest)) => Some((Ok(bytes), (file, rest))),
            // The response ends before its length, which shows the client that something is missing.
            Err(error) => {
                tracing::error!(%error, "kept audio cannot be read to its end");
                None
            }
        }
    });
    let chunks: std::pin::Pin<Box<dyn futures_util::Stream<Item = io::Result<Vec<u8>>> + Send>> =
        Box::pin(chunks);
    Body::from_stream(chunks)
}
