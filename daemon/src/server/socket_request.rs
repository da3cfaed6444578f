//! A request for a WebSocket.

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, RequestPartsExt as _};

use super::http;
use super::visitor::Visitor;

/// Keys and values of the query, who asks, and the upgrade. Any other request is refused as not a WebSocket.
pub(super) struct SocketRequest {
    pub(super) query: Vec<(String, String)>,
    pub(super) visitor: Visitor,
    pub(super) upgrade: WebSocketUpgrade,
}

impl<S: Send + Sync> FromRequestParts<S> for SocketRequest {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let Query(query) = parts
            .extract()
            .await
            .map_err(|rejection: axum::extract::rejection::QueryRejection| rejection.into_response())?;
        let Extension(visitor) = parts
            .extract()
            .await
            .map_err(|rejection: axum::extract::rejection::ExtensionRejection| rejection.into_response())?;
        let upgrade = parts.extract().await.map_err(|rejection| http::not_a_websocket(&rejection))?;
        Ok(Self { query, visitor, upgrade })
    }
}
