//! Holds the audio callback to its promise: it never allocates and never frees.
#![cfg(feature = "microphone")]

use assert_no_alloc::{AllocDisabler, assert_no_alloc};
use cpal::{FromSample, InputCallbackInfo, InputStreamTimestamp, SizedSample, StreamInstant};
use diarized::capture::{BlockReader, CaptureFormat, block_ring, input_callback};

#[global_allocator]
static ALLOCATOR: AllocDisabler = AllocDisabler;

const FORMAT: CaptureFormat = CaptureFormat { sample_rate_hz: 48_000, n_channels: 2 };

fn info(n: u64) -> InputCallbackInfo {
    let callback = StreamInstant::from_nanos(n * 10_000_000);
    InputCallbackInfo::new(InputStreamTimestamp { callback, capture: callback })
}

/// Calls the callback that cpal gets, under the ban: into a ring with room, a full one, and one emptied again.
fn run<T: SizedSample>(silence: T) -> BlockReader
where
    f32: FromSample<T>,
{
    let (writer, _faults, mut reader) = block_ring(FORMAT, 100);
    let mut callback = input_callback::<T>(writer);
    let block = vec![silence; 960];
    let mut samples = Vec::new();
    for round in 0..3 {
        for n in 0..25 {
            assert_no_alloc(|| callback(&block, &info(round * 25 + n)));
        }
        while reader.read(&mut samples).is_some() {}
    }
    assert_no_alloc(|| callback(&[], &info(75)));
    assert_no_alloc(|| callback(&block[..7], &info(76)));
    reader
}

#[test]
fn the_callback_neither_allocates_nor_frees_in_any_format_with_room_or_without() {
    for reader in [
        run(0i8),
        run(0i16),
        run(0i32),
        run(0i64),
        run(128u8),
        run(1u16 << 15),
        run(1u32 << 31),
        run(0.0f32),
        run(f32::NAN),
        run(0.0f64),
        run(cpal::I24::new(0).unwrap()),
    ] {
        // Ten of each round's 25 blocks of 10 ms fit into the ring of 100 ms.
        assert_eq!(reader.n_dropped_frames(), 3 * 15 * 480);
        assert_eq!(reader.end_frame(), 75 * 480 + 3);
        assert_eq!(reader.n_callbacks(), 77);
    }
}

#[test]
fn an_overrun_is_noted_without_an_allocation() {
    let (_writer, mut faults, reader) = block_ring(FORMAT, 100);
    assert_no_alloc(|| faults.report(cpal::ErrorKind::Xrun.into()));
    assert_eq!(reader.n_xruns(), 1);
    // The first fatal fault moves into a place that is there already, its text with it.
    let fault = cpal::Error::with_message(cpal::ErrorKind::BackendError, String::from("the server is gone"));
    assert_no_alloc(|| faults.report(fault));
    assert!(reader.is_lost());
}
