//! The server: one port for audio in, events out, exports, health and metrics.

mod acting;
mod analyses;
mod audio;
mod command;
mod connection;
mod corrections;
mod events;
mod fault;
mod grpc;
mod guard;
mod http;
mod limits;
mod listen;
mod listener;
mod metrics;
mod open;
mod page;
mod places;
mod range;
mod refusals;
mod session_voice;
mod shared;
mod socket_request;
mod speakers;
mod stream;
mod tls;
mod upload;
mod visitor;
mod voices;
mod writer;

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::access::Access;
use crate::hub::Hub;

use analyses::Analyses;
use listener::Site;
use places::Places;
use refusals::Refusals;
use tls::HttpVersion;
use upload::Uploads;

pub use grpc::{Grpc, GrpcError};
pub use limits::Limits;
pub use metrics::Metrics;
pub(crate) use shared::Shared;
pub use tls::{Tls, TlsError};
pub use voices::Voices;

/// Bytes in the body of a request that changes what is known of a person.
const MAX_EDIT_BYTES: usize = 64 << 10;

/// A server that is not yet running.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    /// The gRPC services and where they are served.
    grpc: Option<(Grpc, Vec<TcpListener>)>,
}

/// What is left undone when the grace period of a shutdown is over.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DrainReport {
    /// Sessions that had not ended, by id.
    pub sessions: Vec<String>,
    /// Connections that were not closed.
    pub n_connections: usize,
}

impl DrainReport {
    /// Whether everything was done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.n_connections == 0
    }
}

impl Server {
    /// A server of the sessions of `hub`, with this access, encrypted where there is a certificate.
    #[must_use]
    pub fn new(hub: Arc<Hub>, limits: Limits, access: Arc<Access>, tls: Option<Arc<Tls>>) -> Self {
        let places = Places::new(&limits);
        let connections = Arc::new(Semaphore::new(places.n_sockets()));
        let shared = Shared {
            hub,
            limits,
            metrics: Metrics::default(),
            analyses: Analyses::default(),
            voices: OnceLock::new(),
            uploads: Uploads::new(limits.max_clip_bytes.max(limits.max_message_bytes)),
            access,
            tls,
            places,
            refusals: Refusals::new(),
            connections,
        };
        Self { shared: Arc::new(shared), grpc: None }
    }

    /// Serves gRPC, too, on these listeners, if there is some.
    #[must_use]
    pub fn with_grpc(self, grpc: Option<(Grpc, Vec<TcpListener>)>) -> Self {
        Self { grpc, ..self }
    }

    /// Lets clients enrol people and compare voices. Only the first call counts.
    #[must_use]
    pub fn with_voices(self, voices: Voices) -> Self {
        let voices = voices.sharing(&self.shared.analyses);
        let _ = self.shared.voices.set(Arc::new(voices));
        self
    }

    fn router(&self) -> Router {
        let clips = Router::new()
            .route("/v1/speakers", get(speakers::list).post(speakers::enrol))
            .route("/v1/speakers/{id}", get(speakers::show).patch(speakers::edit).delete(speakers::delete))
            .route("/v1/verify", post(speakers::verify))
            .route("/v1/identify", post(speakers::identify))
            .layer(DefaultBodyLimit::max(MAX_EDIT_BYTES));
        Router::new()
            .route("/", get(page::index))
            .route("/page/{*path}", get(page::file))
            .route("/healthz", get(http::health))
            .route("/readyz", get(http::ready))
            .route("/metrics", get(http::metrics))
            .route("/v1/stream", get(stream::upgrade))
            .route("/v1/events", get(events::upgrade))
            .route("/v1/listen", get(listen::upgrade))
            .route("/v1/usage", get(http::usage))
            .route("/v1/sessions", get(http::sessions))
            .route("/v1/sessions/{id}", get(http::session).delete(http::delete))
            .route("/v1/sessions/{id}/audio", get(audio::audio))
            .route("/v1/sessions/{id}/{correction}", get(corrections::list).post(corrections::correct))
            .merge(clips)
            .fallback(http::not_found)
            .method_not_allowed_fallback(http::method_not_allowed)
            .layer(from_fn_with_state(Arc::clone(&self.shared), guard::guard))
            .layer(axum::middleware::map_response(page::keep_in_bounds))
            .with_state(Arc::clone(&self.shared))
    }

    /// Serves on `listeners` until the hub shuts down ([`Hub::shut_down`]), then sees the sessions and the
    /// connections to their end, for at most the grace period.
    pub async fn run(mut self, listeners: Vec<TcpListener>) -> DrainReport {
        let shared = Arc::clone(&self.shared);
        let n_sockets = shared.places.n_sockets();
        let open = Arc::new(Semaphore::new(n_sockets));
        let mut serving = tokio::task::JoinSet::new();
        let site = Site { router: self.router(), version: HttpVersion::One };
        let mut sites: Vec<_> = listeners.into_iter().map(|tcp| (tcp, site.clone())).collect();
        if let Some((grpc, listeners)) = self.grpc.take() {
            let site = Site { router: grpc.router(&shared), version: HttpVersion::Two };
            sites.extend(listeners.into_iter().map(|tcp| (tcp, site.clone())));
        }
        for (tcp, site) in sites {
            serving.spawn(listener::serve(tcp, Arc::clone(&open), site, Arc::clone(&shared)));
        }
        let mut down = shared.hub.shutting_down();
        let _ = down.wait_for(|down| *down).await;
        let orderly = async {
            shared.hub.drained().await;
            // Every connection releases its permit when it closes.
            let all = u32::try_from(n_sockets).unwrap_or(u32::MAX);
            let _ = shared.connections.acquire_many(all).await;
            while serving.join_next().await.is_some() {}
        };
        let in_time = tokio::time::timeout(shared.limits.grace, orderly).await.is_ok();
        let mut drained = DrainReport::default();
        for session in shared.hub.sessions() {
            if session.channel().is_over() {
                session.join();
            } else {
                drained.sessions.push(session.id().to_owned());
            }
        }
        if !in_time {
            drained.n_connections = n_sockets - shared.connections.available_permits();
        }
        drained
    }
}

#[cfg(test)]
pub(crate) mod tests;
