//! The sender of a request.

use std::sync::Arc;

use axum::extract::Request;
use tokio::sync::watch;

use super::places::{Full, LetIn, PeerHandle};
use crate::access::{Access, Identity};

/// Who sent a request, as far as is known.
#[derive(Debug, Clone)]
pub(super) struct Visitor {
    pub(super) identity: Identity,
    /// Changes when tokens were loaded again since before this one was found good.
    pub(super) reloaded: watch::Receiver<u64>,
    /// The address that the connection comes from, for logs.
    peer: String,
    /// Keeps the connection among those that are let in.
    _let_in: Option<Arc<LetIn>>,
}

impl Visitor {
    /// Takes a place for the connection of `request` among those that are let in.
    pub(super) fn let_in(
        identity: Identity,
        reloaded: watch::Receiver<u64>,
        request: &Request,
    ) -> Result<Self, Full> {
        let let_in = request.extensions().get::<PeerHandle>().map(PeerHandle::let_in).transpose()?;
        Ok(Self { identity, reloaded, peer: peer_of(request), _let_in: let_in.map(Arc::new) })
    }

    /// A refused sender, who receives only the reason.
    pub(super) fn stranger(access: &Access, request: &Request) -> Self {
        let (identity, reloaded) = (Identity::anyone(), access.reloaded());
        Self { identity, reloaded, peer: peer_of(request), _let_in: None }
    }

    /// The address that the connection comes from, for logs.
    pub(super) fn peer(&self) -> &str {
        &self.peer
    }

    /// Name of the token, for those who see a correction; none on a server without tokens.
    pub(super) fn author(&self) -> Option<String> {
        self.identity.is_named().then(|| self.identity.name().to_owned())
    }

    /// Name of the token, for logs.
    pub(super) fn token(&self) -> &str {
        self.identity.name()
    }
}

/// The address of a request's connection; a question mark where there is none, as in tests.
pub(super) fn peer_of(request: &Request) -> String {
    request.extensions().get::<PeerHandle>().map_or_else(|| "?".to_owned(), |peer| peer.addr().to_string())
}
