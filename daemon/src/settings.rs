//! From the configuration's plain values to the parameters of the crates below.

use std::sync::Arc;

use diarized_config::{Channel, Config};
use diarized_dsp::ChannelSelect;

use crate::engine::{LiveEngines, SetUpError};
use crate::session::EngineFactory;

/// The channel that the intake listens to.
#[must_use]
pub fn channel(channel: Channel) -> ChannelSelect {
    match channel {
        Channel::Mix => ChannelSelect::Mix,
        Channel::One(idx) => ChannelSelect::One(idx),
    }
}

/// Threads that compute embeddings: as configured, or one a core.
#[must_use]
pub fn n_threads(config: &Config) -> usize {
    match config.inference.threads {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get),
        n => n,
    }
}

/// Loads the voice model and starts the workers that recordings share.
///
/// # Errors
/// [`SetUpError`]; one about the model names the file.
pub fn engines_for_recordings(config: &Config) -> Result<Arc<dyn EngineFactory>, SetUpError> {
    Ok(Arc::new(LiveEngines::start(config)?.for_recordings()))
}
