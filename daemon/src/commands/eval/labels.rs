//! Reads labels from RTTM files, JSON of this program, or folders of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use diarized_models::rttm::{MAX_TIME, Nanos, SpeakerTurn, field, parse_rttm, parse_uem};
use diarized_models::scoring::{Span, Turn};
use serde::Deserialize;
use serde_json::Value;

use crate::protocol::server_message::Body;

/// One label: a segment, or a line of RTTM.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Label {
    pub(super) speaker: String,
    /// The speech inside it.
    pub(super) speech: Vec<Span>,
    /// Probability that the label is right, where it is given.
    pub(super) confidence: Option<f32>,
}

/// Labels of each recording, by name. A recording may have none.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Labels {
    pub(super) recordings: BTreeMap<String, Vec<Label>>,
    /// Whether they came from one file rather than from a folder.
    pub(super) is_one_file: bool,
}

/// Labels as turns, one for each part of their speech.
pub(super) fn turns(labels: &[Label]) -> Vec<Turn> {
    let turn = |label: &Label, span: &Span| Turn { span: *span, speaker: label.speaker.clone() };
    labels.iter().flat_map(|label| label.speech.iter().map(move |span| turn(label, span))).collect()
}

/// Regions to be scored of each recording, by name.
pub(super) type Uem = BTreeMap<String, Vec<Span>>;

/// Reads a file, or every `.rttm` file directly in a folder; in one without any, every `.json` and `.jsonl` file.
pub(super) fn read(path: &Path) -> anyhow::Result<Labels> {
    if !path.is_dir() {
        let mut labels = Labels { is_one_file: true, ..Labels::default() };
        read_file(path, &mut labels)?;
        return Ok(labels);
    }
    // Beside references lie other files of JSON, such as what a simulation drew.
    let mut files = files_in(path, |file| has_extension(file, "rttm"))?;
    if files.is_empty() {
        files = json_files_in(path)?;
    }
    if files.is_empty() {
        bail!("{}: the folder holds no .rttm, .json or .jsonl file", path.display());
    }
    let mut labels = Labels::default();
    for file in files {
        read_file(&file, &mut labels)?;
    }
    Ok(labels)
}

/// Every `.json` and `.jsonl` file directly in a folder, by name.
pub(super) fn json_files_in(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    files_in(path, |file| has_extension(file, "json") || has_extension(file, "jsonl"))
}

/// Reads the regions of a UEM file, or of every `.uem` file directly in a folder.
pub(super) fn read_uem(path: &Path) -> anyhow::Result<Uem> {
    let files = if path.is_dir() {
        files_in(path, |file| has_extension(file, "uem"))?
    } else {
        vec![path.to_owned()]
    };
    if files.is_empty() {
        bail!("{}: the folder holds no .uem file", path.display());
    }
    let mut uem = Uem::new();
    for file in files {
        for region in parse_uem(&file.display().to_string(), &bytes(&file)?)? {
            uem.entry(region.recording).or_default().push(Span::new(region.start, region.end));
        }
    }
    Ok(uem)
}

fn has_extension(file: &Path, kind: &str) -> bool {
    file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(kind))
}

fn files_in(folder: &Path, keep: impl Fn(&PathBuf) -> bool) -> anyhow::Result<Vec<PathBuf>> {
    let context = || format!("cannot read folder {}", folder.display());
    let entries: Result<Vec<_>, _> = fs::read_dir(folder).with_context(context)?.collect();
    let mut files: Vec<PathBuf> = entries.with_context(context)?.into_iter().map(|e| e.path()).collect();
    files.retain(|file| file.is_file() && keep(file));
    files.sort();
    Ok(files)
}

fn bytes(file: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

/// Adds the labels of one file. A file without labels stands for a silent recording of its own name.
fn read_file(file: &Path, labels: &mut Labels) -> anyhow::Result<()> {
    let (origin, bytes) = (file.display().to_string(), bytes(file)?);
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let found = if has_extension(file, "json") || has_extension(file, "jsonl") {
        parse_json(&origin, &stem, &bytes)?
    } else {
        let lines = parse_rttm(&origin, &bytes)?;
        lines.iter().map(|line| (line.recording.clone(), label_of(line))).collect()
    };
    if found.is_empty() {
        labels.recordings.entry(stem).or_default();
    }
    for (recording, label) in found {
        labels.recordings.entry(recording).or_default().push(label);
    }
    Ok(())
}

fn label_of(line: &SpeakerTurn) -> Label {
    let Turn { span, speaker } = Turn::from(line);
    Label { speaker, speech: vec![span], confidence: line.confidence }
}

/// What every message may have, as `diarized label` and the server write it. The other fields are read where the type
/// has labels: a field means something else from type to type.
#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "type", default = "segment_type")]
    kind: String,
    #[serde(alias = "file")]
    recording: Option<String>,
    #[serde(flatten)]
    body: serde_json::Map<String, Value>,
}

/// A message with labels; other fields mean nothing here.
#[derive(Deserialize)]
struct Message {
    id: Option<u64>,
    start: Option<f64>,
    end: Option<f64>,
    speech: Option<Vec<(f64, f64)>>,
    speaker: Option<String>,
    confidence: Option<f32>,
    changes: Option<Vec<Change>>,
    segments: Option<Vec<Envelope>>,
}

#[derive(Deserialize)]
struct Change {
    id: u64,
    from: String,
    to: String,
}

fn segment_type() -> String {
    "segment".to_owned()
}

/// Turns of labels as JSON, as `diarized label` writes them and as the server sends them. `origin` names them in faults.
///
/// # Errors
/// The line of the first message that cannot be read or applied, and why.
pub fn read_event_log(origin: &str, bytes: &[u8]) -> anyhow::Result<Vec<Turn>> {
    let labels: Vec<Label> = parse_json(origin, origin, bytes)?.into_iter().map(|(_, label)| label).collect();
    Ok(turns(&labels))
}

/// Applies JSON messages, one a line or laid out over several, in their order: segments and their updates,
/// removals, revisions and snapshots. Gives (recording, label); `stem` names the recording where a message does
/// not.
fn parse_json(origin: &str, stem: &str, bytes: &[u8]) -> anyhow::Result<Vec<(String, Label)>> {
    let mut segments = Segments::default();
    let mut messages = serde_json::Deserializer::from_slice(bytes).into_iter::<Envelope>();
    loop {
        let blanks = bytes[messages.byte_offset()..].iter().take_while(|b| b.is_ascii_whitespace()).count();
        let start = messages.byte_offset() + blanks;
        let line = 1 + bytes[..start].iter().filter(|b| **b == b'\n').count();
        let Some(message) = messages.next() else { break };
        // serde_json counts lines from the start of the input, as we do.
        let message = message.map_err(|fault| anyhow::anyhow!("{origin}:{}: {fault}", fault.line()))?;
        segments.apply(message, stem).map_err(|fault| anyhow::anyhow!("{origin}:{line}: {fault}"))?;
    }
    Ok(segments.by_id.into_values().chain(segments.without_id).collect())
}

#[derive(Default)]
struct Segments {
    by_id: BTreeMap<(String, u64), (String, Label)>,
    without_id: Vec<(String, Label)>,
}

impl Segments {
    fn apply(&mut self, Envelope { kind, recording, body }: Envelope, stem: &str) -> Result<(), String> {
        let recording = field(recording.as_deref().unwrap_or(stem));
        let message = || Message::deserialize(Value::Object(body)).map_err(|fault| fault.to_string());
        match kind.as_str() {
            "segment" => {
                let message = message()?;
                let label = label(&message)?;
                match message.id {
                    Some(id) => _ = self.by_id.insert((recording.clone(), id), (recording, label)),
                    None => self.without_id.push((recording, label)),
                }
            }
            "segment_removed" => {
                let id = message()?.id.ok_or("segment_removed without id")?;
                self.by_id.remove(&(recording, id)).ok_or(format!("no segment {id} to remove"))?;
            }
            "revision" => {
                for Change { id, from, to } in message()?.changes.ok_or("revision without changes")? {
                    let held = self.by_id.get_mut(&(recording.clone(), id));
                    let (_, label) = held.ok_or(format!("no segment {id} to revise"))?;
                    if label.speaker != from {
                        return Err(format!("segment {id} belongs to {}, not {from}", label.speaker));
                    }
                    label.speaker = to;
                }
            }
            "snapshot" => {
                self.by_id.retain(|(of, _), _| *of != recording);
                self.without_id.retain(|(of, _)| *of != recording);
                for segment in message()?.segments.ok_or("snapshot without segments")? {
                    self.apply(segment, &recording)?;
                }
            }
            other if Body::TYPES.contains(&other) => {}
            other => return Err(format!("unknown type {other:?}")),
        }
        Ok(())
    }
}

fn label(message: &Message) -> Result<Label, String> {
    let (Some(start), Some(end), Some(speaker)) = (message.start, message.end, &message.speaker) else {
        return Err("a segment needs start, end and speaker".to_owned());
    };
    let span = |(start, end): (f64, f64)| {
        let is_time = |s: f64| (0.0..=MAX_TIME.seconds()).contains(&s);
        if !is_time(start) || !is_time(end) || end < start {
            return Err(format!("segment from {start} s to {end} s: expected 0 <= start <= end"));
        }
        Ok(Span::new(Nanos::from_seconds(start), Nanos::from_seconds(end)))
    };
    let whole = span((start, end))?;
    let speech = match &message.speech {
        Some(parts) => parts.iter().copied().map(span).collect::<Result<_, _>>()?,
        None => vec![whole],
    };
    if message.confidence.is_some_and(|confidence| !(0.0..=1.0).contains(&confidence)) {
        return Err("confidence must be in 0..=1".to_owned());
    }
    Ok(Label { speaker: speaker.clone(), speech, confidence: message.confidence })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITH_LABELS: [&str; 4] = ["segment", "segment_removed", "revision", "snapshot"];

    fn json(text: &str) -> Result<Vec<(String, Turn)>, String> {
        let labels = parse_json("x.jsonl", "x", text.as_bytes()).map_err(|e| e.to_string())?;
        let turns = |(recording, label): (String, Label)| {
            turns(&[label]).into_iter().map(move |turn| (recording.clone(), turn))
        };
        Ok(labels.into_iter().flat_map(turns).collect())
    }

    fn turn(start: f64, end: f64, speaker: &str) -> (String, Turn) {
        ("x".to_owned(), Turn::new(Nanos::from_seconds(start), Nanos::from_seconds(end), speaker))
    }

    #[test]
    fn events_are_applied_in_their_order() {
        let text = r#"{"type":"started","session":"a","seq":0}
            {"type":"segment","id":1,"start":0.5,"end":1.0,"speaker":"S1","confidence":0.5,"final":false}
            {"type":"segment","id":1,"start":0.5,"end":2.0,"speaker":"S1"}
            {"type":"segment","id":2,"start":3,"end":4,"speaker":"S2"}
            {"type":"segment","id":3,"start":5,"end":6,"speaker":"S2"}
            {"type":"revision","changes":[{"id":2,"from":"S2","to":"S1"}],"reason":"merge"}
            {"type":"segment_removed","id":3}"#;
        assert_eq!(json(text).unwrap(), [turn(0.5, 2.0, "S1"), turn(3.0, 4.0, "S1")]);
    }

    #[test]
    fn plain_segments_and_snapshots_are_read() {
        let plain = "{\"start\":0,\"end\":1,\"speaker\":\"A\"}\n{\"start\":1,\"end\":2,\"speaker\":\"A\"}\n";
        assert_eq!(json(plain).unwrap(), [turn(0.0, 1.0, "A"), turn(1.0, 2.0, "A")]);
        let snapshot = "{\n \"type\": \"snapshot\",\n \"segments\": [\n  {\"id\": 7, \"start\": 0, \"end\": 1, \
                        \"speaker\": \"S1\"}\n ]\n}\n";
        assert_eq!(json(snapshot).unwrap(), [turn(0.0, 1.0, "S1")]);
    }

    #[test]
    fn messages_of_every_type_are_passed_over_where_they_have_no_labels() {
        for kind in Body::TYPES.iter().filter(|kind| !WITH_LABELS.contains(kind)) {
            // Fields of labels mean something else here.
            let line = format!(r#"{{"type":"{kind}","id":"S1","start":"x","speaker":3,"segments":[1]}}"#);
            assert_eq!(json(&line).unwrap(), [], "{kind}");
        }
    }

    #[test]
    fn pauses_inside_a_segment_are_left_out() {
        let paused = r#"{"start":0,"end":4,"speech":[[0,1],[2.5,4]],"speaker":"A","confidence":0.8}"#;
        assert_eq!(json(paused).unwrap(), [turn(0.0, 1.0, "A"), turn(2.5, 4.0, "A")]);
        let labels = parse_json("x.jsonl", "x", paused.as_bytes()).unwrap();
        assert_eq!(labels[0].1.confidence, Some(0.8));
    }

    #[test]
    fn bad_lines_are_named() {
        let good = "{\"type\":\"segment\",\"id\":1,\"start\":0,\"end\":1,\"speaker\":\"S1\"}\n\n";
        for (bad, expected) in [
            ("{\"type\":\"sement\"}", "x.jsonl:3: unknown type \"sement\""),
            ("{\"start\":0,\"end\":1}", "x.jsonl:3: a segment needs start, end and speaker"),
            (
                "{\"start\":2,\"end\":1,\"speaker\":\"A\"}",
                "x.jsonl:3: segment from 2 s to 1 s: expected 0 <= start <= end",
            ),
            (
                r#"{"start":0,"end":1,"speaker":"A","confidence":1.5}"#,
                "x.jsonl:3: confidence must be in 0..=1",
            ),
            ("{\"type\":\"segment_removed\",\"id\":9}", "x.jsonl:3: no segment 9 to remove"),
            (
                "{\"type\":\"revision\",\"changes\":[{\"id\":1,\"from\":\"S2\",\"to\":\"S3\"}]}",
                "x.jsonl:3: segment 1 belongs to S1, not S2",
            ),
        ] {
            assert_eq!(json(&format!("{good}{bad}\n")).unwrap_err(), expected);
        }
        let cut = json(&format!("{good}{{\"type\":\"segm")).unwrap_err();
        assert!(cut.starts_with("x.jsonl:3: EOF while parsing"), "{cut}");
    }

    #[test]
    fn a_file_without_turns_is_a_silent_recording() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("quiet.rttm"), ";; nobody\n").unwrap();
        fs::write(folder.path().join("b.rttm"), "SPEAKER b 1 0 1 <NA> <NA> A <NA> <NA>\n").unwrap();
        fs::write(folder.path().join("notes.txt"), "not labels").unwrap();
        let labels = read(folder.path()).unwrap();
        assert_eq!(labels.recordings.keys().collect::<Vec<_>>(), ["b", "quiet"]);
        assert!(labels.recordings["quiet"].is_empty() && !labels.is_one_file);
        let error = read(&folder.path().join("absent.rttm")).unwrap_err();
        assert!(format!("{error:#}").contains("absent.rttm"));
    }
}
