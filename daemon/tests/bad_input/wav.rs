//! Wav files byte by byte, so that their headers may lie.

/// What a header says; the data is what the test likes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    /// 1 is integers, 3 is floats.
    pub(crate) format: u16,
    pub(crate) n_channels: u16,
    pub(crate) rate_hz: u32,
    pub(crate) bits: u16,
    /// Bytes that the header promises; by default as many as there are.
    pub(crate) n_promised: Option<u32>,
}

/// Mono, 16 kHz, 16 bit.
pub(crate) const PLAIN: Header =
    Header { format: 1, n_channels: 1, rate_hz: 16_000, bits: 16, n_promised: None };

impl Header {
    /// The file.
    pub(crate) fn with(self, data: &[u8]) -> Vec<u8> {
        let n_promised = self.n_promised.unwrap_or(data.len() as u32);
        let frame_bytes = self.n_channels.wrapping_mul(self.bits / 8);
        let mut bytes = Vec::new();
        bytes.extend(b"RIFF");
        bytes.extend(n_promised.saturating_add(36).to_le_bytes());
        bytes.extend(b"WAVEfmt ");
        bytes.extend(16_u32.to_le_bytes());
        bytes.extend(self.format.to_le_bytes());
        bytes.extend(self.n_channels.to_le_bytes());
        bytes.extend(self.rate_hz.to_le_bytes());
        bytes.extend(self.rate_hz.wrapping_mul(u32::from(frame_bytes)).to_le_bytes());
        bytes.extend(frame_bytes.to_le_bytes());
        bytes.extend(self.bits.to_le_bytes());
        bytes.extend(b"data");
        bytes.extend(n_promised.to_le_bytes());
        bytes.extend(data);
        bytes
    }
}

/// Samples as 16-bit integers.
pub(crate) fn s16(samples: &[f32]) -> Vec<u8> {
    samples.iter().flat_map(|s| ((s * 32_767.0) as i16).to_le_bytes()).collect()
}

/// Samples as floats.
pub(crate) fn f32s(samples: &[f32]) -> Vec<u8> {
    samples.iter().flat_map(|s| s.to_le_bytes()).collect()
}

/// The first seconds of the example conversation, mono at 16 kHz.
pub(crate) fn speech(seconds: usize) -> Vec<f32> {
    super::common::speech(Some(seconds))
}
