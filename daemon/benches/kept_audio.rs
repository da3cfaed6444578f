//! Cost of keeping audio, per second of it: what a session's thread encodes, while another thread writes it to a file. Then both
//! threads together as a share of a core, and the size of the files by the hour.

use std::time::Instant;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use diarized::audio_file::{AudioFile, MonoFile};
use diarized::recording::{Recordings, RecordingsParams};
use diarized_dsp::{ChannelSelect, SAMPLE_RATE_HZ, SampleIndex};

/// Samples in a second.
const SECOND: usize = SAMPLE_RATE_HZ as usize;
/// Sessions of the example's length that are kept for the figures in plain units.
const N_SESSIONS: usize = 8;

/// The example conversation.
fn speech() -> Vec<f32> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/example/conversation.flac");
    let file = AudioFile::open(path.as_ref()).expect("the example is part of the repository");
    let mut mono = MonoFile::new(file, ChannelSelect::Mix).expect("the example is mono");
    let mut samples = Vec::new();
    while mono.read(&mut samples).expect("the example can be read") {}
    samples
}

fn encode(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let params = RecordingsParams { folder: folder.path().to_owned(), max_bytes: 1 << 30 };
    let recordings = Recordings::open(params).expect("the folder can be written to");
    let speech = speech();
    let mut group = c.benchmark_group("kept_audio");
    // One element is a second of audio: a time of 10 ms is 1 % of a core.
    group.throughput(Throughput::Elements(1));
    group.bench_function("one second of speech", |b| {
        let mut recorder = recordings.begin("bench", |_, _| {}).expect("the encoder can be made");
        let mut second = 0;
        b.iter(|| {
            let at = second * SECOND;
            let from = at % (speech.len() - SECOND);
            for (n, block) in speech[from..from + SECOND].chunks(SECOND / 50).enumerate() {
                let at = SampleIndex((at + n * (SECOND / 50)) as u64);
                recorder.push(at, block).expect("the encoder takes samples");
            }
            second += 1;
        });
    });
    group.finish();
    in_plain_units(&speech);
}

/// Prints the share of a core and the size by the hour, from sessions that are kept one behind the other.
fn in_plain_units(speech: &[f32]) {
    let folder = tempfile::tempdir().expect("there is a folder for temporary files");
    let params = RecordingsParams { folder: folder.path().to_owned(), max_bytes: 1 << 30 };
    let recordings = Recordings::open(params).expect("the folder can be written to");
    let (wall, before_s) = (Instant::now(), processor_s());
    for session in 0..N_SESSIONS {
        let mut recorder =
            recordings.begin(&format!("bench-{session}"), |_, _| {}).expect("the encoder can be made");
        for (n, block) in speech.chunks(SECOND / 50).enumerate() {
            let at = SampleIndex((n * (SECOND / 50)) as u64);
            recorder.push(at, block).expect("the encoder takes samples");
        }
        recorder.finish(SampleIndex(speech.len() as u64)).expect("the encoder ends");
    }
    recordings.close();
    let spent_s = match (before_s, processor_s()) {
        (Some(before_s), Some(after_s)) => after_s - before_s,
        _ => wall.elapsed().as_secs_f64(),
    };
    let audio_s = (N_SESSIONS * speech.len()) as f64 / SECOND as f64;
    let (share, hourly) = (spent_s / audio_s, recordings.n_bytes() as f64 / audio_s * 3600.0);
    println!("kept audio of a session: {:.2} % of a core, {:.1} MB an hour", 100.0 * share, hourly / 1e6);
}

/// Processor time of this process in seconds, where the system gives it.
fn processor_s() -> Option<f64> {
    const TICKS_PER_S: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program may have spaces; the fields follow its bracket.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |field: usize| fields.get(field)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS_PER_S)
}

criterion_group!(benches, encode);
criterion_main!(benches);
