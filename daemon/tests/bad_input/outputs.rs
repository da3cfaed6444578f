//! Places that cannot be written: a full disk, a closed pipe, a folder that is not there.

use std::fs::OpenOptions;
use std::path::Path;
use std::process::{Command, Stdio};

use super::wav::{PLAIN, s16, speech};
use super::{conversation, diarized, run};

/// A folder with a few seconds of speech as `talk.wav`.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("talk.wav"), PLAIN.with(&s16(&speech(3)))).unwrap();
    folder
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told_by_every_command() {
    let folder = folder();
    std::fs::write(folder.path().join("ref.rttm"), "SPEAKER talk 1 0.5 1 <NA> <NA> A <NA> <NA>\n").unwrap();
    let key = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
    let commands: [&[&str]; 11] = [
        &["label", "-f", "rttm", "talk.wav"],
        &["label", "--events", "talk.wav"],
        &["embed", "talk.wav"],
        &["config"],
        &["config", "--default"],
        &["eval", "der", "ref.rttm", "ref.rttm"],
        &["bench", "talk.wav", "--seconds", "2", "--memory-sessions", "1"],
        &["verify", "talk.wav", "talk.wav"],
        &["voices", "init", "--store", "voices.db"],
        &["identify", "talk.wav", "--store", "voices.db"],
        &["token", "add", "anna", "--scope", "publish", "--file", "tokens.toml"],
    ];
    for args in commands {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let child = diarized(folder.path(), args)
            .env("DIARIZED_VOICES_KEY", key)
            .stdout(full)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(73), "{args:?}: {stderr}");
        assert!(stderr.contains("cannot write") && stderr.contains("No space left"), "{args:?}: {stderr}");
        assert!(!stderr.contains("panicked"), "{args:?}: {stderr}");
    }
    assert!(!folder.path().join("tokens.toml").exists(), "a token that nobody has seen is not kept");
    for args in [&["label", "-o", "/dev/full", "talk.wav"][..], &["embed", "-o", "/dev/full", "talk.wav"]] {
        let (code, _, stderr) = run(&mut diarized(folder.path(), args));
        assert_eq!(code, 73, "{args:?}: {stderr}");
        assert!(stderr.contains("cannot write /dev/full: No space left"), "{args:?}: {stderr}");
    }
}

/// Runs a command whose reader has gone; gives exit code and standard error.
fn without_a_reader(folder: &Path, args: &[&str]) -> (Option<i32>, String) {
    let mut command: Command = diarized(folder, args);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_reader_that_has_enough_is_no_fault_to_tell() {
    let folder = folder();
    for args in [&["config", "--default"][..], &["label", "-f", "rttm", "talk.wav"], &["embed", "talk.wav"]] {
        let (code, stderr) = without_a_reader(folder.path(), args);
        assert_eq!((code, &*stderr), (Some(73), ""), "{args:?}");
    }
}

#[test]
fn places_that_cannot_be_written_are_named_before_the_work() {
    let folder = folder();
    for (args, place) in [
        (&["label", "-o", "talk.wav/out.rttm", "talk.wav"][..], "talk.wav/out.rttm"),
        (&["label", "-f", "rttm", "-o", "talk.wav/out/", "talk.wav"], "talk.wav/out"),
        (&["embed", "-o", "absent/voices.npy", "talk.wav"], "absent/voices.npy"),
    ] {
        let (code, _, stderr) = run(&mut diarized(folder.path(), args));
        assert_eq!(code, 73, "{args:?}: {stderr}");
        assert!(stderr.contains("cannot write") && stderr.contains(place), "{args:?}: {stderr}");
    }
    let conversation = conversation();
    let args = ["label", "-f", "rttm", "-o", "talk.wav/out.rttm", conversation.to_str().unwrap()];
    let began = std::time::Instant::now();
    run(&mut diarized(folder.path(), &args));
    assert!(began.elapsed().as_secs() < 60, "nothing was labelled first");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left behind");
}
