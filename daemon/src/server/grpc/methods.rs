//! Methods of services as handlers of HTTP requests, by the codec of protobuf.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request as HttpRequest;
use axum::response::Response as HttpResponse;
use prost::Message;
use tonic::server::{Grpc, StreamingService, UnaryService};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use super::audio_stream::Events;
use super::live::Live;
use super::messages::diarized::{Audio, Event};

/// A method with one message each way.
struct Unary<F>(F);

impl<F, Fut, In, Out> UnaryService<In> for Unary<F>
where
    F: FnMut(Request<In>) -> Fut,
    Fut: Future<Output = Result<Response<Out>, Status>>,
{
    type Response = Out;
    type Future = Fut;

    fn call(&mut self, request: Request<In>) -> Fut {
        (self.0)(request)
    }
}

/// Answers a request by a method with one message each way; longer ones than `max_bytes` are refused.
pub(super) async fn unary<F, Fut, In, Out>(request: HttpRequest, max_bytes: usize, method: F) -> HttpResponse
where
    F: FnMut(Request<In>) -> Fut,
    Fut: Future<Output = Result<Response<Out>, Status>>,
    In: Message + Default + Send + 'static,
    Out: Message + Send + 'static,
{
    let mut grpc = grpc::<Out, In>(max_bytes);
    grpc.unary(Unary(method), request).await.map(Body::new)
}

impl StreamingService<Audio> for &Live {
    type Response = Event;
    type ResponseStream = Events;
    type Future = std::future::Ready<Result<Response<Events>, Status>>;

    fn call(&mut self, request: Request<Streaming<Audio>>) -> Self::Future {
        std::future::ready(self.diarize(request).map(Response::new))
    }
}

/// Answers a request for live diarization.
pub(super) async fn stream(request: HttpRequest, max_bytes: usize, live: Arc<Live>) -> HttpResponse {
    let mut grpc = grpc::<Event, Audio>(max_bytes);
    grpc.streaming(&*live, request).await.map(Body::new)
}

fn grpc<Out, In>(max_bytes: usize) -> Grpc<ProstCodec<Out, In>>
where
    In: Message + Default + Send + 'static,
    Out: Message + Send + 'static,
{
    Grpc::new(ProstCodec::default()).max_decoding_message_size(max_bytes)
}
