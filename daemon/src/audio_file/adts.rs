//! AAC in ADTS frames (ISO/IEC 13818-7, section 6.2): every frame has a header, and a stream may change its rate or its channels
//! at any of them.

use std::io::ErrorKind;

use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known::CODEC_ID_AAC;
use symphonia::core::errors::{Error as SymphoniaError, Result, SeekErrorKind};
use symphonia::core::formats::{FormatInfo, FormatReader, MediaInfo, SeekMode, SeekTo, SeekedTo, Track};
use symphonia::core::io::{MediaSourceStream, ReadBytes as _};
use symphonia::core::meta::{Metadata, MetadataLog};
use symphonia::core::packet::Packet;
use symphonia::core::units::{Duration, Timestamp};

/// Rates in Hz by their index in a header (ISO/IEC 14496-3, table 1.18).
const RATES_HZ: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];
const HEADER_BYTES: usize = 7;
const CRC_BYTES: u16 = 2;
const FRAMES_A_PACKET: u64 = 1024;

/// What the decoder of a frame must be made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kind {
    /// Index of the object type.
    profile: u8,
    /// Index in `RATES_HZ`.
    rate_idx: u8,
    /// Configuration of the channels.
    channels: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    kind: Kind,
    payload_bytes: u16,
    has_crc: bool,
}

impl Header {
    /// Reads the bytes of a header; `None` for others. With several blocks a frame is refused, as no decoder here takes it.
    fn parse(bytes: [u8; HEADER_BYTES]) -> Option<Self> {
        let [0xff, sync, format, mode, length, rest, blocks] = bytes else { return None };
        let has_crc = sync & 1 == 0;
        let frame_bytes = (u16::from(mode & 0x03) << 11) | (u16::from(length) << 3) | u16::from(rest >> 5);
        let header_bytes = HEADER_BYTES as u16 + if has_crc { CRC_BYTES } else { 0 };
        let kind = Kind {
            profile: format >> 6,
            rate_idx: format >> 2 & 0x0f,
            channels: ((format & 1) << 2) | (mode >> 6),
        };
        let is_header =
            sync & 0xf6 == 0xf0 && usize::from(kind.rate_idx) < RATES_HZ.len() && blocks & 0x03 == 0;
        let payload_bytes = frame_bytes.checked_sub(header_bytes)?;
        is_header.then_some(Self { kind, payload_bytes, has_crc })
    }
}

/// Packets of an ADTS stream. Where rate or channels change, [`SymphoniaError::ResetRequired`] comes and the track is of the new
/// format, as with the links of a chained Ogg stream.
pub(super) struct Adts {
    stream: MediaSourceStream<'static>,
    info: FormatInfo,
    media_info: MediaInfo,
    metadata: MetadataLog,
    tracks: Vec<Track>,
    kind: Option<Kind>,
    /// The header of the frame that comes next, if it was read already.
    pending: Option<Header>,
    at: Timestamp,
}

impl Adts {
    /// Goes on where `reader` of the library begins: it leaves out the headers.
    pub(super) fn of(reader: Box<dyn FormatReader>) -> Self {
        let (info, media_info) = (*reader.format_info(), *reader.media_info());
        let tracks = reader.tracks().to_vec();
        let stream = reader.into_inner();
        let (metadata, at) = (MetadataLog::default(), Timestamp::new(0));
        Self { stream, info, media_info, metadata, tracks, kind: None, pending: None, at }
    }

    /// The next header, whatever lies before it.
    fn header(&mut self) -> std::io::Result<Header> {
        let mut bytes = [0; HEADER_BYTES];
        self.stream.read_buf_exact(&mut bytes)?;
        loop {
            if let Some(header) = Header::parse(bytes) {
                return Ok(header);
            }
            bytes.rotate_left(1);
            bytes[HEADER_BYTES - 1] = self.stream.read_u8()?;
        }
    }

    fn packet(&mut self) -> Result<Packet> {
        let header = match self.pending.take() {
            Some(header) => header,
            None => self.header()?,
        };
        if self.kind.is_some_and(|kind| kind != header.kind) {
            self.kind = Some(header.kind);
            self.pending = Some(header);
            self.tracks = vec![track_of(header.kind)];
            return Err(SymphoniaError::ResetRequired);
        }
        self.kind = Some(header.kind);
        if header.has_crc {
            self.stream.ignore_bytes(u64::from(CRC_BYTES))?;
        }
        let data = self.stream.read_boxed_slice_exact(usize::from(header.payload_bytes))?;
        let duration = Duration::new(FRAMES_A_PACKET);
        let packet = Packet::new(0, self.at, duration, data);
        self.at = self.at.checked_add(duration).ok_or(SymphoniaError::DecodeError("adts: too long"))?;
        Ok(packet)
    }
}

/// A track of this kind, whose decoder reads all of it from the configuration (ISO/IEC 14496-3, section 1.6.2.1).
fn track_of(kind: Kind) -> Track {
    let config =
        (u16::from(kind.profile) + 1) << 11 | u16::from(kind.rate_idx) << 7 | u16::from(kind.channels) << 3;
    let mut params = AudioCodecParameters::new();
    params.for_codec(CODEC_ID_AAC).with_sample_rate(RATES_HZ[usize::from(kind.rate_idx)]);
    params.with_extra_data(Box::new(config.to_be_bytes()));
    let mut track = Track::new(0);
    track.with_codec_params(CodecParameters::Audio(params));
    track
}

impl FormatReader for Adts {
    fn format_info(&self) -> &FormatInfo {
        &self.info
    }

    fn media_info(&self) -> &MediaInfo {
        &self.media_info
    }

    fn metadata(&mut self) -> Metadata<'_> {
        self.metadata.metadata()
    }

    fn seek(&mut self, _mode: SeekMode, _to: SeekTo) -> Result<SeekedTo> {
        Err(SymphoniaError::SeekError(SeekErrorKind::Unseekable))
    }

    fn tracks(&self) -> &[Track] {
        &self.tracks
    }

    fn next_packet(&mut self) -> Result<Option<Packet>> {
        match self.packet() {
            // The stream has no other end.
            Err(SymphoniaError::IoError(error)) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
            packet => packet.map(Some),
        }
    }

    fn into_inner<'s>(self: Box<Self>) -> MediaSourceStream<'s>
    where
        Self: 's,
    {
        self.stream
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_and_other_bytes_are_none() {
        // MPEG-4, low complexity, 44.1 kHz, stereo, a frame of 371 bytes without CRC.
        let bytes = [0xff, 0xf1, 0x50, 0x80, 0x2e, 0x7f, 0xfc];
        let kind = Kind { profile: 1, rate_idx: 4, channels: 2 };
        let header = Header { kind, payload_bytes: 364, has_crc: false };
        assert_eq!(Header::parse(bytes), Some(header));
        let with = |at: usize, byte: u8| {
            let mut bytes = bytes;
            bytes[at] = byte;
            Header::parse(bytes)
        };
        assert_eq!(with(1, 0xf0).map(|header| header.payload_bytes), Some(362));
        // No sync word; another layer; a rate that is none; shorter than its header; two blocks.
        for (at, byte) in [(0, 0xfe), (1, 0xf3), (2, 0x7c), (6, 0xfd)] {
            assert_eq!(with(at, byte), None, "{at}");
        }
        assert_eq!(Header::parse([0xff, 0xf1, 0x50, 0x80, 0x00, 0xdf, 0xfc]), None);
    }
}
