//! `diarized label` and `diarized embed` as a person runs them: good and bad files, every output, exit codes.

mod common;

use std::path::Path;
use std::process::{Command, Stdio};

use diarized_models::rttm::parse_rttm;

use common::{conversation, diarized_in as diarized, run, speech};

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn bad_files_are_told_in_one_line_each_and_the_others_are_done() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(conversation(), folder.path().join("good talk.flac")).unwrap();
    std::fs::write(folder.path().join("empty.wav"), "").unwrap();
    std::fs::write(folder.path().join("text.wav"), "no audio at all").unwrap();
    let files = ["absent.wav", "empty.wav", "good talk.flac", "text.wav"];
    let args = [&["label", "-f", "rttm", "-o", "out/"], &files[..]].concat();
    let (code, stdout, stderr) = run(&mut diarized(folder.path(), &args));
    assert_eq!((code, &*stdout), (3, ""), "{stderr}");
    assert_eq!(stderr.lines().count(), 3, "{stderr}");
    for (name, words) in
        [("absent.wav", "check the name"), ("empty.wav", "0 bytes"), ("text.wav", "not audio")]
    {
        assert!(stderr.lines().any(|line| line.contains(name) && line.contains(words)), "{stderr}");
    }
    assert_eq!(names(&folder.path().join("out")), ["good talk.rttm"], "no half-written file is left");
    let text = std::fs::read(folder.path().join("out/good talk.rttm")).unwrap();
    let turns = parse_rttm("out", &text).unwrap();
    assert!(!turns.is_empty());
    assert!(turns.iter().all(|turn| turn.recording == "good_talk" && turn.end().seconds() < 74.0));

    let (code, ..) = run(&mut diarized(folder.path(), &["label", "absent.wav", "text.wav"]));
    assert_eq!(code, 66);
}

#[test]
fn every_command_reads_the_track_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(conversation(), folder.path().join("talk.flac")).unwrap();
    for command in
        [&["label"][..], &["embed"], &["enrol", "--store", "voices.db", "Ann"], &["verify", "talk.flac"]]
    {
        let args = [command, &["--track", "1", "talk.flac"]].concat();
        let (code, _, stderr) = run(&mut diarized(folder.path(), &args));
        assert_eq!(code, 66, "{args:?}: {stderr}");
        assert!(
            stderr.contains("talk.flac: has no audio track 1: it has 1, counted from 0"),
            "{args:?}: {stderr}"
        );
    }
    let (code, _, stderr) = run(&mut diarized(folder.path(), &["embed", "--track", "0", "talk.flac"]));
    assert_eq!(code, 0, "{stderr}");
}

#[test]
fn labels_do_not_depend_on_how_the_audio_comes() {
    let folder = tempfile::tempdir().unwrap();
    let path = conversation();
    let file = path.to_str().unwrap();
    let (code, from_file, stderr) = run(&mut diarized(folder.path(), &["label", "-f", "json", file]));
    assert_eq!((code, &*stderr), (0, ""));
    let pipe = std::fs::File::open(&path).unwrap();
    let mut command = diarized(folder.path(), &["label", "-f", "json", "--threads", "1", "-"]);
    let (code, from_pipe, stderr) = run(command.stdin(Stdio::from(pipe)));
    assert_eq!((code, &*stderr), (0, ""));
    assert_eq!(from_pipe.replace("\"stdin\"", "\"conversation\""), from_file);

    // The events, applied one after the other, say what the labels say.
    let (_, events, _) = run(&mut diarized(folder.path(), &["label", "--events", file]));
    let last_of = |id: &serde_json::Value| {
        let mut events = events.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        events.rfind(|event| event["type"] == "segment" && event["id"] == *id).unwrap()
    };
    for line in from_file.lines() {
        let label: serde_json::Value = serde_json::from_str(line).unwrap();
        let event = last_of(&label["id"]);
        assert!(
            (event["start"].as_f64().unwrap() - label["start"].as_f64().unwrap()).abs() < 1e-3,
            "{event}"
        );
        assert!(event["at"].as_f64().unwrap() >= event["start"].as_f64().unwrap());
    }
}

/// The same talk with noise, and in a room with a long echo: quality estimates distinguish them.
#[test]
fn labels_tell_how_clear_the_speech_is() {
    let folder = tempfile::tempdir().unwrap();
    let clean = speech(Some(20));
    let mut random = 1_u32;
    let mut noise = || {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let loudness = (clean.iter().map(|s| s * s).sum::<f32>() / clean.len() as f32).sqrt();
    // White noise between -1 and 1 has a power of one third.
    let noisy: Vec<f32> = clean.iter().map(|s| s + 0.5 * loudness * 3.0_f32.sqrt() * noise()).collect();
    // An echo that falls by 60 dB in a second, sparse so that the sum is short.
    let taps: Vec<(usize, f32)> = (0..400)
        .map(|tap| (tap * 40, if tap == 0 { 1.0 } else { 0.3 * noise() * (-6.9 * tap as f32 / 400.0).exp() }))
        .collect();
    let echoing: Vec<f32> = (0..clean.len())
        .map(|i| {
            taps.iter().map(|(delay, gain)| i.checked_sub(*delay).map_or(0.0, |at| gain * clean[at])).sum()
        })
        .collect();
    let means = |name: &str, samples: &[f32]| {
        let bytes: Vec<u8> =
            samples.iter().flat_map(|s| ((s * 0.5 * 32_767.0) as i16).to_le_bytes()).collect();
        std::fs::write(folder.path().join(name), bytes).unwrap();
        let audio = std::fs::File::open(folder.path().join(name)).unwrap();
        let args = ["label", "-f", "json", "--raw", "pcm_s16le", "-"];
        let (code, labels, stderr) = run(diarized(folder.path(), &args).stdin(Stdio::from(audio)));
        assert!(code == 0 && stderr.lines().all(|line| line.starts_with("diarized: note: ")), "{stderr}");
        let labels: Vec<serde_json::Value> =
            labels.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let labels: Vec<_> = labels.iter().filter(|label| label["overlap"] != true).collect();
        assert!(!labels.is_empty());
        ["snr_db", "c50_db"].map(|key| {
            labels.iter().map(|label| label[key].as_f64().unwrap()).sum::<f64>() / labels.len() as f64
        })
    };
    let [clean_snr_db, clean_c50_db] = means("clean", &clean);
    let [noisy_snr_db, _] = means("noisy", &noisy);
    let [_, echoing_c50_db] = means("echoing", &echoing);
    // The noise lies 6 dB below the speech and its pauses.
    assert!((2.0..12.0).contains(&noisy_snr_db), "{noisy_snr_db}");
    assert!(clean_snr_db > noisy_snr_db + 6.0, "{clean_snr_db} {noisy_snr_db}");
    assert!(clean_c50_db > echoing_c50_db + 4.0, "{clean_c50_db} {echoing_c50_db}");
}

/// One line about little confidence, on standard error only.
#[test]
fn a_short_clip_in_noise_gets_a_note_and_a_clear_talk_gets_none() {
    let folder = tempfile::tempdir().unwrap();
    let speech = speech(Some(14));
    let loudness = (speech.iter().map(|s| s * s).sum::<f32>() / speech.len() as f32).sqrt();
    let mut random = 1_u32;
    let mut noise = || {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let short = &speech[16_000..16_000 * 3];
    let noisy: Vec<f32> = short.iter().map(|s| s + 2.0 * loudness * 3.0_f32.sqrt() * noise()).collect();
    for (name, samples, has_note) in [("clear", speech.as_slice(), false), ("noisy", &noisy, true)] {
        let path = folder.path().join(format!("{name}.raw"));
        let bytes = samples.iter().flat_map(|s| ((s * 0.5 * 32_767.0) as i16).to_le_bytes());
        std::fs::write(&path, bytes.collect::<Vec<u8>>()).unwrap();
        let args = ["label", "-f", "rttm", "--raw", "pcm_s16le", "-"];
        let mut command = diarized(folder.path(), &args);
        let (code, labels, stderr) = run(command.stdin(std::fs::File::open(&path).unwrap()));
        assert_eq!((code, stderr.lines().count()), (0, usize::from(has_note)), "{name}: {stderr}");
        assert!(labels.lines().all(|line| line.starts_with("SPEAKER ")), "{name}: {labels}");
        if has_note {
            let note = "diarized: note: standard input: whether one person speaks or more";
            assert!(stderr.starts_with(note), "{stderr}");
            assert!(stderr.contains("s of speech only, noise only"), "{stderr}");
        }
    }
}

/// Windows of a recording are never left out for being late: its labels are the same on a machine that is too slow, or
/// that slept meanwhile.
#[cfg(unix)]
#[test]
fn labels_of_a_recording_do_not_depend_on_the_time_it_takes() {
    use std::io::Write as _;
    let folder = tempfile::tempdir().unwrap();
    let audio: Vec<u8> =
        speech(Some(40)).iter().flat_map(|s| ((s * 32_767.0) as i16).to_le_bytes()).collect();
    std::fs::write(folder.path().join("talk.raw"), &audio).unwrap();
    let command = || {
        let args = ["label", "-f", "json", "--raw", "pcm_s16le", "--threads", "1", "-"];
        let mut command = diarized(folder.path(), &args);
        command.stdout(Stdio::piped());
        command
    };
    let whole = std::fs::File::open(folder.path().join("talk.raw")).unwrap();
    let (code, expected, stderr) = run(command().stdin(Stdio::from(whole)));
    assert_eq!((code, &*stderr), (0, ""));
    let mut child = command().stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // The pipe holds two seconds, and what is read is not embedded yet.
    stdin.write_all(&audio[..20 * 32_000]).unwrap();
    let signal = |name: &str| {
        assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
    };
    signal("-STOP");
    // Longer than the speech in flight, so that all of it comes back late.
    std::thread::sleep(std::time::Duration::from_secs(8));
    signal("-CONT");
    stdin.write_all(&audio[20 * 32_000..]).unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
}

#[test]
fn what_cannot_be_written_is_told_before_the_work() {
    let folder = tempfile::tempdir().unwrap();
    let path = conversation();
    let file = path.to_str().unwrap();
    let (code, _, stderr) = run(&mut diarized(folder.path(), &["label", "-o", "absent/out.rttm", file]));
    assert_eq!(code, 73);
    assert!(stderr.starts_with("diarized: cannot write absent/out.rttm: No such file"), "{stderr}");
    let (code, _, stderr) = run(&mut diarized(folder.path(), &["embed", "-o", "absent/v.npy", file]));
    assert_eq!(code, 73, "{stderr}");
    let (code, _, stderr) = run(&mut diarized(folder.path(), &["label", "-f", "srt", file, "b.wav"]));
    assert_eq!(code, 2);
    assert!(stderr.contains("name a folder with --output"), "{stderr}");
    let (code, _, stderr) = run(&mut diarized(folder.path(), &["label", "--window-ms", "7", file]));
    assert_eq!(code, 78);
    assert!(stderr.contains("flag --window-ms: diarization.window_ms = 7: expected"), "{stderr}");
    assert_eq!(names(folder.path()), Vec::<String>::new());
}

#[test]
fn embeddings_of_files_lists_and_windows() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(conversation(), folder.path().join("talk.flac")).unwrap();
    std::fs::write(folder.path().join("wav.scp"), "talk talk.flac\ngone gone.wav\n").unwrap();
    std::fs::write(
        folder.path().join("segments"),
        "u2 talk 2 4\nu1 talk 0 1.5\nu3 gone 0 1\nu4 talk 90 91\n",
    )
    .unwrap();
    let (code, _, stderr) = run(&mut diarized(folder.path(), &["embed", "--scp", "gone.scp"]));
    assert_eq!(
        (code, &*stderr),
        (66, "diarized: cannot read gone.scp: No such file or directory (os error 2)\n")
    );
    let (code, _, stderr) = run(&mut diarized(folder.path(), &["embed", "--window-ms", "90", "talk.flac"]));
    assert_eq!(code, 2);
    assert!(stderr.contains("expected a multiple of 10 from 100 to 60000"), "{stderr}");
    let args = ["embed", "--scp", "wav.scp", "--segments", "segments", "-o", "v.npy"];
    let (code, stdout, stderr) = run(&mut diarized(folder.path(), &args));
    assert_eq!((code, &*stdout, stderr.lines().count()), (3, "", 2), "{stderr}");
    assert_eq!(std::fs::read_to_string(folder.path().join("v.ids")).unwrap(), "u2 2 4\nu1 0 1.5\n");
    let bytes = std::fs::read(folder.path().join("v.npy")).unwrap();
    let values: Vec<f32> =
        bytes[128..].chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    let rows: Vec<&[f32]> = values.chunks_exact(values.len() / 2).collect();
    for row in &rows {
        let norm: f32 = row.iter().map(|value| value * value).sum();
        assert!((norm - 1.0).abs() < 1e-4, "{norm}");
    }

    let (code, stdout, stderr) = run(&mut diarized(
        folder.path(),
        &["embed", "--window-ms", "1500", "--step-ms", "5000", "talk.flac"],
    ));
    assert_eq!((code, &*stderr), (0, ""));
    let windows: Vec<serde_json::Value> =
        stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let starts: Vec<f64> = windows.iter().map(|window| window["start"].as_f64().unwrap()).collect();
    assert_eq!(starts, (0..15).map(|n| 5.0 * f64::from(n)).collect::<Vec<_>>());
    // The first window and the utterance of its length hear the same, but for the frames at the utterance's end.
    let window =
        windows[0]["embedding"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap() as f32);
    let cosine: f32 = window.zip(rows[1]).map(|(a, b)| a * b).sum();
    assert!(cosine > 0.9, "{cosine}");
}

#[cfg(unix)]
#[test]
fn an_interrupt_writes_what_was_embedded_so_far() {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(conversation(), folder.path().join("good talk.flac")).unwrap();
    assert!(Command::new("mkfifo").arg(folder.path().join("pipe.wav")).status().unwrap().success());
    let args = ["embed", "--threads", "1", "-o", "v.npy", "good talk.flac", "pipe.wav", "good talk.flac"];
    let mut child = diarized(folder.path(), &args).stderr(Stdio::piped()).spawn().unwrap();
    // Somebody reads the pipe: the file before it is done.
    let mut pipe = std::fs::File::options().write(true).open(folder.path().join("pipe.wav")).unwrap();
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let (mut stderr, mut line) = (BufReader::new(child.stderr.take().unwrap()), String::new());
    stderr.read_line(&mut line).unwrap();
    assert_eq!(line, "diarized: interrupted; Ctrl-C again ends at once\n");
    pipe.write_all(b"no audio").unwrap();
    drop(pipe);
    stderr.read_to_string(&mut line).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{line}");
    assert_eq!(names(folder.path()), ["good talk.flac", "pipe.wav", "v.ids", "v.npy"]);
    let ids = std::fs::read_to_string(folder.path().join("v.ids")).unwrap();
    assert_eq!(ids.lines().collect::<Vec<_>>(), ["good_talk 0 73.57"], "three fields a line");
}

#[cfg(unix)]
#[test]
fn an_interrupt_writes_what_was_labelled_so_far() {
    use std::io::Write as _;
    let folder = tempfile::tempdir().unwrap();
    let args = ["label", "--raw", "pcm_s16le", "-o", "out.rttm", "-"];
    let mut command = diarized(folder.path(), &args);
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // The pipe holds far less than this, so once it is written the labelling is under way.
    stdin.write_all(&vec![0; 2_000_000]).unwrap();
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    // A read from a pipe is not broken off: the flag is looked at when audio comes.
    while stdin.write_all(&[0; 32_000]).is_ok() {}
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("warning: standard input: interrupted; labelled up to "), "{stderr}");
    assert_eq!(names(folder.path()), ["out.rttm"]);
}

#[test]
fn speakers_are_counted_with_confidence() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(conversation(), folder.path().join("talk.flac")).unwrap();
    std::fs::write(folder.path().join("silence.pcm"), [0_u8; 32_000]).unwrap();

    let (code, text, stderr) = run(&mut diarized(folder.path(), &["label", "--count", "talk.flac"]));
    assert_eq!(code, 0, "{stderr}");
    let percent = text.strip_prefix("talk  4 speakers (").and_then(|rest| rest.strip_suffix(" %)\n"));
    let percent: f64 = percent.unwrap_or_else(|| panic!("{text}")).parse().unwrap();
    assert!((50.0..=100.0).contains(&percent), "{text}");

    let args = ["label", "--count", "-o", "counts.json", "talk.flac"];
    let (code, _, stderr) = run(&mut diarized(folder.path(), &args));
    assert_eq!(code, 0, "{stderr}");
    let counted = std::fs::read_to_string(folder.path().join("counts.json")).unwrap();
    let counted: serde_json::Value = serde_json::from_str(&counted).unwrap();
    assert_eq!((&counted["file"], &counted["speakers"]), (&"talk".into(), &4.into()));
    assert!((counted["confidence"].as_f64().unwrap() * 100.0 - percent).abs() < 0.01, "{counted}");
    assert!((60.0..73.6).contains(&counted["speech"].as_f64().unwrap()), "{counted}");

    let args = ["label", "--count", "--json", "--raw", "pcm_s16le", "-"];
    let silence = std::fs::File::open(folder.path().join("silence.pcm")).unwrap();
    let (code, text, stderr) = run(diarized(folder.path(), &args).stdin(silence));
    assert_eq!(code, 0, "{stderr}");
    let nobody = r#"{"file":"stdin","speakers":0,"confidence":null,"speech":0.0}"#;
    assert_eq!(text, format!("{nobody}\n"));

    for args in [&["label", "--count", "--speakers", "2", "talk.flac"][..], &["label", "--json", "talk.flac"]]
    {
        let (code, _, stderr) = run(&mut diarized(folder.path(), args));
        assert_eq!((code, stderr.contains("--count")), (2, true), "{stderr}");
    }
}
