//! No stage allocates after construction: the whole path runs under an allocator that aborts.
//!
//! Debug builds only: in release builds the allocator lets everything pass.

use assert_no_alloc::{AllocDisabler, assert_no_alloc};
use diarized_dsp::{
    ChannelSelect, Comparison, FrameCutter, Hysteresis, HysteresisParams, Intake, IntakeParams, LogMel,
    LogMelParams, LogMelRecipe, Vad, VadMode,
};

#[global_allocator]
static ALLOCATOR: AllocDisabler = AllocDisabler;

#[test]
fn a_stream_runs_without_allocating() {
    for (sample_rate_hz, n_channels) in
        [(8_000, 1), (16_000, 2), (44_100, 2), (44_101, 1), (48_000, 8), (192_000, 2)]
    {
        for recipe in [LogMelRecipe::default(), LogMelRecipe::official_next_tdnn()] {
            run(IntakeParams { sample_rate_hz, n_channels, channel: ChannelSelect::Mix }, recipe);
        }
    }
}

fn run(params: IntakeParams, recipe: LogMelRecipe) {
    let mut intake = Intake::new(params).unwrap();
    let mut vad = Vad::new(VadMode::Aggressive);
    let mut hysteresis = Hysteresis::new(HysteresisParams { min_active: 10, min_inactive: 40, pad: 5 });
    let mut extractor = LogMel::new(LogMelParams::try_new(recipe).unwrap());
    let mut cutter = FrameCutter::new();
    // What the caller owns: room for the largest block.
    let (mut mono, mut features) = (Vec::with_capacity(20_000), Vec::with_capacity(20_000));
    let n_in = params.sample_rate_hz as usize * usize::from(params.n_channels);
    let input: Vec<f32> = (0..n_in).map(|n| (n as f32 * 0.01).sin() * 0.3).collect();
    let (mut n_frames, mut n_ticks, mut n_cut) = (0, 0u64, 0);
    assert_no_alloc(|| {
        // A second three times over, in blocks of several sizes.
        for n_block in [1usize, 7, 480] {
            for block in input.chunks(n_block * 10 * usize::from(params.n_channels)) {
                mono.clear();
                features.clear();
                intake.push(block, &mut mono).unwrap();
                n_frames += extractor.push(&mono, &mut features);
                cutter.push(&mono, |_| n_cut += 1);
                vad.push(&mono, |is_speech| {
                    n_ticks += 1;
                    let score = Comparison { begins: is_speech, ends: !is_speech, resumes: is_speech };
                    hysteresis.push(n_ticks, score, || n_ticks - 1, || n_ticks - 1);
                });
            }
        }
        mono.clear();
        features.clear();
        intake.finish(&mut mono);
        n_frames += extractor.push(&mono, &mut features);
        n_frames += extractor.finish(&mut features);
        hysteresis.finish(n_ticks);
        vad.reset();
        intake.reset();
    });
    assert!(n_frames >= 298 && n_cut >= 298 && n_ticks >= 298, "idle: {n_frames}, {n_cut}, {n_ticks}");
}
