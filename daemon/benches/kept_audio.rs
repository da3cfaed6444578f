//! Cost of keeping audio, per second of it: what a session's thread encodes, while another thread writes it to a file.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use diarized::audio_file::{AudioFile, MonoFile};
use diarized::recording::{Recordings, RecordingsParams};
use diarized_dsp::{ChannelSelect, SAMPLE_RATE_HZ, SampleIndex};

/// Samples in a second.
const SECOND: usize = SAMPLE_RATE_HZ as usize;

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
}

criterion_group!(benches, encode);
criterion_main!(benches);
