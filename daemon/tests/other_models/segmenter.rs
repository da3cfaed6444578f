//! A segmentation model that labels instead of the diarizer: a small random network that the training recipe wrote, and the
//! segments that another implementation of the layout gives with its weights.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::common::{conversation, diarized, diarized_in, run};

/// A segment of `expected.json`, or of the binary.
#[derive(Debug, Deserialize)]
struct Row {
    start: f64,
    end: f64,
    speaker: u32,
    embedding: Vec<f64>,
}

/// A label.
#[derive(Debug, Deserialize)]
struct Label {
    start: f64,
    end: f64,
    speaker: String,
}

fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/segmentation-random")
}

fn expected() -> Vec<Row> {
    serde_json::from_str(&std::fs::read_to_string(model().join("expected.json")).unwrap()).unwrap()
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

fn output(command: &str, args: &[&str]) -> String {
    let (model, talk) = (model().display().to_string(), conversation().display().to_string());
    let all = [&[command, "-q", "--segmenter", &model, &talk], args].concat();
    let (code, stdout, stderr) = run(&mut diarized(&all));
    assert_eq!(code, 0, "{all:?}: {stderr}");
    stdout
}

fn labels(args: &[&str]) -> Vec<Label> {
    let text = output("label", &[&["-f", "json"], args].concat());
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn segments_and_embeddings_are_those_of_the_reference() {
    let text = output("embed", &[]);
    let rows: Vec<Row> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let expected = expected();
    assert!(expected.len() > 10 && expected.iter().any(|row| row.start > 60.0), "in every chunk");
    assert_eq!(rows.len(), expected.len());
    for (row, of) in rows.iter().zip(&expected) {
        assert!((row.start - of.start).abs() < 1e-3 && (row.end - of.end).abs() < 1e-3, "{row:?} {of:?}");
        assert_eq!(row.speaker, of.speaker, "{row:?}");
        assert!(cosine(&row.embedding, &of.embedding) > 0.9999, "{row:?} {of:?}");
    }
}

#[test]
fn a_token_is_one_speaker_within_a_chunk() {
    let labels = labels(&[]);
    // Who may be the speaker of a segment: segments of one speaker that touch are one label.
    let holds = |label: &Label, row: &Row| label.start <= row.start + 0.02 && row.end <= label.end + 0.02;
    let mut may_be: BTreeMap<(u64, u32), BTreeSet<&str>> = BTreeMap::new();
    for row in &expected() {
        let speakers: BTreeSet<&str> =
            labels.iter().filter(|label| holds(label, row)).map(|label| &*label.speaker).collect();
        let of_token = may_be.entry(((row.start / 30.0) as u64, row.speaker)).or_insert(speakers.clone());
        of_token.retain(|speaker| speakers.contains(speaker));
    }
    assert!(
        may_be.len() > 5 && may_be.values().all(|speakers| !speakers.is_empty()),
        "{may_be:?} {labels:?}"
    );
    let speakers: BTreeSet<_> = labels.iter().map(|label| &label.speaker).collect();
    assert!(speakers.len() > 1, "{labels:?}");
    assert!(labels.iter().all(|label| 0.0 <= label.start && label.start < label.end && label.end < 75.0));
}

#[test]
fn hints_bound_the_number_of_speakers() {
    for args in [["--speakers", "2"], ["--max-speakers", "2"]] {
        let speakers: BTreeSet<_> = labels(&args).into_iter().map(|label| label.speaker).collect();
        assert_eq!(speakers.len(), 2, "{args:?}");
    }
}

#[test]
fn what_is_wrong_with_its_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let talk = conversation();
    let talk = talk.to_str().unwrap();
    for file in ["model.toml", "encoder.onnx", "decoder.onnx"] {
        std::fs::copy(model().join(file), folder.path().join(file)).unwrap();
    }
    let refused = |words: &str| {
        let (code, stdout, stderr) =
            run(&mut diarized_in(folder.path(), &["label", "-q", "--segmenter", ".", talk]));
        assert_eq!((code, &*stdout), (66, ""), "{stderr}");
        assert!(stderr.contains(words), "{stderr} lacks {words:?}");
    };
    let decoder = std::fs::read(folder.path().join("decoder.onnx")).unwrap();
    std::fs::write(folder.path().join("decoder.onnx"), &decoder[..decoder.len() / 2]).unwrap();
    refused("decoder.onnx is damaged or another model's");
    std::fs::remove_file(folder.path().join("decoder.onnx")).unwrap();
    refused("decoder.onnx");
    std::fs::write(folder.path().join("model.toml"), "schema = 1\n").unwrap();
    refused("model.toml is not the card of a segmentation model");
    let zoo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/zoo/nexttdnn-c128-b122");
    let (code, _, stderr) = run(&mut diarized(&["label", "-q", "--segmenter", zoo.to_str().unwrap(), talk]));
    assert_eq!(code, 66);
    assert!(stderr.contains("model.toml is not the card of a segmentation model"), "{stderr}");
}
