//! `diarized eval der` and `eval confidence` as a user runs them: figures, notes, and errors with file and line.

mod common;

use std::fs;
use std::io::BufReader;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{self, Message};

use common::{address_of_ready, diarized, request};

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

/// A server; killed when dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Text messages of a WebSocket until it is closed; `at_start` is sent first.
fn messages_of(addr: &str, path: &str, at_start: Vec<Message>) -> Vec<String> {
    let tcp = TcpStream::connect(addr).unwrap();
    let (mut socket, _) = tungstenite::client(format!("ws://{addr}{path}"), tcp).unwrap();
    at_start.into_iter().for_each(|message| socket.send(message).unwrap());
    let mut lines = Vec::new();
    while let Ok(message) = socket.read() {
        if let Message::Text(text) = message {
            lines.push(text.to_string());
        }
    }
    lines
}

/// The log of a session with everything that a session can have: it is scored as the snapshot is.
#[test]
fn an_event_log_of_the_server_is_read_whatever_it_holds() {
    let mut command = diarized(&["serve", "--listen", "127.0.0.1:0"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let stdout = child.stdout.take().unwrap();
    let _killed = Killed(child);
    let addr = address_of_ready(BufReader::new(stdout));
    let audio = common::speech(Some(24));
    let bytes = |block: &[f32]| block.iter().flat_map(|s| ((s * 32_767.0) as i16).to_le_bytes()).collect();
    let blocks = audio.chunks(16_000).map(|block| Message::Binary(Vec::into(bytes(block))));
    let text = |value: Value| Message::text(value.to_string());
    let live = vec![
        text(json!({"type": "finalize"})),
        text(json!({"type": "words", "words": [{"start": 1.0, "end": 1.4, "text": "good"}]})),
        text(json!({"type": "title", "title": "Weekly"})),
        text(json!({"type": "rename", "speaker": "S1", "name": "Ann"})),
        text(json!({"type": "gap", "duration_s": 1.0})),
        text(json!({"type": "close"})),
    ];
    messages_of(&addr, "/v1/stream?session=log", blocks.chain(live).collect());
    let snapshot =
        || -> Value { serde_json::from_str(&request(&addr, "GET", "/v1/sessions/log", "").1).unwrap() };
    let segments = snapshot()["segments"].as_array().unwrap().clone();
    let (first, last) = (&segments[0], segments.last().unwrap());
    assert_ne!(first["speaker"], last["speaker"], "two people to merge");
    for (what, body) in [
        ("note", json!({"text": "who is this?", "segment": first["id"]})),
        ("reassign", json!({"segment": last["id"], "speaker": first["speaker"]})),
        ("undo", json!({})),
        ("merge", json!({"from": last["speaker"], "into": first["speaker"]})),
        ("undo", json!({})),
        ("redo", json!({})),
    ] {
        let (status, answer) = request(&addr, "POST", &format!("/v1/sessions/log/{what}"), &body.to_string());
        assert_eq!(status, 204, "{what}: {answer}");
    }
    let log = messages_of(&addr, "/v1/events?session=log&since=0", Vec::new());
    let kinds: std::collections::BTreeSet<String> = log
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["type"].as_str().unwrap().to_owned())
        .collect();
    for kind in ["segment", "speaker", "words", "title", "note", "correction", "revision", "gap", "ended"] {
        assert!(kinds.contains(kind), "{kind} is not in {kinds:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("log.jsonl"), log.join("\n")).unwrap();
    fs::write(folder.path().join("snapshot.json"), snapshot().to_string()).unwrap();
    let output = eval_der(folder.path(), &["snapshot.json", "log.jsonl", "--json", "--per-file"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["total"]["der"], 0.0, "{result}");
    assert_eq!(result["files"][0]["mapping"][first["speaker"].as_str().unwrap()], first["speaker"]);
}

#[test]
fn counts_of_speakers_are_judged() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let counted = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_diarized"));
        command.current_dir(folder.path()).args(["eval", "count"]).args(args).output().unwrap()
    };
    let two = line("a b", 0.0, 8.0, "Ann").replace("a b", "a_b") + &line("a_b", 8.0, 2.0, "Bob");
    write("ref.rttm", &(two + &line("c", 0.0, 1.0, "Ann")));
    write(
        "counts.json",
        "{\"file\":\"a b\",\"speakers\":2,\"confidence\":0.8,\"speech\":9.5}\n\
         {\"file\":\"c\",\"speakers\":3,\"confidence\":0.4,\"speech\":1.0}\n",
    );
    let output = counted(&["ref.rttm", "counts.json", "--json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&result["counted"], &result["counted_right"]), (&json!(2), &json!(0.5)));
    assert_eq!(result["mean_error"], 1.0);
    let brier = result["brier"].as_f64().unwrap();
    assert!((brier - (0.04 + 0.16) / 2.0).abs() < 1e-6, "{brier}");
    let table = String::from_utf8(counted(&["ref.rttm", "counts.json"]).stdout).unwrap();
    assert!(table.ends_with("number of speakers: 1 of 2 right, mean absolute error 1.00\n"), "{table}");

    for (text, words) in [
        ("{\"file\":\"d\",\"speakers\":1,\"confidence\":0.4}\n", "counts d, which ref.rttm lacks"),
        (
            "{\"file\":\"c\",\"speakers\":-1}\n",
            "counts.json:1: expected a line of `diarized label --count --json`",
        ),
        (
            "{\"file\":\"c\",\"speakers\":1,\"confidence\":7}\n",
            "counts.json:1: confidence must be from 0 to 1",
        ),
        ("\n", "counts.json holds no count"),
    ] {
        write("counts.json", text);
        let output = counted(&["ref.rttm", "counts.json"]);
        assert_eq!(output.status.code(), Some(66));
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
    }
    write("counts.json", &"{\"file\":\"c\",\"speakers\":1}\n".repeat(2));
    assert!(stderr(&counted(&["ref.rttm", "counts.json"])).contains("counts.json:2: c is counted twice"));
}
