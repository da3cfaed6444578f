//! Encoding of the samples after a header of any kind.

use super::faults::damaged;
use super::order::Order;
use super::reorder::Reorder;
use crate::audio_file::error::Fault;

/// Most of a `fmt ` chunk that means anything.
const MAX_CHUNK_BYTES: usize = 4096;

/// Format tags (RFC 2361 and the headers of Windows).
const PCM: u16 = 0x0001;
const MS_ADPCM: u16 = 0x0002;
const FLOAT: u16 = 0x0003;
const ALAW: u16 = 0x0006;
const MULAW: u16 = 0x0007;
const IMA_ADPCM: u16 = 0x0011;
const MPEG: u16 = 0x0050;
const MPEG_LAYER_3: u16 = 0x0055;
const EXTENSIBLE: u16 = 0xfffe;

/// What a tag stands for that nothing here decodes.
const TAG_NAMES: [(u16, &str); 16] = [
    (0x0005, "IBM CVSD"),
    (0x0010, "Dialogic OKI ADPCM"),
    (0x0017, "Dialogic OKI ADPCM"),
    (0x0020, "Yamaha ADPCM"),
    (0x0022, "TrueSpeech"),
    (0x0031, "GSM 6.10"),
    (0x0040, "G.721 ADPCM"),
    (0x0042, "G.723.1"),
    (0x0045, "G.726 ADPCM"),
    (0x0061, "Duck ADPCM"),
    (0x0083, "G.729"),
    (0x0160, "Windows Media Audio"),
    (0x0161, "Windows Media Audio"),
    (0x0162, "Windows Media Audio Professional"),
    (0x2000, "AC-3"),
    (0xf1ac, "FLAC inside wav"),
];

/// Encoding, rate and channels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Format {
    tag: u16,
    n_channels: u16,
    sample_rate_hz: u32,
    /// Bytes of one sample of one channel; 0 where samples have no size of their own.
    width: u16,
    /// 8-bit samples have a sign, unlike those of wav.
    is_signed_8_bit: bool,
    /// The whole chunk, for decoders that want more of it.
    chunk: Vec<u8>,
}

impl Format {
    /// PCM, floats, A-law or µ-law of `width` bytes a sample.
    fn plain(tag: u16, width: u16, n_channels: u16, sample_rate_hz: u32) -> Self {
        Self { tag, n_channels, sample_rate_hz, width, is_signed_8_bit: false, chunk: Vec::new() }
    }

    /// Reads the body of a `fmt ` chunk.
    pub(super) fn of_chunk(chunk: &[u8], order: Order) -> Result<Self, Fault> {
        if chunk.len() < 14 {
            return Err(damaged("its fmt chunk is shorter than 14 bytes"));
        }
        let field = |at: usize| chunk.get(at..at + 2).map_or(0, |bytes| order.u16(bytes));
        let n_channels = field(2);
        let sample_rate_hz = order.u32(&chunk[4..8]);
        let (block_align, bits) = (field(12), field(14));
        // The first two bytes of an extensible format's GUID are the tag of its kind.
        let tag = match field(0) {
            EXTENSIBLE => chunk.get(24..26).map_or(0, |bytes| order.u16(bytes)),
            tag => tag,
        };
        // Samples of an odd number of bits stand in a container of whole bytes, which the block tells.
        let width = match block_align.checked_div(n_channels) {
            Some(width) if width == bits.div_ceil(8) + 1 => width,
            _ => bits.div_ceil(8),
        };
        let is_known = match (tag, width) {
            (PCM, 1..=4) | (FLOAT, 4 | 8) | (ALAW | MULAW, _) => true,
            (MS_ADPCM | IMA_ADPCM | MPEG | MPEG_LAYER_3, _) => order == Order::Little,
            _ => false,
        };
        if matches!(tag, PCM | FLOAT) && width == 0 {
            return Err(damaged("its fmt chunk says that a sample has no bits"));
        }
        if !is_known {
            return Err(Fault::Unsupported { what: name_of(tag, bits, order) });
        }
        Ok(match tag {
            PCM | FLOAT => Self::plain(tag, width, n_channels, sample_rate_hz),
            ALAW | MULAW => Self::plain(tag, 1, n_channels, sample_rate_hz),
            _ => {
                let chunk = chunk[..chunk.len().min(MAX_CHUNK_BYTES)].to_vec();
                Self { chunk, ..Self::plain(tag, 0, n_channels, sample_rate_hz) }
            }
        })
    }

    /// The encoding that an AU header numbers so.
    pub(super) fn of_au(encoding: u32, n_channels: u32, sample_rate_hz: u32) -> Result<Self, Fault> {
        let (tag, width) = match encoding {
            1 => (MULAW, 1),
            2..=5 => (PCM, encoding as u16 - 1),
            6 => (FLOAT, 4),
            7 => (FLOAT, 8),
            27 => (ALAW, 1),
            23 => return Err(Fault::Unsupported { what: "G.721 ADPCM in an AU file".to_owned() }),
            24 => return Err(Fault::Unsupported { what: "G.722 in an AU file".to_owned() }),
            25 | 26 => return Err(Fault::Unsupported { what: "G.723 ADPCM in an AU file".to_owned() }),
            other => return Err(Fault::Unsupported { what: format!("encoding {other} in an AU file") }),
        };
        let n_channels = u16::try_from(n_channels).unwrap_or(u16::MAX);
        let format = Self::plain(tag, width, n_channels, sample_rate_hz);
        Ok(Self { is_signed_8_bit: encoding == 2, ..format })
    }

    /// Whether the data are frames of MPEG audio, which need no header.
    pub(super) fn is_mpeg(&self) -> bool {
        matches!(self.tag, MPEG | MPEG_LAYER_3)
    }

    /// What turns the samples into those of wav.
    pub(super) fn reorder(&self, order: Order) -> Reorder {
        let width = if order == Order::Big { usize::from(self.width.max(1)) } else { 1 };
        Reorder { width, flips_sign: self.is_signed_8_bit }
    }

    /// Bytes of a frame, or of a block where samples have no size of their own; 0 where nothing has a size.
    pub(super) fn frame_bytes(&self) -> u32 {
        match self.chunk.get(12..14) {
            Some(_) if self.is_mpeg() => 0,
            Some(bytes) => Order::Little.u16(bytes).into(),
            None => u32::from(self.width) * u32::from(self.n_channels),
        }
    }

    /// Frames in `n_bytes`, where that is known.
    pub(super) fn n_frames(&self, n_bytes: u64) -> Option<u64> {
        let n_blocks = n_bytes.checked_div(self.frame_bytes().into())?;
        if self.chunk.is_empty() {
            return Some(n_blocks);
        }
        let n_in_block = self.chunk.get(18..20).map(|bytes| Order::Little.u16(bytes))?;
        (n_in_block > 0).then(|| n_blocks.saturating_mul(n_in_block.into()))
    }

    /// The body of a `fmt ` chunk that says so, little endian.
    pub(super) fn to_chunk(&self) -> Vec<u8> {
        if !self.chunk.is_empty() {
            return self.chunk.clone();
        }
        let block_align = self.width.wrapping_mul(self.n_channels);
        let byte_rate = self.sample_rate_hz.wrapping_mul(u32::from(block_align));
        let mut chunk = Vec::new();
        chunk.extend(self.tag.to_le_bytes());
        chunk.extend(self.n_channels.to_le_bytes());
        chunk.extend(self.sample_rate_hz.to_le_bytes());
        chunk.extend(byte_rate.to_le_bytes());
        chunk.extend(block_align.to_le_bytes());
        chunk.extend((self.width * 8).to_le_bytes());
        if matches!(self.tag, ALAW | MULAW) {
            chunk.extend([0, 0]);
        }
        chunk
    }
}

fn name_of(tag: u16, bits: u16, order: Order) -> String {
    let named = TAG_NAMES.iter().find(|(known, _)| *known == tag).map(|(_, name)| *name);
    match (tag, named) {
        (_, Some(name)) => format!("{name} in a wav file"),
        (PCM, _) => format!("{bits}-bit PCM in a wav file"),
        (FLOAT, _) => format!("{bits}-bit floats in a wav file"),
        (MS_ADPCM | IMA_ADPCM | MPEG | MPEG_LAYER_3, _) if order == Order::Big => {
            format!("format {tag:#06x} in a big-endian wav file")
        }
        _ => format!("format {tag:#06x} in a wav file"),
    }
}
