//! Audio files of all usual kinds as blocks of interleaved samples, decoded as they are read.

mod adts;
mod budget;
mod clock;
mod conform;
mod container;
mod decoders;
mod error;
mod fragments;
mod guard;
mod kind;
mod layout;
mod limits;
mod matroska;
mod mono;
mod mp4;
mod mp4_boxes;
mod open_file;
mod opening;
mod raw;
mod source;
mod step;
mod track_layout;
mod tracks;
mod watch;
mod wav;

#[cfg(test)]
mod formats;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod times;

pub use budget::{CallOff, Patience};
pub use error::{AudioFileError, AudioProblem, Fault};
pub use guard::quiet_decoder_panics;
pub use kind::Foreign;
pub use mono::MonoFile;
pub use open_file::AudioFile;
pub use opening::Opening;
pub use raw::RawFormat;
pub use step::Piece;

/// The name that stands for standard input.
pub const STDIN_NAME: &str = "-";
