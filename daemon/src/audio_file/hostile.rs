//! Small files that declare much data: each is refused or ended at once, in little memory.

use std::io::Cursor;
use std::time::{Duration, Instant};

use super::*;

/// Longer than any of these files may take on a busy machine, and far shorter than what they ask for.
const SOON: Duration = Duration::from_secs(20);

/// An atom of an MP4 file.
fn atom(name: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&(8 + body.len() as u32).to_be_bytes(), name.as_slice(), &body].concat()
}

fn words(all: &[u32]) -> Vec<u8> {
    all.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// A fragmented MP4 of 16-bit PCM whose fragments each promise `n_samples` of `size` bytes, over `data`.
fn fragmented_mp4(fragments: &[u32], size: u32, data: &[u8]) -> Vec<u8> {
    let identity = words(&[0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000]);
    let mvhd = [
        words(&[0, 0, 0, 1000, 0, 0x1_0000, 0x100_0000, 0, 0]),
        identity.clone(),
        words(&[0; 6]),
        words(&[2]),
    ];
    let tkhd = [words(&[7, 0, 0, 1, 0, 0, 0, 0, 0, 0]), identity, words(&[0, 0])];
    let hdlr = [words(&[0, 0]), b"soun".to_vec(), words(&[0, 0, 0]), vec![0]];
    // Version 0: one channel of 16 bits at 16 kHz.
    let entry = [words(&[0]), vec![0, 0, 0, 1], words(&[0, 0]), vec![0, 1, 0, 16], words(&[0, 16_000 << 16])];
    let stsd = [words(&[0, 1]), atom(b"sowt", &[&entry.concat()])].concat();
    let table = [
        atom(b"stsd", &[&stsd]),
        atom(b"stts", &[&words(&[0, 0])]),
        atom(b"stsc", &[&words(&[0, 0])]),
        atom(b"stsz", &[&words(&[0, 0, 0])]),
        atom(b"stco", &[&words(&[0, 0])]),
    ];
    let minf = [atom(b"smhd", &[&words(&[0, 0])]), atom(b"stbl", &[&table.concat()])].concat();
    let mdhd = words(&[0, 0, 0, 16_000, 0, 0x55c4_0000]);
    let mdia = [atom(b"mdhd", &[&mdhd]), atom(b"hdlr", &[&hdlr.concat()]), atom(b"minf", &[&minf])];
    let trak = [atom(b"tkhd", &[&tkhd.concat()]), atom(b"mdia", &[&mdia.concat()])];
    let mvex = atom(b"trex", &[&words(&[0, 1, 1, 1, size, 0])]);
    let moov = [atom(b"mvhd", &[&mvhd.concat()]), atom(b"trak", &[&trak.concat()]), atom(b"mvex", &[&mvex])];
    let mut file =
        [atom(b"ftyp", &[b"isom", &words(&[0]), b"isom"]), atom(b"moov", &[&moov.concat()])].concat();
    for (n, n_samples) in fragments.iter().enumerate() {
        let traf = [atom(b"tfhd", &[&words(&[0, 1])]), atom(b"trun", &[&words(&[0, *n_samples])])];
        let mfhd = atom(b"mfhd", &[&words(&[0, n as u32 + 1])]);
        file.extend(atom(b"moof", &[&mfhd, &atom(b"traf", &[&traf.concat()])]));
        file.extend(atom(b"mdat", &[data]));
    }
    file
}

/// A CAF of IMA ADPCM, one channel at 16 kHz, with packets of 34 bytes that hold `n_frames` samples.
fn caf(n_frames: u32, n_channels: u32) -> Vec<u8> {
    let desc =
        [16_000.0_f64.to_be_bytes().to_vec(), b"ima4".to_vec(), words(&[0, 34, n_frames, n_channels, 0])];
    let chunk =
        |name: &[u8; 4], body: &[u8]| [name.as_slice(), &(body.len() as u64).to_be_bytes(), body].concat();
    let data = [words(&[0]), vec![0; 68]].concat();
    [b"caff".to_vec(), vec![0, 1, 0, 0], chunk(b"desc", &desc.concat()), chunk(b"data", &data)].concat()
}

fn pipe(bytes: Vec<u8>) -> Result<AudioFile, AudioFileError> {
    AudioFile::pipe("it", Cursor::new(bytes))
}

/// A CAF is read to its end first, which a pipe cannot.
fn open(bytes: &[u8]) -> Result<AudioFile, AudioFileError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("it.caf");
    std::fs::write(&path, bytes).unwrap();
    AudioFile::open(&path)
}

#[test]
fn packets_that_no_byte_pays_for_end_a_file() {
    let mut whole = pipe(fragmented_mp4(&[64], 2, &[1; 128])).unwrap();
    let (mut block, mut n) = (Vec::new(), 0);
    while whole.read(&mut block).unwrap() {
        n += block.len();
    }
    assert_eq!((n, whole.problems()), (64, [].as_slice()), "the file is good as long as it is honest");

    let began = Instant::now();
    let promises = [
        (vec![1_000_000], "more packets than its bytes can fill"),
        (vec![1_000_000; 50], "more samples than its bytes can hold"),
        (vec![u32::MAX], "more samples than its bytes can hold"),
        (vec![u32::MAX; 1000], "more samples than its bytes can hold"),
    ];
    for (fragments, reason) in promises {
        let file = fragmented_mp4(&fragments, 0, &[]);
        for error in [pipe(file.clone()).unwrap_err(), open(&file).unwrap_err()] {
            assert!(error.to_string().contains(reason), "{error}");
        }
    }
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

#[test]
fn decoding_ends_with_whoever_asked_for_it() {
    let bytes = fragmented_mp4(&[64], 2, &[1; 128]);
    let patience = Patience::within(Duration::from_secs(3600));
    let asked = patience.until_dropped();
    let mut audio = Opening { patience, ..Opening::default() }.memory("it", bytes.clone()).unwrap();
    drop(asked);
    let mut block = Vec::new();
    assert!(audio.read(&mut block).unwrap(), "what was decoded on opening");
    assert!(matches!(audio.read(&mut block).unwrap_err().fault, Fault::CalledOff));
    let late =
        Opening { patience: Patience::within(Duration::ZERO), ..Opening::default() }.memory("it", bytes);
    assert!(matches!(late.unwrap_err().fault, Fault::TooSlow { .. }));
}

#[test]
fn a_header_cannot_ask_for_more_memory_than_a_packet_needs() {
    let mut whole = open(&caf(64, 1)).unwrap();
    let mut block = Vec::new();
    assert!(whole.read(&mut block).unwrap());
    for n_frames in [1 << 20, 1 << 30, u32::MAX] {
        let error = open(&caf(n_frames, 1)).unwrap_err();
        assert!(error.to_string().contains("samples a packet"), "{error}");
    }
    for n_channels in [9, 65_535] {
        let error = open(&caf(64, n_channels)).unwrap_err();
        assert!(matches!(error.fault, Fault::Channels { .. } | Fault::Unsupported { .. }), "{error}");
    }
}
