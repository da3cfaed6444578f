//! `diarized eval der` and `eval confidence` as a user runs them: figures, notes, and errors with file and line.

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

#[test]
fn confidence_is_judged_by_tenths() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let turns: String =
        (0..10).map(|n| line("a", f64::from(n), 0.9, if n < 5 { "Ann" } else { "Bob" })).collect();
    write("ref.rttm", &turns);
    // Nine of ten labels are right, each with 0.95 or 0.65.
    let label = |n: u32, confidence: f64| {
        let speaker = if n < 5 || n == 9 { "S1" } else { "S2" };
        let (start, end) = (n, f64::from(n) + 0.9);
        format!("{{\"start\":{start},\"end\":{end},\"speaker\":\"{speaker}\",\"confidence\":{confidence}}}\n")
    };
    write("hyp.jsonl", &(0..10).map(|n| label(n, if n < 8 { 0.95 } else { 0.65 })).collect::<String>());
    let eval = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_diarized"));
        command.current_dir(folder.path()).args(["eval", "confidence"]).args(args).output().unwrap()
    };
    let output = eval(&["ref.rttm", "hyp.jsonl", "--json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&result["labels"], &result["right"]), (&Value::from(10), &Value::from(0.9)));
    assert_eq!(
        (&result["tenths"][9]["labels"], &result["tenths"][9]["right"]),
        (&Value::from(8), &Value::from(1.0))
    );
    assert_eq!(result["tenths"][6]["right"], 0.5);
    let near = |key: &str, expected: f64| (result[key].as_f64().unwrap() - expected).abs() < 1e-6;
    assert!(near("ece", 0.8 * 0.05 + 0.2 * 0.15) && near("constant_brier", 0.09), "{result}");
    let table = String::from_utf8(eval(&["ref.rttm", "hyp.jsonl"]).stdout).unwrap();
    assert!(table.contains("10 labels, 90.0 % right; ECE 7.0 points"), "{table}");

    write("none.rttm", &turns);
    let output = eval(&["ref.rttm", "none.rttm"]);
    assert_eq!(output.status.code(), Some(66));
    assert!(
        stderr(&output).contains("no label in the scored regions has a confidence"),
        "{}",
        stderr(&output)
    );
}
