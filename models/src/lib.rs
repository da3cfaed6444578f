//! Everything `diarized` has learned or infers: voice models, embeddings, clustering, the diarizer, scoring.
//!
//! Pure after load: no sockets, devices, threads or clocks. The [`diarizer`] is a sans-I/O state machine that
//! serves live audio, WebSocket audio and files alike.

pub mod events;
pub mod rttm;

pub use events::{Event, Segment, SegmentId, SessionState, SpeakerId, SpeakerInfo};
