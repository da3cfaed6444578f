//! Rich Transcription Time Marked files (NIST RT-09 evaluation plan, appendix A) and UEM files: parse and write.
//!
//! Times are whole nanoseconds, so a decimal text of up to nine places is kept exactly and a file that is
//! written and read again is the same file. Parsing is pure and strict: it works on bytes, never panics, and
//! the first malformed line ends it with an error that names file and line.

use std::fmt;
use std::str::FromStr;

use diarized_dsp::{SAMPLE_RATE_HZ, SampleIndex};

#[cfg(test)]
mod tests;

/// Largest time that a file may hold: 10⁹ seconds, so that sums of times stay far inside 64 bits.
pub const MAX_TIME: Nanos = Nanos(1_000_000_000 * 1_000_000_000);

/// A time or length in whole nanoseconds. Parsed values lie in `0..=`[`MAX_TIME`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Nanos(pub i64);

impl Nanos {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// The time nearest to `seconds`, clamped to `0..=`[`MAX_TIME`]; NaN gives zero.
    #[must_use]
    pub fn from_seconds(seconds: f64) -> Self {
        Self(((seconds * 1e9).round() as i64).clamp(0, MAX_TIME.0))
    }

    /// The time in seconds.
    #[must_use]
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1e9
    }
}

impl From<SampleIndex> for Nanos {
    /// Exact: a sample at 16 kHz lasts 62 500 ns. Positions past [`MAX_TIME`] give [`MAX_TIME`].
    fn from(at: SampleIndex) -> Self {
        const NANOS_PER_SAMPLE: u64 = 1_000_000_000 / SAMPLE_RATE_HZ as u64;
        Self(at.0.saturating_mul(NANOS_PER_SAMPLE).min(MAX_TIME.0 as u64) as i64)
    }
}

impl fmt::Display for Nanos {
    /// Seconds as a decimal with at least three places and as many as the value needs (at most nine).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, n) = (if self.0 < 0 { "-" } else { "" }, self.0.unsigned_abs());
        let mut places = format!("{:09}", n % 1_000_000_000);
        while places.len() > 3 && places.ends_with('0') {
            places.pop();
        }
        write!(f, "{sign}{}.{places}", n / 1_000_000_000)
    }
}

impl FromStr for Nanos {
    type Err = LineFault;

    /// Reads seconds. Plain decimals are exact to the nanosecond (further places are rounded half up);
    /// the exponent form that some tools write for small values (`1e-05`) is accepted and rounded.
    fn from_str(text: &str) -> Result<Self, LineFault> {
        let fault = || LineFault::Time { got: text.to_owned() };
        let (whole, places) = text.split_once('.').unwrap_or((text, ""));
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if digits(whole) && digits(places) && !(whole.is_empty() && places.is_empty()) {
            let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| fault())? };
            let mut nanos = 0;
            for place in 0..9 {
                nanos = nanos * 10 + places.as_bytes().get(place).map_or(0, |b| i64::from(b - b'0'));
            }
            nanos += i64::from(places.as_bytes().get(9).is_some_and(|b| *b >= b'5'));
            let total =
                whole.checked_mul(1_000_000_000).and_then(|w| w.checked_add(nanos)).ok_or_else(fault)?;
            return if total <= MAX_TIME.0 { Ok(Self(total)) } else { Err(fault()) };
        }
        let exponent_form = text.bytes().all(|b| b.is_ascii_digit() || b"eE+-.".contains(&b));
        match text.parse::<f64>() {
            Ok(s) if exponent_form && s >= 0.0 && s <= MAX_TIME.seconds() => Ok(Self::from_seconds(s)),
            _ => Err(fault()),
        }
    }
}

/// One SPEAKER line: a region of one speaker's speech in one recording.
#[derive(Debug, Clone, PartialEq)]
pub struct SpeakerTurn {
    /// Recording (the RTTM "file" field, without folder or extension). No ASCII white space, not empty.
    pub recording: String,
    /// Channel of the recording, as written (`1` for the first or only one).
    pub channel: String,
    /// Start of the speech from the start of the recording.
    pub start: Nanos,
    /// Length of the speech; zero is allowed and means nothing when scored.
    pub duration: Nanos,
    /// Speaker, any text without ASCII white space.
    pub speaker: String,
    /// The confidence field, where it holds a number.
    pub confidence: Option<f32>,
}

impl SpeakerTurn {
    /// End of the speech.
    #[must_use]
    pub fn end(&self) -> Nanos {
        Nanos(self.start.0.saturating_add(self.duration.0))
    }
}

impl fmt::Display for SpeakerTurn {
    /// The RTTM line, without line feed. What [`field`] would change in a name is changed here.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (recording, channel) = (field(&self.recording), field(&self.channel));
        let Self { start, duration, .. } = self;
        write!(f, "SPEAKER {recording} {channel} {start} {duration} <NA> <NA> {} ", field(&self.speaker))?;
        match self.confidence {
            Some(confidence) => write!(f, "{confidence} <NA>"),
            None => f.write_str("<NA> <NA>"),
        }
    }
}

/// A region of a recording to be scored: one line of a UEM file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UemRegion {
    /// Recording, as in [`SpeakerTurn::recording`].
    pub recording: String,
    /// Channel of the recording, as written.
    pub channel: String,
    /// Start of the region.
    pub start: Nanos,
    /// End of the region, after its start.
    pub end: Nanos,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineFault {
    /// The line is not UTF-8.
    #[error("the line is not UTF-8")]
    NotUtf8,
    /// The line has too few or too many fields.
    #[error("{got} fields, expected {expected}")]
    FieldCount {
        /// Number of fields that the format asks for, in words.
        expected: &'static str,
        /// Number of fields of the line.
        got: usize,
    },
    /// The first field is no RTTM object type.
    #[error("{got:?} is not an RTTM object type such as SPEAKER")]
    ObjectType {
        /// The first field.
        got: String,
    },
    /// A field that should hold seconds does not.
    #[error("time {got:?} is not a number of seconds from 0 to 1000000000")]
    Time {
        /// The field.
        got: String,
    },
    /// The confidence field holds neither `<NA>` nor a finite number.
    #[error("confidence {got:?} is neither a finite number nor <NA>")]
    Confidence {
        /// The field.
        got: String,
    },
    /// A region of a UEM file holds nothing.
    #[error("the region's end ({end}) must be after its start ({start})")]
    EmptyRegion {
        /// Start of the region.
        start: Nanos,
        /// End of the region.
        end: Nanos,
    },
}

/// A line that could not be read; nothing of its file was used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{origin}:{line}: {fault}")]
pub struct LineError {
    /// Name of the file, as the caller gave it.
    pub origin: String,
    /// Number of the line, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub fault: LineFault,
}

/// Object types of the RT-09 plan beside SPEAKER: known, and of no use to diarization.
const OTHER_OBJECT_TYPES: [&str; 14] = [
    "SEGMENT",
    "NOSCORE",
    "NO_RT_METADATA",
    "LEXEME",
    "NON-LEX",
    "NON-SPEECH",
    "FILLER",
    "EDIT",
    "IP",
    "SU",
    "CB",
    "A/P",
    "SPKR-INFO",
    "SPKR_INFO",
];

/// Reads the SPEAKER lines of an RTTM file in their order.
///
/// Skipped: empty lines, comments (first character `;`), object types of the plan other than SPEAKER, and a
/// byte order mark. The last field (signal look-ahead), which older files lack, may be absent. `origin` is
/// the file's name for errors.
///
/// # Errors
/// [`LineError`] for the first line that is none of these.
pub fn parse_rttm(origin: &str, bytes: &[u8]) -> Result<Vec<SpeakerTurn>, LineError> {
    parse_lines(origin, bytes, |text| {
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let kind = fields.first().copied().unwrap_or_default();
        if kind != "SPEAKER" {
            let known = OTHER_OBJECT_TYPES.contains(&kind);
            return if known { Ok(None) } else { Err(LineFault::ObjectType { got: kind.to_owned() }) };
        }
        if !(9..=10).contains(&fields.len()) {
            return Err(LineFault::FieldCount { expected: "9 or 10", got: fields.len() });
        }
        let confidence = match fields[8] {
            "<NA>" => None,
            text => match text.parse::<f32>() {
                Ok(number) if number.is_finite() => Some(number),
                _ => return Err(LineFault::Confidence { got: text.to_owned() }),
            },
        };
        Ok(Some(SpeakerTurn {
            recording: fields[1].to_owned(),
            channel: fields[2].to_owned(),
            start: fields[3].parse()?,
            duration: fields[4].parse()?,
            speaker: fields[7].to_owned(),
            confidence,
        }))
    })
}

/// Reads the regions of a UEM file (`recording channel start end`) in their order.
///
/// Skipped: empty lines, comments (first character `;`) and a byte order mark.
///
/// # Errors
/// [`LineError`] for the first other line that is not a region of more than zero length.
pub fn parse_uem(origin: &str, bytes: &[u8]) -> Result<Vec<UemRegion>, LineError> {
    parse_lines(origin, bytes, |text| {
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let [recording, channel, start, end] = fields[..] else {
            return Err(LineFault::FieldCount { expected: "4", got: fields.len() });
        };
        let (start, end) = (start.parse()?, end.parse()?);
        if end <= start {
            return Err(LineFault::EmptyRegion { start, end });
        }
        Ok(Some(UemRegion { recording: recording.to_owned(), channel: channel.to_owned(), start, end }))
    })
}

/// Writes turns as an RTTM file, one line each, in the order given.
#[must_use]
pub fn write_rttm<'a>(turns: impl IntoIterator<Item = &'a SpeakerTurn>) -> String {
    turns.into_iter().map(|turn| format!("{turn}\n")).collect()
}

/// A text as one RTTM field: runs of white space and control characters become `_`, an empty text `<NA>`.
#[must_use]
pub fn field(text: &str) -> String {
    let separates = |c: char| c.is_whitespace() || c.is_control();
    if !text.is_empty() && !text.contains(separates) {
        return text.to_owned();
    }
    let words: Vec<&str> = text.split(separates).filter(|word| !word.is_empty()).collect();
    if words.is_empty() { "<NA>".to_owned() } else { words.join("_") }
}

/// Runs `parse` over the lines that are neither empty nor comments; `Ok(None)` skips a line.
fn parse_lines<T>(
    origin: &str,
    bytes: &[u8],
    parse: impl Fn(&str) -> Result<Option<T>, LineFault>,
) -> Result<Vec<T>, LineError> {
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let mut items = Vec::new();
    for (line_idx, line) in bytes.split(|b| *b == b'\n').enumerate() {
        let parsed = std::str::from_utf8(line).map_err(|_| LineFault::NotUtf8).and_then(|text| {
            let text = text.trim_ascii();
            if text.is_empty() || text.starts_with(';') { Ok(None) } else { parse(text) }
        });
        match parsed {
            Ok(item) => items.extend(item),
            Err(fault) => return Err(LineError { origin: origin.to_owned(), line: line_idx + 1, fault }),
        }
    }
    Ok(items)
}
