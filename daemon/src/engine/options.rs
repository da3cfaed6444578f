//! From the configuration to a loaded model and the parameters of a diarizer.

use crate::voices::StoreError;
use diarized_config::ModelConfig;
use diarized_models::{Diarizer, DiarizerOptions, DiarizerParams, Embedder, LoadError, ModelSource};

/// Why labelling cannot begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetUpError {
    /// The model cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The second model cannot be loaded.
    #[error("the second model (model.second) cannot be used")]
    Second(#[source] LoadError),
    /// A parameter that the configuration let pass is refused by the diarizer.
    #[error("diarization: {reason}")]
    Params {
        /// Every fault.
        reason: String,
    },
    /// The voiceprint store cannot be read.
    #[error("voices are enabled, but the store cannot be used (voices.enabled = false does without)")]
    Voices(#[from] StoreError),
    /// The operating system gave no thread.
    #[error("cannot start the inference threads")]
    Thread(#[from] std::io::Error),
}

/// The diarizer's parameters as configured.
///
/// # Errors
/// [`SetUpError::Params`] with every fault.
pub fn diarizer_params(options: &DiarizerOptions) -> Result<DiarizerParams, SetUpError> {
    DiarizerParams::try_new(options.clone()).map_err(|faults| {
        let reason = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        SetUpError::Params { reason }
    })
}

/// The configured model, warm for the windows that diarizers with `params` ask for.
///
/// # Errors
/// [`SetUpError::Load`]
pub fn load_embedder(config: &ModelConfig, params: &DiarizerParams) -> Result<Embedder, SetUpError> {
    let source = config.path.clone().map_or(ModelSource::Builtin, ModelSource::Folder);
    Ok(Embedder::load(&source, &Diarizer::window_frames(params))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_configuration_is_the_default_of_the_diarizer() {
        let config = diarized_config::Config::default();
        let params = diarizer_params(&config.diarization).unwrap();
        assert_eq!(params.options(), &DiarizerOptions::default());
    }
}
