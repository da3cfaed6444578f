//! Error of a plain request: a status and an `error` message.

use std::sync::Arc;

use axum::http::{StatusCode, header};
use axum::response::Response;

use super::Shared;
use super::http::{failure, unreadable_reason};
use crate::protocol::ErrorCode;
use crate::session::Session;
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
            StoreError::NameTaken { .. } => (StatusCode::CONFLICT, ErrorCode::Conflict),
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

/// The session of this id, in memory or kept.
pub(super) async fn session_of(shared: &Shared, id: &str) -> Result<Arc<Session>, Fault> {
    match shared.hub.find(id).await {
        Ok(Some(session)) => Ok(session),
        Ok(None) => {
            let reason = format!("there is no session {id:?}; GET /v1/sessions lists them");
            Err(Fault(StatusCode::NOT_FOUND, ErrorCode::NotFound, reason))
        }
        Err(error) => {
            let reason = unreadable_reason(&error);
            Err(Fault(StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Internal, reason))
        }
    }
}
