//! `diarized.v1.Diarizer`: audio of one session in, its events out.

use std::sync::Arc;

use tonic::{Request, Status, Streaming};

use super::audio_stream::{Events, HalfClosed, halves};
use super::messages::diarized::Audio;
use super::status::status;
use crate::protocol::ErrorCode;
use crate::server::connection::Connection;
use crate::server::shared::Shared;
use crate::server::stream;
use crate::server::visitor::Visitor;

/// The service.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) shared: Arc<Shared>,
}

impl Live {
    /// Starts to serve a stream; its events.
    pub(super) fn diarize(&self, request: Request<Streaming<Audio>>) -> Result<Events, Status> {
        let extensions = request.extensions();
        let visitor = extensions.get::<Visitor>().cloned();
        let visitor = visitor.ok_or_else(|| Status::internal("the request has no sender"))?;
        let half_closed = extensions.get::<HalfClosed>().cloned().unwrap_or_default();
        let shared = Arc::clone(&self.shared);
        let permit = Arc::clone(&shared.connections).try_acquire_owned().map_err(|_| {
            let reason = "the limit of open connections is reached (server.max_connections); try again later";
            status(ErrorCode::TooManyConnections, reason)
        })?;
        let halves = halves(request.into_inner(), half_closed, shared.limits.ping);
        let connection = Connection::new(shared, halves.outgoing, halves.incoming, visitor, permit);
        tokio::spawn(stream::serve(connection, Vec::new()));
        Ok(halves.events)
    }
}
