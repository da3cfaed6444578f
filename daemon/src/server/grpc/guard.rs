//! Access and limits of every gRPC request.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use futures_util::{StreamExt as _, stream};
use hyper::body::{Frame, SizeHint};
use tonic::{Code, Status};

use super::audio_stream::HalfClosed;
use super::measures::Kind;
use super::status::status;
use crate::access::{Denied, Scope, shorten};
use crate::protocol::ErrorCode;
use crate::server::guard::identify;
use crate::server::shared::Shared;
use crate::server::upload::{MAX_CLIP_KEY, Upload};
use crate::server::visitor::{Visitor, peer_of};

/// Bytes before each message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;
/// Name of the header and the trailer with the outcome of a call.
const STATUS: &str = "grpc-status";

/// Lets a request in within the limits, or answers with the status of the refusal.
pub(super) async fn guard(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let kind = Kind::of(request.uri().path());
    let response = answer(&shared, kind, request, next).await.unwrap_or_else(refusal);
    let failed = response.headers().get(STATUS).map(|code| Code::from_bytes(code.as_bytes()));
    shared.metrics.grpc.count(kind, failed.filter(|code| *code != Code::Ok));
    response
}

fn refusal(status: Status) -> Response {
    status.into_http::<tonic::body::Body>().map(Body::new)
}

async fn answer(
    shared: &Arc<Shared>,
    kind: Kind,
    mut request: Request,
    next: Next,
) -> Result<Response, Status> {
    let Some(needed) = needed_scope(kind) else {
        // Some of these calls last as long as the client likes.
        let mut down = shared.hub.shutting_down();
        let down = async move { drop(down.wait_for(|down| *down).await) };
        return Ok(next
            .run(request)
            .await
            .map(|body| Body::new(UntilDown { body, down: Some(Box::pin(down)) })));
    };
    let visitor = let_in(shared, &request, needed)?;
    request.extensions_mut().insert(visitor);
    if kind == Kind::Diarize {
        let half_closed = HalfClosed::default();
        request.extensions_mut().insert(half_closed.clone());
        return Ok(next.run(request.map(|body| Body::new(Watched { body, half_closed }))).await);
    }
    let limit = shared.limits.request;
    let answering = async {
        let (mut parts, body) = request.into_parts();
        let (bytes, share) = collected(shared, body).await?.into_parts();
        parts.extensions.insert(share);
        Ok(next.run(Request::from_parts(parts, Body::from(bytes))).await)
    };
    tokio::time::timeout(limit, answering).await.unwrap_or_else(|_| {
        let limit_s = limit.as_secs_f64();
        let reason = format!("the request took longer than {limit_s} s (server.request_timeout_s)");
        Err(status(ErrorCode::Idle, reason))
    })
}

/// The scope that a call needs; none for those that show nothing of anybody, and for unknown ones.
fn needed_scope(kind: Kind) -> Option<Scope> {
    match kind {
        Kind::Diarize => Some(Scope::Publish),
        Kind::Predict | Kind::Ecapa | Kind::Large | Kind::Segment | Kind::Transcribe => Some(Scope::Voices),
        Kind::Other => None,
    }
}

fn let_in(shared: &Shared, request: &Request, needed: Scope) -> Result<Visitor, Status> {
    // Subscribed before the check, so that a revocation just after it reaches the open stream.
    let reloaded = shared.access.reloaded();
    let host = request.uri().authority().map(|authority| authority.as_str());
    let identity = identify(shared, request.headers(), host, needed).map_err(|denied| {
        shared.metrics.denied.add(1);
        let (path, peer) = (shorten(request.uri().path()), peer_of(request));
        if let Some(left_out) = shared.refusals.line(&peer) {
            tracing::info!(path, peer, %denied, left_out, "a gRPC request was turned away");
        }
        let code = match denied {
            Denied::NoToken | Denied::UnknownToken => ErrorCode::Unauthorised,
            _ => ErrorCode::Forbidden,
        };
        status(code, denied.to_string())
    })?;
    Visitor::let_in(identity, reloaded, request)
        .map_err(|full| status(ErrorCode::TooManyConnections, full.to_string()))
}

/// The body of a call with one message, within the budget of all uploads. A length beyond the limit is refused before
/// anything of the message is read.
async fn collected(shared: &Shared, body: Body) -> Result<Upload, Status> {
    let mut chunks = body.into_data_stream();
    let (mut first, mut prefix) = (Vec::new(), Vec::new());
    while prefix.len() < PREFIX_BYTES {
        let Some(chunk) = chunks.next().await else { break };
        let chunk = chunk.map_err(|error| Status::cancelled(format!("the request breaks off: {error}")))?;
        prefix.extend(chunk.iter().take(PREFIX_BYTES - prefix.len()));
        first.push(chunk);
    }
    let declared = match prefix[..] {
        [_, a, b, c, d] => Some(PREFIX_BYTES.saturating_add(u32::from_be_bytes([a, b, c, d]) as usize)),
        _ => None,
    };
    let body = Body::from_stream(stream::iter(first).map(Ok).chain(chunks));
    Ok(shared.uploads.read(declared, body, shared.limits.max_clip_bytes, MAX_CLIP_KEY).await?)
}

/// A body that notes its orderly end, which is how a client closes its half.
struct Watched {
    body: Body,
    half_closed: HalfClosed,
}

impl hyper::body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        let is_end = match &frame {
            Poll::Ready(None) => true,
            Poll::Ready(Some(Ok(frame))) => frame.is_trailers(),
            _ => false,
        };
        if is_end {
            self.half_closed.0.store(true, std::sync::atomic::Ordering::Release);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A body that ends with the server.
struct UntilDown {
    body: Body,
    /// Until it has ended.
    down: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl hyper::body::Body for UntilDown {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(down) = &mut self.down else { return Poll::Ready(None) };
        let is_down = down.as_mut().poll(cx).is_ready();
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if is_down && frame.is_pending() {
            self.down = None;
            let code = HeaderValue::from(Code::Unavailable as i32);
            let trailers = HeaderMap::from_iter([(axum::http::HeaderName::from_static(STATUS), code)]);
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.down.is_none() || self.body.is_end_stream()
    }
}
