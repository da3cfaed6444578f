//! Signal processing of `diarized`: everything between raw samples and the inputs of the networks.
//!
//! Pure and single-threaded: no threads, files, clocks, serialisation or inference here. Positions are
//! integers on the 16 kHz sample clock ([`SampleIndex`], [`SampleRange`]); seconds appear only at the edges
//! of the system.

pub mod auto_gain;
pub mod clock;
pub mod frame_cutter;
pub mod hysteresis;
pub mod intake;
pub mod level;
pub mod log_mel;
pub mod vad;

#[cfg(test)]
mod test_signal;

pub use auto_gain::{AutoGain, AutoGainParams, AutoGainRecipe};
pub use clock::{SAMPLE_RATE_HZ, SampleIndex, SampleRange};
pub use frame_cutter::{FRAME_SAMPLES, Frame, FrameCutter};
pub use hysteresis::{
    DecisionSmoother, Hysteresis, HysteresisParams, HysteresisRecipe, Transition, speech_regions,
};
pub use intake::{ChannelSelect, Intake, IntakeError, IntakeParams};
pub use level::{LevelMeter, NoiseFloor, SILENCE_DBFS, energy_dbfs, frame_energy};
pub use log_mel::{LogMel, LogMelParams, LogMelRecipe, MeanNormalisation};
pub use vad::{Vad, VadMode};
