//! What all handlers share.

use std::sync::{Arc, OnceLock};

use axum::http::StatusCode;
use tokio::sync::Semaphore;

use super::analyses::Analyses;
use super::fault::{Fault, unreadable};
use super::limits::Limits;
use super::metrics::Metrics;
use super::places::Places;
use super::refusals::Refusals;
use super::tls::Tls;
use super::upload::Uploads;
use super::voices::Voices;
use crate::access::Access;
use crate::hub::Hub;
use crate::protocol::ErrorCode;
use crate::session::Session;

/// What every handler shares.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) hub: Arc<Hub>,
    pub(crate) limits: Limits,
    pub(crate) metrics: Metrics,
    /// The turns of clips that are analysed.
    pub(super) analyses: Analyses,
    /// Who is known, where voices are enabled.
    pub(crate) voices: OnceLock<Arc<Voices>>,
    pub(crate) access: Arc<Access>,
    /// The certificate, where connections are encrypted.
    pub(super) tls: Option<Arc<Tls>>,
    /// What bodies of requests may hold together.
    pub(super) uploads: Uploads,
    /// Who holds a connection, and who waits for one.
    pub(super) places: Arc<Places>,
    /// Which refused requests are logged.
    pub(super) refusals: Refusals,
    /// One permit per WebSocket; acquiring all of them waits for every connection to close.
    pub(super) connections: Arc<Semaphore>,
}

/// The session of this id, in memory or kept.
pub(super) async fn session_of(shared: &Shared, id: &str) -> Result<Arc<Session>, Fault> {
    match shared.hub.find(id).await {
        Ok(Some(session)) => Ok(session),
        Ok(None) => {
            let reason = format!("there is no session {id:?}; GET /v1/sessions lists them");
            Err(Fault(StatusCode::NOT_FOUND, ErrorCode::NotFound, reason))
        }
        Err(error) => Err(unreadable(&error)),
    }
}
