//! `POST /v1/sessions/ID/rename`, `merge`, `reassign`, `split`, `words`: corrections and words by plain HTTP, as over WebSocket.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;

use super::Shared;
use super::connection::as_command;
use super::fault::{Fault, session_of};
use super::visitor::Visitor;
use crate::protocol::{ClientMessage, ErrorCode};
use crate::session::CorrectionError;

/// What may stand behind a session's id.
const CORRECTIONS: [&str; 5] = ["rename", "merge", "reassign", "split", "words"];

/// Applies the correction named in the path with the fields of the body; answers after its events are emitted.
pub(super) async fn correct(
    State(shared): State<Arc<Shared>>,
    Extension(visitor): Extension<Visitor>,
    Path((id, what)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    match try_correct(&shared, &id, &what, &headers, body).await {
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
    let body = shared.uploads().read(headers, body, max, "server.max_frame_bytes").await?;
    let fields: Value = serde_json::from_slice(&body.bytes)
        .map_err(|e| bad(ErrorCode::BadMessage, format!("the body is not JSON: {e}")))?;
    let Value::Object(mut message) = fields else {
        return Err(bad(ErrorCode::BadMessage, "the body must be a JSON object".to_owned()));
    };
    message.insert("type".to_owned(), Value::from(what));
    // The same reading as over WebSocket, so that both take the same and refuse the same.
    let message = ClientMessage::parse(&Value::Object(message).to_string())
        .map_err(|error| bad(error.code(), error.to_string()))?;
    let command = match as_command(message) {
        Ok(Ok(command)) => command,
        Ok(Err(error)) => return Err(bad(ErrorCode::BadMessage, error.to_string())),
        Err(other) => return Err(bad(ErrorCode::NotHere, format!("`{}` is no correction", other.kind()))),
    };
    let over = || {
        let reason = format!("session {id:?} has ended; its labels stand");
        Fault(StatusCode::CONFLICT, ErrorCode::Refused, reason)
    };
    let outcome = session.input().command(command).await.map_err(|_| over())?;
    outcome.await.map_err(|_| over())?.map_err(|refusal| {
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
