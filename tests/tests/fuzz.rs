//! Every parser of foreign bytes against damaged examples: bounded, and the same with every run.
//!
//! `PROPTEST_CASES=100000 cargo test --test fuzz` looks longer, `PROPTEST_RNG_SEED=7` elsewhere; `tests/fuzz` has the
//! same entries for libFuzzer.

use std::path::Path;

use diarized::recording::{Recordings, RecordingsParams};
use diarized_dsp::SampleIndex;
use diarized_models::diarizer::SecondPace;
use diarized_models::{Diarizer, DiarizerOptions, DiarizerParams, Embedding, SpeechDetector};
use diarized_tests::fuzz::{self, Entry};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{RngSeed, TestRunner};

/// Cases for each entry, unless `PROPTEST_CASES` says else.
const N_CASES: u32 = 300;

/// Pieces that have a meaning to some parser.
const PIECES: [&str; 30] = [
    "\"type\":",
    "\"start\"",
    "null",
    "-1",
    "1e999",
    "99999999999999999999",
    "0.0000001",
    "{",
    "}",
    "[[",
    "]]",
    "\\u0000",
    "\u{feff}",
    "\n",
    "=",
    "\"",
    "'''",
    "#",
    ";",
    "SPEAKER ",
    "<NA>",
    "nan",
    "RIFF",
    "WAVEfmt ",
    "data",
    "OggS",
    "fLaC",
    "ftyp",
    "\u{1a}\u{45}",
    "ID3",
];

/// What a diarizer has learned of two people: the beginning of the example conversation, with made embeddings.
fn voices_of_two_people() -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut audio =
        diarized::audio_file::AudioFile::open(&folder.join("data/example/conversation.flac")).unwrap();
    let options =
        DiarizerOptions { vad_mode: SpeechDetector::WebRtc { mode: 3 }, ..DiarizerOptions::default() };
    let card = fuzz::voice_memory_card();
    let mut diarizer = Diarizer::new(DiarizerParams::try_new(options).unwrap(), &card)
        .with_second_model(&card, SecondPace::Behind);
    let mut block = Vec::new();
    while diarizer.heard().seconds() < 13.0 && audio.read(&mut block).unwrap() {
        diarizer.push(&block).unwrap();
        while let Some(request) = diarizer.poll_work() {
            let mut values = [0.1; 192];
            values[usize::from(request.range.start().seconds() > 8.0)] = 3.0;
            diarizer.provide(request.id, Ok(Embedding::from_raw(&values).unwrap())).unwrap();
        }
        while let Some(request) = diarizer.poll_second() {
            diarizer.provide_second(request.id, Ok(Embedding::from_raw(&[0.5; 192]).unwrap())).unwrap();
        }
    }
    diarizer.voice_memory().to_bytes()
}

/// What is done to an example.
#[derive(Debug, Clone)]
enum Damage {
    /// A byte is replaced; half of these hit the first 256 bytes, where headers are.
    Byte(Index, u8, bool),
    /// What follows is cut off.
    Cut(Index),
    /// Bytes are taken out.
    Remove(Index, usize),
    /// Bytes come twice.
    Repeat(Index, usize),
    /// A piece is put in.
    Insert(Index, usize),
    /// Four bytes become a number.
    Number(Index, u32),
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<Index>;
    prop_oneof![
        4 => (at(), any::<u8>(), any::<bool>()).prop_map(|(at, byte, early)| Damage::Byte(at, byte, early)),
        1 => at().prop_map(Damage::Cut),
        2 => (at(), 1..64_usize).prop_map(|(at, n)| Damage::Remove(at, n)),
        2 => (at(), 1..64_usize).prop_map(|(at, n)| Damage::Repeat(at, n)),
        3 => (at(), 0..PIECES.len()).prop_map(|(at, piece)| Damage::Insert(at, piece)),
        2 => (at(), prop::sample::select(vec![0, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX, 0x0100_0000]))
            .prop_map(|(at, number)| Damage::Number(at, number)),
    ]
}

fn apply(damage: &Damage, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    let n = bytes.len();
    match damage {
        Damage::Byte(at, byte, is_early) => {
            let reach = if *is_early { n.min(256) } else { n };
            bytes[at.index(reach)] = *byte;
        }
        Damage::Cut(at) => bytes.truncate(at.index(n)),
        Damage::Remove(at, length) => {
            let at = at.index(n);
            bytes.drain(at..(at + length).min(n));
        }
        Damage::Repeat(at, length) => {
            let at = at.index(n);
            let piece = bytes[at..(at + length).min(n)].to_vec();
            bytes.splice(at..at, piece);
        }
        Damage::Insert(at, piece) => {
            let at = at.index(n);
            bytes.splice(at..at, PIECES[*piece].bytes());
        }
        Damage::Number(at, number) => {
            let at = at.index(n);
            let end = (at + 4).min(n);
            bytes[at..end].copy_from_slice(&number.to_le_bytes()[..end - at]);
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace")
}

fn read(path: &str) -> Vec<u8> {
    std::fs::read(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Lines of the document's examples in a fence of this kind.
fn documented(fence: &str) -> Vec<Vec<u8>> {
    let document = String::from_utf8(read("docs/protocol.md")).unwrap();
    let blocks = document.split("```").skip(1).step_by(2);
    let blocks = blocks.filter_map(|block| block.strip_prefix(fence)?.strip_prefix('\n'));
    blocks.flat_map(|block| block.lines().map(|line| line.as_bytes().to_vec()).collect::<Vec<_>>()).collect()
}

/// Recordings of the kin of wav, and one behind a tag.
fn headers() -> Vec<Vec<u8>> {
    let sound: Vec<u8> = (0..4000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let (n, be) = (4000_u32.to_le_bytes(), 4000_u32.to_be_bytes());
    // Mono, 16 kHz, 16 bit.
    let fmt = [1, 0, 1, 0, 0x80, 0x3e, 0, 0, 0, 0x7d, 0, 0, 2, 0, 16, 0];
    let fmt_be = [0, 1, 0, 1, 0, 0, 0x3e, 0x80, 0, 0, 0x7d, 0, 0, 2, 0, 16];
    let ds64 = [&[0; 8][..], &4000_u64.to_le_bytes(), &[0; 12]].concat();
    let tail = [0xf3, 0xac, 0xd3, 0x11, 0x8c, 0xd1, 0x00, 0xc0, 0x4f, 0x8e, 0xdb, 0x8a];
    let wave64 = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00\0\0\0\0\0\0\0\0wave";
    let part = |id: &[u8], n: u64| [id, &tail, &n.to_le_bytes()].concat();
    let wav =
        [b"RIFF\0\0\0\0WAVELIST\x05\0\0\0INFOx\0fmt \x10\0\0\0", &fmt[..], b"data\0\0\0\0", &sound].concat();
    vec![
        [b"RIFX", &be[..], b"WAVEfmt \0\0\0\x10", &fmt_be, b"data", &be, &sound].concat(),
        [b"RF64\xff\xff\xff\xffWAVEds64\x1c\0\0\0", &ds64[..], b"fmt \x10\0\0\0", &fmt, b"data", &n, &sound]
            .concat(),
        [&wave64[..], &tail, &part(b"fmt ", 40), &fmt, &part(b"data", 4024), &sound].concat(),
        [b".snd\0\0\0\x18", &be[..], b"\0\0\0\x03\0\0\x3e\x80\0\0\0\x01", &sound].concat(),
        [b"ID3\x04\0\0\0\0\0\x20", &[0; 32][..], &wav].concat(),
        wav,
    ]
}

/// Parts of a file that was kept: three seconds of sound with a gap between.
fn kept_recordings() -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let params = RecordingsParams { folder: folder.path().to_owned(), max_bytes: 1 << 30 };
    let recordings = Recordings::open(params).unwrap();
    let mut recorder = recordings.begin("a", |_, _| {}).unwrap();
    let sound: Vec<f32> = (0..16_000).map(|n| (n as f32 * n as f32 * 1e-4).sin() * 0.5).collect();
    for at in [0, 16_000, 48_100] {
        recorder.push(SampleIndex(at), &sound).unwrap();
    }
    recorder.finish(SampleIndex(64_100)).unwrap();
    recordings.close();
    let file = std::fs::read(folder.path().join("a.opus")).unwrap();
    [[0, 8], [3, 40], [25, 4]].map(|part| [&part[..], &file].concat()).to_vec()
}

/// Streams that lose pages, and that change their format.
fn changing() -> Vec<Vec<u8>> {
    let file = |name: &str| read(&format!("daemon/tests/audio_files/{name}"));
    let (opus, vorbis, aac) = (file("opus.opus"), file("vorbis.ogg"), file("aac_adts.aac"));
    let second_page = |bytes: &[u8]| {
        let pages: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(b"OggS")).collect();
        assert!(pages.len() > 3, "there are pages to lose");
        [&bytes[..pages[2]], &bytes[pages[3]..]].concat()
    };
    // The same frames as of another rate: its index is in the third byte of each header.
    let mut other = aac.clone();
    for at in 0..other.len().saturating_sub(3) {
        if other[at] == 0xff && other[at + 1] & 0xf6 == 0xf0 {
            other[at + 2] ^= 0x04;
        }
    }
    let mut all =
        vec![second_page(&opus), second_page(&vorbis), [&opus[..], &vorbis].concat(), [aac, other].concat()];
    all.iter_mut().for_each(|bytes| bytes.truncate(24_000));
    all
}

/// Samples behind a head of encoding, channels and rate.
fn sounds() -> Vec<Vec<u8>> {
    (0..3_u8)
        .flat_map(|encoding| {
            [(1_u8, 8_000_u16), (2, 16_000), (3, 44_100), (8, 48_000)].map(|f| (encoding, f))
        })
        .map(|(encoding, (channels, rate_hz))| {
            let [low, high] = rate_hz.to_le_bytes();
            let sound = (0..2000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8);
            [encoding, channels, low, high].into_iter().chain(sound).collect()
        })
        .collect()
}

/// Answers of recognisers.
fn answers() -> Vec<Vec<u8>> {
    [
            r#"{"result":[{"conf":1.0,"start":0.84,"end":1.11,"word":"one"}],"text":"one"}"#,
            r#"{"partial":"one two"}"#,
            r#"{"alternatives":[{"confidence":1.5,"text":"a","result":[{"start":0.1,"end":0.2,"word":"a"}]}]}"#,
            r#"{"type":"Results","is_final":true,"channel":{"alternatives":[{"transcript":"Yep.","words":[{"word":"yep","start":6.0,"end":6.4,"punctuated_word":"Yep."}]}]}}"#,
            r#"{"text":"Hi Bob","segments":[{"text":" Hi Bob","start":0.0,"end":0.6}]}"#,
            concat!(
                r#"{"type":"transcript-chunk","data_length":15}"#,
                "\n",
                r#"{"text":"turn"}{"type":"audio-chunk","payload_length":3}"#,
                "\nabc"
            ),
        ]
        .map(|text| text.as_bytes().to_vec())
        .to_vec()
}

/// Of MQTT 3.1.1: a connection accepted, subscribed, pinged; a message that was kept.
fn mqtt_packets() -> Vec<Vec<u8>> {
    vec![
        [&[0x20, 2, 0, 0, 0x90, 3, 0, 1, 0, 0xd0, 0, 0x31, 9, 0, 3][..], b"a/bhey!"].concat(),
        [&[0x33, 0x84, 0x01, 0, 1, b'a', 0, 7][..], &[b'x'; 127]].concat(),
    ]
}

/// What nodes of a cluster read of each other.
fn of_a_cluster() -> Vec<Vec<u8>> {
    [
        "{\"format\":1,\"kind\":\"events\",\"seq\":7,\"n\":2}\n{\"type\":\"a\"}\n{\"type\":\"b\"}",
        "{\"format\":1,\"kind\":\"snapshot\",\"seq\":9,\"speaker\":2,\"segment\":5,\"kept\":3,\"part\":0}\n{}",
        "{\"format\":1,\"kind\":\"corrections\",\"seq\":9}\n{\"id\":1,\"kind\":\"merge\",\"unix_ms\":1,\"undo\":{},\"redo\":{}}",
        r#"{"format":1,"node":"a","began_unix_ms":5,"source":"stream","audio":{"encoding":"pcm_s16le","sample_rate":16000,"channels":1},"at":16000,"seq":3,"speakers":1,"segments":2,"connected":true,"base":0}"#,
        r#"{"format":1,"node":"a","instance":"6f","version":"0.1.0","model":"m","sessions":1,"max_sessions":64,"overloaded":false,"lag_s":0.1}"#,
        r#"{"format":1,"session":"kitchen","what":{"words":{"words":[{"start":1,"end":2,"text":"well","confidence":0.5}],"is_final":true}}}"#,
        r#"{"done":{"seq":3,"safe_s":1.5}}"#,
        "{\"format\":1,\"kind\":\"audio\",\"intake\":\"a\",\"first\":48000,\"n\":2}\nabcdefghijkl",
        r#"{"format":1,"kind":"gap","intake":"a","first":48000,"n":800,"gap":"declared"}
"#,
        r#"{"format":1,"kind":"end","intake":"a","first":48800,"n":0,"end":"closed"}
"#,
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

/// A voice and a deleted one, as nodes share them.
fn shared_voices() -> Vec<Vec<u8>> {
    let head = r#"{"format":1,"model":"m","model_sha256":"ab","version":{"n_deleted":1,"alive":"#;
    let trail = r#""trail":{"a01":{"at_unix_s":5,"action":"enrolled","detail":"1 recordings, 12.5 s","actor":"http desk","node":"one"}}}}"#;
    let alive = r#"{"name":{"stamp":{"n":2,"node":"one"},"value":"Ann"},"consent":{"stamp":{"n":1,"node":"two"},"value":null},"created_unix_s":5,"changed_unix_s":6,"recordings":{"r1":{"created_unix_s":5,"source":"http","speech_s":12.5,"weight":1.0,"snr_db":21.0,"embedding":[0.6,0.8]},"r2":{"created_unix_s":6,"source":"learned","speech_s":40.0,"weight":0.5,"snr_db":null,"embedding":[1.0,0.0]}}},"#;
    [format!("{head}null,{trail}"), format!("{head}{alive}{trail}")].map(String::into_bytes).to_vec()
}

/// Whole examples for an entry.
fn examples(name: &str) -> Vec<Vec<u8>> {
    match name {
        "client_message" => documented("json client"),
        "server_message" => documented("json server"),
        "audio_file" => {
            let folder = std::fs::read_dir(root().join("daemon/tests/audio_files")).unwrap();
            let files = folder.map(|entry| std::fs::read(entry.unwrap().path()).unwrap());
            // Small ones, because a large one is a decoder's work and not a parser's.
            let small = files.map(|mut bytes| {
                bytes.truncate(12_000);
                bytes
            });
            small.chain(headers()).chain(changing()).collect()
        }
        "kept_audio" => kept_recordings(),
        "address" => ["wss://box.example/diar/v1/events?session=a", "[::1]:7007", "ws://host:1/a/b/"]
            .map(|text| text.as_bytes().to_vec())
            .to_vec(),
        "pcm" => sounds(),
        "config" => vec![
            read("config/diarized.toml"),
            read("config/tests/broken/sources.toml"),
        ],
        "rttm" => vec![read("tests/data/example/conversation.rttm"), b"talk 1 0.5 12.25\n".to_vec()],
        "event_log" => {
            let lines = documented("json server").join(&b'\n');
            let one = b"{\"file\":\"a\",\"start\":0.5,\"end\":2,\"speech\":[[0.5,1],[1.5,2]],\"speaker\":\"S1\"}\n".to_vec();
            let mut all = documented("json server");
            all.extend([lines, one]);
            all
        }
        "counts" => [
            r#"{"file":"a.wav","speakers":2,"confidence":0.75,"speech":12.5}"#,
            "{\"file\":\"a\",\"speakers\":0,\"confidence\":null}\n\n{\"file\":\"b\",\"speakers\":7,\"confidence\":1}\n",
        ]
        .map(|text| text.as_bytes().to_vec())
        .to_vec(),
        "stored_correction" => [
            r#"{"id":1,"kind":"rename","by":"desk","unix_ms":1796040000250,"undo":{"named":[{"id":"S1","first_s":0.5}]},"redo":{"named":[{"id":"S1","name":"Ada","first_s":0.5}]}}"#,
            r#"{"id":2,"kind":"merge","unix_ms":1,"undo":{"missing":[{"id":"S3","first_s":3.0}],"changes":[{"id":2,"from":"S2","to":"S3"}]},"redo":{"merged":{"from":"S2","into":"S1"}}}"#,
            r#"{"id":3,"kind":"note","unix_ms":1,"undo":{"note":{"id":1}},"redo":{"note":{"id":1,"text":"x"}}}"#,
            r#"{"id":4,"kind":"undo","of":3,"unix_ms":1,"undo":{},"redo":{"title":{"title":"Weekly"}}}"#,
        ]
        .map(|text| text.as_bytes().to_vec())
        .to_vec(),
        "voice_memory" => vec![voices_of_two_people()],
        "model_card" => vec![read("models/zoo/nexttdnn-c128-b122/model.toml")],
        "mqtt_packet" => mqtt_packets(),
        "cluster_message" => of_a_cluster(),
        "shared_voice" => shared_voices(),
        "recogniser" => answers(),
        "dialect" => [
            r#"{"config":{"sample_rate":48000.0,"words":true,"spk":true}}"#,
            r#"{"eof" : 1}"#,
            r#"{"type":"CloseStream"}"#,
        ]
        .map(|text| text.as_bytes().to_vec())
        .to_vec(),
        "session" => fuzz::example_sessions(),
        other => panic!("{other} has no example"),
    }
}

fn runner(name: &str) -> TestRunner {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    // A whole session waits for sockets, a tenth of a second in the mean.
    let usual = if name == "session" { N_CASES / 3 } else { N_CASES };
    let cases = number("PROPTEST_CASES").map_or(usual, |n| n as u32);
    let seed = number("PROPTEST_RNG_SEED").unwrap_or(1);
    let config = ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    TestRunner::new(config)
}

fn survive((name, entry): Entry) {
    let examples = examples(name);
    assert!(!examples.is_empty(), "{name}");
    examples.iter().for_each(|example| entry(example));
    let damaged = (any::<Index>(), prop::collection::vec(damage(), 1..12));
    runner(name)
        .run(&damaged, |(example, damage)| {
            let mut bytes = example.get(&examples).clone();
            damage.iter().for_each(|damage| apply(damage, &mut bytes));
            entry(&bytes);
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    runner(name)
        .run(&prop::collection::vec(any::<u8>(), 0..600), |bytes| {
            entry(&bytes);
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{name}: {error}"));
}

/// One test an entry, so that a fault names it and they run side by side.
macro_rules! entries {
    ($($name:ident),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                survive((stringify!($name), fuzz::$name));
            }
        )*

        #[test]
        fn every_entry_is_tried() {
            let tried = [$(stringify!($name)),*];
            assert_eq!(fuzz::ENTRIES.map(|(name, _)| name), tried);
            for name in tried {
                let target = root().join("tests/fuzz/fuzz_targets").join(format!("{name}.rs"));
                assert!(target.is_file(), "{} is missing", target.display());
            }
        }
    };
}

entries!(
    client_message,
    server_message,
    audio_file,
    kept_audio,
    pcm,
    address,
    config,
    rttm,
    event_log,
    counts,
    stored_correction,
    voice_memory,
    model_card,
    mqtt_packet,
    cluster_message,
    shared_voice,
    recogniser,
    dialect,
    session
);
