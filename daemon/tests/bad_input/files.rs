//! Audio files that are cut off, lie, hold nothing or hold nonsense.

use std::path::Path;
use std::process::Stdio;

use diarized_models::rttm::{SpeakerTurn, parse_rttm};

use super::wav::{Header, PLAIN, f32s, s16, speech};
use super::{diarized, run};

fn write(folder: &Path, name: &str, bytes: &[u8]) {
    std::fs::write(folder.join(name), bytes).unwrap();
}

fn turns(folder: &Path, name: &str) -> Vec<SpeakerTurn> {
    let bytes = std::fs::read(folder.join(name)).unwrap();
    parse_rttm(name, &bytes).unwrap()
}

/// When somebody speaks, in seconds.
fn spoken_s(turns: &[SpeakerTurn]) -> f64 {
    turns.iter().map(|turn| turn.duration.seconds()).sum()
}

/// Runs a command and leaves out its notes on how sure the labels are.
fn run_without_notes(command: &mut std::process::Command) -> (i32, String, String) {
    let (code, stdout, stderr) = run(command);
    let faults = stderr.lines().filter(|line| !line.starts_with("diarized: note: "));
    (code, stdout, faults.map(|line| format!("{line}\n")).collect())
}

/// The one line of `stderr` about `name`.
fn line_about<'a>(stderr: &'a str, name: &str) -> &'a str {
    let lines: Vec<_> = stderr.lines().filter(|line| line.contains(name)).collect();
    assert_eq!(lines.len(), 1, "{name}: {stderr}");
    lines[0]
}

#[test]
fn files_that_hold_no_usable_audio_are_told_one_by_one_and_the_others_are_done() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| write(folder.path(), name, bytes);
    let data = s16(&speech(4));
    // Name, bytes, what the line must say: what is wrong and what to do.
    let bad: [(&str, Vec<u8>, &[&str]); 12] = [
        ("no-bytes.wav", vec![], &["is empty (0 bytes)", "record or copy it again"]),
        ("no-samples.wav", PLAIN.with(&[]), &["holds no samples", "record or copy it again"]),
        (
            "cut-in-the-header.wav",
            PLAIN.with(&data)[..30].to_vec(),
            &["is damaged or was cut off", "copy it again"],
        ),
        ("rate-1.wav", Header { rate_hz: 1, ..PLAIN }.with(&data), &["1 Hz", "8000 to 192000", "ffmpeg"]),
        (
            "rate-10M.wav",
            Header { rate_hz: 10_000_000, ..PLAIN }.with(&data),
            &["10000000 Hz", "8000 to 192000", "ffmpeg"],
        ),
        (
            "nine-channels.wav",
            Header { n_channels: 9, ..PLAIN }.with(&data[..9 * 2 * 1000]),
            &["has 9 channels", "-ac 1"],
        ),
        ("all-channels.wav", Header { n_channels: 65_535, ..PLAIN }.with(&data), &["all-channels.wav: "]),
        ("no-bits.wav", Header { bits: 0, ..PLAIN }.with(&data), &["is damaged or was cut off"]),
        ("no-channel.wav", Header { n_channels: 0, ..PLAIN }.with(&data), &["no-channel.wav: "]),
        (
            "text.wav",
            b"No audio, but a letter to my aunt.".to_vec(),
            &["is not audio of a known kind", "ffmpeg"],
        ),
        (
            "noise.flac",
            data.iter().map(|byte| byte.wrapping_mul(97)).collect(),
            &["is not audio of a known kind"],
        ),
        ("cut.flac", std::fs::read(super::conversation()).unwrap()[..60].to_vec(), &["cut.flac: "]),
    ];
    bad.iter().for_each(|(name, bytes, _)| write(name, bytes));
    write("good.wav", &PLAIN.with(&s16(&speech(10))));
    let names: Vec<&str> = bad.iter().map(|(name, ..)| *name).chain(["good.wav"]).collect();

    let args = [&["label", "-f", "rttm", "-o", "out/"], &names[..]].concat();
    let (code, _, stderr) = run_without_notes(&mut diarized(folder.path(), &args));
    assert_eq!((code, stderr.lines().count()), (3, bad.len()), "{stderr}");
    for (name, _, words) in &bad {
        let line = line_about(&stderr, name);
        assert!(line.starts_with("diarized: "), "{line}");
        words.iter().for_each(|words| assert!(line.contains(words), "{line} lacks {words:?}"));
    }
    assert!(!turns(folder.path(), "out/good.rttm").is_empty());

    let args = [&["embed"], &names[..]].concat();
    let (code, stdout, stderr) = run_without_notes(&mut diarized(folder.path(), &args));
    assert_eq!((code, stdout.lines().count(), stderr.lines().count()), (3, 1, bad.len()), "{stderr}");
    bad.iter().for_each(|(name, ..)| _ = line_about(&stderr, name));
}

#[test]
fn what_a_file_holds_is_used_and_what_is_wrong_with_it_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| write(folder.path(), name, bytes);
    let speech = speech(10);
    let data = s16(&speech);
    let promises = |n: u32| Header { n_promised: Some(n), ..PLAIN }.with(&data);
    write("honest.wav", &PLAIN.with(&data));
    // Name, bytes, the message, or nothing.
    let mut with_nan = f32s(&speech);
    for n in 0..1000 {
        with_nan[40_000 + 4 * n..][..4].copy_from_slice(&[f32::NAN, f32::INFINITY][n % 2].to_le_bytes());
    }
    let float = Header { format: 3, bits: 32, ..PLAIN };
    let odd: [(&str, Vec<u8>, Option<&str>); 6] = [
        ("cut-off.wav", PLAIN.with(&data)[..44 + data.len() / 2].to_vec(), Some("ends after 5.0 s")),
        (
            "promises-more.wav",
            promises(data.len() as u32 * 3),
            Some("of the 30.0 s that its header promises"),
        ),
        ("promises-nothing.wav", promises(0), Some("promises no data though data follows")),
        ("endless.wav", promises(u32::MAX), None),
        ("half-a-sample.wav", [PLAIN.with(&data), vec![7]].concat(), None),
        ("nan.wav", float.with(&with_nan), Some("holds 1000 samples that are no finite number")),
    ];
    odd.iter().for_each(|(name, bytes, _)| write(name, bytes));
    let names: Vec<&str> = odd.iter().map(|(name, ..)| *name).chain(["honest.wav"]).collect();
    let args = [&["label", "-f", "rttm", "-o", "out/"], &names[..]].concat();
    let (code, _, stderr) = run_without_notes(&mut diarized(folder.path(), &args));
    assert_eq!(code, 0, "{stderr}");
    let honest = turns(folder.path(), "out/honest.rttm");
    assert!(spoken_s(&honest) > 4.0, "{honest:?}");
    for (name, _, words) in &odd {
        match words {
            Some(words) => assert!(line_about(&stderr, name).contains(words), "{stderr}"),
            None => assert!(!stderr.contains(name), "{stderr}"),
        }
        let got = turns(folder.path(), &format!("out/{}", name.replace(".wav", ".rttm")));
        let times = |turns: &[SpeakerTurn]| turns.iter().map(|t| (t.start, t.duration)).collect::<Vec<_>>();
        match *name {
            "cut-off.wav" => assert!(got.iter().all(|turn| turn.end().seconds() <= 5.01), "{got:?}"),
            // A sixteenth of a second became silence.
            "nan.wav" => assert!((spoken_s(&got) - spoken_s(&honest)).abs() < 1.0, "{got:?}"),
            _ => assert_eq!(times(&got), times(&honest), "{name}"),
        }
    }
}

#[test]
fn silence_and_clipped_audio_are_audio() {
    let folder = tempfile::tempdir().unwrap();
    let speech = speech(10);
    let clipped: Vec<f32> = speech.iter().map(|s| (s * 50.0).clamp(-1.0, 1.0)).collect();
    write(folder.path(), "silent.wav", &PLAIN.with(&[0; 320_000]));
    write(folder.path(), "clipped.wav", &PLAIN.with(&s16(&clipped)));
    let beyond = Header { format: 3, bits: 32, ..PLAIN };
    let loud: Vec<f32> = speech.iter().map(|s| s * 1e30).collect();
    write(folder.path(), "beyond.wav", &beyond.with(&f32s(&loud)));
    let args = ["label", "-f", "rttm", "-o", "out/", "silent.wav", "clipped.wav", "beyond.wav"];
    let (code, _, stderr) = run(&mut diarized(folder.path(), &args));
    assert_eq!(code, 0, "{stderr}");
    assert!(line_about(&stderr, "silent.wav").ends_with(": silent.wav: no speech was found"));
    let faults: Vec<_> = stderr.lines().filter(|line| !line.starts_with("diarized: note: ")).collect();
    assert!(faults.len() == 1 && faults[0].contains("samples far above full scale"), "{stderr}");
    assert_eq!(turns(folder.path(), "out/silent.rttm"), []);
    assert!(spoken_s(&turns(folder.path(), "out/clipped.rttm")) > 2.0, "voices are heard through clipping");
    assert!(turns(folder.path(), "out/beyond.rttm").iter().all(|turn| turn.end().seconds() <= 10.1));
}

#[test]
fn recorders_above_48_khz_are_heard() {
    let folder = tempfile::tempdir().unwrap();
    let speech = speech(10);
    // Six samples for each, joined by straight lines: what is above 8 kHz is images, which the intake stops.
    let line = |n: usize| {
        let (a, b) = (speech[n / 6], speech[(n / 6 + 1).min(speech.len() - 1)]);
        a + (b - a) * (n % 6) as f32 / 6.0
    };
    let high: Vec<f32> = (0..speech.len() * 6).map(line).collect();
    write(folder.path(), "low.wav", &PLAIN.with(&s16(&speech)));
    write(folder.path(), "high.wav", &Header { rate_hz: 96_000, ..PLAIN }.with(&s16(&high)));
    let args = ["label", "-f", "rttm", "-o", "out/", "low.wav", "high.wav"];
    let (code, _, stderr) = run_without_notes(&mut diarized(folder.path(), &args));
    assert_eq!((code, &*stderr), (0, ""));
    let [low, high] = ["out/low.rttm", "out/high.rttm"].map(|name| spoken_s(&turns(folder.path(), name)));
    assert!(low > 4.0 && (high - low).abs() < 0.1 * low, "{low} s of speech, {high} s at 96 kHz");
}

#[test]
fn raw_pcm_is_taken_as_it_comes() {
    use std::io::Write as _;
    let folder = tempfile::tempdir().unwrap();
    let piped = |args: &[&str], bytes: &[u8]| {
        let mut command = diarized(folder.path(), &[&["label", "-f", "rttm"], args].concat());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A command that refuses its input closes the pipe.
        let _ = child.stdin.take().unwrap().write_all(bytes);
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(!stderr.contains("panicked"), "{stderr}");
        (output.status.code().unwrap(), stderr)
    };
    let data = s16(&speech(3));
    let (code, stderr) = piped(&["--raw", "pcm_s16le", "-"], &[&data[..], &[1]].concat());
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("ends with 1 bytes that are no whole frame"), "{stderr}");
    let (code, stderr) = piped(&["--raw", "pcm_f32le", "-"], &f32s(&[f32::NAN; 32_000]));
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("holds 32000 samples that are no finite number"), "{stderr}");
    let (code, stderr) = piped(&["--raw", "pcm_s16le", "-"], &[]);
    assert_eq!(code, 66, "{stderr}");
    assert!(stderr.contains("standard input: holds no samples"), "{stderr}");
    let (code, stderr) = piped(&["--raw", "pcm_s16le", "--rate", "1", "-"], &data);
    assert_eq!(code, 66, "{stderr}");
    assert!(stderr.contains("sample rate of 1 Hz"), "{stderr}");
    let (code, stderr) = piped(&["--raw", "pcm_s16le", "--channels", "0", "-"], &data);
    assert_eq!(code, 2, "{stderr}");
    let m4a = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/audio_files/aac.m4a");
    let (code, stderr) = piped(&["-"], &std::fs::read(m4a).unwrap());
    assert_eq!(code, 66, "{stderr}");
    assert!(stderr.contains("standard input: keeps its index at its end"), "{stderr}");
    // Text where PCM belongs looks like PCM; without --raw it does not.
    let (code, stderr) = piped(&["-"], b"text where audio belongs");
    assert_eq!(code, 66, "{stderr}");
    assert!(stderr.contains("standard input: is not audio of a known kind"), "{stderr}");
}
