//! The formats that are read and must go on being read, as ffmpeg writes them; and the times of containers.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;

/// 0.3 s of silence, then a tone up to 1.2 s.
const SIGNAL: &str = "aevalsrc=0.5*sin(2*PI*440*t)*gte(t\\,0.3):duration=1.2:sample_rate=";
/// What encoders and the frames of a file may move the tone by, in seconds, without a timestamp.
const SLACK_S: f64 = 0.06;

/// Name, rate, channels and the arguments that make it.
const FORMATS: [(&str, u32, u16, &str); 75] = [
    ("u8.wav", 8000, 1, "-c:a pcm_u8"),
    ("s16.wav", 16_000, 2, "-c:a pcm_s16le"),
    ("s24.wav", 44_100, 1, "-c:a pcm_s24le"),
    ("s32.wav", 48_000, 1, "-c:a pcm_s32le"),
    ("f32.wav", 16_000, 1, "-c:a pcm_f32le"),
    ("f64.wav", 16_000, 1, "-c:a pcm_f64le"),
    ("alaw.wav", 8000, 1, "-c:a pcm_alaw"),
    ("mulaw.wav", 8000, 2, "-c:a pcm_mulaw"),
    ("ms_adpcm.wav", 16_000, 1, "-c:a adpcm_ms"),
    ("ima_adpcm.wav", 16_000, 1, "-c:a adpcm_ima_wav"),
    ("mp3_inside.wav", 44_100, 1, "-c:a libmp3lame -b:a 64k"),
    ("six.wav", 16_000, 6, "-c:a pcm_s16le"),
    ("rf64.wav", 16_000, 1, "-rf64 always"),
    ("wave64.w64", 16_000, 1, "-c:a pcm_s16le"),
    ("s16.au", 16_000, 1, "-c:a pcm_s16be"),
    ("mulaw.au", 8000, 1, "-c:a pcm_mulaw"),
    ("s16.aiff", 16_000, 1, "-c:a pcm_s16be"),
    ("s24.aiff", 44_100, 2, "-c:a pcm_s24be"),
    ("f32.aifc", 16_000, 1, "-c:a pcm_f32be -f aiff"),
    ("sowt.aifc", 16_000, 1, "-c:a pcm_s16le -f aiff"),
    ("mulaw.aifc", 8000, 1, "-c:a pcm_mulaw -f aiff"),
    ("s16.caf", 16_000, 1, "-c:a pcm_s16le"),
    ("f32.caf", 48_000, 2, "-c:a pcm_f32le"),
    ("flac16.flac", 16_000, 1, "-c:a flac"),
    ("flac24.flac", 96_000, 2, "-c:a flac -sample_fmt s32"),
    ("flac.ogg", 16_000, 1, "-c:a flac"),
    ("alac.m4a", 16_000, 1, "-c:a alac"),
    ("aac.m4a", 44_100, 1, "-c:a aac"),
    ("faststart.m4a", 44_100, 1, "-c:a aac -movflags faststart"),
    ("fragmented.mp4", 48_000, 1, "-c:a aac -movflags frag_keyframe+empty_moov -frag_duration 300000"),
    ("adts.aac", 44_100, 1, "-c:a aac -f adts"),
    ("cbr.mp3", 22_050, 1, "-c:a libmp3lame -b:a 32k"),
    ("vbr.mp3", 44_100, 2, "-c:a libmp3lame -q:a 5"),
    ("mpeg25.mp3", 8000, 1, "-c:a libmp3lame -b:a 16k"),
    ("layer2.mp2", 44_100, 2, "-c:a mp2 -b:a 128k"),
    ("layer2_mpeg2.mp2", 22_050, 1, "-c:a mp2 -b:a 64k"),
    ("layer2.wav", 44_100, 1, "-c:a mp2 -b:a 64k"),
    ("layer2.mkv", 44_100, 1, "-c:a mp2 -b:a 64k"),
    ("s8.aiff", 16_000, 1, "-c:a pcm_s8"),
    ("alaw.aifc", 8000, 1, "-c:a pcm_alaw -f aiff"),
    ("f64.aifc", 16_000, 1, "-c:a pcm_f64be -f aiff"),
    ("f32.au", 16_000, 1, "-c:a pcm_f32be"),
    ("alac.caf", 44_100, 1, "-c:a alac"),
    ("mp3.mp4", 44_100, 1, "-c:a libmp3lame"),
    ("opus.mp4", 48_000, 1, "-c:a libopus"),
    ("mp3.mka", 44_100, 1, "-c:a libmp3lame"),
    ("no_tag.mp3", 44_100, 1, "-c:a libmp3lame -write_xing 0 -id3v2_version 0"),
    ("vorbis.ogg", 44_100, 2, "-c:a libvorbis"),
    ("opus.opus", 48_000, 1, "-c:a libopus"),
    ("vorbis.webm", 44_100, 1, "-c:a libvorbis"),
    ("live.webm", 48_000, 1, "-c:a libopus -live 1 -cluster_time_limit 300"),
    ("pcm.mkv", 16_000, 1, "-c:a pcm_s16le"),
    ("flac.mka", 16_000, 1, "-c:a flac"),
    ("aac.mkv", 44_100, 1, "-c:a aac"),
    ("alaw.caf", 8000, 1, "-c:a pcm_alaw"),
    ("mulaw.caf", 16_000, 2, "-c:a pcm_mulaw"),
    ("s24.caf", 16_000, 1, "-c:a pcm_s24be"),
    ("s32.caf", 16_000, 1, "-c:a pcm_s32le"),
    ("f64.caf", 16_000, 1, "-c:a pcm_f64be"),
    ("ima4.caf", 44_100, 1, "-c:a adpcm_ima_qt"),
    ("opus.caf", 48_000, 1, "-c:a libopus"),
    ("s16.mov", 16_000, 1, "-c:a pcm_s16be"),
    ("u8.mov", 16_000, 1, "-c:a pcm_u8"),
    ("s24.mov", 48_000, 2, "-c:a pcm_s24le"),
    ("f32.mov", 16_000, 1, "-c:a pcm_f32le"),
    ("aac.mov", 44_100, 1, "-c:a aac"),
    ("mp3.mov", 44_100, 1, "-c:a libmp3lame"),
    ("alac.mov", 44_100, 2, "-c:a alac"),
    ("alac24.m4a", 48_000, 2, "-c:a alac -sample_fmt s32p"),
    ("flac.mp4", 16_000, 1, "-c:a flac -strict -2"),
    ("alac.mka", 16_000, 1, "-c:a alac"),
    ("s16be.mka", 16_000, 1, "-c:a pcm_s16be"),
    ("f32.mka", 16_000, 1, "-c:a pcm_f32le"),
    ("s24.au", 16_000, 1, "-c:a pcm_s24be"),
    ("alaw.au", 8000, 1, "-c:a pcm_alaw"),
];

/// Makes a file; whether there is an ffmpeg that can.
pub(super) fn ffmpeg(folder: &Path, args: &[&str], name: &str) -> Option<PathBuf> {
    let path = folder.join(name);
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-nostdin", "-y", "-bitexact"]).args(args).arg(&path);
    let made = command.output().ok()?;
    let text = String::from_utf8_lossy(&made.stderr);
    if !made.status.success() && text.contains("Unknown encoder") {
        return None;
    }
    assert!(made.status.success(), "{name}: {text}");
    Some(path)
}

pub(super) fn has_ffmpeg(test: &str) -> bool {
    let is_there = Command::new("ffmpeg").arg("-version").output().is_ok();
    if !is_there {
        println!("not run: {test}: ffmpeg is not installed");
    }
    is_there
}

/// Where sound begins and ends in seconds of the clock, gaps included, and what was wrong.
fn heard(opened: Result<AudioFile, AudioFileError>) -> (f64, f64, Vec<AudioProblem>) {
    let mut audio = opened.unwrap_or_else(|error| panic!("{error}"));
    let (mut block, mut n_frames) = (Vec::new(), 0);
    let (mut first, mut last) = (None, 0);
    loop {
        match audio.next(&mut block).unwrap() {
            Piece::Samples => {
                for frame in block.chunks(usize::from(audio.n_channels())) {
                    if frame.iter().any(|sample| sample.abs() > 0.1) {
                        first.get_or_insert(n_frames);
                        last = n_frames;
                    }
                    n_frames += 1;
                }
            }
            Piece::Gap(n) => n_frames += n,
            Piece::End => break,
        }
    }
    let seconds = |n: u64| n as f64 / f64::from(audio.sample_rate_hz());
    (seconds(first.expect("there is sound")), seconds(last), audio.problems().to_vec())
}

#[test]
fn what_is_read_today_goes_on_being_read() {
    if !has_ffmpeg("formats that are read") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for (name, rate_hz, n_channels, args) in FORMATS {
        let source = format!("{SIGNAL}{rate_hz}");
        let channels = n_channels.to_string();
        let args: Vec<&str> =
            ["-f", "lavfi", "-i", &source, "-ac", &channels].into_iter().chain(args.split(' ')).collect();
        let Some(path) = ffmpeg(folder.path(), &args, name) else {
            println!("not run: {name}: this ffmpeg has no such encoder");
            continue;
        };
        let opened = AudioFile::open(&path).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((opened.sample_rate_hz(), opened.n_channels()), (rate_hz, n_channels), "{name}");
        let bytes = std::fs::read(&path).unwrap();
        let from_file = heard(Ok(opened));
        assert!(
            (from_file.0 - 0.3).abs() < SLACK_S && (from_file.1 - 1.2).abs() < SLACK_S,
            "{name}: {from_file:?}"
        );
        assert_eq!(from_file.2, [], "{name}");
        assert_eq!(heard(Opening::default().memory(name, bytes.clone())), from_file, "{name}");
        // Indexes at the end are out of a pipe's reach.
        let at_end = ["alac.m4a", "aac.m4a", "alac24.m4a", "mp3.mp4", "opus.mp4", "flac.mp4"];
        let at_end = at_end.contains(&name) || [".caf", ".mov"].iter().any(|kind| name.ends_with(kind));
        if !at_end {
            let from_pipe = heard(AudioFile::pipe(name, std::io::Cursor::new(bytes)));
            assert!((from_pipe.0 - from_file.0).abs() < 0.001, "{name}: {from_pipe:?}");
        }
    }
}

/// The same signal twice, the second time in another format, one behind the other.
#[test]
fn sound_that_changes_its_format_is_read_to_its_end() {
    if !has_ffmpeg("changes of format") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for (ending, from, to) in [
        ("mp3", (22_050, "1"), (44_100, "2")),
        ("mp3", (44_100, "1"), (44_100, "2")),
        ("mp3", (44_100, "1"), (44_100, "1")),
        ("aac", (44_100, "1"), (22_050, "1")),
        ("aac", (32_000, "2"), (48_000, "1")),
        ("ogg", (44_100, "1"), (48_000, "2")),
        ("opus", (48_000, "1"), (48_000, "2")),
    ] {
        let make = |(rate_hz, channels): (u32, &str), name: &str| {
            let source = format!("{SIGNAL}{rate_hz}");
            let path = ffmpeg(folder.path(), &["-f", "lavfi", "-i", &source, "-ac", channels], name);
            path.map(|path| std::fs::read(path).unwrap())
        };
        let (Some(one), Some(two)) = (make(from, &format!("1.{ending}")), make(to, &format!("2.{ending}")))
        else {
            println!("not run: {ending} that changes: this ffmpeg has no such encoder");
            continue;
        };
        let joined = [one, two].concat();
        let (first_s, last_s, problems) = heard(Opening::default().memory("it", joined));
        assert!(
            (first_s - 0.3).abs() < SLACK_S && (last_s - 2.4).abs() < 0.15,
            "{ending}: {first_s} to {last_s}"
        );
        assert_eq!(problems.len(), usize::from(from != to), "{ending}: {problems:?}");
    }
}

#[test]
fn times_of_containers_are_kept() {
    if !has_ffmpeg("times of containers") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let source = "aevalsrc=0.5*sin(2*PI*440*t):duration=8:sample_rate=48000";
    for (codec, plain) in [("libopus", "plain.webm"), ("aac", "plain.m4a")] {
        let Some(plain) = ffmpeg(folder.path(), &["-f", "lavfi", "-i", source, "-c:a", codec], plain) else {
            println!("not run: times of {codec}: this ffmpeg has no such encoder");
            continue;
        };
        let plain = plain.to_str().unwrap();
        let ending = if codec == "aac" { "m4a" } else { "mka" };
        let copy = |before: &[&str], after: &[&str], name: &str| {
            let args = [before, &["-i", plain, "-c", "copy"], after].concat();
            heard(AudioFile::open(&ffmpeg(folder.path(), &args, name).unwrap())).0
        };
        let late_s = copy(&["-itsoffset", "3"], &[], &format!("late.{ending}"));
        assert!((late_s - 3.0).abs() < 0.1, "{codec}: {late_s}");
        let video = ["-f", "lavfi", "-i", "testsrc=duration=12:size=64x64:rate=5", "-itsoffset", "4"];
        let beside_s = copy(&video, &["-map", "0", "-map", "1", "-c:v", "mpeg4"], "beside.mkv");
        assert!((beside_s - 4.0).abs() < 0.1, "{codec}: {beside_s}");
        // Three seconds of packets are lost.
        let lost = "noise=drop='gt(pts*tb\\,2)*lt(pts*tb\\,5)'";
        for (name, flags) in
            [("hole.mkv", "+bitexact"), (if codec == "aac" { "hole.mp4" } else { "hole.webm" }, "+bitexact")]
        {
            let args = ["-i", plain, "-c", "copy", "-bsf:a", lost, "-fflags", flags];
            let path = ffmpeg(folder.path(), &args, name).unwrap();
            let (_, last_s, _) = heard(AudioFile::open(&path));
            assert!((last_s - 8.0).abs() < 0.1, "{codec} in {name}: {last_s}");
        }
    }
}

/// A late beginning, and one that is cut out by an edit list, are nothing that is missing.
#[test]
fn whole_files_are_not_cut_off() {
    if !has_ffmpeg("late files") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let source = "aevalsrc=0.5*sin(2*PI*440*t):duration=8:sample_rate=48000";
    for (name, codec, offset, ends_s) in [
        ("late.ogg", "libvorbis", "6", 14.0),
        ("late.oga", "flac", "3", 11.0),
        ("early.mp4", "aac", "-2", 6.0),
        ("late.mp4", "aac", "3", 11.0),
    ] {
        let args = ["-itsoffset", offset, "-f", "lavfi", "-i", source, "-c:a", codec];
        let Some(path) = ffmpeg(folder.path(), &args, name) else {
            println!("not run: late {codec}: this ffmpeg has no such encoder");
            continue;
        };
        let (_, last_s, problems) = heard(AudioFile::open(&path));
        assert!((last_s - ends_s).abs() < 0.1, "{name}: {last_s}");
        assert_eq!(problems, [], "{name}");
    }
}

/// An Ogg stream without the pages that end in a part of its time.
fn without_pages(bytes: &[u8], lost: std::ops::Range<f64>) -> Vec<u8> {
    let mut pages: Vec<&[u8]> = Vec::new();
    let mut rest = bytes;
    while let Some(segments) = rest.get(27..).and_then(|table| table.get(..usize::from(rest[26]))) {
        let body: usize = segments.iter().map(|n| usize::from(*n)).sum();
        let (page, after) = rest.split_at(27 + segments.len() + body);
        pages.push(page);
        rest = after;
    }
    let position = |page: &[u8]| u64::from_le_bytes(page[6..14].try_into().unwrap()) as f64;
    let end = position(pages.last().unwrap());
    let n_before = pages.len();
    let kept: Vec<&[u8]> = pages.into_iter().filter(|page| !lost.contains(&(position(page) / end))).collect();
    assert!(kept.len() < n_before, "pages are lost");
    kept.concat()
}

#[test]
fn pages_that_are_lost_are_a_gap() {
    if !has_ffmpeg("lost pages of Ogg") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let source = "aevalsrc=0.5*sin(2*PI*440*t)*lt(mod(t\\,6)\\,2):duration=8:sample_rate=48000";
    for (codec, name) in [("libopus", "it.opus"), ("libvorbis", "it.ogg"), ("flac", "it.oga")] {
        let args = ["-f", "lavfi", "-i", source, "-c:a", codec, "-page_duration", "200000"];
        let Some(path) = ffmpeg(folder.path(), &args, name) else {
            println!("not run: lost pages of {codec}: this ffmpeg has no such encoder");
            continue;
        };
        // The tone of the last two seconds stays where it is.
        let holed = without_pages(&std::fs::read(path).unwrap(), 0.3..0.7);
        let (first_s, last_s, _) = heard(Opening::default().memory(name, holed.clone()));
        assert!(first_s < SLACK_S && (last_s - 8.0).abs() < 0.1, "{codec}: {first_s} to {last_s}");
        let (_, last_s, _) = heard(AudioFile::pipe(name, std::io::Cursor::new(holed)));
        assert!((last_s - 8.0).abs() < 0.1, "{codec} by a pipe: {last_s}");
    }
}

#[test]
fn the_default_track_is_heard_and_another_can_be_chosen() {
    if !has_ffmpeg("tracks") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for name in ["two.mka", "two.mp4"] {
        let (silence, tone) = ("anullsrc=r=48000:cl=mono,atrim=duration=1.2", format!("{SIGNAL}48000"));
        let args = [
            "-f", "lavfi", "-i", silence, "-f", "lavfi", "-i", &tone, "-map", "0", "-map", "1", "-c:a", "aac",
        ];
        let flags = ["-disposition:a:0", "0", "-disposition:a:1", "default"];
        let Some(path) = ffmpeg(folder.path(), &[&args[..], &flags].concat(), name) else { return };
        let (first_s, _, problems) = heard(AudioFile::open(&path));
        assert!((first_s - 0.3).abs() < SLACK_S, "{name}: {first_s}");
        assert_eq!(problems, [AudioProblem::SeveralTracks { n_tracks: 2, used: 1 }]);
        let chosen = |track| Opening { track: Some(track), ..Opening::default() }.file(&path);
        let mut silent = chosen(0).unwrap();
        let mut block = Vec::new();
        while silent.read(&mut block).unwrap() {
            assert!(block.iter().all(|sample| sample.abs() < 0.01), "{name}");
        }
        assert_eq!(heard(chosen(1)).2, [], "who chooses is told nothing");
        let text = chosen(2).unwrap_err().to_string();
        assert!(text.ends_with("has no audio track 2: it has 2, counted from 0"), "{text}");
    }
}
