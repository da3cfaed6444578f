//! The ring between the audio callback and the capture thread: blocks of interleaved samples, each with a header.
//!
//! The writing half belongs to the audio callback. It copies, counts and returns: no allocation, free, lock, log or
//! system call. A block that does not fit is dropped as a whole and counted; the next header's start shows the jump.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use cpal::{FromSample, Sample, SizedSample};
use ringbuf::traits::{Consumer, Observer, Producer, Split};
use ringbuf::{HeapCons, HeapProd, HeapRb};

use super::sink::CaptureFormat;

/// The shortest blocks for which the header ring is sized, in frames. ALSA's plugins go down to 16; with blocks that
/// short the ring holds less than its nominal time, and what does not fit is counted as any other drop.
const SHORTEST_BLOCK_FRAMES: usize = 64;

/// Header of one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Frames that the device delivered on this stream before this block, dropped ones included.
    pub start_frame: u64,
    /// Frames in this block, one sample of each channel.
    pub n_frames: u32,
    /// Time of the callback and of the first frame.
    pub times: BlockTimes,
    /// Overruns that the device had reported when the block was written.
    pub n_xruns: u32,
}

/// Times of a block on the stream's own monotonic clock, in ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BlockTimes {
    /// When the callback ran.
    pub callback_ns: u64,
    /// Time of the block's first frame, by the delay that the device reports.
    pub capture_ns: u64,
}

#[derive(Debug, Default)]
struct Shared {
    /// Frames delivered by the device, dropped ones included: where the next block starts.
    end_frame: AtomicU64,
    n_dropped_frames: AtomicU64,
    n_callbacks: AtomicU64,
    n_xruns: AtomicU32,
    lost: AtomicBool,
}

/// The audio callback's half: writes blocks. Real-time safe once built.
pub struct BlockWriter {
    samples: HeapProd<f32>,
    headers: HeapProd<Block>,
    shared: Arc<Shared>,
    n_channels: usize,
}

/// The error callback's half: notifies the reader of lost audio or a dead stream. Real-time safe but for
/// freeing what the audio system allocated itself.
pub struct FaultWriter {
    first: HeapProd<cpal::Error>,
    shared: Arc<Shared>,
}

/// The capture thread's half.
pub struct BlockReader {
    samples: HeapCons<f32>,
    headers: HeapCons<Block>,
    fault: HeapCons<cpal::Error>,
    shared: Arc<Shared>,
    n_channels: usize,
}

/// A ring that holds `buffer_ms` of audio in `format`, at least one frame. Allocates everything that will be needed.
#[must_use]
pub fn block_ring(format: CaptureFormat, buffer_ms: u32) -> (BlockWriter, FaultWriter, BlockReader) {
    let n_channels = usize::from(format.n_channels.max(1));
    let n_frames = (u64::from(format.sample_rate_hz) * u64::from(buffer_ms) / 1000).max(1) as usize;
    let (samples_in, samples_out) = HeapRb::new(n_frames * n_channels).split();
    let (headers_in, headers_out) = HeapRb::new(n_frames.div_ceil(SHORTEST_BLOCK_FRAMES)).split();
    let (fault_in, fault_out) = HeapRb::new(1).split();
    let shared = Arc::new(Shared::default());
    (
        BlockWriter { samples: samples_in, headers: headers_in, shared: Arc::clone(&shared), n_channels },
        FaultWriter { first: fault_in, shared: Arc::clone(&shared) },
        BlockReader { samples: samples_out, headers: headers_out, fault: fault_out, shared, n_channels },
    )
}

impl BlockWriter {
    /// Writes one block of interleaved samples of any format as `f32` in [-1, 1], or drops and counts it if it does
    /// not fit. Audio thread; wait-free; never allocates. A trailing part of a frame is left out.
    pub fn write<T>(&mut self, interleaved: &[T], times: BlockTimes)
    where
        T: SizedSample,
        f32: FromSample<T>,
    {
        let n_frames = interleaved.len() / self.n_channels;
        let n_samples = n_frames * self.n_channels;
        // Only this half writes `end_frame`, so reading it back needs no order.
        let start_frame = self.shared.end_frame.load(Ordering::Relaxed);
        if self.samples.vacant_len() >= n_samples && self.headers.vacant_len() >= 1 {
            self.samples.push_iter(interleaved[..n_samples].iter().map(|&s| f32::from_sample(s)));
            let n_xruns = self.shared.n_xruns.load(Ordering::Relaxed);
            // The samples are there before their header, so that the reader never waits for a block that it knows of.
            let header = Block { start_frame, n_frames: n_frames as u32, times, n_xruns };
            let pushed = self.headers.try_push(header);
            debug_assert!(pushed.is_ok(), "room for the header was seen above and only this half fills it");
        } else {
            self.shared.n_dropped_frames.fetch_add(n_frames as u64, Ordering::Relaxed);
        }
        self.shared.end_frame.store(start_frame + n_frames as u64, Ordering::Release);
        self.shared.n_callbacks.fetch_add(1, Ordering::Release);
    }
}

impl FaultWriter {
    /// Notes a fault of the stream. An overrun is counted; a change that leaves the stream alive is ignored; after
    /// anything else the stream is taken for dead, and the first such fault is kept for the reader.
    ///
    /// ALSA's pulse plugin reports a dead server as an unclassified error, over and over and without a pause, so this
    /// has to be cheap and has to take unclassified errors seriously.
    pub fn report(&mut self, fault: cpal::Error) {
        match fault.kind() {
            cpal::ErrorKind::Xrun => {
                self.shared.n_xruns.fetch_add(1, Ordering::Relaxed);
            }
            cpal::ErrorKind::DeviceChanged | cpal::ErrorKind::RealtimeDenied => {}
            _ => {
                if !self.shared.lost.load(Ordering::Relaxed) {
                    let _ = self.first.try_push(fault);
                    self.shared.lost.store(true, Ordering::Release);
                }
            }
        }
    }
}

impl BlockReader {
    /// The next block, its samples in place of what `samples` held. `None` if none is waiting.
    pub fn read(&mut self, samples: &mut Vec<f32>) -> Option<Block> {
        let block = self.headers.try_pop()?;
        samples.resize(block.n_frames as usize * self.n_channels, 0.0);
        let n = self.samples.pop_slice(samples);
        debug_assert_eq!(n, samples.len(), "a header follows its samples");
        Some(block)
    }

    /// Frames that the device delivered, dropped ones included.
    #[must_use]
    pub fn end_frame(&self) -> u64 {
        self.shared.end_frame.load(Ordering::Acquire)
    }

    /// Frames that were dropped because the ring was full.
    #[must_use]
    pub fn n_dropped_frames(&self) -> u64 {
        self.shared.n_dropped_frames.load(Ordering::Relaxed)
    }

    /// Overruns that the device reported.
    #[must_use]
    pub fn n_xruns(&self) -> u32 {
        self.shared.n_xruns.load(Ordering::Relaxed)
    }

    /// Calls of the audio callback: a constant number means a dead device.
    #[must_use]
    pub fn n_callbacks(&self) -> u64 {
        self.shared.n_callbacks.load(Ordering::Acquire)
    }

    /// Whether the error callback declared the stream dead.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.shared.lost.load(Ordering::Acquire)
    }

    /// The fault that made the stream dead; given out once.
    pub fn take_fault(&mut self) -> Option<cpal::Error> {
        self.fault.try_pop()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STEREO: CaptureFormat = CaptureFormat { sample_rate_hz: 1000, n_channels: 2 };

    fn at(callback_ns: u64) -> BlockTimes {
        BlockTimes { callback_ns, capture_ns: 0 }
    }

    #[test]
    fn every_format_becomes_the_same_numbers() {
        fn first<T: SizedSample>(samples: [T; 3]) -> [f32; 3]
        where
            f32: FromSample<T>,
        {
            let format = CaptureFormat { sample_rate_hz: 1000, n_channels: 1 };
            let (mut writer, _, mut reader) = block_ring(format, 100);
            writer.write(&samples, at(0));
            let mut out = Vec::new();
            reader.read(&mut out).unwrap();
            out.try_into().unwrap()
        }
        let wanted = [-1.0, 0.0, 0.5];
        assert_eq!(first([i8::MIN, 0, 64]), wanted);
        assert_eq!(first([i16::MIN, 0, 1 << 14]), wanted);
        assert_eq!(first([i32::MIN, 0, 1 << 30]), wanted);
        assert_eq!(first([i64::MIN, 0, 1 << 62]), wanted);
        assert_eq!(first([0u8, 128, 192]), wanted);
        assert_eq!(first([0u16, 1 << 15, 3 << 14]), wanted);
        assert_eq!(first([0u32, 1 << 31, 3 << 30]), wanted);
        assert_eq!(first([-1.0f64, 0.0, 0.5]), wanted);
        assert_eq!(first([-1.0f32, 0.0, 0.5]), wanted);
        let i24 = |n| cpal::I24::new(n).unwrap();
        assert_eq!(first([i24(-(1 << 23)), i24(0), i24(1 << 22)]), wanted);
    }

    #[test]
    fn a_block_that_does_not_fit_is_dropped_whole_and_leaves_a_jump() {
        let (mut writer, _, mut reader) = block_ring(STEREO, 200);
        let mut samples = Vec::new();
        writer.write(&[0.25f32; 300], at(1));
        writer.write(&[0.5f32; 300], at(2));
        assert_eq!(reader.n_dropped_frames(), 150);
        assert_eq!(reader.read(&mut samples).unwrap().start_frame, 0);
        assert_eq!(samples, [0.25; 300]);
        writer.write(&[0.75f32; 20], at(3));
        let block = reader.read(&mut samples).unwrap();
        assert_eq!((block.start_frame, block.n_frames, block.times.callback_ns), (300, 10, 3));
        assert_eq!(samples, [0.75; 20]);
        assert_eq!(reader.end_frame(), 310);
        assert_eq!(reader.read(&mut samples), None);
    }

    #[test]
    fn a_fault_that_repeats_is_kept_once_and_an_overrun_kills_nothing() {
        let (mut writer, mut faults, mut reader) = block_ring(STEREO, 200);
        faults.report(cpal::ErrorKind::Xrun.into());
        faults.report(cpal::ErrorKind::RealtimeDenied.into());
        writer.write(&[0i16; 4], at(0));
        assert!(!reader.is_lost());
        assert_eq!(reader.read(&mut Vec::new()).unwrap().n_xruns, 1);
        for n in 0..1000 {
            faults.report(cpal::Error::with_message(cpal::ErrorKind::BackendError, format!("fault {n}")));
        }
        assert!(reader.is_lost());
        assert_eq!(reader.take_fault().unwrap().message(), Some("fault 0"));
        assert_eq!(reader.take_fault(), None);
    }

    proptest! {
        /// For any order of reads and writes: frames read + frames dropped + frames waiting = frames written, and every
        /// sample read is the one captured at its position.
        #[test]
        fn frames_are_conserved(steps in prop::collection::vec((0usize..120, 0usize..4), 1..60)) {
            let (mut writer, _, mut reader) = block_ring(STEREO, 150);
            let (mut heard, mut kept, mut samples) = (0u64, 0u64, Vec::new());
            let mut check = |reader: &mut BlockReader| {
                let block = reader.read(&mut samples);
                if let Some(block) = block {
                    for (idx, frame) in samples.chunks_exact(2).enumerate() {
                        let place = (block.start_frame + idx as u64) as f32 / 16384.0;
                        assert_eq!(frame, [place, -place]);
                    }
                    kept += u64::from(block.n_frames);
                }
                block.is_some()
            };
            for (n_frames, n_reads) in steps {
                let place = |idx: u64| (heard + idx) as f32 / 16384.0;
                let block: Vec<f32> = (0..n_frames as u64).flat_map(|i| [place(i), -place(i)]).collect();
                writer.write(&block, BlockTimes::default());
                heard += n_frames as u64;
                for _ in 0..n_reads {
                    check(&mut reader);
                }
            }
            while check(&mut reader) {}
            prop_assert_eq!(reader.end_frame(), heard);
            prop_assert_eq!(kept + reader.n_dropped_frames(), heard);
        }
    }
}
