//! The server: one port for audio in, events out, exports, health and metrics.

mod audio;
mod command;
mod connection;
mod corrections;
mod events;
mod fault;
mod guard;
mod http;
mod listen;
mod listener;
mod metrics;
mod open;
mod page;
mod places;
mod range;
mod session_voice;
mod speakers;
mod stream;
mod tls;
mod upload;
mod visitor;
mod writer;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::access::Access;
use crate::hub::Hub;

use places::Places;
use upload::Uploads;

pub use metrics::Metrics;
pub use speakers::Voices;
pub use tls::{Tls, TlsError};

/// How much clients may ask of the server, and how long it waits for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Maximum number of authenticated connections; half as many more may be unauthenticated.
    pub max_connections: usize,
    /// Connections that are let in at once of one address, or of one /64 of IPv6.
    pub max_connections_per_address: usize,
    /// Subscribers of one session, and of all sessions together (`session=*`), each.
    pub max_subscribers: usize,
    /// Bytes in one message of a client.
    pub max_message_bytes: usize,
    /// Text messages of one connection in a second; twice as many may come at once.
    pub max_messages_per_s: usize,
    /// Binary and control frames of one connection that are read in a second; twice as many may come at once.
    pub max_frames_per_s: usize,
    /// Bytes in the header of a request.
    pub max_header_bytes: usize,
    /// How long the header of a request, or a TLS handshake, may take.
    pub header: Duration,
    /// How long a plain HTTP request may take.
    pub request: Duration,
    /// A publisher that sends no audio and no `keep_alive` for so long is idle.
    pub idle: Duration,
    /// How long a session waits for its publisher when the connection breaks.
    pub resume_grace: Duration,
    /// Interval of pings; a peer that is silent for three of them is gone.
    pub ping: Duration,
    /// How long one message may wait for a peer that does not read.
    pub write: Duration,
    /// How long a closing peer may take to answer the close.
    pub linger: Duration,
    /// How long a shutdown may take before it is cut short.
    pub grace: Duration,
    /// Whether a speech recogniser gives words.
    pub has_words: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 1024,
            max_connections_per_address: 100_000,
            max_subscribers: 256,
            max_message_bytes: 1 << 20,
            max_messages_per_s: 100,
            max_frames_per_s: 2000,
            max_header_bytes: 16 << 10,
            header: Duration::from_secs(10),
            request: Duration::from_secs(60),
            idle: Duration::from_secs(60),
            resume_grace: Duration::from_secs(30),
            ping: Duration::from_secs(20),
            write: Duration::from_secs(10),
            linger: Duration::from_secs(2),
            grace: Duration::from_secs(10),
            has_words: false,
        }
    }
}

/// Bytes in the body of a request that changes what is known of a person.
const MAX_EDIT_BYTES: usize = 64 << 10;

/// What every handler shares.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) hub: Arc<Hub>,
    pub(crate) limits: Limits,
    pub(crate) metrics: Metrics,
    /// Who is known, where voices are enabled.
    pub(crate) voices: OnceLock<Arc<Voices>>,
    pub(crate) access: Arc<Access>,
    /// The certificate, where connections are encrypted.
    tls: Option<Arc<Tls>>,
    /// What bodies of requests may hold together; made when it is known how large they may be.
    uploads: OnceLock<Uploads>,
    /// Who holds a connection, and who waits for one.
    places: Arc<Places>,
    /// One permit per WebSocket; acquiring all of them waits for every connection to close.
    connections: Arc<Semaphore>,
}

impl Shared {
    /// What bodies of requests may hold together.
    fn uploads(&self) -> &Uploads {
        self.uploads.get_or_init(|| {
            let max_clip = self.voices.get().map_or(0, |voices| voices.max_clip_bytes());
            Uploads::new(max_clip.max(self.limits.max_message_bytes))
        })
    }
}

/// A server that is not yet running.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
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
            voices: OnceLock::new(),
            uploads: OnceLock::new(),
            access,
            tls,
            places,
            connections,
        };
        Self { shared: Arc::new(shared) }
    }

    /// Lets clients enrol people and compare voices. Only the first call counts.
    #[must_use]
    pub fn with_voices(self, voices: Voices) -> Self {
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
    pub async fn run(self, listeners: Vec<TcpListener>) -> DrainReport {
        let shared = Arc::clone(&self.shared);
        let n_sockets = shared.places.n_sockets();
        let open = Arc::new(Semaphore::new(n_sockets));
        let mut serving = tokio::task::JoinSet::new();
        for tcp in listeners {
            serving.spawn(listener::serve(tcp, Arc::clone(&open), self.router(), Arc::clone(&shared)));
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
