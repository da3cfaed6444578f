//! Faults of an audio file: errors, and non-fatal problems.

use std::io;
use std::ops::RangeInclusive;

use super::kind::Foreign;

/// Why a file cannot be used: one line that names the file and the remedy.
#[derive(Debug, thiserror::Error)]
#[error("{name}: {fault}")]
pub struct AudioFileError {
    /// The file as the user named it.
    pub name: String,
    /// What is wrong.
    pub fault: Fault,
}

impl AudioFileError {
    pub(super) fn new(name: &str, fault: Fault) -> Self {
        Self { name: name.to_owned(), fault }
    }
}

/// What stops a file from being used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The system does not open it.
    #[error("cannot be opened ({source}){}", open_hint(source))]
    Open {
        /// Error of the system; it is part of the text.
        source: io::Error,
    },
    /// The system failed while reading.
    #[error("cannot be read ({source})")]
    Read {
        /// Error of the system; it is part of the text.
        source: io::Error,
    },
    /// It is a folder.
    #[error("is a directory: name the files in it")]
    Directory,
    /// It is a folder that stands for the audio files in it, and there are none.
    #[error(
        "is a directory without audio files, going by their names: name the files, or a folder that holds some"
    )]
    EmptyDirectory,
    /// It holds no byte.
    #[error("is empty (0 bytes): record or copy it again")]
    Empty,
    /// No known kind of file.
    #[error(
        "is not audio of a known kind (wav, flac, mp2, mp3, ogg, opus, m4a, aac, aiff, au, caf, mka, webm), or its beginning \
         is damaged: if it is audio, convert it, for example with `ffmpeg -i FILE out.wav`"
    )]
    UnknownKind,
    /// A known kind of file that is not read here.
    #[error("is {}, which is not read here: {}", kind.what, kind.advice)]
    Foreign {
        /// What it is.
        kind: Foreign,
    },
    /// A known kind of file without sound.
    #[error("holds no audio track")]
    NoTrack,
    /// The sound is stored in a way that nothing here decodes.
    #[error("uses {what}, which is not supported: convert it, for example with `ffmpeg -i FILE out.wav`")]
    Unsupported {
        /// What is not supported.
        what: String,
    },
    /// The rate is out of range.
    #[error(
        "has a sample rate of {got} Hz; it must be from {} to {} Hz: convert it, for example with `ffmpeg -i FILE \
         -ar 16000 out.wav`",
        expected.start(), expected.end()
    )]
    SampleRate {
        /// The file's rate, in Hz.
        got: u32,
        /// What the signal path takes, in Hz.
        expected: RangeInclusive<u32>,
    },
    /// There are too many channels.
    #[error(
        "has {got} channels; 1 to {max} are taken: choose some, for example with `ffmpeg -i FILE -ac 1 out.wav`"
    )]
    Channels {
        /// The file's channels.
        got: usize,
        /// What the signal path takes.
        max: usize,
    },
    /// The chosen audio track is not in the file.
    #[error("has no audio track {got}: it has {n_tracks}, counted from 0")]
    NoSuchTrack {
        /// The track that was asked for, counted from 0.
        got: usize,
        /// The file's audio tracks.
        n_tracks: usize,
    },
    /// The chosen channel is not in the file.
    #[error("has no channel {got}: it has {n_channels}, counted from 0")]
    NoSuchChannel {
        /// The channel that was asked for, counted from 0.
        got: u16,
        /// The file's channels.
        n_channels: u16,
    },
    /// The header is sound but no sample follows.
    #[error("holds no samples: record or copy it again")]
    NoSamples,
    /// The header or the index cannot be read.
    #[error("is damaged or was cut off ({reason}): record or copy it again")]
    Damaged {
        /// Error of the reader.
        reason: String,
    },
    /// What is to be read first stands at the end, which a pipe does not reach.
    #[error("keeps its index at its end, or was cut off: name the file instead of piping it")]
    NotForPipes,
    /// Decoding exceeded the time limit of the caller.
    #[error("took longer than {limit_s:.0} s to decode: send a shorter piece, or convert it to wav first")]
    TooSlow {
        /// How long it may take, in seconds.
        limit_s: f64,
    },
    /// The caller has cancelled.
    #[error("decoding stopped before the end: the request was cancelled")]
    CalledOff,
    /// The file is damaged before its first sample.
    #[error("is damaged before its first sample ({problem}): record or copy it again")]
    NothingDecoded {
        /// What was met.
        problem: AudioProblem,
    },
}

fn open_hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::NotFound => ": check the name",
        io::ErrorKind::PermissionDenied => ": check its permissions",
        _ => "",
    }
}

/// What is wrong with a file of which something could be read; the rest of it is used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AudioProblem {
    /// The file is shorter than its header promises.
    #[error(
        "ends after {got_s:.1} s of the {expected_s:.1} s that its header promises: it may have been cut off"
    )]
    Truncated {
        /// What the header promises, in seconds.
        expected_s: f64,
        /// What there is, in seconds.
        got_s: f64,
    },
    /// The file cannot be read beyond a place in it.
    #[error("is damaged after {at_s:.1} s ({reason}); the rest of it is not used")]
    Broken {
        /// Where, in seconds of audio.
        at_s: f64,
        /// Error of the decoder.
        reason: String,
    },
    /// Single packets cannot be decoded.
    #[error("has {n_packets} damaged packets; silence stands in their place")]
    DamagedPackets {
        /// How many.
        n_packets: u64,
    },
    /// The recorder never wrote the length into the header.
    #[error("has a header that promises no data though data follows; all of it is used")]
    UnfinishedHeader,
    /// Float samples are NaN or infinite.
    #[error("holds {n_samples} samples that are no finite number; silence stands in their place")]
    NonFinite {
        /// How many.
        n_samples: u64,
    },
    /// Raw PCM does not end with a whole frame.
    #[error("ends with {n_bytes} bytes that are no whole frame; they are not used")]
    PartialFrame {
        /// Bytes left over.
        n_bytes: usize,
    },
    /// The sound changes its rate or channels.
    #[error("changes from {from} to {to} after {at_s:.1} s; what follows is converted")]
    FormatChange {
        /// Where, in seconds of audio.
        at_s: f64,
        /// Rate and channels before.
        from: String,
        /// Rate and channels after.
        to: String,
    },
    /// There is more than one audio track, and none was chosen.
    #[error("has {n_tracks} audio tracks, counted from 0; track {used} is used, choose another with --track")]
    SeveralTracks {
        /// The file's audio tracks.
        n_tracks: usize,
        /// The one that is used, counted from 0.
        used: usize,
    },
    /// Float samples are on the scale of integers.
    #[error(
        "holds float samples far above full scale, which is 1, as of {bits}-bit integers; they are scaled down"
    )]
    Scaled {
        /// Bits of those integers.
        bits: u32,
    },
    /// The mean of the channels is silent though they are not.
    #[error(
        "has channels that cancel each other, as where one is inverted; channel {used} is used there, choose with \
         --channel"
    )]
    Cancelled {
        /// The channel that is used, counted from 0.
        used: u16,
    },
}
