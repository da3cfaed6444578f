//! Destinations of labels: standard output, one file for all, or a folder with one file per input.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Component, Path, PathBuf};

use diarized_models::SessionState;
use parking_lot::Mutex;
use serde::Serialize;

use super::inputs::{Input, recording_names};
use crate::exit;
use crate::output::OutputFormat;
use crate::protocol::server_message::Body;
use crate::whole_file::WholeFile;
use diarized_models::TimedEvent;

/// Why the outputs cannot be what was asked for; nothing was labelled yet.
#[derive(Debug, thiserror::Error)]
pub(super) enum PlanError {
    #[error("{} is named twice, and its labels would go to one place twice: name it once", file.display())]
    Twice { file: PathBuf },
    #[error(
        "subtitles of several files do not go into one: name a folder with --output, such as --output labels/"
    )]
    SubtitlesInOne,
    #[error("{} and {} would both be written to {}: label them one by one, each with an --output of its own", first.display(), second.display(), target.display())]
    SameTarget { first: PathBuf, second: PathBuf, target: PathBuf },
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl PlanError {
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Write(_) => exit::CANNOT_WRITE,
            _ => exit::USAGE,
        }
    }
}

/// An output that cannot be written; what was at its place is as it was.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {place}: {source}")]
pub(super) struct WriteError {
    place: String,
    source: io::Error,
}

impl WriteError {
    fn new(place: &Path, source: io::Error) -> Self {
        Self { place: place.display().to_string(), source }
    }

    /// The reader of standard output has closed it: no error to report.
    pub(super) fn is_closed_pipe(&self) -> bool {
        self.source.kind() == io::ErrorKind::BrokenPipe
    }
}

enum Place {
    Stdout,
    /// One file for all inputs, `None` once it is done.
    File(PathBuf, Mutex<Option<WholeFile>>),
    /// One file an input, by input.
    Folder(BTreeMap<PathBuf, PathBuf>),
}

pub(super) struct Outputs {
    place: Place,
    format: OutputFormat,
    /// What each recording is called.
    names: Vec<String>,
}

/// The file of one input, begun.
pub(super) struct Own {
    file: WholeFile,
    target: PathBuf,
}

impl Own {
    pub(super) fn write(mut self, text: &str) -> Result<(), WriteError> {
        let written = self.file.file().write_all(text.as_bytes()).and_then(|()| self.file.commit());
        written.map_err(|source| WriteError::new(&self.target, source))
    }
}

impl Outputs {
    /// Decides on places and format and makes sure that the places can be written.
    pub(super) fn plan(
        inputs: &[Input],
        output: Option<&Path>,
        format: Option<OutputFormat>,
        events: bool,
    ) -> Result<Self, PlanError> {
        let folder = output.filter(|path| is_folder(path, inputs.len()));
        let by_name = output.filter(|_| folder.is_none()).and_then(format_of);
        let default = match output.is_none() && io::stdout().is_terminal() {
            true => OutputFormat::Table,
            false => OutputFormat::Rttm,
        };
        let format = format.or(by_name).unwrap_or(default);
        let is_subtitle = matches!(format, OutputFormat::Srt | OutputFormat::Vtt);
        if is_subtitle && !events && inputs.len() > 1 && folder.is_none() {
            return Err(PlanError::SubtitlesInOne);
        }
        let names = recording_names(inputs).map_err(|file| PlanError::Twice { file })?;
        let place = match (output, folder) {
            (_, Some(folder)) => {
                let extension = if events { "jsonl" } else { format.extension() };
                Self::folder(folder, inputs, &names, extension)?
            }
            (Some(path), None) => {
                let file = WholeFile::create(path).map_err(|source| WriteError::new(path, source))?;
                Place::File(path.to_owned(), Mutex::new(Some(file)))
            }
            (None, None) => Place::Stdout,
        };
        Ok(Self { place, format, names })
    }

    /// One file an input, called as its recording. A name that leads out of the folder is cut to its last part.
    fn folder(
        folder: &Path,
        inputs: &[Input],
        names: &[String],
        extension: &str,
    ) -> Result<Place, PlanError> {
        std::fs::create_dir_all(folder).map_err(|source| WriteError::new(folder, source))?;
        let mut targets = BTreeMap::new();
        let mut inputs_of = BTreeMap::<PathBuf, &PathBuf>::new();
        for (input, name) in inputs.iter().zip(names) {
            let leads_out = Path::new(name).components().any(|part| !matches!(part, Component::Normal(_)));
            let name = if leads_out { &input.recording() } else { name };
            let target = folder.join(format!("{name}.{extension}"));
            if let Some(first) = inputs_of.insert(target.clone(), &input.path) {
                let (first, second) = (first.clone(), input.path.clone());
                return Err(PlanError::SameTarget { first, second, target });
            }
            targets.insert(input.path.clone(), target);
        }
        Ok(Place::Folder(targets))
    }

    /// What the recording of this input is called.
    pub(super) fn name(&self, idx: usize) -> &str {
        &self.names[idx]
    }

    pub(super) fn format(&self) -> OutputFormat {
        self.format
    }

    /// Begins the file of one input, if inputs have files of their own.
    pub(super) fn begin_own(&self, input: &Path) -> Result<Option<Own>, WriteError> {
        let Place::Folder(targets) = &self.place else { return Ok(None) };
        let Some(target) = targets.get(input) else { return Ok(None) };
        let made = target.parent().map_or(Ok(()), std::fs::create_dir_all);
        let file = made.and_then(|()| WholeFile::create(target));
        let file = file.map_err(|source| WriteError::new(target, source))?;
        Ok(Some(Own { file, target: target.clone() }))
    }

    /// Appends the labels of one input to the common output.
    pub(super) fn append(&self, text: &str) -> Result<(), WriteError> {
        match &self.place {
            Place::Stdout => {
                let mut out = io::stdout().lock();
                let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
                written.map_err(|source| WriteError::new(Path::new("standard output"), source))
            }
            Place::File(path, file) => {
                let mut file = file.lock();
                let file: Option<&mut File> = file.as_mut().map(WholeFile::file);
                file.map_or(Ok(()), |file| file.write_all(text.as_bytes()))
                    .map_err(|source| WriteError::new(path, source))
            }
            Place::Folder(_) => Ok(()),
        }
    }

    /// Puts the common file in its place, if anything of use is in it.
    pub(super) fn finish(&mut self, is_of_use: bool) -> Result<(), WriteError> {
        if let Place::File(path, file) = &self.place
            && let Some(file) = file.lock().take()
            && is_of_use
        {
            file.commit().map_err(|source| WriteError::new(path, source))?;
        }
        Ok(())
    }
}

/// Whether the output is a folder: it is one, or is written as one, or has to be one for several inputs.
fn is_folder(path: &Path, n_inputs: usize) -> bool {
    let is_written_so = path.as_os_str().to_string_lossy().ends_with(std::path::is_separator);
    path.is_dir() || is_written_so || (n_inputs > 1 && path.extension().is_none() && !path.exists())
}

pub(super) fn format_of(path: &Path) -> Option<OutputFormat> {
    Some(match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "rttm" => OutputFormat::Rttm,
        "json" | "jsonl" | "ndjson" => OutputFormat::Json,
        "srt" => OutputFormat::Srt,
        "vtt" => OutputFormat::Vtt,
        "txt" => OutputFormat::Table,
        _ => return None,
    })
}

/// One event as it would go over the wire, without session and number.
#[derive(Serialize)]
struct EventLine<'a> {
    file: &'a str,
    at: f64,
    r#type: &'static str,
    #[serde(flatten)]
    body: Body,
}

/// Appends an event as one line of JSON; `state` is the state after it.
pub(super) fn append_event(lines: &mut String, recording: &str, emitted: &TimedEvent, state: &SessionState) {
    // An event that the wire has no word for is none for a person either.
    let Ok(body) = Body::from_event(&emitted.event, state) else { return };
    let line = EventLine { file: recording, at: emitted.at.seconds(), r#type: body.kind(), body };
    lines.push_str(&serde_json::to_string(&line).expect("a message has a JSON form"));
    lines.push('\n');
}

#[cfg(test)]
mod tests {
    use super::super::inputs::files_of;
    use super::*;

    fn paths(names: &[&str]) -> Vec<Input> {
        files_of(&names.iter().map(PathBuf::from).collect::<Vec<_>>())
    }

    #[test]
    fn the_output_is_a_folder_where_it_must_be() {
        let existing = tempfile::tempdir().unwrap();
        assert!(is_folder(existing.path(), 1));
        for (path, n_inputs, expected) in [
            ("out/", 1, true),
            ("out", 1, false),
            ("out", 2, true),
            ("out.rttm", 2, false),
            ("out.rttm", 1, false),
        ] {
            assert_eq!(is_folder(Path::new(path), n_inputs), expected, "{path} of {n_inputs}");
        }
    }

    #[test]
    fn files_of_one_name_have_outputs_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let plan =
            |inputs: &[Input]| Outputs::plan(inputs, Some(folder.path()), Some(OutputFormat::Srt), false);
        let targets = |inputs: &[Input]| {
            let Place::Folder(targets) = plan(inputs).unwrap_or_else(|error| panic!("{error}")).place else {
                panic!("a folder")
            };
            let below = |path: &PathBuf| path.strip_prefix(folder.path()).unwrap().display().to_string();
            inputs.iter().map(|input| below(&targets[&input.path])).collect::<Vec<_>>()
        };
        assert_eq!(targets(&paths(&["a/talk.wav", "b/talk.mp3"])), ["a/talk.srt", "b/talk.srt"]);
        assert_eq!(
            targets(&paths(&["talk.wav", "talk.mp3", "x.wav"])),
            ["talk.wav.srt", "talk.mp3.srt", "x.srt"]
        );

        // Nothing is written outside the folder, and nothing twice.
        for (names, said) in [
            (["../x.wav", "x.wav"], "../x.wav and x.wav would both be written to"),
            (["a.wav", "a.wav"], "a.wav is named twice"),
        ] {
            let error = plan(&paths(&names)).err().unwrap();
            assert_eq!(error.exit_code(), exit::USAGE);
            assert!(error.to_string().starts_with(said), "{error}");
        }
    }

    #[test]
    fn recordings_that_go_to_one_place_have_names_of_their_own() {
        let inputs = paths(&["a/x.wav", "b/x.wav"]);
        let outputs = Outputs::plan(&inputs, None, Some(OutputFormat::Rttm), false).unwrap();
        assert_eq!((outputs.name(0), outputs.name(1)), ("a/x", "b/x"));
        let twice = paths(&["a/x.wav", "a/x.wav"]);
        let error = Outputs::plan(&twice, None, Some(OutputFormat::Rttm), false).err().unwrap();
        assert_eq!(error.exit_code(), exit::USAGE);
        assert!(error.to_string().starts_with("a/x.wav is named twice"), "{error}");
    }

    #[test]
    fn subtitles_of_several_files_need_a_folder() {
        let inputs = paths(&["a.wav", "b.wav"]);
        let folder = tempfile::tempdir().unwrap();
        let one = folder.path().join("all.vtt");
        for output in [None, Some(one.as_path())] {
            let error = Outputs::plan(&inputs, output, Some(OutputFormat::Vtt), false).err().unwrap();
            assert!(matches!(error, PlanError::SubtitlesInOne));
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
