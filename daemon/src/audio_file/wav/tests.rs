//! Wav and its kin with every encoding and every wrong size, from a file, a pipe and memory alike.

use std::io::Cursor;

use super::super::{AudioFile, AudioFileError, AudioProblem, Opening};

/// Frames of the recordings: a tenth of a second.
const N_FRAMES: usize = 800;
const RATE_HZ: u32 = 8000;

/// The sample of a frame: a tone that is no palindrome, on the scale of ±1.
fn sample(n: usize) -> f64 {
    0.5 * (n as f64 * 0.3).sin() + 0.1
}

/// How samples are written: the tag of wav, the encoding of AU, bits, and the bytes of one, big endian or little.
#[derive(Debug, Clone, Copy)]
struct Way {
    tag: u16,
    au: u32,
    bits: u16,
    /// How far what is decoded may be off.
    tolerance: f32,
}

const WAYS: [Way; 7] = [
    Way { tag: 1, au: 2, bits: 8, tolerance: 1.0 / 128.0 },
    Way { tag: 1, au: 3, bits: 16, tolerance: 1e-4 },
    Way { tag: 1, au: 4, bits: 24, tolerance: 1e-6 },
    Way { tag: 1, au: 5, bits: 32, tolerance: 1e-6 },
    Way { tag: 3, au: 6, bits: 32, tolerance: 1e-6 },
    Way { tag: 3, au: 7, bits: 64, tolerance: 1e-6 },
    Way { tag: 7, au: 1, bits: 8, tolerance: 0.03 },
];

impl Way {
    fn data(self, is_big: bool, is_signed_8_bit: bool) -> Vec<u8> {
        let one = |n: usize| {
            let value = sample(n);
            let mut bytes = match (self.tag, self.bits) {
                (7, _) => vec![mulaw(value)],
                (3, 32) => (value as f32).to_le_bytes().to_vec(),
                (3, _) => value.to_le_bytes().to_vec(),
                (_, 8) if is_signed_8_bit => vec![(value * 128.0).round() as i8 as u8],
                (_, 8) => vec![(value * 128.0 + 128.0).round() as u8],
                (_, bits) => {
                    let integer = (value * f64::from(1_u32 << (bits - 1))) as i64;
                    integer.to_le_bytes()[..usize::from(bits / 8)].to_vec()
                }
            };
            if is_big {
                bytes.reverse();
            }
            bytes
        };
        (0..N_FRAMES).flat_map(one).collect()
    }

    /// The `fmt ` chunk in the short form, or as an extension.
    fn fmt(self, is_big: bool, is_extended: bool) -> Vec<u8> {
        let (u16, u32) = numbers(is_big);
        let width = self.bits / 8;
        let tag = if is_extended { 0xfffe } else { self.tag };
        let mut fmt =
            [u16(tag), u16(1), u32(RATE_HZ), u32(RATE_HZ * u32::from(width)), u16(width), u16(self.bits)]
                .concat();
        if is_extended {
            fmt.extend([u16(22), u16(self.bits), u32(4), u16(self.tag)].concat());
            fmt.extend([0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71]);
        }
        fmt
    }
}

/// G.711 µ-law of a value (ITU-T G.711, section 3).
fn mulaw(value: f64) -> u8 {
    let magnitude = ((value.abs() * 32_768.0) as i32).min(32_635) + 0x84;
    let exponent = (0..8).rev().find(|exponent| magnitude >> (exponent + 7) != 0).unwrap_or(0);
    let mantissa = (magnitude >> (exponent + 3)) & 0x0f;
    let sign = if value < 0.0 { 0x80 } else { 0 };
    !(sign | (exponent << 4) as u8 | mantissa as u8)
}

type Number<T> = fn(T) -> Vec<u8>;

fn numbers(is_big: bool) -> (Number<u16>, Number<u32>) {
    match is_big {
        true => (|n| n.to_be_bytes().to_vec(), |n| n.to_be_bytes().to_vec()),
        false => (|n| n.to_le_bytes().to_vec(), |n| n.to_le_bytes().to_vec()),
    }
}

fn chunk(id: &[u8; 4], body: &[u8]) -> Vec<u8> {
    [&id[..], &(body.len() as u32).to_le_bytes(), body].concat()
}

/// A RIFF file of these chunks and then data whose header says `n_promised`.
fn riff(chunks: &[Vec<u8>], n_promised: u32, data: &[u8]) -> Vec<u8> {
    let chunks = chunks.concat();
    [b"RIFF", &n_promised.to_le_bytes()[..], b"WAVE", &chunks, b"data", &n_promised.to_le_bytes(), data]
        .concat()
}

type Read = (Vec<f32>, Vec<AudioProblem>);

fn read(opened: Result<AudioFile, AudioFileError>) -> Result<Read, String> {
    let mut audio = opened.map_err(|error| error.fault.to_string())?;
    assert_eq!(audio.sample_rate_hz(), RATE_HZ);
    let (mut samples, mut block) = (Vec::new(), Vec::new());
    while audio.read(&mut block).unwrap() {
        samples.extend_from_slice(&block);
    }
    Ok((samples, audio.problems().to_vec()))
}

/// What a file, a pipe and memory give, which is the same.
fn everywhere(bytes: &[u8]) -> Result<Read, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    std::fs::write(&path, bytes).unwrap();
    let from_file = read(AudioFile::open(&path));
    let from_memory = read(Opening::default().memory("x", bytes.to_vec()));
    let from_pipe = read(AudioFile::pipe("x", Cursor::new(bytes.to_vec())));
    assert_eq!(from_file, from_memory);
    assert_eq!(from_file, from_pipe);
    from_file
}

/// Holds what was read against the recording; gives the problems.
fn same(bytes: &[u8], way: Way) -> Vec<AudioProblem> {
    let (samples, problems) = everywhere(bytes).unwrap_or_else(|error| panic!("{way:?}: {error}"));
    assert_eq!(samples.len(), N_FRAMES, "{way:?}");
    for (n, got) in samples.iter().enumerate() {
        assert!((got - sample(n) as f32).abs() <= way.tolerance, "{way:?}: sample {n} is {got}");
    }
    problems
}

#[test]
fn every_encoding_is_read_whatever_its_sizes_say() {
    for way in WAYS {
        let data = way.data(false, false);
        let n = data.len() as u32;
        for is_extended in [false, true] {
            let fmt = chunk(b"fmt ", &way.fmt(false, is_extended));
            let with = |n_promised| riff(std::slice::from_ref(&fmt), n_promised, &data);
            assert_eq!(same(&with(n), way), [], "whole");
            assert_eq!(same(&with(0), way), [AudioProblem::UnfinishedHeader], "not finished");
            for endless in [u32::MAX, u32::MAX - 1, u32::MAX - 36, 0x7fff_ffff, 0x7fff_fffe, 0x7fff_f000] {
                assert_eq!(same(&with(endless), way), [], "{endless:#x}");
            }
            let promised = same(&with(n * 5), way);
            assert!(matches!(promised[..], [AudioProblem::Truncated { .. }]), "{promised:?}");
            // A byte too many in the promise, and a byte of padding behind it.
            assert_eq!(same(&with(n + 1), way), []);
            let padded = [with(n), vec![0]].concat();
            assert_eq!(same(&padded, way), []);
            // One too few loses one sample and nothing else.
            let (samples, problems) = everywhere(&with(n - 1)).unwrap();
            assert_eq!((samples.len(), problems.len()), (N_FRAMES - 1, 0));
        }
    }
}

#[test]
fn chunks_of_any_order_and_with_wrong_lengths_are_gone_over() {
    let way = WAYS[1];
    let (fmt, data) = (chunk(b"fmt ", &way.fmt(false, false)), way.data(false, false));
    let n = data.len() as u32;
    let short_of = |body: &[u8], by: i32| {
        let mut bytes = chunk(b"LIST", body);
        bytes[4..8].copy_from_slice(&((body.len() as i32 + by) as u32).to_le_bytes());
        bytes
    };
    // An inner chunk of five bytes without the byte that pads it.
    let info = b"INFOIART\x05\x00\x00\x00Anna\x00ICRD\x04\x00\x00\x002022";
    for before in [
        vec![fmt.clone(), chunk(b"LIST", info), vec![0]],
        vec![fmt.clone(), chunk(b"LIST", info)],
        vec![chunk(b"bext", &[0; 602]), fmt.clone()],
        vec![chunk(b"JUNK", &[0; 28]), fmt.clone(), chunk(b"FLLR", &[0; 4000])],
        vec![chunk(b"fact", &7_u32.to_le_bytes()), fmt.clone(), chunk(b"PEAK", &[1; 16])],
        vec![fmt.clone(), chunk(b"id3 ", &[7; 1_200_000])],
        vec![chunk(b"odd!", b"xyz"), vec![0], fmt.clone()],
        vec![fmt.clone(), short_of(info, 1)],
        vec![fmt.clone(), short_of(info, -1)],
        vec![chunk(b"data", &[]), fmt.clone(), chunk(b"LIST", info), vec![0]],
        vec![chunk(b"fmt ", &[way.fmt(false, false), vec![0; 6]].concat())],
    ] {
        assert_eq!(same(&riff(&before, n, &data), way), []);
        let behind = [riff(&before, n, &data), chunk(b"LIST", b"INFO")].concat();
        assert_eq!(same(&behind, way), []);
        assert_eq!(same(&riff(&before, 0, &data), way), [AudioProblem::UnfinishedHeader]);
    }
}

/// Recorders that were interrupted begin another `data` chunk; some write an empty one first.
#[test]
fn all_data_chunks_are_read_as_one() {
    for way in WAYS {
        let (fmt, data) = (chunk(b"fmt ", &way.fmt(false, false)), way.data(false, false));
        let width = usize::from(way.bits / 8);
        let (first, second) = data.split_at(301 * width);
        let pad = vec![0; first.len() % 2];
        let list = chunk(b"LIST", b"INFO");
        let parts = |between: &[Vec<u8>], behind: &[u8]| {
            let fmt = std::slice::from_ref(&fmt);
            let more = [between.concat(), chunk(b"data", second), behind.to_vec()].concat();
            [riff(fmt, first.len() as u32, first), more].concat()
        };
        assert_eq!(same(&parts(std::slice::from_ref(&pad), b""), way), []);
        assert_eq!(same(&parts(&[], b""), way), [], "without padding");
        assert_eq!(same(&parts(&[pad.clone(), list.clone()], &list), way), []);
        assert_eq!(same(&parts(&[pad.clone(), chunk(b"data", b"")], b""), way), [], "an empty one between");
        let mut open = parts(&[pad.clone(), list], b"");
        let at = open.len() - second.len() - 4;
        for unknown in [0, u32::MAX] {
            open[at..at + 4].copy_from_slice(&unknown.to_le_bytes());
            assert_eq!(same(&open, way), [], "the last one is not finished");
        }
    }
    // Half a frame at the end of a chunk does not shift what follows.
    let way = WAYS[1];
    let (fmt, data) = (chunk(b"fmt ", &way.fmt(false, false)), way.data(false, false));
    let (first, second) = data.split_at(301);
    let bytes = [riff(&[fmt], 301, first), vec![0], chunk(b"data", &second[1..])].concat();
    let (samples, _) = everywhere(&bytes).unwrap();
    assert_eq!(samples.len(), N_FRAMES);
    assert!((samples[151] - sample(151) as f32).abs() < 1e-4);
}

#[test]
fn big_endian_files_and_those_with_wide_sizes_are_read() {
    for way in WAYS {
        let (fmt, data) = (way.fmt(true, false), way.data(true, false));
        let n = data.len() as u32;
        let be = |n: u32| n.to_be_bytes();
        let rifx =
            |n: u32| [b"RIFX", &be(n)[..], b"WAVEfmt ", &be(16), &fmt, b"data", &be(n), &data].concat();
        assert_eq!(same(&rifx(n), way), []);
        assert_eq!(same(&rifx(0), way), [AudioProblem::UnfinishedHeader]);

        let (fmt, data) = (chunk(b"fmt ", &way.fmt(false, false)), way.data(false, false));
        for magic in [b"RF64", b"BW64"] {
            let wide = |n: u64, narrow: u32| {
                let ds64 = [&(n + 100).to_le_bytes()[..], &n.to_le_bytes(), &[0; 12]].concat();
                let mut bytes = riff(&[chunk(b"ds64", &ds64), fmt.clone()], narrow, &data);
                bytes[..4].copy_from_slice(magic);
                bytes
            };
            assert_eq!(same(&wide(n.into(), u32::MAX), way), []);
            assert_eq!(same(&wide(u64::MAX - 100, u32::MAX), way), []);
            assert_eq!(same(&wide(0, u32::MAX), way), [AudioProblem::UnfinishedHeader]);
            assert_eq!(same(&wide(0, n), way), []);
        }
    }
}

#[test]
fn wave64_files_are_read() {
    let tail = [0xf3, 0xac, 0xd3, 0x11, 0x8c, 0xd1, 0x00, 0xc0, 0x4f, 0x8e, 0xdb, 0x8a];
    for way in WAYS {
        let data = way.data(false, false);
        let part = |id: &[u8; 4], n: u64, body: &[u8]| [&id[..], &tail, &n.to_le_bytes(), body].concat();
        let file = |n: u64| {
            let riff = [b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00", &[0; 8][..], b"wave", &tail]
                .concat();
            let fact = part(b"fact", 25, &[[9].as_slice(), &[0; 7]].concat());
            [riff, fact, part(b"fmt ", 40, &way.fmt(false, false)), part(b"data", n, &data)].concat()
        };
        assert_eq!(same(&file(24 + data.len() as u64), way), []);
        assert_eq!(same(&file(24), way), [AudioProblem::UnfinishedHeader]);
        assert_eq!(same(&file(u64::MAX), way), []);
    }
}

#[test]
fn au_files_are_read() {
    for way in WAYS {
        for (magic, is_big) in [(b".snd", true), (b"dns.", false)] {
            let (_, u32) = numbers(is_big);
            let data = way.data(is_big, way.bits == 8 && way.tag == 1);
            let file = |n: u32, text: &[u8]| {
                let offset = u32(24 + text.len() as u32);
                [magic, &*offset, &*u32(n), &*u32(way.au), &*u32(RATE_HZ), &*u32(1), text, &data].concat()
            };
            let n = data.len() as u32;
            assert_eq!(same(&file(n, b""), way), []);
            assert_eq!(same(&file(n, b"a note\0\0"), way), []);
            assert_eq!(same(&file(u32::MAX, b"\0\0\0\0"), way), []);
            assert_eq!(same(&file(0, b""), way), [AudioProblem::UnfinishedHeader]);
        }
    }
}

#[test]
fn what_cannot_be_read_is_named() {
    let refusal = |bytes: &[u8]| everywhere(bytes).unwrap_err();
    let fmt = |tag: u16, bits: u16| chunk(b"fmt ", &Way { tag, bits, ..WAYS[1] }.fmt(false, false));
    for (tag, bits, what) in [
        (0x31, 0, "uses GSM 6.10 in a wav file"),
        (0x45, 4, "uses G.726 ADPCM in a wav file"),
        (0x7777, 16, "uses format 0x7777 in a wav file"),
        (1, 64, "uses 64-bit PCM in a wav file"),
        (3, 16, "uses 16-bit floats in a wav file"),
    ] {
        let text = refusal(&riff(&[fmt(tag, bits)], 4, &[0; 4]));
        assert!(text.starts_with(what) && text.contains("ffmpeg"), "{text}");
    }
    let damaged = |bytes: &[u8], reason: &str| {
        let text = refusal(bytes);
        assert!(text.starts_with("is damaged") && text.contains(reason), "{text}");
    };
    damaged(&riff(&[], 4, &[0; 4]), "its samples come before its fmt chunk");
    damaged(&riff(&[chunk(b"fmt ", &[1; 8])], 4, &[0; 4]), "its fmt chunk is shorter than 14 bytes");
    let whole = riff(&[fmt(1, 16)], 400, &[0; 400]);
    damaged(&whole[..36], "it has no data chunk");
    damaged(&[&whole[..12], b"LIST\xff\xff\xff\xff", &whole[12..]].concat(), "do not begin within 64 MiB");
    damaged(
        &[&whole[..36], b"LIST\x03\x00\x00\x00\x00\x00\x00\x01\x02\x03\x04\x05"].concat(),
        "a wrong size",
    );
    damaged(&[b".snd", &[0; 20][..]].concat(), "AU header");
    let g722 = [b".snd", &24_u32.to_be_bytes()[..], &[0, 0, 0, 8, 0, 0, 0, 24, 0, 0, 0x3e, 0x80, 0, 0, 0, 1]]
        .concat();
    assert!(refusal(&g722).starts_with("uses G.722 in an AU file"));
    assert!(refusal(&riff(&[fmt(1, 16)], 0, &[])).starts_with("holds no samples"));
}

#[test]
fn a_recorder_that_went_on_past_4_gib_kept_the_low_bits() {
    use super::head::DataSize;
    const GIB_4: u64 = 1 << 32;
    let max = u64::from(u32::MAX);
    let whole = |n| DataSize { limit: n, promised: Some(n), is_unfinished: false };
    for n in [GIB_4 + 2000, 3 * GIB_4 + 5_000_000] {
        assert_eq!(DataSize::of_field(n % GIB_4, max, Some(n)), whole(n));
    }
    // Another chunk follows, of nothing that was ever wrapped.
    assert_eq!(DataSize::of_field(2000, max, Some(GIB_4 + 90_000)), whole(2000));
    // Honest sizes near the end of the range.
    assert_eq!(DataSize::of_field(GIB_4 - 400, max, Some(GIB_4 - 100)), whole(GIB_4 - 400));
    assert_eq!(DataSize::of_field(GIB_4 - 400, max, Some(9000)), DataSize::ENDLESS);
}
