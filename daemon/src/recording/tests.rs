//! Kept audio, checked with other readers of Ogg and with another decoder.

use std::io::{Cursor, Read as _, Write as _};
use std::process::Command;
use std::sync::Arc;

use diarized_dsp::{ChannelSelect, SAMPLE_RATE_HZ, SampleIndex};
use parking_lot::Mutex;
use proptest::prelude::*;

use super::encoder::{FrameEncoder, Packet};
use super::pending::Recorder;
use super::track::{Track, TrackError};
use super::{CutError, Recordings, RecordingsParams, cut, duration_s};
use crate::audio_file::{AudioFile, MonoFile, Opening};

const RATE: usize = SAMPLE_RATE_HZ as usize;

/// The example conversation.
fn speech() -> Vec<f32> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/example/conversation.flac");
    all_of(AudioFile::open(path.as_ref()).unwrap())
}

fn all_of(file: AudioFile) -> Vec<f32> {
    let mut mono = MonoFile::new(file, ChannelSelect::Mix).unwrap();
    let mut samples = Vec::new();
    while mono.read(&mut samples).unwrap() {}
    samples
}

fn decoded(bytes: &[u8]) -> Vec<f32> {
    all_of(Opening::default().memory("kept audio", bytes.to_vec()).unwrap())
}

/// The same by another decoder, which skips the start of a part to the sample; none where it is not installed.
fn decoded_by_ffmpeg(bytes: &[u8]) -> Option<Vec<f32>> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg
        .args(["-v", "error", "-nostdin", "-i"])
        .arg(file.path())
        .args(["-f", "f32le", "-ar", "16000", "-"]);
    let Ok(done) = ffmpeg.output() else {
        println!("not run: parts of kept audio: ffmpeg is not installed");
        return None;
    };
    let fault = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && fault.is_empty(), "{fault}");
    let samples = done.stdout.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    Some(samples.collect())
}

/// Packets of audio parts, each with the position at which it begins, and of the end.
fn encoded(parts: &[(u64, &[f32])], end: u64) -> (Vec<Packet>, u16) {
    let mut encoder = FrameEncoder::new().unwrap();
    let mut packets = Vec::new();
    for (at, part) in parts {
        for (n, block) in part.chunks(777).enumerate() {
            let at = SampleIndex(at + 777 * n as u64);
            encoder.push(at, block, &mut |packet| packets.push(packet)).unwrap();
        }
    }
    encoder.finish(SampleIndex(end), &mut |packet| packets.push(packet)).unwrap();
    (packets, encoder.pre_skip().unwrap())
}

/// The file of audio parts, as it is written twice a second.
fn file_of(parts: &[(u64, &[f32])], end: u64) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.opus");
    let (packets, pre_skip) = encoded(parts, end);
    let mut track = Track::create(&path, 7, pre_skip).unwrap();
    let (others, last) = packets.split_at(packets.len() - 3);
    others.chunks(25).for_each(|some| track.append(some, u64::MAX).unwrap());
    track.finish(last, SampleIndex(end), u64::MAX).unwrap();
    std::fs::read(path).unwrap()
}

fn level(samples: &[f32]) -> f32 {
    (samples.iter().map(|s| s * s).sum::<f32>() / samples.len() as f32).sqrt()
}

/// Asserts that `heard` is `said` as it was encoded, and not a sample earlier or later.
fn assert_in_place(heard: &[f32], said: &[f32], at: usize) {
    const LAG: usize = 40;
    let n = said.len() - 2 * LAG;
    let shifted = |lag: usize| likeness(&heard[at + lag..at + lag + n], &said[LAG..LAG + n]);
    let best = (0..2 * LAG).max_by(|a, b| shifted(*a).total_cmp(&shifted(*b))).unwrap();
    assert!(best.abs_diff(LAG) <= 16 && shifted(LAG) > 0.7, "at {at}: lag {best}, {}", shifted(best));
}

/// How alike two stretches are, from -1 to 1.
fn likeness(a: &[f32], b: &[f32]) -> f32 {
    let dot: f32 = a.iter().zip(b).map(|(a, b)| a * b).sum();
    dot / (level(a) * level(b) * a.len().min(b.len()) as f32).max(1e-9)
}

#[test]
fn a_second_of_the_file_is_a_second_of_the_session() {
    let speech = speech();
    let (first, second) = (&speech[..5 * RATE + 123], &speech[10 * RATE..20 * RATE]);
    // A short gap inside a frame, one of 7.5 s, and a day.
    let day = 86_400 * RATE as u64;
    let second_at = first.len() as u64 + 7 * RATE as u64 + 8000;
    let third_at = second_at + second.len() as u64 + 100;
    let end = third_at + RATE as u64 + day;
    let parts = [(0, first), (second_at, second), (third_at, &speech[20 * RATE..21 * RATE])];
    let bytes = file_of(&parts, end);
    let whole = cut(Cursor::new(&bytes), 0.0, Some(30.0)).unwrap();
    let heard = decoded(&whole.bytes);
    for (at, part) in parts {
        assert_in_place(&heard, part, at as usize);
    }
    let gap = &heard[first.len() + RATE / 5..second_at as usize];
    assert!(level(gap) < 0.002, "{}", level(gap));
    let duration = end as f64 / RATE as f64;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a"), &bytes).unwrap();
    assert!((duration_s(&folder.path().join("a")).unwrap() - duration).abs() < 1e-4);
    assert!(bytes.len() < 3_000_000, "a silent day takes {} bytes", bytes.len());
}

#[test]
fn an_hour_takes_less_than_12_megabytes_and_another_reader_takes_it() {
    let speech = speech();
    let bytes = file_of(&[(0, &speech)], speech.len() as u64);
    let hours = speech.len() as f64 / RATE as f64 / 3600.0;
    let megabytes = bytes.len() as f64 / 1e6 / hours;
    assert!(megabytes < 12.0, "{megabytes} MB an hour");
    let mut reader = ogg::PacketReader::new(Cursor::new(&bytes));
    let (mut n_packets, mut last) = (0, None);
    while let Some(packet) = reader.read_packet().unwrap() {
        n_packets += 1;
        last = Some((packet.absgp_page(), packet.last_in_stream()));
    }
    assert_eq!(n_packets, 2 + (speech.len() as u64 * 3 + 312).div_ceil(960));
    assert_eq!(last, Some((speech.len() as u64 * 3 + 312, true)));
    let heard = decoded(&bytes);
    assert!(heard.len().abs_diff(speech.len()) < 100, "{} of {}", heard.len(), speech.len());
}

#[test]
fn a_part_is_what_the_whole_has_there() {
    let speech = speech();
    let bytes = file_of(&[(0, &speech[..30 * RATE])], 30 * RATE as u64);
    let whole = decoded(&bytes);
    for (start, end) in [(0.0, 1.0), (0.005, 2.5), (7.123, 12.456), (29.0, 30.0), (29.5, 40.0), (12.0, 12.03)]
    {
        let part = cut(Cursor::new(&bytes), start, Some(end)).unwrap();
        let Some(heard) = decoded_by_ffmpeg(&part.bytes) else { break };
        let expected = &whole[(start * RATE as f64) as usize..whole.len().min((end * RATE as f64) as usize)];
        assert!(heard.len().abs_diff(expected.len()) < 2, "{start} to {end}: {}", heard.len());
        assert!((part.duration_s - expected.len() as f64 / RATE as f64).abs() < 0.01);
        let n = heard.len().min(expected.len());
        let alike = likeness(&heard[..n], &expected[..n]);
        assert!(alike > 0.95, "{start} to {end}: {alike}");
    }
    let refused = |start, end| cut(Cursor::new(&bytes), start, end).unwrap_err();
    for (start, end) in [
        (2.0, Some(2.0)),
        (2.0, Some(2.000_01)),
        (-1.0, Some(2.0)),
        (3.0, Some(1.0)),
        (0.0, Some(4000.0)),
        (f64::NAN, None),
    ] {
        assert!(matches!(refused(start, end), CutError::Times { .. }), "{start} {end:?}");
    }
    let beyond = [(30.0, None), (30.1, Some(31.0)), (1e8, None), (1e9, Some(1e9 + 1.0)), (1e300, None)];
    for (start, end) in beyond {
        assert!(matches!(refused(start, end), CutError::Beyond { .. }), "{start}");
    }
}

#[test]
fn a_file_that_is_cut_anywhere_goes_on() {
    let speech = speech();
    let (packets, pre_skip) = encoded(&[(0, &speech[..10 * RATE])], 10 * RATE as u64);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.opus");
    let mut track = Track::create(&path, 7, pre_skip).unwrap();
    packets[..400].chunks(25).for_each(|some| track.append(some, u64::MAX).unwrap());
    drop(track);
    let bytes = std::fs::read(&path).unwrap();
    let length = |bytes: &[u8]| {
        let path = folder.path().join("length");
        std::fs::write(&path, bytes).unwrap();
        duration_s(&path).unwrap_or(0.0)
    };
    let whole_s = length(&bytes);
    let track_s = |n_frames: u64| n_frames as f64 / 50.0;
    let mut cuts: Vec<usize> = (120..bytes.len()).step_by(997).collect();
    cuts.push(bytes.len());
    for n in cuts {
        // What was written last when the process was killed, or garbage behind it.
        let mut left = bytes[..n].to_vec();
        let at_least = whole_s * n as f64 / bytes.len() as f64 - 1.0;
        assert!(length(&left) >= at_least, "{n}: {}", length(&left));
        left.extend(b"OggS garbage");
        std::fs::write(&path, &left).unwrap();
        let mut track = Track::resume(&path).unwrap();
        let begin = track.n_frames();
        track.append(&packets[400..450], u64::MAX).unwrap();
        track.finish(&packets[450..], SampleIndex(10 * RATE as u64), u64::MAX).unwrap();
        let again = std::fs::read(&path).unwrap();
        let heard = decoded(&again);
        assert!(heard.len().abs_diff(10 * RATE) < 100, "{n}: {}", heard.len());
        assert!(begin <= 400 && track_s(begin) >= at_least, "{n}: {begin} frames");
        assert_in_place(&heard, &speech[8 * RATE..9 * RATE], 8 * RATE);
    }
}

#[test]
fn a_full_disk_costs_what_was_said_meanwhile() {
    let speech = speech();
    let (packets, pre_skip) = encoded(&[(0, &speech[..10 * RATE])], 10 * RATE as u64);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.opus");
    let mut track = Track::create(&path, 7, pre_skip).unwrap();
    track.append(&packets[..100], u64::MAX).unwrap();
    for _ in 0..3 {
        assert!(matches!(track.append(&packets[100..200], 50), Err(TrackError::Full)));
        assert_eq!(track.n_frames(), 100);
    }
    // The packets that could not be written are gone.
    track.append(&packets[200..300], u64::MAX).unwrap();
    track.finish(&packets[300..], SampleIndex(10 * RATE as u64), u64::MAX).unwrap();
    let heard = decoded(&std::fs::read(&path).unwrap());
    assert!(heard.len().abs_diff(10 * RATE) < 100);
    for second in [1, 5, 8] {
        assert_in_place(&heard, &speech[second * RATE..(second + 1) * RATE], second * RATE);
    }
}

/// Waits for the thread of the shelf.
fn until(is_so: impl Fn() -> bool) {
    let began = std::time::Instant::now();
    while !is_so() {
        assert!(began.elapsed() < std::time::Duration::from_secs(30), "the shelf has not written");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

#[test]
fn the_shelf_writes_reports_and_forgets() {
    let folder = tempfile::tempdir().unwrap();
    let params = RecordingsParams { folder: folder.path().join("audio"), max_bytes: 220_000 };
    let recordings = Recordings::open(params.clone()).unwrap();
    let speech = speech();
    let warned = Arc::new(Mutex::new(Vec::new()));
    let record = |id: &str, n: usize| {
        let to_warn = Arc::clone(&warned);
        let who = id.to_owned();
        let warn = move |code: &str, _: &str| to_warn.lock().push(format!("{who} {code}"));
        let mut recorder = recordings.begin(id, warn).unwrap();
        recorder.push(SampleIndex::ZERO, &speech[..n * RATE]).unwrap();
        recorder
    };
    let length = |id: &str| duration_s(&params.folder.join(format!("{id}.opus"))).unwrap_or(0.0);
    for id in ["a", "b"] {
        record(id, 15).finish(SampleIndex(15 * RATE as u64)).unwrap();
        until(|| (length(id) - 15.0).abs() < 1e-6);
    }
    until(|| recordings.n_bytes() > 60_000);
    assert!(recordings.n_bytes() > 60_000 && recordings.n_written() > 60_000);
    // No room for all: what was written to first leaves.
    let c = record("c", 40);
    until(|| length("c") > 39.0);
    let d = record("d", 10);
    until(|| length("d") > 9.0);
    assert!(!recordings.holds("a") && !params.folder.join("a.opus").exists(), "{}", recordings.n_bytes());
    assert!(recordings.holds("b"));
    // Only running sessions are left, and the limit holds for them.
    let e = record("e", 60);
    until(|| recordings.is_failing());
    assert!(!recordings.holds("b"));
    assert_eq!(*warned.lock(), ["e audio_failed"]);
    assert!(recordings.n_errors() >= 1);
    assert!(recordings.n_bytes() <= params.max_bytes);
    // A session that is deleted while it is written to stays deleted, also when all that waits is written.
    assert!(recordings.forget("c").unwrap());
    drop((c, d, e));
    recordings.close();
    assert!(!params.folder.join("c.opus").exists() && recordings.read("c").unwrap().is_none());
    drop(recordings);
    // What has no session is deleted at the next start.
    std::fs::write(params.folder.join("not ours.txt"), "x").unwrap();
    let recordings = Recordings::open(params.clone()).unwrap();
    assert!(recordings.holds("d"));
    assert_eq!(recordings.retain(|id| id != "d").unwrap(), 1);
    assert!(!recordings.holds("d") && params.folder.join("not ours.txt").exists());
}

#[test]
fn an_ended_session_is_read_whole_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let params = RecordingsParams { folder: folder.path().join("audio"), max_bytes: u64::MAX };
    let recordings = Recordings::open(params).unwrap();
    let speech = speech();
    for n in 1..6 {
        let id = format!("s{n}");
        let mut recorder = recordings.begin(&id, |_, _| ()).unwrap();
        assert!(recordings.read(&id).unwrap().is_some(), "a session that has just begun has a file");
        recorder.push(SampleIndex::ZERO, &speech[..n * RATE]).unwrap();
        recorder.finish(SampleIndex((n * RATE) as u64)).unwrap();
        let mut bytes = Vec::new();
        recordings.read(&id).unwrap().unwrap().read_to_end(&mut bytes).unwrap();
        assert_eq!(decoded(&bytes).len(), n * RATE);
        assert_eq!(recordings.n_bytes(), bytes.len() as u64);
        assert!(recordings.forget(&id).unwrap());
    }
}

#[test]
fn audio_that_comes_fast_wakes_the_thread_before_it_is_too_much() {
    let (wake, woken) = crossbeam_channel::bounded(1);
    let (mut recorder, pending) = Recorder::new("fast", Box::new(|_, _| ()), wake).unwrap();
    let minute = vec![0.0; 59 * RATE];
    recorder.push(SampleIndex::ZERO, &minute).unwrap();
    assert!(woken.is_empty());
    recorder.push(SampleIndex(minute.len() as u64), &minute[..2 * RATE]).unwrap();
    assert!(woken.try_recv().is_ok());
    let (packets, _) = pending.take();
    assert!(packets.first().unwrap().0 == 0 && packets.len() >= 61 * 50 - 1);
}

#[test]
fn another_process_goes_on_with_a_file_wherever_the_first_one_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let params = RecordingsParams { folder: folder.path().join("audio"), max_bytes: u64::MAX };
    let speech = speech();
    let path = |id: &str| params.folder.join(format!("{id}.opus"));
    let part = |from_s: usize, to_s: usize| &speech[from_s * RATE..to_s * RATE];
    let first = Recordings::open(params.clone()).unwrap();
    let mut recorder = first.begin("paused", |_, _| {}).unwrap();
    recorder.push(SampleIndex::ZERO, part(0, 5)).unwrap();
    recorder.pause();
    first.close();
    drop(first);
    // Cut off in the head, or before it.
    let whole = std::fs::read(path("paused")).unwrap();
    for n in [0, 10, 60] {
        std::fs::write(path(&format!("cut-{n}")), &whole[..n]).unwrap();
    }
    std::fs::write(path("foreign"), vec![7; 1000]).unwrap();

    let second = Recordings::open(params.clone()).unwrap();
    let warned = Arc::new(Mutex::new(Vec::new()));
    for id in ["paused", "cut-0", "cut-10", "cut-60", "foreign"] {
        let to_warn = Arc::clone(&warned);
        let warn = move |code: &str, _: &str| to_warn.lock().push(format!("{id} {code}"));
        let mut recorder = second.begin(id, warn).unwrap();
        recorder.push(SampleIndex(5 * RATE as u64), part(5, 9)).unwrap();
        recorder.finish(SampleIndex(9 * RATE as u64)).unwrap();
    }
    second.close();
    assert_eq!(*warned.lock(), ["foreign audio_failed"], "what is no audio of ours is not overwritten");
    assert_eq!(std::fs::read(path("foreign")).unwrap(), [7; 1000]);
    for (id, from_s) in [("paused", 1), ("cut-0", 6), ("cut-10", 6), ("cut-60", 6)] {
        let heard = decoded(&std::fs::read(path(id)).unwrap());
        assert!(heard.len().abs_diff(9 * RATE) < 100, "{id}: {}", heard.len());
        for second in (from_s..8).filter(|second| *second != 4) {
            assert_in_place(&heard, part(second, second + 1), second * RATE);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is wrong with a file, it is read up to there.
    #[test]
    fn damage_never_panics(at in any::<prop::sample::Index>(), byte in any::<u8>(), start in 0.0..12.0_f64) {
        static BYTES: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
        let mut bytes = BYTES
            .get_or_init(|| {
                let speech = speech();
                file_of(&[(0, &speech[..3 * RATE]), (9 * RATE as u64, &speech[..RATE])], 10 * RATE as u64)
            })
            .clone();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(part) = cut(Cursor::new(&bytes), start, None) {
            prop_assert!(part.duration_s > 0.0 && part.duration_s < 3700.0);
        }
    }
}
