//! Audio files of all usual kinds as blocks of interleaved samples, decoded as they are read.

mod budget;
mod container;
mod error;
mod guard;
mod mono;
mod raw;
mod watch;

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

use diarized_dsp::intake::{self, MAX_INPUT_RATE_HZ, MIN_INPUT_RATE_HZ};
use symphonia::core::io::{MediaSource, ReadOnlySource};

pub use budget::{CallOff, Patience};
pub use error::{AudioFileError, AudioProblem, Fault};
pub use guard::quiet_decoder_panics;
pub use mono::MonoFile;
pub use raw::RawFormat;

use container::Container;
use raw::RawReader;

/// The name that stands for standard input.
pub const STDIN_NAME: &str = "-";

/// Rates that the signal path takes, in Hz.
const RATES_HZ: std::ops::RangeInclusive<u32> = MIN_INPUT_RATE_HZ..=MAX_INPUT_RATE_HZ;
/// Most channels that the signal path takes.
const MAX_CHANNELS: usize = intake::MAX_CHANNELS as usize;

/// An open audio file: rate and channels are known, and the first samples are there.
///
/// Holds one packet of the file and one block of samples, whatever the file's length. Blocks allocate only while
/// they grow to the file's largest packet. One thread at a time; `Send`.
pub struct AudioFile {
    name: String,
    source: Source,
    sample_rate_hz: u32,
    n_channels: usize,
    n_promised_frames: Option<u64>,
    /// Whether the promise counts exactly what a whole file holds, or is an estimate.
    promise_is_exact: bool,
    n_read_frames: u64,
    /// The first block, decoded on opening.
    pending: Option<Vec<f32>>,
    problems: Vec<AudioProblem>,
    is_done: bool,
}

enum Source {
    Container(Box<Container>),
    Raw(RawReader),
}

/// What one step of decoding gave.
enum Step {
    /// Samples were appended.
    Samples,
    /// The file is at its end, or cannot be read further because of the problem.
    End(Option<AudioProblem>),
}

impl AudioFile {
    /// Opens the file at `path`; the kind is told from its content, not from its name.
    ///
    /// # Errors
    /// [`AudioFileError`] names the file, what is wrong with it and what to do: it is absent, a directory, empty,
    /// not audio, of an unknown codec, of a rate or channel count that the signal path does not take, or damaged
    /// before its first sample.
    pub fn open(path: &Path) -> Result<Self, AudioFileError> {
        let name = path.display().to_string();
        let fail = |fault| AudioFileError::new(&name, fault);
        let mut file = std::fs::File::open(path).map_err(|source| fail(Fault::Open { source }))?;
        let metadata = file.metadata().map_err(|source| fail(Fault::Open { source }))?;
        if metadata.is_dir() {
            return Err(fail(Fault::Directory));
        }
        if metadata.is_file() && metadata.len() == 0 {
            return Err(fail(Fault::Empty));
        }
        if metadata.is_file()
            && let Some((format, offset)) = raw::unfinished_wav(&mut file, metadata.len())
        {
            file.seek(SeekFrom::Start(offset)).map_err(|source| fail(Fault::Read { source }))?;
            let mut audio = Self::raw(&name, file, format)?;
            audio.problems.push(AudioProblem::UnfinishedHeader);
            return Ok(audio);
        }
        if metadata.is_file() {
            file.rewind().map_err(|source| fail(Fault::Read { source }))?;
        }
        let opened = Self::from_source(&name, Box::new(file), Patience::default());
        if opened.is_err() && metadata.is_file() {
            // Some readers look at the end of a file first and give up if it was cut off; in a pipe they cannot.
            let again = std::fs::File::open(path).map_err(|source| fail(Fault::Open { source }))?;
            if let Ok(audio) = Self::pipe(&name, again) {
                return Ok(audio);
            }
        }
        opened
    }

    /// Reads a file of any kind from a pipe; `name` stands for it in messages.
    ///
    /// # Errors
    /// As [`Self::open`]; kinds that keep their index at the end of the file (many m4a) cannot be read so.
    pub fn pipe(name: &str, reader: impl Read + Send + Sync + 'static) -> Result<Self, AudioFileError> {
        Self::pipe_within(name, reader, Patience::default())
    }

    /// The same for as long as `patience` lasts, checked before every packet.
    ///
    /// # Errors
    /// As [`Self::pipe`], [`Fault::TooSlow`], [`Fault::CalledOff`]; the last two also from [`Self::read`].
    pub fn pipe_within(
        name: &str,
        reader: impl Read + Send + Sync + 'static,
        patience: Patience,
    ) -> Result<Self, AudioFileError> {
        let source = Box::new(ReadOnlySource::new(reader));
        Self::from_source(name, source, patience).map_err(|error| match &error.fault {
            Fault::Damaged { reason } if reason.contains("missing moov atom") => {
                AudioFileError::new(name, Fault::NotForPipes)
            }
            _ => error,
        })
    }

    /// Reads PCM without a header; `name` stands for it in messages.
    ///
    /// # Errors
    /// A rate or channel count that the signal path does not take, no data, or a failed read.
    pub fn raw(
        name: &str,
        reader: impl Read + Send + 'static,
        format: RawFormat,
    ) -> Result<Self, AudioFileError> {
        let source = Source::Raw(RawReader::new(Box::new(reader), format));
        Self::start(name, source, None, true)
    }

    fn from_source(
        name: &str,
        source: Box<dyn MediaSource>,
        patience: Patience,
    ) -> Result<Self, AudioFileError> {
        let container =
            Container::open(source, patience).map_err(|fault| AudioFileError::new(name, fault))?;
        let (n_promised, is_exact) = (container.n_promised_frames(), container.promise_is_exact());
        Self::start(name, Source::Container(Box::new(container)), n_promised, is_exact)
    }

    fn start(
        name: &str,
        source: Source,
        n_promised_frames: Option<u64>,
        promise_is_exact: bool,
    ) -> Result<Self, AudioFileError> {
        let mut audio = Self {
            name: name.to_owned(),
            source,
            sample_rate_hz: 0,
            n_channels: 0,
            n_promised_frames,
            promise_is_exact,
            n_read_frames: 0,
            pending: None,
            problems: Vec::new(),
            is_done: false,
        };
        let mut first = Vec::new();
        let has_samples = audio.decode(&mut first)?;
        let (rate_hz, n_channels) = audio.source.spec();
        (audio.sample_rate_hz, audio.n_channels) = (rate_hz, n_channels);
        // A header that is wrong is a better reason than the lack of samples that follows from it.
        if (rate_hz != 0 || has_samples) && !RATES_HZ.contains(&rate_hz) {
            return Err(audio.error(Fault::SampleRate { got: rate_hz, expected: RATES_HZ }));
        }
        if n_channels > MAX_CHANNELS || (n_channels == 0 && has_samples) {
            return Err(audio.error(Fault::Channels { got: n_channels, max: MAX_CHANNELS }));
        }
        if !has_samples {
            let fault = match audio.problems.pop() {
                Some(problem) => Fault::NothingDecoded { problem },
                None => Fault::NoSamples,
            };
            return Err(audio.error(fault));
        }
        audio.pending = Some(first);
        Ok(audio)
    }

    /// The file as it is called in messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Rate of the samples, in Hz.
    #[must_use]
    pub fn sample_rate_hz(&self) -> u32 {
        self.sample_rate_hz
    }

    /// Interleaved channels, 1 to 8.
    #[must_use]
    pub fn n_channels(&self) -> u16 {
        u16::try_from(self.n_channels).expect("at most MAX_CHANNELS, checked on opening")
    }

    /// The length that the file's header promises, if it does.
    #[must_use]
    pub fn duration(&self) -> Option<Duration> {
        let seconds = self.n_promised_frames? as f64 / f64::from(self.sample_rate_hz);
        Duration::try_from_secs_f64(seconds).ok()
    }

    /// What was read so far.
    #[must_use]
    pub fn position(&self) -> Duration {
        Duration::from_secs_f64(self.n_read_frames as f64 / f64::from(self.sample_rate_hz))
    }

    /// What was found wrong so far and did not stop the reading; complete once [`Self::read`] gave `false`.
    #[must_use]
    pub fn problems(&self) -> &[AudioProblem] {
        &self.problems
    }

    /// Replaces `block` by the next samples, interleaved, full scale at ±1 (a float file may exceed it and may
    /// hold values that are not finite). `false` at the end, with an empty block.
    ///
    /// # Errors
    /// The system failed to read the file; what was read before stays good.
    pub fn read(&mut self, block: &mut Vec<f32>) -> Result<bool, AudioFileError> {
        block.clear();
        match self.pending.take() {
            Some(first) => block.extend_from_slice(&first),
            None => {
                if !self.decode(block)? {
                    return Ok(false);
                }
            }
        }
        self.n_read_frames += (block.len() / self.n_channels) as u64;
        Ok(true)
    }

    /// Decodes until there are samples or the end is reached.
    fn decode(&mut self, block: &mut Vec<f32>) -> Result<bool, AudioFileError> {
        while !self.is_done {
            let step = match &mut self.source {
                Source::Container(container) => container.step(block),
                Source::Raw(raw) => raw.step(block),
            };
            match step {
                Err(fault) => {
                    self.is_done = true;
                    return Err(self.error(fault));
                }
                Ok(Step::Samples) if block.is_empty() => {}
                Ok(Step::Samples) => return Ok(true),
                Ok(Step::End(problem)) => {
                    self.is_done = true;
                    self.problems.extend(problem);
                    if let Source::Container(container) = &self.source
                        && container.n_damaged_packets() > 0
                    {
                        let n_packets = container.n_damaged_packets();
                        self.problems.push(AudioProblem::DamagedPackets { n_packets });
                    }
                    self.compare_with_promise();
                }
            }
        }
        Ok(false)
    }

    /// A file that ends well before what its header promises was cut off.
    fn compare_with_promise(&mut self) {
        let Some(n_promised) = self.n_promised_frames.filter(|_| self.n_read_frames > 0) else { return };
        let slack =
            u64::from(self.sample_rate_hz / 10) + if self.promise_is_exact { 0 } else { n_promised / 20 };
        if self.n_read_frames + slack < n_promised {
            let seconds = |n_frames: u64| n_frames as f64 / f64::from(self.sample_rate_hz);
            self.problems.retain(|problem| !matches!(problem, AudioProblem::Broken { .. }));
            self.problems.push(AudioProblem::Truncated {
                expected_s: seconds(n_promised),
                got_s: seconds(self.n_read_frames),
            });
        }
    }

    fn error(&self, fault: Fault) -> AudioFileError {
        AudioFileError::new(&self.name, fault)
    }
}

impl Source {
    /// Rate in Hz and channels; zeros while they are unknown.
    fn spec(&self) -> (u32, usize) {
        match self {
            Self::Container(container) => container.spec(),
            Self::Raw(raw) => (raw.format().sample_rate_hz, usize::from(raw.format().n_channels)),
        }
    }
}

impl std::fmt::Debug for AudioFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AudioFile")
            .field("name", &self.name)
            .field("sample_rate_hz", &self.sample_rate_hz)
            .field("n_channels", &self.n_channels)
            .field("n_promised_frames", &self.n_promised_frames)
            .finish_non_exhaustive()
    }
}
