//! Converts audio of a device to the session's format: mono at 16 kHz. The format of the device may change.

use diarized_dsp::{ChannelSelect, Intake, IntakeError, IntakeParams};
use diarized_models::events::GapReason;

use super::sink::{CaptureFormat, CaptureSink, SinkClosed};

/// Who takes mono audio at 16 kHz. Called on the thread `capture` only, in the order of the stream's clock; may block.
pub trait MonoSink: Send + 'static {
    /// Samples at 16 kHz in [-1, 1], at least one.
    ///
    /// # Errors
    /// [`SinkClosed`] ends the capture.
    fn push(&mut self, samples: &[f32]) -> Result<(), SinkClosed>;

    /// `n_samples` of the same clock hold no audio, at least one.
    ///
    /// # Errors
    /// [`SinkClosed`] ends the capture.
    fn gap(&mut self, n_samples: u64, reason: GapReason) -> Result<(), SinkClosed>;

    /// No more audio; called once, last, unless the sink closed before. The capture was stopped, or it could not go
    /// on with what the device delivers.
    fn finish(&mut self, outcome: Result<(), IntakeError>);
}

/// Resamples and mixes what is captured for a [`MonoSink`].
///
/// A gap, a change of format and the end flush the resampler, so that no earlier audio follows them.
pub struct FrontEnd<S> {
    sink: S,
    channel: ChannelSelect,
    intake: Option<Intake>,
    out: Vec<f32>,
}

impl<S: MonoSink> FrontEnd<S> {
    /// A front end that takes `channel` of the device. Where the channel is chosen,
    /// [`CaptureParams::n_channels_min`](super::CaptureParams::n_channels_min) sees to it that there is one.
    #[must_use]
    pub fn new(sink: S, channel: ChannelSelect) -> Self {
        Self { sink, channel, intake: None, out: Vec::new() }
    }

    fn flush(&mut self) -> Result<(), SinkClosed> {
        if let Some(intake) = &mut self.intake {
            intake.finish(&mut self.out);
        }
        self.hand_over()
    }

    fn hand_over(&mut self) -> Result<(), SinkClosed> {
        let outcome = if self.out.is_empty() { Ok(()) } else { self.sink.push(&self.out) };
        self.out.clear();
        outcome
    }
}

impl<S: MonoSink> CaptureSink for FrontEnd<S> {
    fn format(&mut self, format: CaptureFormat) -> Result<(), SinkClosed> {
        self.flush()?;
        let params = IntakeParams {
            sample_rate_hz: format.sample_rate_hz,
            n_channels: format.n_channels,
            channel: self.channel,
        };
        match Intake::new(params) {
            Ok(intake) => {
                self.intake = Some(intake);
                Ok(())
            }
            Err(error) => {
                self.sink.finish(Err(error));
                Err(SinkClosed)
            }
        }
    }

    fn push(&mut self, interleaved: &[f32]) -> Result<(), SinkClosed> {
        if let Some(intake) = &mut self.intake
            && let Err(error) = intake.push(interleaved, &mut self.out)
        {
            // The ring hands out whole frames only, so this is a defect; the stream ends rather than lie.
            self.sink.finish(Err(error));
            return Err(SinkClosed);
        }
        self.hand_over()
    }

    fn gap(&mut self, n_samples: u64, reason: GapReason) -> Result<(), SinkClosed> {
        self.flush()?;
        self.sink.gap(n_samples, reason)
    }

    fn finish(&mut self) {
        // A sink that has closed needs no end.
        if self.flush().is_ok() {
            self.sink.finish(Ok(()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    #[derive(Debug, Clone, PartialEq)]
    enum Received {
        Samples(Vec<f32>),
        Gap(u64),
        Finish(Result<(), IntakeError>),
    }

    #[derive(Clone, Default)]
    struct Notes(Arc<Mutex<Vec<Received>>>);

    impl MonoSink for Notes {
        fn push(&mut self, samples: &[f32]) -> Result<(), SinkClosed> {
            let mut heard = self.0.lock();
            if let Some(Received::Samples(last)) = heard.last_mut() {
                last.extend_from_slice(samples);
            } else {
                heard.push(Received::Samples(samples.to_vec()));
            }
            Ok(())
        }

        fn gap(&mut self, n_samples: u64, _: GapReason) -> Result<(), SinkClosed> {
            self.0.lock().push(Received::Gap(n_samples));
            Ok(())
        }

        fn finish(&mut self, outcome: Result<(), IntakeError>) {
            self.0.lock().push(Received::Finish(outcome));
        }
    }

    fn format(sample_rate_hz: u32, n_channels: u16) -> CaptureFormat {
        CaptureFormat { sample_rate_hz, n_channels }
    }

    #[test]
    fn audio_before_a_gap_comes_out_before_it_and_to_the_sample() {
        let notes = Notes::default();
        let mut front_end = FrontEnd::new(notes.clone(), ChannelSelect::Mix);
        front_end.format(format(48_000, 2)).unwrap();
        for _ in 0..10 {
            front_end.push(&[0.5; 960]).unwrap();
        }
        front_end.gap(77, GapReason::Overrun).unwrap();
        front_end.push(&[0.5; 960]).unwrap();
        front_end.format(format(16_000, 1)).unwrap();
        front_end.push(&[0.25; 100]).unwrap();
        front_end.finish();
        let heard = notes.0.lock();
        let [
            Received::Samples(first),
            Received::Gap(77),
            Received::Samples(second),
            Received::Finish(Ok(())),
        ] = &heard[..]
        else {
            panic!("{heard:?}");
        };
        assert_eq!((first.len(), second.len()), (1600, 160 + 100));
        assert!((first[800] - 0.5).abs() < 1e-3);
        assert_eq!(second[160..], [0.25; 100]);
    }

    #[test]
    fn a_channel_that_the_device_does_not_have_ends_the_session() {
        let notes = Notes::default();
        let mut front_end = FrontEnd::new(notes.clone(), ChannelSelect::One(2));
        assert_eq!(front_end.format(format(48_000, 2)), Err(SinkClosed));
        assert!(matches!(notes.0.lock()[..], [Received::Finish(Err(IntakeError::ChannelIndex { .. }))]));
    }
}
