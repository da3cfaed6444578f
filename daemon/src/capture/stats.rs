//! Counters of a capture.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Counts of a capture since its start. Any thread may read them; each is true by itself.
#[derive(Debug, Default)]
pub struct CaptureStats {
    pub(super) n_frames: AtomicU64,
    pub(super) n_dropped_frames: AtomicU64,
    pub(super) n_xruns: AtomicU64,
    pub(super) n_losses: AtomicU64,
    pub(super) is_away: AtomicBool,
}

impl CaptureStats {
    /// Frames handed to the sink.
    #[must_use]
    pub fn n_frames(&self) -> u64 {
        self.n_frames.load(Ordering::Relaxed)
    }

    /// Frames dropped because the sink was late by more than the ring holds.
    #[must_use]
    pub fn n_dropped_frames(&self) -> u64 {
        self.n_dropped_frames.load(Ordering::Relaxed)
    }

    /// Overruns that the device reported: audio was lost before it reached this program.
    #[must_use]
    pub fn n_xruns(&self) -> u64 {
        self.n_xruns.load(Ordering::Relaxed)
    }

    /// How often the device was lost.
    #[must_use]
    pub fn n_losses(&self) -> u64 {
        self.n_losses.load(Ordering::Relaxed)
    }

    /// Whether the device is away now.
    #[must_use]
    pub fn is_away(&self) -> bool {
        self.is_away.load(Ordering::Relaxed)
    }
}
