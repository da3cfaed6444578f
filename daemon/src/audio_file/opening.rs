//! Opens audio from a file, a pipe, standard input or memory in the same way.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek as _};
use std::path::Path;

use symphonia::core::io::{MediaSource, ReadOnlySource};

use super::budget::Patience;
use super::container::Container;
use super::error::{AudioFileError, AudioProblem, Fault};
use super::open_file::{AudioFile, Source};
use super::{kind, source, wav};

/// The name of standard input in messages.
const STDIN: &str = "standard input";

/// How audio is opened.
#[derive(Debug, Clone, Default)]
pub struct Opening {
    /// The audio track that is wanted, counted from 0; without it the default one.
    pub track: Option<usize>,
    /// How long the reading may take, checked before every packet.
    pub patience: Patience,
}

impl Opening {
    /// Opens the file at `path`; the kind depends on its content, not on its name.
    ///
    /// # Errors
    /// [`AudioFileError`] names the file, what is wrong with it and what to do: it is absent, a directory, empty,
    /// not audio, of an unknown codec, of a rate or channel count that the signal path does not take, or damaged
    /// before its first sample; or patience ends ([`Fault::TooSlow`], [`Fault::CalledOff`]), then or while it is read.
    pub fn file(&self, path: &Path) -> Result<AudioFile, AudioFileError> {
        let name = path.display().to_string();
        let fail = |fault| AudioFileError::new(&name, fault);
        let open = || File::open(path).map_err(|source| fail(Fault::Open { source }));
        let file = open()?;
        let metadata = file.metadata().map_err(|source| fail(Fault::Open { source }))?;
        if metadata.is_dir() {
            return Err(fail(Fault::Directory));
        }
        if !metadata.is_file() {
            return self.pipe(&name, file);
        }
        if metadata.len() == 0 {
            return Err(fail(Fault::Empty));
        }
        self.seekable(&name, Box::new(file), || Ok(Box::new(open()?)))
    }

    /// Reads a file that is in memory; `name` stands for it in messages.
    ///
    /// # Errors
    /// As [`Self::file`].
    pub fn memory(
        &self,
        name: &str,
        bytes: impl AsRef<[u8]> + Clone + Send + Sync + 'static,
    ) -> Result<AudioFile, AudioFileError> {
        if bytes.as_ref().is_empty() {
            return Err(AudioFileError::new(name, Fault::Empty));
        }
        let again = bytes.clone();
        self.seekable(name, Box::new(Cursor::new(bytes)), || Ok(Box::new(Cursor::new(again))))
    }

    /// Reads a file of any kind from standard input, which may be a file itself.
    ///
    /// # Errors
    /// As [`Self::pipe`].
    pub fn stdin(&self) -> Result<AudioFile, AudioFileError> {
        match stdin_file() {
            Some(file) => self.open(STDIN, Box::new(file)),
            None => self.pipe(STDIN, io::stdin()),
        }
    }

    /// Reads a file of any kind from a pipe; `name` stands for it in messages.
    ///
    /// # Errors
    /// As [`Self::file`]; kinds that keep their index at the end of the file (many m4a) cannot be read so.
    pub fn pipe(
        &self,
        name: &str,
        reader: impl Read + Send + Sync + 'static,
    ) -> Result<AudioFile, AudioFileError> {
        self.open(name, Box::new(ReadOnlySource::new(reader))).map_err(|error| match &error.fault {
            Fault::Damaged { reason } if reason.contains("missing moov atom") => {
                AudioFileError::new(name, Fault::NotForPipes)
            }
            _ => error,
        })
    }

    /// Opens what can seek. Some readers look at the end of a file first and give up if it was cut off; in a pipe they
    /// cannot, so what fails is read `again` as one.
    fn seekable<R: Read + Send + Sync + 'static>(
        &self,
        name: &str,
        source: Box<dyn MediaSource>,
        again: impl FnOnce() -> Result<Box<R>, AudioFileError>,
    ) -> Result<AudioFile, AudioFileError> {
        self.open(name, source).or_else(|error| self.pipe(name, again()?).map_err(|_| error))
    }

    fn open(&self, name: &str, source: Box<dyn MediaSource>) -> Result<AudioFile, AudioFileError> {
        let fail = |fault| AudioFileError::new(name, fault);
        let io_fault = |source| fail(Fault::Read { source });
        let (source, first) = source::without_tags(source)
            .and_then(|source| source::first_bytes(source, kind::LOOK_BYTES))
            .map(|(first, source)| (source, first))
            .map_err(io_fault)?;
        if wav::is_wav(&first) {
            let wav = wav::open(source).map_err(fail)?;
            let container = Container::open(wav.source, self.track, self.patience.clone()).map_err(fail)?;
            let n_promised = wav.n_promised_frames.or(container.n_promised_frames());
            let mut audio = AudioFile::start(name, Source::Container(Box::new(container)), n_promised, true)?;
            audio.problems.extend(wav.is_unfinished.then_some(AudioProblem::UnfinishedHeader));
            return Ok(audio);
        }
        if let Some(kind) = kind::foreign(&first) {
            return Err(fail(Fault::Foreign { kind }));
        }
        let container = Container::open(source, self.track, self.patience.clone()).map_err(fail)?;
        let (n_promised, is_exact) = (container.n_promised_frames(), container.promise_is_exact());
        let (used, n_tracks) = container.track_of();
        let mut audio = AudioFile::start(name, Source::Container(Box::new(container)), n_promised, is_exact)?;
        if n_tracks > 1 && self.track.is_none() {
            audio.problems.push(AudioProblem::SeveralTracks { n_tracks, used });
        }
        Ok(audio)
    }
}

/// Standard input as the file that it is, at its beginning.
fn stdin_file() -> Option<File> {
    #[cfg(unix)]
    {
        use std::os::fd::AsFd as _;
        let mut file = File::from(io::stdin().as_fd().try_clone_to_owned().ok()?);
        let is_file = file.metadata().ok()?.is_file();
        (is_file && file.stream_position().ok()? == 0).then_some(file)
    }
    #[cfg(not(unix))]
    None
}

impl AudioFile {
    /// Opens the file at `path`; the kind depends on its content, not on its name.
    ///
    /// # Errors
    /// As [`Opening::file`].
    pub fn open(path: &Path) -> Result<Self, AudioFileError> {
        Opening::default().file(path)
    }

    /// Reads a file of any kind from a pipe; `name` stands for it in messages.
    ///
    /// # Errors
    /// As [`Opening::pipe`].
    pub fn pipe(name: &str, reader: impl Read + Send + Sync + 'static) -> Result<Self, AudioFileError> {
        Opening::default().pipe(name, reader)
    }
}
