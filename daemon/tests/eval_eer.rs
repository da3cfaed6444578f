//! `diarized eval eer` as a person meets it: the three forms of lists, outputs, and errors with file and line.

use std::f32::consts::TAU;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn eval_eer(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_diarized"));
    command.current_dir(folder).args(["eval", "eer"]).args(args).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Two seconds of a buzz: harmonics of `pitch_hz` under one resonance, as a stand-in for a voice.
fn write_buzz(path: &Path, pitch_hz: f32, resonance_hz: f32) {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 16_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut wav = hound::WavWriter::create(path, spec).unwrap();
    for n in 0..32_000 {
        let t = n as f32 / 16_000.0;
        let harmonic = |k: u8| {
            let hz = f32::from(k) * pitch_hz;
            (TAU * hz * t).sin() / (1.0 + ((hz - resonance_hz) / 300.0).powi(2))
        };
        let sample: f32 = (1..40).map(harmonic).sum::<f32>() * (1.0 + 0.3 * (TAU * 4.0 * t).sin());
        wav.write_sample((sample.clamp(-4.0, 4.0) * 6_000.0) as i16).unwrap();
    }
    wav.finalize().unwrap();
}

fn corpus() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, pitch_hz, resonance_hz) in
        [("a1", 100.0, 500.0), ("a2", 102.0, 510.0), ("b1", 210.0, 1_500.0), ("b2", 214.0, 1_480.0)]
    {
        write_buzz(&folder.path().join(format!("{name}.wav")), pitch_hz, resonance_hz);
    }
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("wav.scp", "a1 a1.wav\na2 a2.wav\nb1 b1.wav\nb2 b2.wav\n");
    write("trials", "a1 a2 target\nb1 b2 target\na1 b1 nontarget\na2 b2 nontarget\n");
    write("veri.txt", "1 a1.wav a2.wav\n1 b1.wav b2.wav\n0 a1.wav b1.wav\n0 a2.wav b2.wav\n");
    write("tar-enroll-test.txt", "a1 a2\nb1 b2\n");
    write("imp-enroll-test.txt", "a1 b1\na2 b2\n");
    folder
}

#[test]
fn the_three_forms_of_one_list_give_the_same_figures() {
    let folder = corpus();
    let result = |args: &[&str]| -> Value {
        let output = eval_eer(folder.path(), args);
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let crop = ["--crop", "1.5", "--json"];
    let kaldi = result(&[&["trials", "--wav-scp", "wav.scp"][..], &crop].concat());
    let voxceleb = result(&[&["veri.txt"][..], &crop].concat());
    let pairs = ["tar-enroll-test.txt", "imp-enroll-test.txt", "--wav-scp", "wav.scp"];
    let pairs = result(&[&pairs[..], &crop].concat());
    assert_eq!(kaldi, voxceleb);
    assert_eq!(kaldi, pairs);
    assert_eq!((&kaldi["target_trials"], &kaldi["nontarget_trials"]), (&2.into(), &2.into()));
    assert!(kaldi["cllr"].is_number());
}

#[test]
fn outputs_enrolment_cohort_and_voice_activity_work_together() {
    let folder = corpus();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("spk2utt"), "A a1 a2\nB b1 b2\n").unwrap();
    fs::write(path("models"), "A a1 target\nB b1 target\nA b1 nontarget\nB a1 nontarget\n").unwrap();
    let args = "models --wav-scp wav.scp --enrol spk2utt --cohort wav.scp --cohort-top 3 --crop 1.5 --vad --json \
                --det det.csv --plot det.svg --scores scores.txt";
    let output = eval_eer(folder.path(), &args.split_whitespace().collect::<Vec<_>>());
    assert!(output.status.success(), "{}", stderr(&output));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    // A print that holds the test clip itself is always nearer than the other voice's.
    assert_eq!(result["eer"], 0.0);
    assert_eq!(result["cllr"], Value::Null);
    assert!(fs::read_to_string(path("det.csv")).unwrap().starts_with("threshold,p_miss,p_fa\ninf,1,0\n"));
    assert!(fs::read_to_string(path("det.svg")).unwrap().ends_with("</svg>\n"));
    assert_eq!(fs::read_to_string(path("scores.txt")).unwrap().lines().count(), 4);
}

#[test]
fn bad_input_is_named_by_file_and_line() {
    let folder = corpus();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let refused = |args: &str, code: i32, words: &str| {
        let output = eval_eer(folder.path(), &args.split_whitespace().collect::<Vec<_>>());
        assert_eq!(output.status.code(), Some(code), "{args}: {}", stderr(&output));
        assert!(stderr(&output).contains(words), "{args}: {}", stderr(&output));
    };
    write("bad1", "a1 a2 target\na1 b1 other\n");
    refused(
        "bad1 --wav-scp wav.scp",
        66,
        "bad1:2: expected `enrol test target|nontarget` or `1|0 enrol test`",
    );
    write("bad2", "a1 c7 target\n");
    refused("bad2 --wav-scp wav.scp", 66, "bad2:1: c7 is not in wav.scp");
    refused("bad2", 66, "bad2:1: there is no audio file a1");
    write("spk2utt", "A a1\nB\n");
    refused("trials --wav-scp wav.scp --enrol spk2utt", 66, "spk2utt:2: B has no utterance");
    write("one-kind", "a1 a2 target\n");
    refused("one-kind --wav-scp wav.scp --crop 1.5", 66, "got 1 target and 0 non-target trials");
    write("gone.scp", "a1 gone.wav\na2 a2.wav\nb1 b1.wav\nb2 b2.wav\n");
    refused("trials --wav-scp gone.scp --crop 1.5", 66, "gone.wav");
    // Everything that cannot be used is reported at once.
    write("text.wav", "no audio");
    write("short", "a1 a1 0 1\na2 a2 5 6\nb1 b1 0 1\nb2 b2 0 1\n");
    write("bad.scp", "a1 gone.wav\na2 a2.wav\nb1 text.wav\nb2 b2.wav\n");
    let args = "trials --wav-scp bad.scp --segments short --crop 1.5";
    refused(args, 66, "3 of 4 utterances cannot be used; mend them or leave them out of the lists:\n");
    refused(args, 66, "\n  gone.wav: cannot be opened");
    refused(args, 66, "\n  text.wav: is not audio");
    refused(args, 66, "\n  a2.wav: a2 starts at 5 s, the file ends at 2.000 s");
    refused("trials --wav-scp wav.scp --crop 0.1", 2, "--crop: must be from 0.3 to 60 s");
}
