//! Layout of the files: Ogg Opus (RFC 7845), mono, packets of 20 ms and, in silence, of 120 ms.

/// Samples at 16 kHz in one packet.
pub(super) const FRAME_SAMPLES: u64 = 320;
/// Granule positions count samples at 48 kHz whatever the rate of the input is.
pub(super) const GRANULES_PER_SAMPLE: u64 = 3;
/// Granules in one packet of 20 ms.
pub(super) const FRAME_GRANULES: u64 = FRAME_SAMPLES * GRANULES_PER_SAMPLE;
/// Packets of 20 ms in the long packet of silence.
pub(super) const LONG_FRAMES: u64 = 6;
/// A packet of 20 ms without data: the decoder goes on with the silence before it (RFC 6716, 3.2.1: a frame of length 0).
pub(super) const SHORT_SILENCE: [u8; 1] = [9 << 3];
/// Two frames of 60 ms without data.
pub(super) const LONG_SILENCE: [u8; 1] = [11 << 3 | 1];
/// Rate of the input, in Hz; for people, since Opus decodes at 48 kHz.
const INPUT_RATE_HZ: u32 = 16_000;

/// The first packet: `pre_skip` granules are decoded and not played.
pub(super) fn head(pre_skip: u16) -> Vec<u8> {
    let mut head = b"OpusHead\x01\x01".to_vec();
    head.extend(pre_skip.to_le_bytes());
    head.extend(INPUT_RATE_HZ.to_le_bytes());
    // No gain; mapping family 0: mono or stereo.
    head.extend([0, 0, 0]);
    head
}

/// The second packet: the writer's name and no tags.
pub(super) fn tags() -> Vec<u8> {
    let vendor = b"diarized";
    let mut tags = b"OpusTags".to_vec();
    tags.extend((vendor.len() as u32).to_le_bytes());
    tags.extend(vendor);
    tags.extend(0_u32.to_le_bytes());
    tags
}

/// The pre-skip of a first packet; `None` if it is none of ours.
pub(super) fn pre_skip_of(packet: &[u8]) -> Option<u16> {
    let fields = packet.strip_prefix(b"OpusHead\x01\x01")?;
    Some(u16::from_le_bytes(*fields.first_chunk()?))
}

/// Frames of 20 ms in a packet that this module writes; `None` for any other.
pub(super) fn n_frames_of(packet: &[u8]) -> Option<u64> {
    // RFC 6716, 3.1: configuration in the upper five bits, number of frames in the lower two.
    let toc = *packet.first()?;
    match (toc >> 3, toc & 3) {
        (1 | 5 | 9 | 13 | 15 | 19 | 23 | 27 | 31, 0) => Some(1),
        (11, 1) => Some(LONG_FRAMES),
        _ => None,
    }
}
