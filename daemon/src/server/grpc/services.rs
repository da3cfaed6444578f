//! The gRPC services with their models, and the routes to them.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::post;
use diarized_config::{Config, GrpcModel};
use diarized_models::{Embedder, LoadError, ModelSource};
use tonic::Status;

use super::clips::Clips;
use super::guard::guard;
use super::health;
use super::live::Live;
use super::measures::Kind;
use super::messages::DESCRIPTION;
use super::methods::{stream, unary};
use super::transcribe::Transcriptions;
use crate::asr::{AsrError, Transcriber};
use crate::engine::LiveEngines;
use crate::server::shared::Shared;

/// Bytes in a message to health and reflection, which anybody may send.
const MAX_QUESTION_BYTES: usize = 4096;

/// Why gRPC cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GrpcError {
    /// A model cannot be loaded.
    #[error("the model of {key} cannot be loaded")]
    Model {
        /// Key of the configuration.
        key: &'static str,
        /// What is wrong.
        source: LoadError,
    },
    /// The recogniser cannot be used.
    #[error(transparent)]
    Asr(#[from] AsrError),
}

/// The services, as configured.
#[derive(Debug)]
pub struct Grpc {
    engines: Arc<LiveEngines>,
    ecapa: Option<Arc<Embedder>>,
    large: Option<Arc<Embedder>>,
    transcriber: Option<Transcriber>,
}

impl Grpc {
    /// Loads the models that the configuration names beside the one that labels.
    ///
    /// # Errors
    /// [`GrpcError`]
    pub fn load(config: &Config, engines: &Arc<LiveEngines>) -> Result<Self, GrpcError> {
        let load = |key, model: &Option<GrpcModel>| match model {
            None => Ok(None),
            Some(GrpcModel::Folder(folder)) => {
                let loaded = Embedder::load(&ModelSource::Folder(folder.clone()), &[]);
                loaded.map(|model| Some(Arc::new(model))).map_err(|source| GrpcError::Model { key, source })
            }
            Some(_) => Ok(Some(Arc::clone(engines.embedder()))),
        };
        Ok(Self {
            engines: Arc::clone(engines),
            ecapa: load("grpc.ecapa", &config.grpc.ecapa)?,
            large: load("grpc.large", &config.grpc.large)?,
            transcriber: Transcriber::new(&config.asr)?,
        })
    }

    /// The services of a server. To be called on a runtime.
    pub(in crate::server) fn router(self, shared: &Arc<Shared>) -> Router {
        let is_configured = |kind: Kind| match kind {
            Kind::Ecapa => self.ecapa.is_some(),
            Kind::Large => self.large.is_some(),
            Kind::Transcribe => self.transcriber.is_some(),
            _ => true,
        };
        let kinds = [Kind::Diarize, Kind::Predict, Kind::Ecapa, Kind::Large, Kind::Segment, Kind::Transcribe];
        let services = kinds.into_iter().filter_map(|kind| Some((kind.service()?, is_configured(kind))));
        let services = services.chain([("", true)]).collect();
        let (reporter, health_service) = tonic_health::server::health_reporter();
        tokio::spawn(health::keep(reporter, services, Arc::clone(shared)));

        let router = self.methods(shared);
        let router = route(router, health_service.max_decoding_message_size(MAX_QUESTION_BYTES));
        reflecting(router).fallback(unknown).layer(from_fn_with_state(Arc::clone(shared), guard))
    }

    /// The methods of our own descriptions.
    fn methods(self, shared: &Arc<Shared>) -> Router {
        let clips = Arc::new(Clips {
            analyses: shared.analyses.clone(),
            engines: self.engines,
            ecapa: self.ecapa,
            large: self.large,
        });
        let transcriptions = Arc::new(Transcriptions {
            analyses: shared.analyses.clone(),
            params: clips.engines.params().clone(),
            transcriber: self.transcriber.map(Arc::new),
        });
        let live = Arc::new(Live { shared: Arc::clone(shared) });
        let (max_clip, max_message) = (shared.limits.max_clip_bytes, shared.limits.max_message_bytes);
        let mut router = Router::new();
        macro_rules! serve {
            ($($kind:ident: $service:ident . $method:ident;)*) => {
                $({
                    let service = Arc::clone(&$service);
                    let handler = async move |request: Request| {
                        unary(request, max_clip, |message| Arc::clone(&service).$method(message)).await
                    };
                    router = router.route(&Kind::$kind.path().unwrap_or_default(), post(handler));
                })*
            };
        }
        serve! {
            Predict: clips.predict;
            Ecapa: clips.embed_ecapa;
            Large: clips.embed_large;
            Segment: clips.segment;
            Transcribe: transcriptions.transcribe;
        }
        let handler = move |request: Request| stream(request, max_message, Arc::clone(&live));
        router.route(&Kind::Diarize.path().unwrap_or_default(), post(handler))
    }
}

/// Adds reflection, in its present version and in the one before, which many clients speak.
fn reflecting(router: Router) -> Router {
    let builder = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTION)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let v1 = builder().build_v1().expect("a test holds the description");
    let v1alpha = builder().build_v1alpha().expect("a test holds the description");
    let router = route(router, v1.max_decoding_message_size(MAX_QUESTION_BYTES));
    route(router, v1alpha.max_decoding_message_size(MAX_QUESTION_BYTES))
}

/// Adds the methods of a service of a library.
fn route<S>(router: Router, service: S) -> Router
where
    S: tonic::codegen::Service<Request, Error = std::convert::Infallible>
        + tonic::server::NamedService
        + Clone
        + Send
        + Sync
        + 'static,
    S::Response: axum::response::IntoResponse,
    S::Future: Send + 'static,
{
    router.route_service(&format!("/{}/{{*method}}", S::NAME), service)
}

async fn unknown(uri: axum::http::Uri) -> Response {
    let reason = format!("there is no {} here; reflection lists the services", uri.path());
    Status::unimplemented(reason).into_http::<tonic::body::Body>().map(Body::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_is_one_that_can_be_shown() {
        let _ = reflecting(Router::new());
    }
}
