//! The thread `capture`: takes blocks out of the ring, keeps the clock correct, and reopens a lost device.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use diarized_dsp::clock::SAMPLE_RATE_HZ;
use diarized_models::events::GapReason;

use super::error::CaptureError;
use super::handle::Capture;
use super::ring::{Block, BlockReader};
use super::sink::{CaptureFormat, CaptureSink, SinkClosed};
use super::stats::CaptureStats;

/// How patient the supervision is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timing {
    /// Interval of reads of the ring. The callback wakes no thread, so this adds to the latency of a label.
    pub(super) poll: Duration,
    /// How long a device that was just opened may be silent. PulseAudio's null sink takes 2 s to its first block.
    pub(super) first_block: Duration,
    /// How long a running device may go without a callback before it counts as lost.
    pub(super) silence: Duration,
    /// Pause before the first attempt to open a lost device; doubles up to `backoff_max`.
    pub(super) backoff: Duration,
    /// Longest pause between attempts.
    pub(super) backoff_max: Duration,
    /// Audio that a device may deliver beyond twice the elapsed time, as after a pause of the machine.
    pub(super) burst: Duration,
    /// How long a device that was too fast before must keep to the clock until its audio is taken.
    pub(super) probation: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            poll: Duration::from_millis(10),
            first_block: Duration::from_secs(5),
            silence: Duration::from_millis(1500),
            backoff: Duration::from_millis(100),
            backoff_max: Duration::from_secs(2),
            burst: Duration::from_secs(2),
            probation: Duration::from_secs(1),
        }
    }
}

/// A device that was opened: closed by dropping `stream`.
pub(super) struct Opened<S> {
    pub(super) stream: S,
    pub(super) format: CaptureFormat,
    pub(super) reader: BlockReader,
}

/// Who opens the device, on the thread `capture`.
pub(super) trait Opener: Send + 'static {
    /// Keeps the device open while it lives.
    type Stream;

    /// Opens the device, in the format `wanted` where it can.
    fn open(&mut self, wanted: Option<CaptureFormat>) -> Result<Opened<Self::Stream>, CaptureError>;

    /// The device's name, for messages.
    fn device(&self) -> &str;
}

/// Opens the device on a new thread and leaves the capture running there.
pub(super) fn spawn(
    opener: impl Opener,
    sink: impl CaptureSink,
    timing: Timing,
) -> Result<Capture, CaptureError> {
    let stop = Arc::new(AtomicBool::new(false));
    let stats = Arc::new(CaptureStats::default());
    let (started_in, started_out) = crossbeam_channel::bounded(1);
    let mut supervisor = Supervisor {
        opener,
        sink,
        timing,
        stop: Arc::clone(&stop),
        stats: Arc::clone(&stats),
        format: None,
        away_told_until: None,
        is_suspect: false,
    };
    let thread = thread::Builder::new()
        .name("capture".to_owned())
        .spawn(move || {
            // Devices are opened on the thread that closes them; some audio systems insist on that.
            match supervisor.opener.open(None) {
                Ok(opened) => {
                    let _ = started_in.send(Ok(()));
                    supervisor.run(opened);
                }
                Err(error) => {
                    let _ = started_in.send(Err(error));
                }
            }
        })
        .map_err(CaptureError::Spawn)?;
    let capture = Capture { stop, stats, thread: Some(thread) };
    started_out.recv().map_err(|_| CaptureError::Panicked)??;
    Ok(capture)
}

/// Why the audio of one opened device came to its end.
enum End {
    Stopped,
    Lost(String),
}

struct Supervisor<O, S> {
    opener: O,
    sink: S,
    timing: Timing,
    stop: Arc<AtomicBool>,
    stats: Arc<CaptureStats>,
    /// The last format reported to the sink.
    format: Option<CaptureFormat>,
    /// While the device is away: the end of the reported gap.
    away_told_until: Option<Instant>,
    /// Whether the device delivered audio faster than there is any, when it was open last.
    is_suspect: bool,
}

impl<O: Opener, S: CaptureSink> Supervisor<O, S> {
    fn run(&mut self, opened: Opened<O::Stream>) {
        if self.capture(opened).is_ok() {
            self.sink.finish();
        }
    }

    fn capture(&mut self, mut opened: Opened<O::Stream>) -> Result<(), SinkClosed> {
        let mut backoff = self.timing.backoff;
        loop {
            if self.format != Some(opened.format) {
                self.sink.format(opened.format)?;
                self.format = Some(opened.format);
            }
            match self.pump(opened)? {
                End::Stopped => return Ok(()),
                End::Lost(why) => {
                    // A device that dies before its first block is still away: that was reported and logged once.
                    if self.stats.is_away.swap(true, Ordering::Relaxed) {
                        tracing::debug!(device = self.opener.device(), %why, "the capture device is still away");
                    } else {
                        backoff = self.timing.backoff;
                        self.stats.n_losses.fetch_add(1, Ordering::Relaxed);
                        tracing::warn!(
                            device = self.opener.device(),
                            %why,
                            "the capture device is lost; it is opened again until it is back"
                        );
                    }
                }
            }
            opened = loop {
                thread::park_timeout(backoff);
                if self.stop.load(Ordering::Acquire) {
                    return self.tell_absence(Instant::now());
                }
                backoff = (backoff * 2).min(self.timing.backoff_max);
                match self.opener.open(self.format) {
                    Ok(opened) => break opened,
                    Err(error) => tracing::debug!(%error, "the capture device is still away"),
                }
            };
        }
    }

    /// Hands over the blocks of one opened device until it is lost or the capture is stopped.
    fn pump(&mut self, opened: Opened<O::Stream>) -> Result<End, SinkClosed> {
        let Opened { stream, format, mut reader } = opened;
        let mut timeline = Timeline::new(format);
        let mut samples = Vec::new();
        let (mut n_callbacks, mut called_at) = (0, Instant::now());
        let mut stream = Some(stream);
        let mut pace = Pace::new(format, self.timing.burst);
        let end = loop {
            // Both are looked at before the ring is emptied, so that nothing written before them stays behind.
            let stopped = self.stop.load(Ordering::Acquire);
            let lost = reader.is_lost();
            if stopped {
                stream = None;
            }
            let n_waiting_until = reader.end_frame();
            if let Some(times) = pace.too_fast(n_waiting_until, Instant::now()) {
                self.is_suspect = true;
                drop(stream);
                // None of it is reported, since none of it was captured.
                return Ok(End::Lost(format!(
                    "it delivers audio {times:.0} times faster than real time, so it is no microphone, like ALSA's `null` \
                     device: choose another, `diarized devices` lists them"
                )));
            }
            self.is_suspect &= pace.is_kept_for() < self.timing.probation;
            self.empty(&mut reader, &mut timeline, &mut samples, n_waiting_until)?;
            self.count(&mut timeline, &reader);
            if stopped {
                break End::Stopped;
            }
            if lost {
                let fault = reader.take_fault();
                let why = fault.map_or_else(|| "no reason given".to_owned(), |fault| fault.to_string());
                break End::Lost(why);
            }
            if reader.n_callbacks() != n_callbacks {
                (n_callbacks, called_at) = (reader.n_callbacks(), Instant::now());
            }
            let patience = if n_callbacks == 0 { self.timing.first_block } else { self.timing.silence };
            if called_at.elapsed() > patience {
                break End::Lost(format!("no audio for {:.1} s", called_at.elapsed().as_secs_f64()));
            }
            thread::park_timeout(self.timing.poll);
        };
        drop(stream);
        self.close(&end, &mut timeline, &reader)?;
        Ok(end)
    }

    /// Hands over the blocks that begin before frame `until`, and one more. A suspect device's are passed over.
    fn empty(
        &mut self,
        reader: &mut BlockReader,
        timeline: &mut Timeline,
        samples: &mut Vec<f32>,
        until: u64,
    ) -> Result<(), SinkClosed> {
        while let Some(block) = reader.read(samples) {
            if self.is_suspect {
                timeline.pass_over(&block);
            } else {
                self.hand_over(timeline, block, samples)?;
                self.stats.n_frames.fetch_add(u64::from(block.n_frames), Ordering::Relaxed);
            }
            if block.start_frame >= until {
                break;
            }
        }
        Ok(())
    }

    /// Reports what the end of a device means for the clock.
    fn close(&mut self, end: &End, timeline: &mut Timeline, reader: &BlockReader) -> Result<(), SinkClosed> {
        // Blocks that were dropped last leave no later header that would show the jump.
        let n_samples = timeline.jump_to(reader.end_frame());
        self.gap(n_samples, GapReason::Overrun)?;
        match (end, timeline.heard_until()) {
            // A loss is reported at once, so that open segments close before the device is back.
            (End::Lost(_), Some(heard_until)) => {
                self.away_told_until = Some(heard_until);
                self.tell_absence(Instant::now())?;
            }
            (End::Stopped, _) => self.tell_absence(Instant::now())?,
            // It was opened and delivered nothing: still away, reported when it is back.
            (End::Lost(_), None) => {}
        }
        Ok(())
    }

    fn hand_over(
        &mut self,
        timeline: &mut Timeline,
        block: Block,
        samples: &[f32],
    ) -> Result<(), SinkClosed> {
        timeline.observe(&block, Instant::now());
        if self.stats.is_away.swap(false, Ordering::Relaxed) {
            self.tell_absence(
                timeline.heard_at(block.times.callback_ns) - timeline.duration(block.n_frames),
            )?;
            self.away_told_until = None;
            tracing::info!(device = self.opener.device(), "the capture device is back");
        }
        let n_samples = timeline.jump_to(block.start_frame) + timeline.lost_in_device(&block);
        self.gap(n_samples, GapReason::Overrun)?;
        self.sink.push(samples)?;
        timeline.advance(&block);
        Ok(())
    }

    /// Reports the absence of the device from the last report until `until`; nothing if it was not away.
    fn tell_absence(&mut self, until: Instant) -> Result<(), SinkClosed> {
        let Some(told_until) = self.away_told_until else { return Ok(()) };
        let away = until.saturating_duration_since(told_until);
        self.away_told_until = Some(told_until.max(until));
        self.gap(samples_in(away), GapReason::DeviceLost)
    }

    fn gap(&mut self, n_samples: u64, reason: GapReason) -> Result<(), SinkClosed> {
        if n_samples == 0 { Ok(()) } else { self.sink.gap(n_samples, reason) }
    }

    fn count(&self, timeline: &mut Timeline, reader: &BlockReader) {
        let (n_dropped, n_xruns) = timeline.newly_counted(reader);
        self.stats.n_xruns.fetch_add(n_xruns, Ordering::Relaxed);
        if n_dropped > 0 {
            let n_before = self.stats.n_dropped_frames.fetch_add(n_dropped, Ordering::Relaxed);
            if n_before == 0 {
                tracing::warn!(
                    n_frames = n_dropped,
                    "captured audio was dropped because it was not taken in time; gaps tell where"
                );
            }
        }
    }
}

/// Samples of the 16 kHz clock in a stretch of time, to the nearest.
fn samples_in(time: Duration) -> u64 {
    ((time.as_nanos() * u128::from(SAMPLE_RATE_HZ) + 500_000_000) / 1_000_000_000) as u64
}

/// How fast a device delivers, beside the clock of the machine.
struct Pace {
    rate_hz: f64,
    burst: Duration,
    /// Frames that were there and when it was, as soon as there were any.
    first: Option<(u64, Instant)>,
    kept_for: Duration,
}

impl Pace {
    fn new(format: CaptureFormat, burst: Duration) -> Self {
        Self { rate_hz: f64::from(format.sample_rate_hz), burst, first: None, kept_for: Duration::ZERO }
    }

    /// How many times too fast the device is that has delivered `n_frames`, if it is far too fast.
    fn too_fast(&mut self, n_frames: u64, now: Instant) -> Option<f64> {
        if n_frames == 0 {
            return None;
        }
        let (n_first, since) = *self.first.get_or_insert((n_frames, now));
        self.kept_for = now - since;
        let delivered_s = (n_frames - n_first) as f64 / self.rate_hz;
        let elapsed_s = self.kept_for.as_secs_f64();
        let is_too_fast = delivered_s > 2.0 * elapsed_s + self.burst.as_secs_f64();
        is_too_fast.then(|| delivered_s / elapsed_s.max(1e-3))
    }

    /// How long the device has kept to the clock.
    fn is_kept_for(&self) -> Duration {
        self.kept_for
    }
}

/// The clock of one opened device: its frames, its own timestamps, and when they were in wall time.
struct Timeline {
    format: CaptureFormat,
    /// The frame that is expected next.
    next_frame: u64,
    /// Frames of reported gaps, times 16 000, that did not make a whole sample yet: no gap's rounding is lost.
    carry: u64,
    /// The device's timestamp 0 in wall time, as early as any block proves it: the block that was taken out soonest
    /// after its callback is the best witness.
    epoch: Option<Instant>,
    /// The last block's callback time, once there was one.
    last_callback_ns: Option<u64>,
    /// When the last block ended, by the device's own account, in ns.
    capture_end_ns: u64,
    n_xruns: u32,
    n_counted: (u64, u32),
}

impl Timeline {
    fn new(format: CaptureFormat) -> Self {
        Self {
            format,
            next_frame: 0,
            carry: 0,
            epoch: None,
            last_callback_ns: None,
            capture_end_ns: 0,
            n_xruns: 0,
            n_counted: (0, 0),
        }
    }

    fn duration(&self, n_frames: u32) -> Duration {
        Duration::from_nanos(u64::from(n_frames) * 1_000_000_000 / u64::from(self.format.sample_rate_hz))
    }

    /// Notes when the block was taken out of the ring.
    fn observe(&mut self, block: &Block, now: Instant) {
        let epoch = now.checked_sub(Duration::from_nanos(block.times.callback_ns));
        self.epoch = match (self.epoch, epoch) {
            (Some(before), Some(new)) => Some(before.min(new)),
            (before, new) => before.or(new),
        };
    }

    /// A time of the device as wall time.
    fn heard_at(&self, callback_ns: u64) -> Instant {
        self.epoch.map_or_else(Instant::now, |epoch| epoch + Duration::from_nanos(callback_ns))
    }

    /// Time of the last block, if there was one.
    fn heard_until(&self) -> Option<Instant> {
        self.last_callback_ns.map(|ns| self.heard_at(ns))
    }

    /// Goes on behind a block that is not handed over.
    fn pass_over(&mut self, block: &Block) {
        self.next_frame = block.start_frame + u64::from(block.n_frames);
    }

    /// Samples of the 16 kHz clock between the frame that is expected next and `frame`, which becomes the next.
    fn jump_to(&mut self, frame: u64) -> u64 {
        let n_frames = frame.saturating_sub(self.next_frame);
        self.next_frame = self.next_frame.max(frame);
        self.in_samples(n_frames)
    }

    /// Samples that the device itself lost before this block, if it reported an overrun: the jump of its timestamps.
    fn lost_in_device(&mut self, block: &Block) -> u64 {
        let overran = block.n_xruns != self.n_xruns && self.last_callback_ns.is_some();
        self.n_xruns = block.n_xruns;
        if !overran {
            return 0;
        }
        samples_in(Duration::from_nanos(block.times.capture_ns.saturating_sub(self.capture_end_ns)))
    }

    /// The block was handed over.
    fn advance(&mut self, block: &Block) {
        self.next_frame = block.start_frame + u64::from(block.n_frames);
        self.last_callback_ns = Some(block.times.callback_ns);
        self.capture_end_ns = block.times.capture_ns + self.duration(block.n_frames).as_nanos() as u64;
    }

    fn in_samples(&mut self, n_frames: u64) -> u64 {
        let scaled = n_frames * u64::from(SAMPLE_RATE_HZ) + self.carry;
        let rate = u64::from(self.format.sample_rate_hz);
        self.carry = scaled % rate;
        scaled / rate
    }

    /// Dropped frames and overruns since the last call.
    fn newly_counted(&mut self, reader: &BlockReader) -> (u64, u64) {
        let (n_dropped, n_xruns) = (reader.n_dropped_frames(), reader.n_xruns());
        let new = (n_dropped - self.n_counted.0, u64::from(n_xruns - self.n_counted.1));
        self.n_counted = (n_dropped, n_xruns);
        new
    }
}

#[cfg(test)]
mod tests;
