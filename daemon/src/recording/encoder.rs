//! Samples into Opus packets on a grid of 20 ms that begins with the session's clock.

use diarized_dsp::SampleIndex;
use opusic_c::{Application, Bitrate, Channels, Encoder, SampleRate, Signal};

use super::layout::{FRAME_SAMPLES, GRANULES_PER_SAMPLE};

/// 10.8 MB an hour; with the container below 12 MB.
const BITS_PER_S: u32 = 24_000;
/// Of 0 to 10: speech at this rate gains little from more, and each step costs time.
const COMPLEXITY: u8 = 5;
/// Larger than any packet of 20 ms at this rate.
const MAX_PACKET_BYTES: usize = 1275;
/// Silence that is encoded where audio stops: the decoder then fills what follows with silence, too.
const FADE_FRAMES: u64 = 5;

/// Why audio cannot be encoded.
#[derive(Debug, thiserror::Error)]
#[error("the Opus encoder fails: {reason}")]
pub struct EncoderError {
    /// What it reports.
    pub reason: String,
}

impl From<opusic_c::ErrorCode> for EncoderError {
    fn from(code: opusic_c::ErrorCode) -> Self {
        Self { reason: format!("{code:?}") }
    }
}

/// Frames of a file whose audio ends at `end`.
pub(super) fn n_frames_to(end: SampleIndex, pre_skip: u16) -> u64 {
    (end.0 * GRANULES_PER_SAMPLE + u64::from(pre_skip)).div_ceil(FRAME_SAMPLES * GRANULES_PER_SAMPLE)
}

/// One packet and the number of its frame on the grid.
pub(super) type Packet = (u64, Box<[u8]>);

/// Encodes the audio of one session.
pub(super) struct FrameEncoder {
    opus: Encoder,
    /// Number of the frame that `samples` begins.
    frame: u64,
    samples: Vec<f32>,
    packet: [u8; MAX_PACKET_BYTES],
}

impl FrameEncoder {
    pub(super) fn new() -> Result<Self, EncoderError> {
        let mut opus = Encoder::new(Channels::Mono, SampleRate::Hz16000, Application::Voip)?;
        opus.set_bitrate(Bitrate::Value(BITS_PER_S))?;
        opus.set_complexity(COMPLEXITY)?;
        opus.set_signal(Signal::Voice)?;
        opus.set_vbr(true)?;
        opus.set_vbr_constraint(true)?;
        let samples = Vec::with_capacity(FRAME_SAMPLES as usize);
        Ok(Self { opus, frame: 0, samples, packet: [0; MAX_PACKET_BYTES] })
    }

    /// Delay of the encoder, in granules.
    pub(super) fn pre_skip(&mut self) -> Result<u16, EncoderError> {
        let n_samples = u64::from(self.opus.get_look_ahead()?);
        Ok(u16::try_from(n_samples * GRANULES_PER_SAMPLE).expect("a delay of milliseconds"))
    }

    /// Encodes what is left of audio that ends at `end`, with so much silence that the delay is made up for.
    pub(super) fn finish(
        &mut self,
        end: SampleIndex,
        emit: &mut impl FnMut(Packet),
    ) -> Result<(), EncoderError> {
        self.go_to(end, emit)?;
        let n_frames = n_frames_to(end, self.pre_skip()?);
        self.go_to(SampleIndex(n_frames * FRAME_SAMPLES), emit)
    }

    /// Encodes samples that begin at `at`; where audio is missing before them, frames are left out.
    pub(super) fn push(
        &mut self,
        at: SampleIndex,
        mut samples: &[f32],
        emit: &mut impl FnMut(Packet),
    ) -> Result<(), EncoderError> {
        self.go_to(at, emit)?;
        while !samples.is_empty() {
            let n = (FRAME_SAMPLES as usize - self.samples.len()).min(samples.len());
            self.samples.extend_from_slice(&samples[..n]);
            samples = &samples[n..];
            if self.samples.len() == FRAME_SAMPLES as usize {
                self.encode(emit)?;
            }
        }
        Ok(())
    }

    /// Moves to a position: up to the end of a gap, silence fills the frame at its start and the one at its end.
    pub(super) fn go_to(
        &mut self,
        at: SampleIndex,
        emit: &mut impl FnMut(Packet),
    ) -> Result<(), EncoderError> {
        let (frame, within) = (at.0 / FRAME_SAMPLES, (at.0 % FRAME_SAMPLES) as usize);
        let last_faded = self.frame + FADE_FRAMES;
        while self.frame < frame.min(last_faded) {
            self.samples.resize(FRAME_SAMPLES as usize, 0.0);
            self.encode(emit)?;
        }
        if self.frame < frame {
            self.frame = frame;
        }
        if self.frame == frame && self.samples.len() < within {
            self.samples.resize(within, 0.0);
        }
        Ok(())
    }

    fn encode(&mut self, emit: &mut impl FnMut(Packet)) -> Result<(), EncoderError> {
        let n_bytes = self.opus.encode_float_to_slice(&self.samples, &mut self.packet)?;
        emit((self.frame, self.packet[..n_bytes].into()));
        self.frame += 1;
        self.samples.clear();
        Ok(())
    }
}
