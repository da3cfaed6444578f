//! The kinds of gRPC calls, and how many there were.

use strum::{IntoStaticStr, VariantArray};
use tonic::Code;

use crate::metrics::{Count, PrometheusText};

/// What a call is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(in crate::server) enum Kind {
    Diarize,
    Predict,
    Ecapa,
    Large,
    Segment,
    Transcribe,
    /// Health, reflection, and what is not served.
    Other,
}

impl Kind {
    /// Of the path of a request, `/SERVICE/METHOD`.
    pub(super) fn of(path: &str) -> Self {
        let service = path.strip_prefix('/').and_then(|path| path.split('/').next()).unwrap_or_default();
        let known = Self::VARIANTS.iter().copied().find(|kind| kind.service() == Some(service));
        known.unwrap_or(Self::Other)
    }

    /// The name of its service.
    pub(super) fn service(self) -> Option<&'static str> {
        self.names().map(|(service, _)| service)
    }

    /// The path of its requests.
    pub(super) fn path(self) -> Option<String> {
        self.names().map(|(service, method)| format!("/{service}/{method}"))
    }

    fn names(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Diarize => Some(("diarized.v1.Diarizer", "Diarize")),
            Self::Predict => Some(("voicepersonification.BrouhahaVADGrpcService", "Predict")),
            Self::Ecapa => Some(("voicepersonification.ECAPATDNNGrpcService", "Embed")),
            Self::Large => Some(("voicepersonification.ItmoPersonificationLargeGrpcService", "Embed")),
            Self::Segment => {
                Some(("voicepersonification.ItmoPersonificationSegmentationGrpcService", "Segment"))
            }
            Self::Transcribe => Some(("voicepersonification.WhisperRecognitionGrpcService", "Transcribe")),
            Self::Other => None,
        }
    }
}

/// Codes of the statuses that a call can end with, with their words.
const CODES: [(Code, &str); 16] = [
    (Code::Cancelled, "cancelled"),
    (Code::Unknown, "unknown"),
    (Code::InvalidArgument, "invalid_argument"),
    (Code::DeadlineExceeded, "deadline_exceeded"),
    (Code::NotFound, "not_found"),
    (Code::AlreadyExists, "already_exists"),
    (Code::PermissionDenied, "permission_denied"),
    (Code::ResourceExhausted, "resource_exhausted"),
    (Code::FailedPrecondition, "failed_precondition"),
    (Code::Aborted, "aborted"),
    (Code::OutOfRange, "out_of_range"),
    (Code::Unimplemented, "unimplemented"),
    (Code::Internal, "internal"),
    (Code::Unavailable, "unavailable"),
    (Code::DataLoss, "data_loss"),
    (Code::Unauthenticated, "unauthenticated"),
];

/// Counters of calls.
#[derive(Debug)]
pub(in crate::server) struct GrpcCounts {
    /// In the order of the kinds.
    calls: Vec<Count>,
    /// In the order of the codes.
    refused: Vec<Count>,
}

impl Default for GrpcCounts {
    fn default() -> Self {
        let counts = |n: usize| (0..n).map(|_| Count::default()).collect();
        Self { calls: counts(Kind::VARIANTS.len()), refused: counts(CODES.len()) }
    }
}

impl GrpcCounts {
    /// Counts a call, and the code that it was refused with.
    pub(super) fn count(&self, kind: Kind, refused: Option<Code>) {
        if let Some(idx) = Kind::VARIANTS.iter().position(|known| *known == kind) {
            self.calls[idx].add(1);
        }
        if let Some(idx) = CODES.iter().position(|(known, _)| Some(*known) == refused) {
            self.refused[idx].add(1);
        }
    }

    /// Writes them for Prometheus.
    pub(in crate::server) fn write(&self, page: &mut PrometheusText) {
        let calls = Kind::VARIANTS.iter().zip(&self.calls).map(|(kind, n)| (<&str>::from(*kind), n.get()));
        page.counters("grpc_calls_total", "gRPC calls.", "kind", calls);
        let refused = CODES.iter().zip(&self.refused).map(|((_, word), n)| (*word, n.get()));
        let help = "gRPC calls that ended with an error before any message, by code.";
        page.counters("grpc_refused_total", help, "code", refused);
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::super::messages::DESCRIPTION;
    use super::*;

    #[test]
    fn the_methods_are_those_of_the_descriptions() {
        let mut described: Vec<String> = prost_types::FileDescriptorSet::decode(DESCRIPTION)
            .unwrap()
            .file
            .iter()
            .flat_map(|file| file.service.iter().map(move |service| (file.package(), service)))
            .flat_map(|(package, service)| {
                let path = move |method: &str| format!("/{package}.{}/{method}", service.name());
                service.method.iter().map(move |method| path(method.name()))
            })
            .collect();
        let mut served: Vec<String> = Kind::VARIANTS.iter().filter_map(|kind| kind.path()).collect();
        described.sort();
        served.sort();
        assert_eq!(served, described);
    }

    #[test]
    fn a_path_names_its_service() {
        for kind in Kind::VARIANTS.iter().copied().filter(|kind| *kind != Kind::Other) {
            let service = kind.service().unwrap();
            assert_eq!(Kind::of(&format!("/{service}/Any")), kind);
            assert_eq!(Kind::of(&format!("/{service}x/Any")), Kind::Other);
        }
        for path in ["", "/", "//", "/grpc.health.v1.Health/Check", "/voicepersonification.Nobody/Embed"] {
            assert_eq!(Kind::of(path), Kind::Other, "{path}");
        }
    }
}
