//! `/v1/listen`: the server's side of [`crate::deepgram`].

use std::sync::Arc;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Extension, Query, State};
use axum::response::Response;

use super::connection::permit;
use super::http;
use super::shared::Shared;
use super::visitor::Visitor;
use crate::deepgram::{Listening, listen};

pub(super) async fn upgrade(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<Vec<(String, String)>>,
    Extension(visitor): Extension<Visitor>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => return http::not_a_websocket(&rejection),
    };
    let permit = match permit(&shared) {
        Ok(permit) => permit,
        Err(refusal) => return *refusal,
    };
    let limits = shared.limits;
    let (access, identity) = (Arc::clone(&shared.access), visitor.identity.clone());
    let mut reloaded = visitor.reloaded.clone();
    let listening = Listening {
        hub: Arc::clone(&shared.hub),
        owner: visitor.token().to_owned(),
        has_words: limits.has_words,
        idle: limits.idle,
        write: limits.write,
        max_message: limits.max_message_bytes,
        revoked: Box::pin(async move {
            // The sender lives in `access`, so this cannot fail.
            while reloaded.changed().await.is_ok() && access.is_still_good(&identity) {}
        }),
        _permit: Box::new((permit, visitor)),
    };
    listen(listening, &query, upgrade).await
}
