//! Signal processing of `diarized`: everything between raw samples and the inputs of the networks.
//!
//! Pure and single-threaded: no threads, files, clocks, serialisation or inference here. Positions are
//! integers on the 16 kHz sample clock ([`SampleIndex`], [`SampleRange`]); seconds appear only at the edges
//! of the system. Every stage streams: blocks of any size go in, and what comes out does not depend on how the
//! input was cut. After construction no stage allocates, but for the growth of a `Vec` that the caller hands in.
//! Every stage is `Send` and works for one thread at a time.
//!
//! | Stage | Takes | Gives | Look-ahead |
//! |---|---|---|---|
//! | [`Intake`] | interleaved `f32`, 8–192 kHz, 1–8 channels | mono at 16 kHz | 0 at 16 kHz, mostly 30 ms, at most 60 ms |
//! | [`LogMel`] | mono | rows of `(n_frames, n_mels)` | a frame, 25 ms by default |
//! | [`log_mel::subtract_mean`] | a window of rows | the same, mean-normalised | the window |
//! | [`Vad`] | mono | a decision per 10 ms frame | 10 ms |
//! | [`Tonality`] | frames of 25 ms | the share of the strongest tone | the frame |
//! | [`Hysteresis`] | a score per tick, compared with two thresholds | starts and ends of regions | minimum of a region and of a pause |
//!
//! From a device to speech regions:
//!
//! ```
//! use diarized_dsp::{
//!     ChannelSelect, Comparison, Hysteresis, HysteresisParams, Intake, IntakeError, IntakeParams, Vad, VadMode,
//! };
//!
//! let params = IntakeParams { sample_rate_hz: 48_000, n_channels: 2, channel: ChannelSelect::Mix };
//! let mut intake = Intake::new(params)?;
//! let mut vad = Vad::new(VadMode::Aggressive);
//! // Ticks of 10 ms: speech from 100 ms on, pauses from 400 ms on.
//! let durations = HysteresisParams { min_active: 10, min_inactive: 40, pad: 5 };
//! let mut hysteresis = Hysteresis::new(durations);
//! let mut tick = 0;
//! let mut mono = Vec::new();
//! for block in vec![0.0; 96_000].chunks(960) {
//!     mono.clear();
//!     intake.push(block, &mut mono)?;
//!     vad.push(&mono, |is_speech| {
//!         let score = Comparison { begins: is_speech, ends: !is_speech, resumes: is_speech };
//!         tick += 1;
//!         if let Some(transition) = hysteresis.push(tick, score, || tick - 1, || tick - 1) {
//!             println!("{transition:?}");
//!         }
//!     });
//! }
//! assert_eq!(hysteresis.finish(tick), None);
//! # Ok::<(), IntakeError>(())
//! ```

mod channel_mix;
pub mod clock;
mod float_scale;
pub mod frame_cutter;
pub mod hysteresis;
pub mod intake;
pub mod log_mel;
mod resampling;
mod tonality;
pub mod vad;

#[cfg(test)]
mod test_signal;

pub use clock::{SAMPLE_RATE_HZ, SampleIndex, SampleRange};
pub use frame_cutter::{FRAME_SAMPLES, Frame, FrameCutter};
pub use hysteresis::{Comparison, Hysteresis, HysteresisParams, Transition};
pub use intake::{ChannelSelect, Intake, IntakeError, IntakeParams};
pub use log_mel::{LogMel, LogMelParams, LogMelRecipe, MeanNormalisation};
pub use resampling::RateConverter;
pub use tonality::Tonality;
pub use vad::{Vad, VadMode};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_may_move_between_threads() {
        fn is_send<T: Send>() {}
        is_send::<Intake>();
        is_send::<LogMel>();
        is_send::<Vad>();
        is_send::<Hysteresis>();
    }
}
