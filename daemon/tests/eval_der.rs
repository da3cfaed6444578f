//! `diarized eval der` as a person meets it: figures, notes, and errors with file and line.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn eval_der(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_diarized"));
    command.current_dir(folder).args(["eval", "der"]).args(args).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn line(recording: &str, start: f64, duration: f64, speaker: &str) -> String {
    format!("SPEAKER {recording} 1 {start} {duration} <NA> <NA> {speaker} <NA> <NA>\n")
}

#[test]
fn folders_are_scored_recording_by_recording() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    fs::create_dir(folder.path().join("ref")).unwrap();
    fs::create_dir(folder.path().join("hyp")).unwrap();
    write("ref/a.rttm", &(line("a", 0.0, 8.0, "Ann") + &line("a", 8.0, 2.0, "Bob")));
    write("ref/quiet.rttm", "");
    write("ref/facts.json", "[{\"speakers\": 2}]");
    write("hyp/a.jsonl", "{\"type\":\"segment\",\"id\":1,\"start\":0,\"end\":10,\"speaker\":\"S1\"}\n");
    write("hyp/quiet.jsonl", "{\"type\":\"segment\",\"id\":1,\"start\":0,\"end\":5,\"speaker\":\"S1\"}\n");

    let output = eval_der(folder.path(), &["ref", "hyp", "--json", "--per-file"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    let der_of = |idx: usize| result["files"][idx]["der"].as_f64().unwrap();
    assert_eq!((der_of(0), der_of(1)), (20.0, 100.0));
    // 2 s of confusion and 5 s of false alarm over 10 s of speech.
    assert_eq!(result["total"]["der"], 70.0);
    assert_eq!(result["files"][0]["mapping"]["S1"], "Ann");
    assert_eq!(result["total"]["speaker_count_exact"], 0);

    write("all.uem", "a 1 0 8\n");
    let output = eval_der(folder.path(), &["ref", "hyp", "--json", "--uem", "all.uem"]);
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["total"]["der"], 0.0);
    assert_eq!(result["total"]["recordings"], 1);
}

#[test]
fn a_recording_without_labels_counts_as_missed_and_one_without_reference_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let two = line("a", 0.0, 5.0, "A") + &line("b", 0.0, 5.0, "A");
    fs::write(folder.path().join("two.rttm"), two).unwrap();
    fs::write(folder.path().join("one.rttm"), line("a", 0.0, 5.0, "x")).unwrap();

    let output = eval_der(folder.path(), &["two.rttm", "one.rttm", "--json"]);
    assert!(stderr(&output).contains("count as all missed: b"), "{}", stderr(&output));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["total"]["der"], 50.0);

    let output = eval_der(folder.path(), &["one.rttm", "two.rttm"]);
    assert_eq!(output.status.code(), Some(66));
    assert!(
        stderr(&output).contains("two.rttm names recordings that one.rttm lacks: b"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn two_files_of_one_recording_each_are_compared_whatever_their_names() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("r.rttm"), line("meeting", 0.0, 5.0, "A")).unwrap();
    fs::write(folder.path().join("h.rttm"), line("channel1", 0.0, 5.0, "x")).unwrap();
    fs::write(folder.path().join("empty.rttm"), "").unwrap();
    let table = |args: &[&str]| String::from_utf8(eval_der(folder.path(), args).stdout).unwrap();
    assert!(table(&["r.rttm", "h.rttm"]).contains("total         0.00"));
    assert!(table(&["r.rttm", "empty.rttm"]).contains("total       100.00   100.00"));
    assert!(table(&["empty.rttm", "h.rttm", "--per-file"]).contains("channel1    100.00     0.00   100.00"));
}

#[test]
fn bad_input_is_named_by_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("good.rttm"), line("a", 0.0, 5.0, "A")).unwrap();
    fs::write(folder.path().join("bad.rttm"), line("a", 0.0, 5.0, "A") + "SPEAKER a 1 zero 5\n").unwrap();
    fs::write(folder.path().join("bad.uem"), "a 1 5 0\n").unwrap();
    let refused = |args: &[&str], code: i32, words: &str| {
        let output = eval_der(folder.path(), args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(words), "{args:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty());
    };
    refused(&["good.rttm", "bad.rttm"], 66, "bad.rttm:2: 5 fields, expected 9 or 10");
    refused(
        &["good.rttm", "good.rttm", "--uem", "bad.uem"],
        66,
        "bad.uem:1: the region's end (0.000) must be",
    );
    refused(&["good.rttm", "absent.rttm"], 66, "cannot read absent.rttm");
    refused(&["good.rttm", "good.rttm", "--collar", "-1"], 2, "collar (-1 s) must be from 0 to 60 s");
    fs::create_dir(folder.path().join("void")).unwrap();
    refused(&["good.rttm", "void"], 66, "void: the folder holds no .rttm, .json or .jsonl file");
}
