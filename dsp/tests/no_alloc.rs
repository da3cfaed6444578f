//! No stage allocates after construction: the whole path runs under an allocator that aborts.
//!
//! Debug builds only: in release builds the allocator lets everything pass.

use assert_no_alloc::{AllocDisabler, assert_no_alloc};
use diarized_dsp::{
    AutoGain, AutoGainParams, ChannelSelect, DecisionSmoother, FrameCutter, Hysteresis, HysteresisParams,
    Intake, IntakeParams, LevelMeter, LogMel, LogMelParams, LogMelRecipe, NoiseFloor, Vad, VadMode,
    frame_energy,
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
    let mut gain = AutoGain::new(AutoGainParams::default());
    let mut vad = Vad::new(VadMode::Aggressive);
    let mut smoother = DecisionSmoother::new(5);
    let mut hysteresis = Hysteresis::new(HysteresisParams::default());
    let mut extractor = LogMel::new(LogMelParams::try_new(recipe).unwrap());
    let (mut meter, mut cutter, mut floor) = (LevelMeter::new(300), FrameCutter::new(), NoiseFloor::new());
    // What the caller owns: room for the largest block.
    let (mut mono, mut features) = (Vec::with_capacity(20_000), Vec::with_capacity(20_000));
    let n_in = params.sample_rate_hz as usize * usize::from(params.n_channels);
    let input: Vec<f32> = (0..n_in).map(|n| (n as f32 * 0.01).sin() * 0.3).collect();
    let mut n_frames = 0;
    assert_no_alloc(|| {
        // A second three times over, in blocks of several sizes.
        for n_block in [1usize, 7, 480] {
            for block in input.chunks(n_block * 10 * usize::from(params.n_channels)) {
                mono.clear();
                features.clear();
                intake.push(block, &mut mono).unwrap();
                n_frames += extractor.push(&mono, &mut features);
                meter.push(&mono);
                cutter.push(&mono, |frame| floor.push(frame_energy(frame)));
                gain.apply(&mut mono);
                vad.push(&mono, |is_speech| {
                    hysteresis.push(smoother.push(is_speech));
                });
            }
        }
        mono.clear();
        features.clear();
        intake.finish(&mut mono);
        n_frames += extractor.push(&mono, &mut features);
        n_frames += extractor.finish(&mut features);
        hysteresis.finish();
        vad.reset();
        intake.reset();
        gain.reset();
        meter.reset();
        floor.reset();
    });
    assert!(n_frames >= 298, "the path was idle: {n_frames} frames");
}
