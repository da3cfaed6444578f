//! What a header gives.

use super::format::Format;
use super::order::Order;

/// A size that the header of an endless stream holds: the most that fits, or nearly so. It promises nothing.
const ENDLESS_BYTES: u64 = 0x7fff_0000;

/// Format of the samples after a header.
pub(super) struct Head {
    pub(super) format: Format,
    pub(super) order: Order,
    pub(super) size: DataSize,
    /// Whether the samples stand in a chunk of RIFF, which others may follow.
    pub(super) has_chunks: bool,
}

/// How much audio there is behind a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DataSize {
    /// Bytes that belong to the audio at most.
    pub(super) limit: u64,
    /// Bytes that the header promises, where that is a promise.
    pub(super) promised: Option<u64>,
    /// The header promises nothing and data follows.
    pub(super) is_unfinished: bool,
}

impl DataSize {
    /// All that follows, without a promise.
    pub(super) const ENDLESS: Self = Self { limit: u64::MAX, promised: None, is_unfinished: false };

    /// What a field of `n_bytes` means where `n_left` bytes follow it, if that is known; `n_max` is the largest number
    /// that the field holds.
    pub(super) fn of_field(n_bytes: u64, n_max: u64, n_left: Option<u64>) -> Self {
        const WRAP: u64 = 1 << 32;
        match n_left {
            _ if n_bytes == 0 => Self { is_unfinished: true, ..Self::ENDLESS },
            _ if n_bytes == n_max => Self::ENDLESS,
            Some(n_left) if n_bytes >= ENDLESS_BYTES && n_bytes > n_left => Self::ENDLESS,
            // A recorder that went on past 4 GiB kept the low 32 bits only; a byte of padding may follow.
            Some(n_left) if n_left >= WRAP && n_max < WRAP && (n_left - n_bytes) % WRAP <= 1 => {
                Self { limit: n_left, promised: Some(n_left), is_unfinished: false }
            }
            None if n_bytes >= ENDLESS_BYTES && n_max < WRAP => Self { limit: n_bytes, ..Self::ENDLESS },
            _ => Self { limit: n_bytes, promised: Some(n_bytes), is_unfinished: false },
        }
    }
}
