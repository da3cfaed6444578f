//! `diarized bench` as a person runs it, briefly: its figures fit together. How fast the machine is, is not tested.

mod common;

use std::process::{Command, Output};

use serde_json::Value;

fn bench(args: &[&str]) -> Output {
    common::diarized(&["bench"]).args(args).output().unwrap()
}

fn json_of(args: &[&str]) -> Value {
    let Output { status, stdout, stderr } = bench(args);
    assert!(status.success(), "{args:?}: {}", String::from_utf8_lossy(&stderr));
    serde_json::from_slice(&stdout).unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// A spread whose figures are in order; gives how many measurements it is made of.
fn assert_spread(spread: &Value) -> f64 {
    let figures = ["median", "p95", "p99", "max"].map(|key| number(&spread[key]));
    assert!(figures.is_sorted() && figures[0] >= 0.0, "{spread}");
    number(&spread["n"])
}

#[test]
fn one_stream_gives_figures_that_fit_together() {
    let all = json_of(&["--seconds", "40", "--memory-sessions", "8", "--json"]);
    assert_eq!(all["machine"]["version"], env!("CARGO_PKG_VERSION"));
    assert!(number(&all["machine"]["n_cores"]) >= 1.0);
    assert_eq!((&all["window_ms"], &all["step_ms"]), (&1500.into(), &250.into()));
    let single = &all["single"];
    assert_eq!(single["audio_s"], 40.0);

    let rtf = &single["rtf"];
    let [total, embedder, rest] = ["total", "embedder", "rest"].map(|key| number(&rtf[key]));
    assert!(embedder > 0.0 && rest > 0.0 && (total - embedder - rest).abs() < 1e-9 * total, "{rtf}");
    assert_eq!(assert_spread(&single["second_ms"]), 40.0, "one measurement a second");

    // Windows of both lengths, a second of speech asks for at least two and at most six.
    let windows = single["windows"].as_array().unwrap();
    let lengths: Vec<f64> = windows.iter().map(|window| number(&window["n_frames"])).collect();
    assert_eq!(lengths, [100.0, 150.0]);
    let n_windows: f64 = windows.iter().map(|window| assert_spread(&window["ms"])).sum();
    assert!((60.0..240.0).contains(&n_windows), "{n_windows} windows");
    // The windows are the network's time.
    let lower_bound_ms: f64 =
        windows.iter().map(|window| number(&window["ms"]["n"]) / 2.0 * number(&window["ms"]["median"])).sum();
    assert!(lower_bound_ms <= embedder * 40.0 * 1000.0, "{lower_bound_ms} ms of {embedder}");

    let n_onsets = assert_spread(&single["onset_to_label_s"]);
    let wait_s = number(&single["onset_to_label_s"]["median"]);
    assert!(n_onsets >= 3.0 && (0.3..3.0).contains(&wait_s), "{n_onsets} onsets, {wait_s} s");
    let n_labels = n_onsets + assert_spread(&single["change_to_label_s"]);
    assert!(n_labels >= number(&single["n_segments"]), "every segment was said a first time");

    let memory = &all["memory"];
    assert_eq!((&memory["sessions"]["n"], &memory["sessions"]["audio_s"]), (&8.into(), &40.0.into()));
    let points = memory["stream"]["points"].as_array().unwrap();
    assert_eq!((number(&points[0]["at_s"]), number(&points.last().unwrap()["at_s"])), (0.0, 40.0));
    if cfg!(target_os = "linux") {
        let [before, base] = ["before_model_bytes", "base_bytes"].map(|key| number(&memory[key]));
        assert!(base > before + 3e6, "the model takes at least the bytes of its file: {memory}");
        let each = number(&memory["sessions"]["each_bytes"]);
        assert!((10_000.0..50e6).contains(&each), "{each} bytes a session");
    }
}

#[test]
fn a_loaded_server_gives_figures_that_fit_together() {
    let all = json_of(&["--sessions", "2", "--seconds", "16", "--json"]);
    let load = &all["load"];
    let run = &load["best"];
    assert_eq!((load["runs"].as_array().unwrap().len(), &load["runs"][0]), (1, run));
    assert_eq!((&run["n_sessions"], &run["faults"]), (&2.into(), &Value::Array(vec![])));
    assert!((15.5..20.0).contains(&number(&run["seconds"])), "{run}");
    let n_onsets = assert_spread(&run["onset_to_label_s"]);
    assert!(n_onsets >= 1.0 && assert_spread(&run["lag_s"]) >= n_onsets, "{run}");
    // A label cannot come before the speech that it needs was spoken.
    assert!(number(&run["onset_to_label_s"]["median"]) >= 0.3, "{run}");
    assert!((1.0..16.0).contains(&number(&run["windows_per_s"])), "{run}");
    if cfg!(target_os = "linux") {
        let by_thread = run["cpu_by_thread"].as_array().unwrap();
        let sum: f64 = by_thread.iter().map(|pair| number(&pair[1])).sum();
        assert!((sum - number(&run["cpu_per_session_second"])).abs() < 1e-9, "{run}");
        assert!((2.0 * sum - number(&run["cores_busy"])).abs() < 1e-9, "{run}");
        for kind in ["inference", "session"] {
            assert!(by_thread.iter().any(|pair| pair[0] == kind && number(&pair[1]) > 0.0), "{kind}: {run}");
        }
    }
}

#[test]
fn a_guarded_configuration_is_measured_with_files_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens");
    let add = ["token", "add", "laptop", "--scope", "publish", "--file", tokens.to_str().unwrap()];
    assert!(Command::new(env!("CARGO_BIN_EXE_diarized")).args(add).output().unwrap().status.success());
    let before = std::fs::read(&tokens).unwrap();
    let config = folder.path().join("diarized.toml");
    let text = "[server]\ntoken_file = \"tokens\"\n[storage]\npath = \"kept/sessions.sqlite\"\n";
    std::fs::write(&config, text).unwrap();
    let config = config.to_str().unwrap();
    let all = json_of(&["--sessions", "2", "--seconds", "3", "--json", "--config", config]);
    let run = &all["load"]["best"];
    assert_eq!((&run["n_sessions"], &run["faults"]), (&2.into(), &Value::Array(vec![])));
    assert_eq!(std::fs::read(&tokens).unwrap(), before);
    assert!(!folder.path().join("kept").exists(), "what a running server keeps is left alone");
}

#[test]
fn a_search_that_finds_nothing_says_so() {
    // A frame alone is 50 ms of audio, so no label comes within a thousandth of a second.
    let args = ["--sessions", "1", "--find", "--limit-s", "0.001", "--seconds", "5"];
    let Output { status, stdout, stderr } = bench(&args);
    let (stdout, stderr) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert!(status.success(), "{stderr}");
    assert!(stderr.starts_with("1 sessions: lag p50 0.") && stderr.contains(": does not hold\n"), "{stderr}");
    assert!(stdout.contains("No number of sessions held a lag p99 below 0.001 s."), "{stdout}");
}

#[test]
fn tables_are_ready_to_paste_and_say_what_build_they_are_of() {
    let output = bench(&["--seconds", "5", "--memory-sessions", "1", "--step-ms", "500"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(text.contains("figures of a debug build"), cfg!(debug_assertions), "{text}");
    for words in
        ["Windows of 1500 ms every 500 ms", "| whole path", "| one window of 1.50 s", "| resident memory"]
    {
        assert!(text.contains(words), "{words}: {text}");
    }
    for table in text.split("\n\n").filter(|part| part.starts_with('|')) {
        let n_columns: Vec<usize> = table.lines().map(|line| line.matches('|').count()).collect();
        assert!(n_columns.iter().all(|n| *n == n_columns[0]), "{table}");
    }
}

#[test]
fn what_cannot_be_measured_is_said() {
    let fails = |args: &[&str], code: i32, words: &str| {
        let output = bench(args);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
        assert!(stderr.contains(words), "{args:?}: {stderr}");
    };
    fails(&["/nonexistent.wav"], 66, "/nonexistent.wav: cannot be opened");
    fails(&["--model", "/nonexistent"], 66, "a model folder holds model.onnx");
    fails(&["--window-ms", "7"], 78, "flag --window-ms: diarization.window_ms = 7");
    fails(&["--seconds", "0"], 2, "expected a number from 0.1");
    fails(&["--find"], 2, "--sessions");
    fails(
        &["--sessions", "1", "--seconds", "1", "--server-cores", "9999"],
        1,
        "the server of the bench does not start",
    );
}

/// Whether the process handles SIGINT: the second of the signals in the mask that Linux shows.
#[cfg(target_os = "linux")]
fn handles_an_interrupt(id: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(mask.trim(), 16).unwrap() & 0b10 != 0
}

#[cfg(target_os = "linux")]
#[test]
fn an_interrupt_ends_the_measurement_and_prints_what_there_is() {
    let mut command = common::diarized(&["bench", "--hours", "100", "--memory-sessions", "1", "--json"]);
    let child =
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let began = std::time::Instant::now();
    while !handles_an_interrupt(child.id()) {
        assert!(began.elapsed() < std::time::Duration::from_secs(60));
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
    let all: Value = serde_json::from_slice(&output.stdout).unwrap();
    let heard_s = number(&all["single"]["audio_s"]);
    assert!((0.0..360_000.0).contains(&heard_s), "{heard_s}");
}
