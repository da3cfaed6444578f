//! From the configuration to a loaded model and the parameters of a diarizer.

use crate::voices::StoreError;
use diarized_config::{DiarizationConfig, ModelConfig, VadMode};
use diarized_models::{
    Diarizer, DiarizerOptions, DiarizerParams, Embedder, LoadError, ModelSource, SpeechDetector,
};

/// Why labelling cannot begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetUpError {
    /// The model cannot be loaded.
    #[error(transparent)]
    Load(#[from] LoadError),
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
pub fn diarizer_params(config: &DiarizationConfig) -> Result<DiarizerParams, SetUpError> {
    let mut options = DiarizerOptions::default();
    options.window_ms = config.window_ms;
    options.step_ms = config.step_ms;
    options.first_label_ms = config.first_label_ms;
    options.hold_back_ms = config.hold_back_ms;
    options.settle_ms = config.settle_ms;
    options.vad = match config.vad_mode {
        VadMode::Quality => SpeechDetector::WebRtc { mode: 0 },
        VadMode::LowBitrate => SpeechDetector::WebRtc { mode: 1 },
        VadMode::Aggressive => SpeechDetector::WebRtc { mode: 2 },
        VadMode::VeryAggressive => SpeechDetector::WebRtc { mode: 3 },
        _ => SpeechDetector::Network,
    };
    options.vad_onset = config.vad_onset as f32;
    options.vad_offset = config.vad_offset as f32;
    options.min_speech_ms = config.min_speech_ms;
    options.min_silence_ms = config.min_silence_ms;
    options.bridge_ms = config.bridge_ms;
    options.pad_ms = config.pad_ms;
    options.overlap_onset = config.overlap_onset as f32;
    options.max_speakers = config.max_speakers.map(|n| n as usize);
    options.expected_speakers = config.expected_speakers.map(|n| n as usize);
    options.stick_llr = config.stick_llr as f32;
    options.new_speaker_llr = config.new_speaker_llr as f32;
    options.switch_cost = config.switch_cost as f32;
    options.voice_weight = config.voice_weight as f32;
    options.new_speaker_windows = config.new_speaker_windows;
    options.min_speaker_ms = config.min_speaker_ms;
    options.max_exemplars = config.max_exemplars;
    options.final_pass = config.final_pass;
    DiarizerParams::try_new(options).map_err(|faults| {
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
