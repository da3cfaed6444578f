//! Kaldi data lists: `wav.scp`, `segments` and `utt2spk`, read strictly.
//!
//! Each list holds one entry a line, fields separated by white space; empty lines are skipped. A line that is
//! not understood, a key that comes twice and a key that another list lacks are errors with file and line.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use diarized_dsp::{ChannelSelect, SAMPLE_RATE_HZ};

use crate::audio_file::{AudioFile, AudioFileError, MonoFile};

/// A list that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KaldiError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A line is wrong.
    #[error("{}:{line}: {fault}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Number of the line, counted from 1.
        line: usize,
        /// What is wrong, as a sentence.
        fault: String,
    },
    /// The file holds no entry.
    #[error("{} holds no entry", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// A piece of a recording: an entry of `segments`, or a whole entry of `wav.scp`.
#[derive(Debug, Clone, PartialEq)]
pub struct Utterance {
    /// Name of the utterance.
    pub id: String,
    /// The audio file.
    pub path: PathBuf,
    /// Start and end in seconds from the start of the file, start before end; `None` is the whole file.
    pub span_s: Option<(f64, f64)>,
}

/// An utterance that its file does not hold.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{}: {id} starts at {start_s} s, the file ends at {end_s:.3} s", path.display())]
pub struct PastEndError {
    /// The file.
    pub path: PathBuf,
    /// The utterance.
    pub id: String,
    /// Its start in seconds.
    pub start_s: f64,
    /// Length of the file in seconds.
    pub end_s: f64,
}

/// Decodes a whole file to 16 kHz mono; channels are mixed. Holds all of it in memory.
///
/// # Errors
/// The file cannot be opened or decoded, or is of a kind that the signal path does not take.
pub fn load_mono(path: &Path) -> Result<Vec<f32>, AudioFileError> {
    let mut file = MonoFile::new(AudioFile::open(path)?, ChannelSelect::Mix)?;
    let mut samples = Vec::new();
    while file.read(&mut samples)? {}
    Ok(samples)
}

impl Utterance {
    /// The utterance's samples within those of its whole file; an end past the file's end is cut off.
    ///
    /// # Errors
    /// [`PastEndError`] if it starts past the end.
    pub fn of<'a>(&self, file: &'a [f32]) -> Result<&'a [f32], PastEndError> {
        let Some((start_s, end_s)) = self.span_s else { return Ok(file) };
        let at = |seconds: f64| ((seconds * f64::from(SAMPLE_RATE_HZ)).round() as usize).min(file.len());
        let (start, end) = (at(start_s), at(end_s));
        if start >= end {
            let file_s = file.len() as f64 / f64::from(SAMPLE_RATE_HZ);
            let (path, id) = (self.path.clone(), self.id.clone());
            return Err(PastEndError { path, id, start_s, end_s: file_s });
        }
        Ok(&file[start..end])
    }
}

/// Reads a list of lines as (line number, fields).
///
/// # Errors
/// [`KaldiError::Read`], a line that is not UTF-8, or [`KaldiError::Empty`].
pub fn read_lines(path: &Path) -> Result<Vec<(usize, String)>, KaldiError> {
    let bytes = fs::read(path).map_err(|source| KaldiError::Read { path: path.to_owned(), source })?;
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&bytes);
    let mut lines = Vec::new();
    for (idx, line) in bytes.split(|b| *b == b'\n').enumerate() {
        let text =
            std::str::from_utf8(line).map_err(|_| fault(path, idx + 1, "the line is not UTF-8"))?.trim();
        if !text.is_empty() {
            lines.push((idx + 1, text.to_owned()));
        }
    }
    if lines.is_empty() {
        return Err(KaldiError::Empty { path: path.to_owned() });
    }
    Ok(lines)
}

/// An error of one line of `path`.
#[must_use]
pub fn fault(path: &Path, line: usize, fault: impl Into<String>) -> KaldiError {
    KaldiError::Line { path: path.to_owned(), line, fault: fault.into() }
}

/// Reads `wav.scp` (`recording path`) and, if given, `segments` (`utterance recording start end`) into
/// utterances in the order of the files.
///
/// A relative path is taken from `audio_root` where one is given; otherwise from the working folder, from the
/// list's folder, or from the folder above it, whichever holds the file. Commands (`… |`) are not run.
///
/// # Errors
/// [`KaldiError`] for the first line that is wrong; that a file exists is checked when it is opened.
pub fn read_utterances(
    wav_scp: &Path,
    segments: Option<&Path>,
    audio_root: Option<&Path>,
) -> Result<Vec<Utterance>, KaldiError> {
    let mut recordings: BTreeMap<String, PathBuf> = BTreeMap::new();
    let mut utterances = Vec::new();
    for (line, text) in read_lines(wav_scp)? {
        let Some((id, rest)) = text.split_once(|c: char| c.is_ascii_whitespace()) else {
            return Err(fault(wav_scp, line, "expected a name and a path"));
        };
        let rest = rest.trim();
        if rest.ends_with('|') {
            return Err(fault(wav_scp, line, "the entry is a command; only paths of audio files are read"));
        }
        let path = resolve(wav_scp, rest, audio_root);
        if recordings.insert(id.to_owned(), path.clone()).is_some() {
            return Err(fault(wav_scp, line, format!("{id} is listed twice")));
        }
        utterances.push(Utterance { id: id.to_owned(), path, span_s: None });
    }
    let Some(segments) = segments else { return Ok(utterances) };

    let mut seen = std::collections::BTreeSet::new();
    utterances.clear();
    for (line, text) in read_lines(segments)? {
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let [id, recording, start, end] = fields[..] else {
            return Err(fault(segments, line, format!("{} fields, expected 4", fields.len())));
        };
        let path = recordings.get(recording).ok_or_else(|| {
            fault(segments, line, format!("recording {recording} is not in {}", wav_scp.display()))
        })?;
        let seconds = |text: &str| {
            text.parse::<f64>()
                .ok()
                .filter(|s| s.is_finite() && *s >= 0.0)
                .ok_or_else(|| fault(segments, line, format!("time {text:?} is not a number of seconds")))
        };
        let (start_s, end_s) = (seconds(start)?, seconds(end)?);
        if end_s <= start_s {
            return Err(fault(segments, line, format!("the end ({end}) must be after the start ({start})")));
        }
        if !seen.insert(id.to_owned()) {
            return Err(fault(segments, line, format!("{id} is listed twice")));
        }
        utterances.push(Utterance { id: id.to_owned(), path: path.clone(), span_s: Some((start_s, end_s)) });
    }
    Ok(utterances)
}

/// Reads `utt2spk` (`utterance speaker`).
///
/// # Errors
/// [`KaldiError`] for the first line that is wrong.
pub fn read_utt2spk(path: &Path) -> Result<BTreeMap<String, String>, KaldiError> {
    let mut speakers = BTreeMap::new();
    for (line, text) in read_lines(path)? {
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let [utterance, speaker] = fields[..] else {
            return Err(fault(path, line, format!("{} fields, expected 2", fields.len())));
        };
        if speakers.insert(utterance.to_owned(), speaker.to_owned()).is_some() {
            return Err(fault(path, line, format!("{utterance} is listed twice")));
        }
    }
    Ok(speakers)
}

fn resolve(list: &Path, entry: &str, audio_root: Option<&Path>) -> PathBuf {
    if let Some(root) = audio_root {
        return root.join(entry);
    }
    let folder = list.parent().unwrap_or(Path::new(""));
    let mut candidates = vec![PathBuf::from(entry), folder.join(entry), folder.join("..").join(entry)];
    match candidates.iter().position(|path| path.exists()) {
        Some(found) => candidates.swap_remove(found),
        None => PathBuf::from(entry),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    fn refused(files: &[(&str, &str)], expected: &str) {
        let folder = written(files);
        let segments = folder.path().join("segments");
        let segments = segments.exists().then_some(segments.as_path());
        let error = read_utterances(&folder.path().join("wav.scp"), segments, None).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn segments_point_into_recordings() {
        let folder =
            written(&[("wav.scp", "r1 a b.wav\nr2 /x/c.wav\n"), ("segments", "u1 r1 0.5 2\nu2 r2 1 1.5\n")]);
        let list = |segments: Option<&str>| {
            let segments = segments.map(|name| folder.path().join(name));
            let root = Some(Path::new("/root"));
            read_utterances(&folder.path().join("wav.scp"), segments.as_deref(), root).unwrap()
        };
        let whole = list(None);
        assert_eq!(whole[0].path, Path::new("/root/a b.wav"));
        assert_eq!(whole[1].path, Path::new("/x/c.wav"));
        let cut = list(Some("segments"));
        assert_eq!(
            cut[0],
            Utterance { id: "u1".into(), path: whole[0].path.clone(), span_s: Some((0.5, 2.0)) }
        );
    }

    #[test]
    fn relative_paths_are_found_beside_or_above_the_list() {
        let folder = written(&[("beside.wav", ""), ("wav.scp", "r beside.wav\n")]);
        let list = folder.path().join("wav.scp");
        assert_eq!(read_utterances(&list, None, None).unwrap()[0].path, folder.path().join("beside.wav"));
        let sub = folder.path().join("val");
        fs::create_dir(&sub).unwrap();
        fs::write(sub.join("wav.scp"), "r beside.wav\n").unwrap();
        assert!(read_utterances(&sub.join("wav.scp"), None, None).unwrap()[0].path.exists());
    }

    #[test]
    fn bad_lines_are_named_by_file_and_line() {
        refused(&[("wav.scp", "a x.wav\n\nb\n")], "wav.scp:3: expected a name and a path");
        refused(&[("wav.scp", "a x.wav\na y.wav\n")], "wav.scp:2: a is listed twice");
        refused(&[("wav.scp", "a sox x.wav |\n")], "wav.scp:1: the entry is a command");
        refused(&[("wav.scp", "\n")], "holds no entry");
        let scp = ("wav.scp", "a x.wav\n");
        refused(&[scp, ("segments", "u b 0 1\n")], "segments:1: recording b is not in");
        refused(&[scp, ("segments", "u a 1 1\n")], "segments:1: the end (1) must be after the start (1)");
        refused(&[scp, ("segments", "u a 0 x\n")], "segments:1: time \"x\" is not a number of seconds");
        refused(&[scp, ("segments", "u a 0 1\nu a 1 2\n")], "segments:2: u is listed twice");
    }
}
