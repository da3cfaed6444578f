//! The engine: one voice model, a few threads that embed for every session, and diarizers driven with them.

mod live;
mod options;
mod pool;
mod queue;

pub use live::LiveEngines;
pub use options::{SetUpError, diarizer_params, load_embedder};
pub use pool::{Answer, InferencePool};
