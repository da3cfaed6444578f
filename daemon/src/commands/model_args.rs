//! Flags for the voice model and its windows.

use super::config_args::FlagValue;

/// Which voice model, and how often it is asked. Flatten it into a command's arguments.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct ModelArgs {
    /// Folder of the voice model: model.onnx and model.toml [default: model.path, else the built-in one].
    #[arg(long, value_name = "DIR")]
    model: Option<String>,

    /// Length of the audio of one embedding, in ms [default: diarization.window_ms].
    #[arg(long, value_name = "MS")]
    window_ms: Option<String>,

    /// Hop: time between the starts of two windows, in ms [default: diarization.step_ms].
    #[arg(long, value_name = "MS")]
    step_ms: Option<String>,
}

impl ModelArgs {
    /// Their values as configuration keys.
    pub(super) fn flags(&self) -> [FlagValue; 3] {
        [
            ("--model", "model.path", self.model.clone()),
            ("--window-ms", "diarization.window_ms", self.window_ms.clone()),
            ("--step-ms", "diarization.step_ms", self.step_ms.clone()),
        ]
    }
}
