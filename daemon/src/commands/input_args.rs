//! Flags for the encoding of standard input and the track of a file.

use std::path::Path;

use super::config_args::FlagValue;
use crate::audio_file::{AudioFile, AudioFileError, Fault, Opening, RawFormat, STDIN_NAME};
use crate::pcm::Encoding;

/// The track of a file. Flatten it into the arguments of a command.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub(super) struct TrackArgs {
    /// Audio track of files with several, counted from 0 [default: the default track of the file].
    #[arg(long, value_name = "N")]
    track: Option<usize>,
}

impl TrackArgs {
    /// Opens a file.
    pub(super) fn open(self, path: &Path) -> Result<AudioFile, AudioFileError> {
        self.opening().file(path)
    }

    fn opening(self) -> Opening {
        Opening { track: self.track, ..Opening::default() }
    }
}

/// The voice model, and what of the files it gets. Flatten it into the arguments of a command.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct ClipSourceArgs {
    /// Folder of the voice model: model.onnx and model.toml [default: model.second, else model.path, else the built-in one].
    #[arg(long, value_name = "DIR")]
    model: Option<String>,

    /// Channel of the files: `mix`, or a number counted from 0 [default: audio.channel].
    #[arg(long, value_name = "CHANNEL")]
    channel: Option<String>,

    #[command(flatten)]
    pub(super) track: TrackArgs,
}

impl ClipSourceArgs {
    /// Whether a voice model is among them.
    pub(super) fn names_model(&self) -> bool {
        self.model.is_some()
    }

    /// Their values as configuration keys.
    pub(super) fn flags(&self) -> [FlagValue; 2] {
        [("--model", "model.path", self.model.clone()), ("--channel", "audio.channel", self.channel.clone())]
    }
}

/// Options of audio input. Flatten it into the arguments of a command.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct InputArgs {
    #[command(flatten)]
    track: TrackArgs,

    /// Standard input is PCM without a header, in this encoding.
    #[arg(long, value_name = "ENCODING")]
    raw: Option<Encoding>,

    /// Rate of --raw, in Hz.
    #[arg(long, value_name = "HZ", default_value_t = 16_000, requires = "raw")]
    rate: u32,

    /// Interleaved channels of --raw.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "raw", value_parser = clap::value_parser!(u16).range(1..))]
    channels: u16,
}

impl InputArgs {
    /// The error for --raw without standard input among the files.
    pub(super) fn check<'a>(&self, mut files: impl Iterator<Item = &'a Path>) -> Result<(), &'static str> {
        match self.raw.is_some() && files.all(|file| file.as_os_str() != STDIN_NAME) {
            true => Err("--raw says how standard input is written, so one of the files must be `-`"),
            false => Ok(()),
        }
    }

    /// Opens a file, or standard input for `-`.
    pub(super) fn open(&self, path: &Path) -> Result<AudioFile, AudioFileError> {
        if path.as_os_str() != STDIN_NAME {
            return self.track.open(path);
        }
        match self.raw {
            Some(encoding) => {
                let format = RawFormat { encoding, sample_rate_hz: self.rate, n_channels: self.channels };
                AudioFile::raw("standard input", std::io::stdin(), format)
            }
            None => self.track.opening().stdin(),
        }
    }

    /// The same for a command that accepts folders: a remaining folder contains no audio file.
    pub(super) fn open_of_folder(&self, path: &Path) -> Result<AudioFile, AudioFileError> {
        self.open(path).map_err(|error| match error.fault {
            Fault::Directory => AudioFileError { fault: Fault::EmptyDirectory, ..error },
            _ => error,
        })
    }
}
