//! gRPC: the services of VoicePersonification, live diarization, health and reflection, on connections of their own.

mod audio_stream;
mod clips;
mod event;
mod guard;
mod health;
mod live;
mod measures;
mod messages;
mod methods;
mod services;
mod start;
mod status;
mod transcribe;

pub(super) use measures::GrpcCounts;
pub use services::{Grpc, GrpcError};
