//! `/v1/listen`: the server's side of [`crate::deepgram`].

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use super::connection::permit;
use super::shared::Shared;
use super::socket_request::SocketRequest;
use crate::deepgram::{Listening, listen};

pub(super) async fn upgrade(State(shared): State<Arc<Shared>>, request: SocketRequest) -> Response {
    let SocketRequest { query, visitor, upgrade } = request;
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
