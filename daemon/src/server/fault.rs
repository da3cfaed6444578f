//! Error of a plain request: a status and an `error` message.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use crate::protocol::server_message::{Body, Error};
use crate::protocol::{ErrorCode, ServerMessage};
use crate::storage::StorageError;
use crate::voices::{ClipError, EnrolError, StoreError};

/// When to try again what the server cannot take now, in seconds.
const RETRY_AFTER_S: u16 = 5;

/// Why a request fails.
pub(super) struct Fault(pub(super) StatusCode, pub(super) ErrorCode, pub(super) String);

impl From<Fault> for Response {
    fn from(Fault(status, code, reason): Fault) -> Self {
        let mut response = failure(status, code, reason);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER_S.into());
        }
        response
    }
}

impl From<ClipError> for Fault {
    fn from(error: ClipError) -> Self {
        Self(StatusCode::UNPROCESSABLE_ENTITY, ErrorCode::BadClip, error.to_string())
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        let (status, code) = match &error {
            StoreError::Unknown { .. } | StoreError::Absent { .. } => {
                (StatusCode::NOT_FOUND, ErrorCode::UnknownVoice)
            }
            StoreError::NameTaken { .. } | StoreError::Ambiguous { .. } => {
                (StatusCode::CONFLICT, ErrorCode::Conflict)
            }
            StoreError::BadName(_) | StoreError::NoName => (StatusCode::BAD_REQUEST, ErrorCode::BadMessage),
            StoreError::Print(_) => (StatusCode::UNPROCESSABLE_ENTITY, ErrorCode::BadClip),
            StoreError::Locked { .. } => (StatusCode::SERVICE_UNAVAILABLE, ErrorCode::VoiceStore),
            StoreError::Full { .. } => (StatusCode::INSUFFICIENT_STORAGE, ErrorCode::VoiceStore),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::VoiceStore),
        };
        if code == ErrorCode::VoiceStore {
            tracing::error!(%error, "the voiceprint store cannot be used");
        }
        Self(status, code, error.to_string())
    }
}

impl From<EnrolError> for Fault {
    fn from(error: EnrolError) -> Self {
        match error {
            EnrolError::Store(error) => error.into(),
            error @ EnrolError::SoundsLike { .. } => {
                Self(StatusCode::CONFLICT, ErrorCode::Conflict, error.to_string())
            }
            other => Self(StatusCode::UNPROCESSABLE_ENTITY, ErrorCode::BadClip, other.to_string()),
        }
    }
}

/// An error in the format of the WebSocket.
pub(super) fn failure(status: StatusCode, code: ErrorCode, reason: impl ToString) -> Response {
    let error = Body::from(Error { code, reason: reason.to_string(), fatal: true });
    (status, Json(ServerMessage::to_connection(None, error))).into_response()
}

/// Reason for clients when stored sessions cannot be read; the log has the details.
pub(super) fn unreadable_reason(error: &StorageError) -> String {
    let cause: &dyn std::error::Error = error;
    tracing::error!(error = cause, "a request on kept sessions fails");
    match error {
        StorageError::Damaged { .. } => error.to_string(),
        StorageError::Unclean { .. } => {
            "it is deleted, but its file cannot be rewritten now and may show traces of it; the server tries again, \
             and its log says why"
                .to_owned()
        }
        StorageError::AudioStays { .. } => {
            "the audio of this session cannot be deleted now, so nothing of it was; the server's log says why, delete it \
             again when that is mended"
                .to_owned()
        }
        StorageError::Elsewhere { .. } => error.to_string(),
        _ => "the kept sessions cannot be reached; the server's log says why".to_owned(),
    }
}

/// The fault of a request on sessions that cannot be read.
pub(super) fn unreadable(error: &StorageError) -> Fault {
    let status = match error {
        StorageError::Elsewhere { .. } => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    Fault(status, ErrorCode::Internal, unreadable_reason(error))
}
