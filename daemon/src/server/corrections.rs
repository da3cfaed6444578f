//! `POST /v1/sessions/ID/rename`, `merge`, `reassign`, `split`, `title`, `note`, `undo`, `redo`, `words`:
//! corrections and words by plain HTTP, as over WebSocket; `GET /v1/sessions/ID/corrections` lists the corrections.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use serde_json::Value;

use super::command::{Wanted, as_command};
use super::fault::Fault;
use super::shared::Shared;
use super::shared::session_of;
use super::upload::declared_length;
use super::visitor::Visitor;
use crate::protocol::{ClientMessage, Decimal, ErrorCode};
use crate::session::CorrectionError;

/// What may stand behind a session's id.
const CORRECTIONS: [&str; 9] =
    ["rename", "merge", "reassign", "split", "title", "note", "undo", "redo", "words"];

/// One correction in the list.
#[derive(Debug, Serialize)]
struct CorrectionSummary<'a> {
    id: u64,
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    of: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'a str>,
    unix_s: Decimal,
}

/// Who corrected what and when, the oldest first.
pub(super) async fn list(
    State(shared): State<Arc<Shared>>,
    Path((id, what)): Path<(String, String)>,
) -> Response {
    if what != "corrections" {
        let reason = format!("there is no {what:?} of a session to get; there is `corrections`");
        return Fault(StatusCode::NOT_FOUND, ErrorCode::NotFound, reason).into();
    }
    let session = match session_of(&shared, &id).await {
        Ok(session) => session,
        Err(fault) => return fault.into(),
    };
    let entries = session.channel().corrections();
    let listed: Vec<_> = entries
        .iter()
        .map(|entry| CorrectionSummary {
            id: entry.id,
            kind: &entry.kind,
            of: entry.of,
            by: entry.by.as_deref(),
            unix_s: Decimal(entry.unix_ms as f64 / 1000.0),
        })
        .collect();
    Json(serde_json::json!({ "corrections": listed })).into_response()
}

/// Applies the correction named in the path with the fields of the body; answers after its events are emitted.
pub(super) async fn correct(
    State(shared): State<Arc<Shared>>,
    Extension(visitor): Extension<Visitor>,
    Path((id, what)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    match try_correct(&shared, &visitor, &id, &what, &headers, body).await {
        Ok(()) => {
            let (peer, token) = (visitor.peer(), visitor.token());
            if what != "words" {
                tracing::info!(session = id, correction = what, peer, token, "a correction was made");
            }
            StatusCode::NO_CONTENT.into_response()
        }
        Err(fault) => fault.into(),
    }
}

async fn try_correct(
    shared: &Shared,
    visitor: &Visitor,
    id: &str,
    what: &str,
    headers: &HeaderMap,
    body: Body,
) -> Result<(), Fault> {
    let not_found = |reason| Fault(StatusCode::NOT_FOUND, ErrorCode::NotFound, reason);
    if !CORRECTIONS.contains(&what) {
        let all = CORRECTIONS.join(", ");
        return Err(not_found(format!("no correction is called {what:?}; there are {all}")));
    }
    let session = session_of(shared, id).await?;
    let bad = |code, reason: String| Fault(StatusCode::BAD_REQUEST, code, reason);
    let max = shared.limits.max_message_bytes;
    let declared = declared_length(headers);
    let body = shared.uploads.read(declared, body, max, "server.max_frame_bytes").await?;
    // `undo` and `redo` need no field.
    let bytes: &[u8] = if body.bytes.is_empty() { b"{}" } else { &body.bytes };
    let fields: Value = serde_json::from_slice(bytes)
        .map_err(|e| bad(ErrorCode::BadMessage, format!("the body is not JSON: {e}")))?;
    let Value::Object(mut message) = fields else {
        return Err(bad(ErrorCode::BadMessage, "the body must be a JSON object".to_owned()));
    };
    message.insert("type".to_owned(), Value::from(what));
    // The same reading as over WebSocket, so that both take the same and refuse the same.
    let message = ClientMessage::parse(&Value::Object(message).to_string())
        .map_err(|error| bad(error.code(), error.to_string()))?;
    let outcome = match as_command(message) {
        Ok(Ok(Wanted::Correct(correction))) => {
            shared.hub.correct(&session, correction, visitor.author()).await
        }
        Ok(Ok(Wanted::Words { words, is_final })) => shared.hub.add_words(&session, words, is_final).await,
        Ok(Err(error)) => return Err(bad(ErrorCode::BadMessage, error.to_string())),
        Ok(Ok(Wanted::Finalize)) | Err(_) => {
            return Err(bad(ErrorCode::NotHere, format!("`{what}` is no correction")));
        }
    };
    outcome.map_err(|refusal| {
        let (status, code) = match &refusal {
            CorrectionError::UnknownSpeaker(_) => (StatusCode::NOT_FOUND, ErrorCode::UnknownSpeaker),
            CorrectionError::UnknownSegment(_) => (StatusCode::NOT_FOUND, ErrorCode::UnknownSegment),
            CorrectionError::TooMany { .. } | CorrectionError::TooManyWords { .. } => {
                (StatusCode::TOO_MANY_REQUESTS, ErrorCode::Refused)
            }
            CorrectionError::Refused { .. } => (StatusCode::CONFLICT, ErrorCode::Refused),
        };
        Fault(status, code, refusal.to_string())
    })
}
