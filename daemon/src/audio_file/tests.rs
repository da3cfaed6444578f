//! Files of every kind, whole and broken: lengths, alignment, messages.

use std::io::{Cursor, Read, Write as _};
use std::path::{Path, PathBuf};

use super::*;
use crate::pcm::Encoding;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/audio_files").join(name)
}

/// All samples of a file, and its problems.
pub(super) fn read_all(mut audio: AudioFile) -> (Vec<f32>, Vec<AudioProblem>) {
    let (mut samples, mut block) = (Vec::new(), Vec::new());
    while audio.read(&mut block).unwrap() {
        assert!(!block.is_empty() && block.len().is_multiple_of(usize::from(audio.n_channels())));
        samples.extend_from_slice(&block);
    }
    let problems = audio.problems().to_vec();
    assert!(!audio.read(&mut block).unwrap() && block.is_empty(), "the end stays the end");
    (samples, problems)
}

/// A file in a folder of its own that holds `bytes`.
fn written(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("some file");
    std::fs::File::create(&path).unwrap().write_all(bytes).unwrap();
    (folder, path)
}

fn open_bytes(bytes: &[u8]) -> Result<AudioFile, AudioFileError> {
    let (_folder, path) = written(bytes);
    AudioFile::open(&path)
}

/// What follows the file's name in the message.
fn fault_of(bytes: &[u8]) -> String {
    open_bytes(bytes).expect_err("the file is faulty").fault.to_string()
}

/// A 16-bit mono wav whose header promises `n_promised` bytes of data.
fn wav(rate_hz: u32, n_channels: u16, n_promised: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(b"RIFF");
    bytes.extend(n_promised.saturating_add(36).to_le_bytes());
    bytes.extend(b"WAVEfmt ");
    bytes.extend(16_u32.to_le_bytes());
    bytes.extend(1_u16.to_le_bytes());
    bytes.extend(n_channels.to_le_bytes());
    bytes.extend(rate_hz.to_le_bytes());
    bytes.extend(rate_hz.wrapping_mul(2 * u32::from(n_channels)).to_le_bytes());
    bytes.extend((2 * n_channels).to_le_bytes());
    bytes.extend(16_u16.to_le_bytes());
    bytes.extend(b"data");
    bytes.extend(n_promised.to_le_bytes());
    bytes.extend(data);
    bytes
}

/// Seconds from the start at which the tone of the fixtures begins in `channel_idx`.
fn onset_s(samples: &[f32], n_channels: usize, channel_idx: usize, rate_hz: u32) -> f64 {
    let mut channel = samples.iter().skip(channel_idx).step_by(n_channels);
    let at = channel.position(|sample| sample.abs() > 0.2).expect("there is a tone");
    at as f64 / f64::from(rate_hz)
}

/// Name, rate in Hz, channels, frames. Most hold 1.2 s to the frame; Matroska and AAC keep padding at the end, and
/// ADTS, which cannot say so, the encoder's priming at the start.
const FIXTURES: [(&str, u32, u16, usize); 18] = [
    ("pcm_s16.wav", 16_000, 1, 19_200),
    ("pcm_s24_stereo.wav", 11_025, 2, 13_230),
    ("pcm_f32.wav", 16_000, 1, 19_200),
    ("mulaw.wav", 8_000, 1, 9_600),
    ("pcm_u8.wav", 8_000, 1, 9_600),
    ("pcm_s16.aiff", 16_000, 1, 19_200),
    ("pcm_s16.caf", 16_000, 1, 19_200),
    ("stereo.flac", 32_000, 2, 38_400),
    ("vbr_stereo.mp3", 44_100, 2, 52_920),
    ("cbr.mp3", 22_050, 1, 26_460),
    ("vorbis.ogg", 16_000, 1, 19_200),
    ("opus.opus", 48_000, 1, 57_600),
    ("opus_5ms.opus", 48_000, 1, 57_600),
    ("opus_stereo.webm", 48_000, 2, 57_600 + 648),
    ("aac.m4a", 44_100, 1, 52_920 + 328),
    ("aac_adts.aac", 44_100, 1, 52_920 + 328 + 1024),
    ("alac.m4a", 16_000, 1, 19_200),
    ("vorbis.mka", 44_100, 1, 52_920 + 904),
];

#[test]
fn every_kind_gives_its_length_and_keeps_its_clock() {
    for (name, rate_hz, n_channels, n_frames) in FIXTURES {
        let audio = AudioFile::open(&fixture(name)).unwrap();
        assert_eq!((audio.sample_rate_hz(), audio.n_channels()), (rate_hz, n_channels), "{name}");
        if let Some(promised) = audio.duration() {
            assert!((promised.as_secs_f64() - 1.2).abs() < 0.035, "{name} promises {promised:?}");
        }
        let (samples, problems) = read_all(audio);
        assert_eq!((samples.len() / usize::from(n_channels), &problems[..]), (n_frames, &[][..]), "{name}");

        let priming_s = if name == "aac_adts.aac" { 1024.0 / 44_100.0 } else { 0.0 };
        for channel_idx in 0..usize::from(n_channels) {
            let onset_s = onset_s(&samples, usize::from(n_channels), channel_idx, rate_hz) - priming_s;
            assert!((onset_s - 0.3).abs() < 0.001, "{name}: the tone of 0.3 s is heard at {onset_s} s");
        }
        let peak = samples.iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
        assert!((0.3..0.8).contains(&peak), "{name}: the tone of 0.5 (0.35 in stereo) peaks at {peak}");
    }
}

#[test]
fn a_pipe_gives_what_the_file_gives() {
    // Readers of caf and, with the index at the end, m4a must seek.
    let must_seek = |name: &str| name.ends_with(".m4a") || name.ends_with(".caf");
    for (name, ..) in FIXTURES.iter().filter(|(name, ..)| !must_seek(name)) {
        let path = fixture(name);
        let (from_file, _) = read_all(AudioFile::open(&path).unwrap());
        let pipe = AudioFile::pipe(name, std::fs::File::open(&path).unwrap()).unwrap();
        let (from_pipe, problems) = read_all(pipe);
        assert!(from_file == from_pipe, "{name}");
        assert_eq!(problems, [], "{name}");
    }
}

#[test]
fn a_file_that_was_cut_off_gives_what_is_there_and_says_so() {
    for (name, rate_hz, n_channels, n_frames) in FIXTURES {
        let bytes = std::fs::read(fixture(name)).unwrap();
        let audio = match open_bytes(&bytes[..bytes.len() * 2 / 3]) {
            Ok(audio) => audio,
            Err(error) => {
                // Their index is at the end, or two thirds of so short a file hold nothing but headers.
                assert!(["aac.m4a", "alac.m4a", "vorbis.ogg", "pcm_s16.caf"].contains(&name), "{error}");
                assert!(error.to_string().contains("damaged"), "{error}");
                continue;
            }
        };
        let (samples, problems) = read_all(audio);
        let share = samples.len() as f64 / usize::from(n_channels) as f64 / n_frames as f64;
        assert!((0.2..1.0).contains(&share), "{name}: {share} of {n_frames} frames at {rate_hz} Hz");
        let tells = problems
            .iter()
            .any(|p| matches!(p, AudioProblem::Truncated { expected_s, .. } if *expected_s > 1.1));
        // Ogg tells its length only by its last page, and ADTS and Matroska here not at all.
        let cannot_tell = [".ogg", ".opus", ".aac", ".mka", ".webm"].iter().any(|end| name.ends_with(end));
        assert!(tells || cannot_tell, "{name}: {problems:?}");
    }
}

#[test]
fn lying_wav_headers_are_seen_through() {
    let tone: Vec<u8> = (0..16_000).flat_map(|n: i32| ((n % 100) as i16 * 200).to_le_bytes()).collect();
    let n_bytes = tone.len() as u32;
    let honest = read_all(open_bytes(&wav(16_000, 1, n_bytes, &tone)).unwrap()).0;
    assert_eq!(honest.len(), 16_000);

    let (samples, problems) = read_all(open_bytes(&wav(16_000, 1, 10 * n_bytes, &tone)).unwrap());
    assert!(samples == honest);
    assert_eq!(problems, [AudioProblem::Truncated { expected_s: 10.0, got_s: 1.0 }]);

    let (samples, problems) = read_all(open_bytes(&wav(16_000, 1, 0, &tone)).unwrap());
    assert!(samples == honest);
    assert_eq!(problems, [AudioProblem::UnfinishedHeader]);

    // A stream's header promises as much as fits; that is no promise.
    for endless in [u32::MAX, u32::MAX - 36, 0x7fff_ffff, 0x7fff_f000] {
        let (samples, problems) = read_all(open_bytes(&wav(16_000, 1, endless, &tone)).unwrap());
        assert!(samples == honest, "{endless:#x}");
        assert_eq!(problems, [], "{endless:#x}");
    }

    // An odd byte at the end is half a sample.
    let (samples, _) =
        read_all(open_bytes(&wav(16_000, 1, n_bytes + 1, &[&tone[..], &[7]].concat())).unwrap());
    assert!(samples == honest);
}

#[test]
fn rates_and_channels_out_of_range_are_named() {
    let silence = [0; 4000];
    for rate_hz in [1, 7_999, 192_001, 10_000_000] {
        let text = fault_of(&wav(rate_hz, 1, 4000, &silence));
        assert!(
            text.starts_with(&format!("has a sample rate of {rate_hz} Hz; it must be from 8000 to")),
            "{text}"
        );
    }
    let text = fault_of(&wav(16_000, 9, 3996, &silence));
    assert!(text.starts_with("has 9 channels; 1 to 8 are taken"), "{text}");
    for (rate_hz, n_channels) in [(0, 1), (16_000, 0)] {
        let opened = open_bytes(&wav(rate_hz, n_channels, 4000, &silence));
        assert!(opened.is_err(), "{rate_hz} Hz, {n_channels} channels: {opened:?}");
    }
}

#[test]
fn what_is_no_audio_is_told_apart() {
    assert!(fault_of(b"").starts_with("is empty (0 bytes)"));
    let unknown = "is not audio of a known kind";
    assert!(fault_of(b"Dear reader, this is a letter.").starts_with(unknown));
    assert!(fault_of(&[0; 100_000]).starts_with(unknown));
    assert!(fault_of(b"RIFF").starts_with(unknown));
    assert!(fault_of(&wav(16_000, 1, 0, &[])).starts_with("holds no samples"));

    let folder = tempfile::tempdir().unwrap();
    let message = |path: &Path| AudioFile::open(path).expect_err("no file").to_string();
    assert!(message(folder.path()).ends_with(": is a directory: name the files in it"));
    let absent = folder.path().join("absent.wav");
    let text = message(&absent);
    assert!(text.starts_with(&absent.display().to_string()) && text.ends_with(": check the name"), "{text}");
}

#[test]
fn samples_that_are_not_finite_pass_through_to_the_intake() {
    let values = [0.5, f32::NAN, f32::INFINITY, -0.5];
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let format = RawFormat { encoding: Encoding::PcmF32le, sample_rate_hz: 16_000, n_channels: 1 };
    let (samples, _) = read_all(AudioFile::raw("-", Cursor::new(bytes), format).unwrap());
    assert_eq!((samples[0], samples[2], samples[3], samples[1].is_nan()), (0.5, f32::INFINITY, -0.5, true));
}

/// A reader that gives its bytes in pieces of the given sizes, over and over.
struct InPieces(Vec<u8>, usize, Vec<usize>);

impl Read for InPieces {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let size = self.2[self.1 % self.2.len()].min(buffer.len()).min(self.0.len());
        self.1 += 1;
        buffer[..size].copy_from_slice(&self.0[..size]);
        self.0.drain(..size);
        Ok(size)
    }
}

proptest::proptest! {
    #[test]
    fn raw_pcm_does_not_depend_on_how_it_arrives(
        bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 12..4000),
        sizes in proptest::collection::vec(1..700_usize, 1..8),
        n_channels in 1..4_u16,
    ) {
        for encoding in [Encoding::PcmS16le, Encoding::Mulaw] {
            let format = RawFormat { encoding, sample_rate_hz: 8_000, n_channels };
            let frame_bytes = encoding.sample_bytes() * usize::from(n_channels);
            let whole = &bytes[..bytes.len() - bytes.len() % frame_bytes];
            let mut expected = Vec::new();
            encoding.decode(whole, &mut expected);
            let audio = AudioFile::raw("-", InPieces(bytes.clone(), 0, sizes.clone()), format).unwrap();
            let (samples, problems) = read_all(audio);
            assert_eq!(samples, expected);
            let n_bytes = bytes.len() - whole.len();
            let partial = (n_bytes > 0).then_some(AudioProblem::PartialFrame { n_bytes });
            assert_eq!(problems, Vec::from_iter(partial));
        }
    }

    #[test]
    fn damaged_files_never_panic(
        file_idx in 0..FIXTURES.len(),
        damage in proptest::collection::vec((0.0..1.0_f64, proptest::prelude::any::<u8>()), 1..40),
    ) {
        let mut bytes = std::fs::read(fixture(FIXTURES[file_idx].0)).unwrap();
        for (at, value) in damage {
            // Half of the damage goes where headers are.
            let reach = if value % 2 == 0 { bytes.len().min(256) } else { bytes.len() };
            bytes[(at * reach as f64) as usize] = value;
        }
        if let Ok(mut audio) = AudioFile::pipe("-", Cursor::new(bytes)) {
            let mut block = Vec::new();
            let mut n_samples = 0;
            while let Ok(true) = audio.read(&mut block) {
                n_samples += block.len();
                assert!(n_samples < 50_000_000, "a damaged file goes on without end");
            }
        }
    }
}

#[test]
fn mono_gives_the_file_at_16_khz() {
    for (name, rate_hz, n_channels, n_frames) in FIXTURES {
        let audio = AudioFile::open(&fixture(name)).unwrap();
        let mut mono = MonoFile::new(audio, diarized_dsp::ChannelSelect::Mix).unwrap();
        let mut samples = Vec::new();
        while mono.read(&mut samples).unwrap() {}
        let expected = (n_frames as f64 * 16_000.0 / f64::from(rate_hz)).round() as usize;
        assert_eq!((samples.len(), mono.problems()), (expected, vec![]), "{name}");

        let audio = AudioFile::open(&fixture(name)).unwrap();
        let error = MonoFile::new(audio, diarized_dsp::ChannelSelect::One(n_channels)).err().unwrap();
        let expected = format!("has no channel {n_channels}: it has {n_channels}, counted from 0");
        assert_eq!(error.fault.to_string(), expected);
    }
}
