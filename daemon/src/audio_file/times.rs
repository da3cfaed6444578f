//! Times of sound in containers against those that ffprobe reads from their packets, and Opus to the sample.

use std::path::Path;
use std::process::Command;

use super::formats::{ffmpeg, has_ffmpeg};
use super::*;

/// Largest difference of a time, in seconds.
const MAX_WRONG_S: f64 = 0.1;
/// Longest packet, of FLAC: a hole begins and ends with one.
const PACKET_S: f64 = 0.1;
/// Shorter pauses are none, in seconds.
const PAUSE_S: f64 = 0.25;

/// Name of a container with its sound, and the arguments that make it.
const CONTAINERS: [(&str, &str); 19] = [
    ("opus.mkv", "-c:a libopus"),
    ("aac.mkv", "-c:a aac"),
    ("pcm.mkv", "-c:a pcm_s16le"),
    ("flac.mka", "-c:a flac"),
    ("mp3.mka", "-c:a libmp3lame"),
    ("opus.webm", "-c:a libopus"),
    ("vorbis.webm", "-c:a libvorbis"),
    ("aac.mp4", "-c:a aac"),
    ("aac.m4a", "-c:a aac -movflags faststart"),
    ("fragments.mp4", "-c:a aac -movflags frag_keyframe+empty_moov -frag_duration 300000"),
    ("opus.mp4", "-c:a libopus"),
    ("flac.mp4", "-c:a flac -strict -2"),
    ("mp3.mp4", "-c:a libmp3lame"),
    ("alac.m4a", "-c:a alac"),
    ("aac.mov", "-c:a aac"),
    ("aac.3gp", "-c:a aac"),
    ("vorbis.ogg", "-c:a libvorbis"),
    ("opus.opus", "-c:a libopus -page_duration 200000"),
    ("flac.oga", "-c:a flac -page_duration 200000"),
];

/// Joins parts that lie next to each other.
fn joined(parts: impl Iterator<Item = (f64, f64)>) -> Vec<(f64, f64)> {
    let mut all: Vec<(f64, f64)> = Vec::new();
    for (start, end) in parts {
        match all.last_mut() {
            Some(last) if start - last.1 < PAUSE_S => last.1 = last.1.max(end),
            _ => all.push((start, end)),
        }
    }
    all
}

/// Where the packets of a file lie.
fn by_ffprobe(path: &Path) -> Option<Vec<(f64, f64)>> {
    let entries = "packet=pts_time,duration_time,flags";
    let args = ["-v", "error", "-select_streams", "a:0", "-show_entries", entries, "-of", "csv=p=0"];
    let made = Command::new("ffprobe").args(args).arg(path).output().ok()?;
    assert!(made.status.success(), "{}: {}", path.display(), String::from_utf8_lossy(&made.stderr));
    let text = String::from_utf8(made.stdout).unwrap();
    let mut packets: Vec<(f64, f64)> = Vec::new();
    for line in text.lines() {
        let mut fields = line.split(',');
        let mut number = || fields.next().and_then(|field| field.parse::<f64>().ok());
        let (Some(start), len) = (number(), number().unwrap_or(0.0)) else { continue };
        // What an edit list leaves out is flagged.
        if !fields.next().is_some_and(|flags| flags.contains('D')) {
            packets.push((start, len));
        }
    }
    // In MP4 the packet before a hole lasts as long as the hole.
    let mut lengths: Vec<f64> = packets.iter().map(|(_, len)| *len).collect();
    lengths.sort_by(f64::total_cmp);
    let usual_s = lengths[lengths.len() / 2];
    let parts = packets.into_iter().map(|(start, len)| (start.max(0.0), start + len.min(2.0 * usual_s)));
    Some(joined(parts.filter(|(start, end)| end > start)))
}

/// Where the sound lies that was put into a file.
fn made(kind: &str) -> Vec<(f64, f64)> {
    match kind {
        "plain" => vec![(0.0, 8.0)],
        "late" => vec![(3.3, 11.3)],
        "holed" => vec![(0.0, 2.0), (4.0, 5.0), (6.0, 8.0)],
        _ => vec![(4.0, 5.0), (6.0, 11.3)],
    }
}

/// Where a file sounds.
fn heard(path: &Path) -> Vec<(f64, f64)> {
    let mut audio = AudioFile::open(path).unwrap_or_else(|error| panic!("{error}"));
    let (mut block, mut n_frames) = (Vec::new(), 0_u64);
    let rate_hz = f64::from(audio.sample_rate_hz());
    let mut loud = Vec::new();
    loop {
        match audio.next(&mut block).unwrap() {
            Piece::Samples => {
                for frame in block.chunks(usize::from(audio.n_channels())) {
                    if frame[0].abs() > 0.1 {
                        let at = n_frames as f64 / rate_hz;
                        loud.push((at, at));
                    }
                    n_frames += 1;
                }
            }
            Piece::Gap(n) => n_frames += n,
            Piece::End => break,
        }
    }
    joined(loud.into_iter())
}

#[test]
fn times_are_those_of_ffprobe_in_every_container() {
    if !has_ffmpeg("times of containers against ffprobe") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let tone = "aevalsrc=0.5*sin(2*PI*440*t):duration=8:sample_rate=48000";
    let holes = "noise=drop='gt(pts*tb\\,2)*lt(pts*tb\\,4)+gt(pts*tb\\,5)*lt(pts*tb\\,6)'";
    let mut wrong = Vec::new();
    for (name, args) in CONTAINERS {
        let make = |before: &[&str], after: &[&str], kind: &str| {
            let input = ["-f", "lavfi", "-i", tone];
            let args = [before, &input, &args.split(' ').collect::<Vec<_>>(), after].concat();
            ffmpeg(folder.path(), &args, &format!("{kind}_{name}"))
        };
        let late = ["-itsoffset", "3.3"];
        for (kind, before, after) in [
            ("plain", &[][..], &[][..]),
            ("late", &late, &[]),
            ("holed", &[], &["-bsf:a", holes]),
            ("late_holed", &late, &["-bsf:a", holes]),
        ] {
            let Some(path) = make(before, after, kind) else {
                println!("not run: {kind} {name}: this ffmpeg has no such encoder");
                continue;
            };
            let Some(expected) = by_ffprobe(&path) else {
                println!("not run: times of {name}: ffprobe is not installed");
                return;
            };
            let got = heard(&path);
            // Pages of Ogg have one time each; ffprobe guesses those of the packets in them, across a hole, too.
            let is_ogg = [".ogg", ".opus", ".oga"].iter().any(|ending| name.ends_with(ending));
            let expected = if is_ogg { made(kind) } else { expected };
            let max_s = if is_ogg { MAX_WRONG_S + PACKET_S } else { MAX_WRONG_S };
            let is_near =
                |(a, b): (&(f64, f64), &(f64, f64))| (a.0 - b.0).abs() < max_s && (a.1 - b.1).abs() < max_s;
            if got.len() != expected.len() || !got.iter().zip(&expected).all(is_near) {
                wrong.push(format!("{kind} {name}: {got:.2?}, expected {expected:.2?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn opus_begins_and_ends_at_the_same_sample_as_in_ffmpeg() {
    if !has_ffmpeg("Opus to the sample") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    for frame_ms in ["2.5", "5", "10", "20", "60"] {
        // One page, and several.
        for seconds in ["0.5", "2.7"] {
            let tone =
                format!("aevalsrc=0.5*sin(2*PI*440*t)*gte(t\\,0.3):duration={seconds}:sample_rate=48000");
            let args = ["-f", "lavfi", "-i", &tone, "-c:a", "libopus", "-frame_duration", frame_ms];
            for ending in ["opus", "mka"] {
                let Some(path) = ffmpeg(folder.path(), &args, &format!("it.{ending}")) else {
                    println!("not run: Opus: this ffmpeg has no such encoder");
                    return;
                };
                let to_raw = ["-v", "error", "-i", path.to_str().unwrap(), "-f", "f32le", "-"];
                let raw = Command::new("ffmpeg").args(to_raw).output().unwrap().stdout;
                let expected: Vec<f32> =
                    raw.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
                let (got, _) = super::tests::read_all(AudioFile::open(&path).unwrap());
                let onset = |samples: &[f32]| samples.iter().position(|s| s.abs() > 0.1).unwrap();
                let at = (onset(&got).abs_diff(onset(&expected)), got.len().abs_diff(expected.len()));
                // The demuxer of Matroska does not say what of the last packet is padding.
                let n_padding = if ending == "mka" { 48 * 60 } else { 0 };
                if at.0 > 1 || at.1 > n_padding {
                    wrong.push(format!(
                        "{frame_ms} ms, {seconds} s, {ending}: onset {} {}, length {} {}",
                        onset(&got),
                        onset(&expected),
                        got.len(),
                        expected.len()
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
