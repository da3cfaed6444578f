//! Limits on the work of a decoder for its bytes: a broken or hostile file declares packets without end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::error::Fault;

/// Packets that a file may hold beyond one a byte: streams begin and end with some that are empty.
const SPARE_PACKETS: u64 = 4096;
/// Bytes that stand for one packet without samples; the shortest packets of any codec in use are this long.
const BYTES_A_MUTE_PACKET: u64 = 4;

/// Time limit of a decoding. Shared by the decoder and the caller, who may cancel it.
#[derive(Debug, Clone, Default)]
pub struct Patience {
    until: Option<(Instant, Duration)>,
    is_over: Arc<AtomicBool>,
}

impl Patience {
    /// Waits at most so long from now on.
    #[must_use]
    pub fn within(limit: Duration) -> Self {
        Self { until: Some((Instant::now() + limit, limit)), is_over: Arc::default() }
    }

    /// Calls the decoding off when what is returned is dropped, as with the request of a client that hangs up.
    #[must_use]
    pub fn until_dropped(&self) -> CallOff {
        CallOff(Arc::clone(&self.is_over))
    }

    /// Whether there is still time.
    pub(super) fn check(&self) -> Result<(), Fault> {
        if self.is_over.load(Ordering::Relaxed) {
            return Err(Fault::CalledOff);
        }
        match self.until {
            Some((until, limit)) if Instant::now() >= until => {
                Err(Fault::TooSlow { limit_s: limit.as_secs_f64() })
            }
            _ => Ok(()),
        }
    }
}

/// Calls decoding off when it is dropped.
#[derive(Debug)]
pub struct CallOff(Arc<AtomicBool>);

impl Drop for CallOff {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Counts what a decoder does against what the bytes of its packets allow.
#[derive(Debug, Default)]
pub(super) struct Budget {
    patience: Patience,
    n_bytes: u64,
    n_packets: u64,
    n_mute: u64,
}

impl Budget {
    pub(super) fn new(patience: Patience) -> Self {
        Self { patience, ..Self::default() }
    }

    /// Whether there is still time.
    ///
    /// # Errors
    /// [`Fault::TooSlow`], [`Fault::CalledOff`]
    pub(super) fn check_time(&self) -> Result<(), Fault> {
        self.patience.check()
    }

    /// Counts a packet of `n_bytes`; false if the bytes so far do not pay for it.
    pub(super) fn takes_packet(&mut self, n_bytes: usize) -> bool {
        self.n_bytes += n_bytes as u64;
        self.n_packets += 1;
        self.n_packets <= SPARE_PACKETS + self.n_bytes
    }

    /// Counts that the last packet gave no samples of its own; false if too many did.
    pub(super) fn takes_mute(&mut self) -> bool {
        self.n_mute += 1;
        self.n_mute <= SPARE_PACKETS + self.n_bytes / BYTES_A_MUTE_PACKET
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_pay_for_packets() {
        let mut budget = Budget::default();
        assert!((0..100_000).all(|_| budget.takes_packet(1)), "one byte pays for one packet");
        let n_empty = (0..2 * SPARE_PACKETS).position(|_| !budget.takes_packet(0));
        assert_eq!(n_empty, Some(SPARE_PACKETS as usize));
        let mut budget = Budget::default();
        assert!((0..100_000).all(|_| budget.takes_packet(4) && budget.takes_mute()));
        let n_mute = (0..2 * SPARE_PACKETS).position(|_| !budget.takes_mute());
        assert_eq!(n_mute, Some(SPARE_PACKETS as usize));
    }

    #[test]
    fn patience_ends_by_the_clock_or_with_whoever_asked() {
        let patience = Patience::within(Duration::from_secs(3600));
        let asked = patience.until_dropped();
        assert!(patience.check().is_ok());
        drop(asked);
        assert!(matches!(patience.check(), Err(Fault::CalledOff)));
        let patience = Patience::within(Duration::ZERO);
        assert!(matches!(patience.check(), Err(Fault::TooSlow { limit_s: 0.0 })));
        assert!(Patience::default().check().is_ok());
    }
}
