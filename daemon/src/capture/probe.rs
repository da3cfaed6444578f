//! Captures a device for a while and reports its level, pace and losses.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use diarized_models::events::GapReason;
use parking_lot::Mutex;

use super::error::CaptureError;
use super::handle::Capture;
use super::sink::{CaptureFormat, CaptureParams, CaptureSink, SinkClosed};

/// How often the listener looks whether its time is over.
const POLL: Duration = Duration::from_millis(20);

/// Result of a probe.
#[derive(Debug, Clone, PartialEq)]
pub struct ProbeReport {
    /// The format of the audio; the last one, if it changed.
    pub format: CaptureFormat,
    /// Frames that arrived.
    pub n_frames: u64,
    /// From the opening of the device to its first block.
    pub start_latency: Duration,
    /// Wall time that the audio covers: from the start of the first block to the end of the last.
    pub listened: Duration,
    /// Mean level in dB below full scale, over all channels; at least -120.
    pub level_dbfs: f32,
    /// Loudest sample in dB below full scale; at least -120.
    pub peak_dbfs: f32,
    /// Samples of the 16 kHz clock that hold no audio.
    pub n_gap_samples: u64,
    /// Overruns that the device reported.
    pub n_xruns: u64,
    /// How often the device was lost.
    pub n_losses: u64,
}

impl ProbeReport {
    /// Frames that arrived, of those that the wall clock expects: 1 for a sound device. 0 if nothing arrived.
    #[must_use]
    pub fn pace(&self) -> f64 {
        let expected = self.listened.as_secs_f64() * f64::from(self.format.sample_rate_hz);
        if expected > 0.0 { self.n_frames as f64 / expected } else { 0.0 }
    }
}

#[derive(Debug, Default)]
struct Listening {
    format: Option<CaptureFormat>,
    n_frames: u64,
    first: Option<Instant>,
    last: Option<Instant>,
    n_samples: u64,
    sum_of_squares: f64,
    peak: f32,
    n_gap_samples: u64,
}

struct ProbeSink(Arc<Mutex<Listening>>);

impl CaptureSink for ProbeSink {
    fn format(&mut self, format: CaptureFormat) -> Result<(), SinkClosed> {
        self.0.lock().format = Some(format);
        Ok(())
    }

    fn push(&mut self, interleaved: &[f32]) -> Result<(), SinkClosed> {
        let now = Instant::now();
        let mut heard = self.0.lock();
        let Some(format) = heard.format else { return Ok(()) };
        let n_frames = (interleaved.len() / usize::from(format.n_channels)) as u64;
        let duration = Duration::from_secs_f64(n_frames as f64 / f64::from(format.sample_rate_hz));
        heard.first = heard.first.or(now.checked_sub(duration));
        heard.last = Some(now);
        heard.n_frames += n_frames;
        heard.n_samples += interleaved.len() as u64;
        heard.sum_of_squares += interleaved.iter().map(|&s| f64::from(s) * f64::from(s)).sum::<f64>();
        heard.peak = interleaved.iter().fold(heard.peak, |peak, s| peak.max(s.abs()));
        Ok(())
    }

    fn gap(&mut self, n_samples: u64, _: GapReason) -> Result<(), SinkClosed> {
        self.0.lock().n_gap_samples += n_samples;
        Ok(())
    }

    fn finish(&mut self) {}
}

fn dbfs(amplitude: f64) -> f32 {
    (20.0 * amplitude.max(1e-6).log10()) as f32
}

/// Captures a device and listens to it for `duration` from its first block on. Blocks the calling thread. If nothing
/// comes, it gives up after `duration` and 10 s.
///
/// # Errors
/// Whatever keeps the device from being opened.
pub fn probe(params: CaptureParams, duration: Duration) -> Result<ProbeReport, CaptureError> {
    let heard = Arc::new(Mutex::new(Listening::default()));
    let opened = Instant::now();
    let capture = Capture::start(params, ProbeSink(Arc::clone(&heard)))?;
    loop {
        let first = heard.lock().first;
        let is_over = match first {
            Some(first) => first.elapsed() >= duration,
            None => opened.elapsed() >= duration + Duration::from_secs(10),
        };
        if is_over || capture.is_finished() {
            break;
        }
        thread::sleep(POLL);
    }
    let stats = Arc::clone(capture.stats());
    capture.join()?;
    let heard = heard.lock();
    let (first, last) = (heard.first.unwrap_or(opened), heard.last.unwrap_or(opened));
    Ok(ProbeReport {
        format: heard.format.unwrap_or(CaptureFormat { sample_rate_hz: 0, n_channels: 0 }),
        n_frames: heard.n_frames,
        start_latency: first.saturating_duration_since(opened),
        listened: last.saturating_duration_since(first),
        level_dbfs: dbfs((heard.sum_of_squares / heard.n_samples.max(1) as f64).sqrt()),
        peak_dbfs: dbfs(f64::from(heard.peak)),
        n_gap_samples: heard.n_gap_samples,
        n_xruns: stats.n_xruns(),
        n_losses: stats.n_losses(),
    })
}
