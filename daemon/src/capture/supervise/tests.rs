//! The supervision against devices that are threads: they deliver, stall, lie and die on cue.

use std::sync::atomic::AtomicBool;

use parking_lot::Mutex;

use super::super::ring::{BlockTimes, BlockWriter, FaultWriter, block_ring};
use super::*;

const MONO: CaptureFormat = CaptureFormat { sample_rate_hz: 16_000, n_channels: 1 };
const QUICK: Timing = Timing {
    poll: Duration::from_millis(2),
    first_block: Duration::from_millis(400),
    silence: Duration::from_millis(150),
    backoff: Duration::from_millis(20),
    backoff_max: Duration::from_millis(50),
    burst: Duration::from_millis(500),
    probation: Duration::from_millis(100),
};

/// What a device does between being opened and being closed; it returns when its flag is set.
type Run = Box<dyn FnOnce(BlockWriter, FaultWriter, &AtomicBool) + Send>;

struct FakeStream {
    closed: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Drop for FakeStream {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Release);
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Opens what the script lists, in order: a device, or nothing. After the script nothing is there any more.
struct FakeOpener {
    script: std::vec::IntoIter<Option<(CaptureFormat, Run)>>,
    buffer_ms: u32,
}

impl FakeOpener {
    fn new(script: Vec<Option<(CaptureFormat, Run)>>) -> Self {
        Self { script: script.into_iter(), buffer_ms: 2000 }
    }
}

impl Opener for FakeOpener {
    type Stream = FakeStream;

    fn open(&mut self, _: Option<CaptureFormat>) -> Result<Opened<FakeStream>, CaptureError> {
        let Some((format, run)) = self.script.next().flatten() else {
            return Err(CaptureError::from_cpal("fake", cpal::ErrorKind::DeviceNotAvailable.into()));
        };
        let (writer, faults, reader) = block_ring(format, self.buffer_ms);
        let closed = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&closed);
        let thread = Some(thread::spawn(move || run(writer, faults, &flag)));
        Ok(Opened { stream: FakeStream { closed, thread }, format, reader })
    }

    fn device(&self) -> &'static str {
        "fake"
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Received {
    Format(CaptureFormat),
    Samples(usize),
    Gap(u64, GapReason),
    Finish,
}

#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<Received>>>);

impl Notes {
    fn all(&self) -> Vec<Received> {
        self.0.lock().clone()
    }

    fn gaps(&self) -> Vec<(u64, GapReason)> {
        let gap =
            |heard: Received| if let Received::Gap(n, reason) = heard { Some((n, reason)) } else { None };
        self.all().into_iter().filter_map(gap).collect()
    }

    /// Samples of the clock: audio and gaps. Right for mono at 16 kHz only.
    fn clock(&self) -> u64 {
        let n = |heard: &Received| match heard {
            Received::Samples(n) => *n as u64,
            Received::Gap(n, _) => *n,
            _ => 0,
        };
        self.all().iter().map(n).sum()
    }

    fn wait_for(&self, what: impl Fn(&[Received]) -> bool) {
        let since = Instant::now();
        while !what(&self.0.lock()) {
            assert!(since.elapsed() < Duration::from_secs(20), "waited in vain: {:?}", self.all());
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Notes what it gets; `delay` runs before each block.
struct NotingSink<F> {
    notes: Notes,
    delay: F,
}

impl<F: FnMut(usize) -> Result<(), SinkClosed> + Send + 'static> CaptureSink for NotingSink<F> {
    fn format(&mut self, format: CaptureFormat) -> Result<(), SinkClosed> {
        self.notes.0.lock().push(Received::Format(format));
        Ok(())
    }

    fn push(&mut self, interleaved: &[f32]) -> Result<(), SinkClosed> {
        let n_blocks = self.notes.0.lock().iter().filter(|h| matches!(h, Received::Samples(_))).count();
        (self.delay)(n_blocks)?;
        self.notes.0.lock().push(Received::Samples(interleaved.len()));
        Ok(())
    }

    fn gap(&mut self, n_samples: u64, reason: GapReason) -> Result<(), SinkClosed> {
        self.notes.0.lock().push(Received::Gap(n_samples, reason));
        Ok(())
    }

    fn finish(&mut self) {
        self.notes.0.lock().push(Received::Finish);
    }
}

fn start(script: Vec<Option<(CaptureFormat, Run)>>) -> (Notes, Capture) {
    let notes = Notes::default();
    let sink = NotingSink { notes: notes.clone(), delay: |_| Ok(()) };
    let capture = spawn(FakeOpener::new(script), sink, QUICK).unwrap();
    (notes, capture)
}

/// Delivers 10 ms blocks in real time until closed, or for `n_blocks`.
fn deliver(writer: &mut BlockWriter, closed: &AtomicBool, format: CaptureFormat, n_blocks: u64) {
    let (began, block) = (Instant::now(), Duration::from_millis(10));
    let samples = vec![0.1f32; format.sample_rate_hz as usize / 100 * usize::from(format.n_channels)];
    for n in 1..=n_blocks {
        while began.elapsed() < block * n as u32 {
            thread::sleep(Duration::from_millis(1));
        }
        if closed.load(Ordering::Acquire) {
            return;
        }
        let callback_ns = began.elapsed().as_nanos() as u64;
        writer.write(&samples, BlockTimes { callback_ns, capture_ns: (n - 1) * 10_000_000 });
    }
}

fn wait_until_closed(closed: &AtomicBool) {
    while !closed.load(Ordering::Acquire) {
        thread::sleep(Duration::from_millis(1));
    }
}

fn lives_on(format: CaptureFormat) -> Run {
    Box::new(move |mut writer, _, closed| deliver(&mut writer, closed, format, u64::MAX))
}

fn dies_after(n_blocks: u64) -> Run {
    Box::new(move |mut writer, mut faults, closed| {
        deliver(&mut writer, closed, MONO, n_blocks);
        // ALSA's pulse plugin says it over and over once its server is dead.
        while !closed.load(Ordering::Acquire) {
            faults.report(cpal::Error::with_message(cpal::ErrorKind::BackendError, "the server is gone"));
        }
    })
}

fn falls_silent_after(n_blocks: u64) -> Run {
    Box::new(move |mut writer, _faults, closed| {
        deliver(&mut writer, closed, MONO, n_blocks);
        wait_until_closed(closed);
    })
}

fn n_samples(heard: &[Received]) -> usize {
    heard.iter().map(|h| if let Received::Samples(n) = h { *n } else { 0 }).sum()
}

/// The clock may be off by what the scheduler of a busy machine does to two wake-ups; the absence is longer.
const SLACK: u64 = 16_000 * 100 / 1000;

fn assert_clock_true(notes: &Notes, began: Instant) {
    let wall = samples_in(began.elapsed());
    let clock = notes.clock();
    assert!(clock.abs_diff(wall) <= SLACK, "clock {clock}, wall {wall}: {:?}", notes.gaps());
}

/// Delivers blocks as fast as they can be written, as ALSA's `null` device does.
fn delivers_at_once() -> Run {
    Box::new(|mut writer, _faults, closed| {
        let mut n = 0;
        while !closed.load(Ordering::Acquire) {
            writer.write(&[0.0; 160], BlockTimes { callback_ns: n * 10_000_000, capture_ns: n * 10_000_000 });
            n += 1;
            thread::sleep(Duration::from_micros(50));
        }
    })
}

#[test]
fn a_device_that_is_faster_than_sound_is_away_until_it_keeps_to_the_clock() {
    let began = Instant::now();
    let devices = [delivers_at_once(), delivers_at_once(), delivers_at_once(), lives_on(MONO)];
    let (notes, capture) = start(devices.into_iter().map(|run| Some((MONO, run))).collect());
    while !capture.stats().is_away() {
        assert!(began.elapsed() < Duration::from_secs(20), "it is never found out");
        thread::sleep(Duration::from_millis(1));
    }
    notes.wait_for(|heard| n_samples(heard) >= 16_000);
    assert!(!capture.stats().is_away(), "the one that keeps to the clock is used");
    let (clock, wall) = (notes.clock(), samples_in(began.elapsed()));
    assert!(clock <= wall + 16_000, "the clock ran ahead: {clock} of {wall}, {:?}", notes.gaps());
    capture.join().unwrap();
}

#[test]
fn a_device_that_dies_and_returns_leaves_a_gap_of_its_absence() {
    for death in [dies_after(20), falls_silent_after(20)] {
        let began = Instant::now();
        let (notes, capture) = start(vec![Some((MONO, death)), None, None, Some((MONO, lives_on(MONO)))]);
        // The loss is reported while the device is still away, ...
        notes.wait_for(|heard| heard.iter().any(|h| matches!(h, Received::Gap(..))));
        assert_eq!(n_samples(&notes.all()), 20 * 160);
        // ... and the rest once it is back.
        notes.wait_for(|heard| n_samples(heard) >= 40 * 160);
        assert_eq!(capture.stats().n_losses(), 1);
        assert!(!capture.stats().is_away());
        assert_clock_true(&notes, began);
        capture.join().unwrap();
        assert_clock_true(&notes, began);
        let gaps = notes.gaps();
        assert_eq!(gaps.len(), 2, "{gaps:?}");
        assert!(gaps.iter().all(|(_, reason)| *reason == GapReason::DeviceLost));
        assert_eq!(notes.all().iter().filter(|h| matches!(h, Received::Format(_))).count(), 1);
        assert_eq!(notes.all().last(), Some(&Received::Finish));
    }
}

#[test]
fn a_device_that_returns_with_another_format_says_so_before_its_audio() {
    let stereo = CaptureFormat { sample_rate_hz: 48_000, n_channels: 2 };
    let (notes, capture) = start(vec![Some((MONO, dies_after(5))), Some((stereo, lives_on(stereo)))]);
    notes.wait_for(|heard| heard.contains(&Received::Samples(960)));
    capture.join().unwrap();
    let all = notes.all();
    let told = all.iter().position(|h| *h == Received::Format(stereo)).unwrap();
    let first = all.iter().position(|h| *h == Received::Samples(960)).unwrap();
    assert_eq!(all[0], Received::Format(MONO));
    assert!(told < first);
}

#[test]
fn a_device_that_never_says_anything_is_opened_again_and_costs_no_time() {
    let (notes, capture) = start(vec![Some((MONO, falls_silent_after(0))), Some((MONO, lives_on(MONO)))]);
    notes.wait_for(|heard| n_samples(heard) >= 1600);
    capture.join().unwrap();
    assert_eq!(notes.gaps(), [], "the stream begins with its first block");
}

#[test]
fn stopping_while_the_device_is_away_tells_its_absence_and_finishes() {
    let began = Instant::now();
    let (notes, capture) = start(vec![Some((MONO, dies_after(10)))]);
    notes.wait_for(|heard| heard.iter().any(|h| matches!(h, Received::Gap(..))));
    thread::sleep(Duration::from_millis(200));
    assert!(capture.stats().is_away());
    capture.join().unwrap();
    assert_clock_true(&notes, began);
    assert_eq!(notes.gaps().len(), 2);
    assert_eq!(notes.all().last(), Some(&Received::Finish));
}

#[test]
fn a_sink_that_is_late_loses_audio_but_no_time() {
    let notes = Notes::default();
    let delay = |n_blocks| {
        if n_blocks == 10 {
            thread::sleep(Duration::from_millis(400));
        }
        Ok(())
    };
    let mut opener = FakeOpener::new(vec![Some((MONO, falls_silent_after(80)))]);
    opener.buffer_ms = 100;
    let capture = spawn(opener, NotingSink { notes: notes.clone(), delay }, QUICK).unwrap();
    notes.wait_for(|heard| heard.iter().any(|h| matches!(h, Received::Gap(_, GapReason::DeviceLost))));
    let n_dropped = capture.stats().n_dropped_frames();
    capture.join().unwrap();
    let overruns: u64 = notes.gaps().iter().filter(|g| g.1 == GapReason::Overrun).map(|g| g.0).sum();
    assert!(overruns >= 1600, "400 ms of delay and 100 ms of ring: {overruns}");
    assert_eq!(overruns, n_dropped);
    assert_eq!(overruns + n_samples(&notes.all()) as u64, 80 * 160);
}

#[test]
fn what_the_device_itself_lost_becomes_a_gap() {
    let run: Run = Box::new(|mut writer, mut faults, closed| {
        let block = |n: u64| BlockTimes { callback_ns: n * 10_000_000, capture_ns: n * 10_000_000 };
        writer.write(&[0.0f32; 160], block(0));
        writer.write(&[0.0f32; 160], block(1));
        faults.report(cpal::ErrorKind::Xrun.into());
        writer.write(&[0.0f32; 160], block(7));
        writer.write(&[0.0f32; 160], block(8));
        wait_until_closed(closed);
    });
    let (notes, capture) = start(vec![Some((MONO, run))]);
    notes.wait_for(|heard| n_samples(heard) == 640);
    assert_eq!(notes.gaps(), [(800, GapReason::Overrun)]);
    assert_eq!(capture.stats().n_xruns(), 1);
    capture.join().unwrap();
}

#[test]
fn rounding_of_many_gaps_does_not_add_up() {
    let mut timeline = Timeline::new(CaptureFormat { sample_rate_hz: 44_100, n_channels: 1 });
    let total: u64 = (1..=4410).map(|n| timeline.jump_to(n * 10)).sum();
    assert_eq!(total, 16_000);
}

#[test]
fn a_sink_that_closes_ends_the_capture_without_finish() {
    let notes = Notes::default();
    let delay = |n_blocks| if n_blocks == 3 { Err(SinkClosed) } else { Ok(()) };
    let opener = FakeOpener::new(vec![Some((MONO, lives_on(MONO)))]);
    let capture = spawn(opener, NotingSink { notes: notes.clone(), delay }, QUICK).unwrap();
    notes.wait_for(|_| capture.is_finished());
    capture.join().unwrap();
    assert_eq!(n_samples(&notes.all()), 3 * 160);
    assert!(!notes.all().contains(&Received::Finish));
}

#[test]
fn a_panic_in_the_sink_is_told_to_who_joins() {
    let sink = NotingSink { notes: Notes::default(), delay: |_| panic!("on purpose") };
    let capture = spawn(FakeOpener::new(vec![Some((MONO, lives_on(MONO)))]), sink, QUICK).unwrap();
    let began = Instant::now();
    while !capture.is_finished() {
        assert!(began.elapsed() < Duration::from_secs(30), "the capture goes on");
        thread::sleep(Duration::from_millis(1));
    }
    assert!(matches!(capture.join(), Err(CaptureError::Panicked)));
}

#[test]
fn a_device_that_is_not_there_at_the_start_is_an_error() {
    let notes = Notes::default();
    let sink = NotingSink { notes: notes.clone(), delay: |_| Ok(()) };
    let error = spawn(FakeOpener::new(vec![None]), sink, QUICK).unwrap_err();
    assert!(matches!(error, CaptureError::Unavailable { .. }));
    assert_eq!(notes.all(), []);
}
