//! An open audio file.

use std::io::Read;
use std::time::Duration;

use super::container::Container;
use super::error::{AudioFileError, AudioProblem, Fault};
use super::limits::{MAX_CHANNELS, RATES_HZ};
use super::raw::{RawFormat, RawReader};
use super::step::{Piece, Step};

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
    /// Frames given out, gaps included, and those of them before the first sample.
    n_read_frames: u64,
    n_late_frames: u64,
    /// A gap that was met on opening.
    pending_gap: Option<u64>,
    /// The first block, decoded on opening.
    pending: Option<Vec<f32>>,
    /// Silence that is still to be given in the place of a gap.
    n_silent_frames: u64,
    pub(super) problems: Vec<AudioProblem>,
    is_done: bool,
}

pub(super) enum Source {
    Container(Box<Container>),
    Raw(RawReader),
}

impl AudioFile {
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

    pub(super) fn start(
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
            n_late_frames: 0,
            pending_gap: None,
            pending: None,
            n_silent_frames: 0,
            problems: Vec::new(),
            is_done: false,
        };
        let mut first = Vec::new();
        let has_samples = loop {
            match audio.decode(&mut first)? {
                Piece::Samples => break true,
                Piece::Gap(n_frames) => audio.n_late_frames += n_frames,
                Piece::End => break false,
            }
        };
        if let Source::Container(container) = &audio.source
            && container.promise_is_an_end()
        {
            audio.n_promised_frames = audio.n_promised_frames.map(|n| n.saturating_sub(audio.n_late_frames));
        }
        audio.pending_gap = Some(audio.n_late_frames).filter(|n| *n > 0);
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
        let n_frames = self.n_promised_frames?.saturating_add(self.n_late_frames);
        let seconds = n_frames as f64 / f64::from(self.sample_rate_hz);
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
    /// hold values that are not finite); where the file has a gap, by silence. `false` at the end, with an empty block.
    ///
    /// # Errors
    /// The system failed to read the file; what was read before stays good.
    pub fn read(&mut self, block: &mut Vec<f32>) -> Result<bool, AudioFileError> {
        loop {
            if self.n_silent_frames > 0 {
                let n_frames = self.n_silent_frames.min(u64::from(self.sample_rate_hz));
                self.n_silent_frames -= n_frames;
                block.clear();
                block.resize(n_frames as usize * self.n_channels, 0.0);
                return Ok(true);
            }
            match self.next(block)? {
                Piece::Samples => return Ok(true),
                Piece::Gap(n_frames) => self.n_silent_frames = n_frames,
                Piece::End => return Ok(false),
            }
        }
    }

    /// As [`Self::read`], but a gap is reported with an empty block, and not filled.
    ///
    /// # Errors
    /// The system failed to read the file; what was read before stays good.
    pub fn next(&mut self, block: &mut Vec<f32>) -> Result<Piece, AudioFileError> {
        block.clear();
        let piece = match (self.pending_gap.take(), self.pending.take()) {
            (Some(n_frames), first) => {
                self.pending = first;
                Piece::Gap(n_frames)
            }
            (None, Some(first)) => {
                block.extend_from_slice(&first);
                Piece::Samples
            }
            (None, None) => self.decode(block)?,
        };
        self.n_read_frames += match piece {
            Piece::Gap(n_frames) => n_frames,
            _ => (block.len() / self.n_channels) as u64,
        };
        if piece == Piece::End {
            self.compare_with_promise();
        }
        Ok(piece)
    }

    /// Decodes until there are samples or a gap, or the end is reached.
    fn decode(&mut self, block: &mut Vec<f32>) -> Result<Piece, AudioFileError> {
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
                Ok(Step::Samples) => return Ok(Piece::Samples),
                Ok(Step::Gap(n_frames)) => return Ok(Piece::Gap(n_frames)),
                Ok(Step::End(problem)) => {
                    self.is_done = true;
                    self.problems.extend(problem);
                    if let Source::Container(container) = &mut self.source {
                        let n_packets = container.n_damaged_packets();
                        let damaged = AudioProblem::DamagedPackets { n_packets };
                        self.problems.extend((n_packets > 0).then_some(damaged));
                        self.problems.extend(container.change());
                    }
                    if !block.is_empty() {
                        return Ok(Piece::Samples);
                    }
                }
            }
        }
        Ok(Piece::End)
    }

    /// A file that ends well before what its header promises was cut off.
    fn compare_with_promise(&mut self) {
        let n_read_frames = self.n_read_frames - self.n_late_frames;
        // It is compared once.
        // What is promised is counted in the first format.
        let changes =
            self.problems.iter().any(|problem| matches!(problem, AudioProblem::FormatChange { .. }));
        let n_promised = self.n_promised_frames.take().filter(|_| n_read_frames > 0 && !changes);
        let Some(n_promised) = n_promised else { return };
        let slack =
            u64::from(self.sample_rate_hz / 10) + if self.promise_is_exact { 0 } else { n_promised / 20 };
        if n_read_frames + slack < n_promised {
            let seconds = |n_frames: u64| n_frames as f64 / f64::from(self.sample_rate_hz);
            self.problems.retain(|problem| !matches!(problem, AudioProblem::Broken { .. }));
            self.problems.push(AudioProblem::Truncated {
                expected_s: seconds(n_promised),
                got_s: seconds(n_read_frames),
            });
        }
    }

    pub(super) fn error(&self, fault: Fault) -> AudioFileError {
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
