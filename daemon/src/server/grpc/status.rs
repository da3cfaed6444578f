//! Errors of the server as the status of a call.

use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

use super::super::fault::Fault;
use crate::protocol::ErrorCode;

/// Key of the metadata that hold the error code of docs/protocol.md.
const CODE_KEY: &str = "diarized-code";

/// A status with the error code beside it.
pub(super) fn status(code: ErrorCode, reason: impl Into<String>) -> Status {
    let metadata = MetadataMap::with_capacity(1);
    let mut status = Status::with_metadata(grpc_code(code), reason, metadata);
    status.metadata_mut().insert(CODE_KEY, MetadataValue::from_static(code.as_str()));
    status
}

impl From<Fault> for Status {
    fn from(Fault(_, code, reason): Fault) -> Self {
        status(code, reason)
    }
}

fn grpc_code(code: ErrorCode) -> Code {
    use ErrorCode as E;
    match code {
        E::BadMessage | E::UnknownType | E::UnknownField | E::BadAudioFormat | E::BadFrame | E::BadClip => {
            Code::InvalidArgument
        }
        E::NotStarted | E::AlreadyStarted | E::NotHere | E::Refused | E::Elsewhere => {
            Code::FailedPrecondition
        }
        E::UnknownSpeaker | E::UnknownSegment | E::UnknownVoice | E::NotFound => Code::NotFound,
        E::Unauthorised => Code::Unauthenticated,
        E::Forbidden => Code::PermissionDenied,
        E::Idle => Code::DeadlineExceeded,
        E::Conflict => Code::AlreadyExists,
        E::Superseded => Code::Aborted,
        E::FrameTooLarge
        | E::TooManySessions
        | E::QuotaExceeded
        | E::TooManyConnections
        | E::TooManySubscribers
        | E::TooManyMessages => Code::ResourceExhausted,
        E::Overloaded | E::ShuttingDown => Code::Unavailable,
        E::VoicesOff => Code::Unimplemented,
        E::VoiceStore | E::Internal => Code::Internal,
    }
}
