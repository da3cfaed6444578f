//! The engine: one voice model, inference threads shared by all sessions, and their diarizers.

mod live;
mod options;
mod pool;
mod queue;
mod second;

pub use live::LiveEngines;
pub use options::{SetUpError, diarizer_params, load_embedder};
pub use pool::{Answer, InferencePool};
