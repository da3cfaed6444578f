//! Decoders for the headers of tracks, and faults of the headers.

use std::io::ErrorKind;
use std::sync::OnceLock;

use symphonia::core::codecs::audio::well_known::{
    CODEC_ID_FLAC, CODEC_ID_MP1, CODEC_ID_MP2, CODEC_ID_MP3, CODEC_ID_OPUS, CODEC_ID_PCM_ALAW,
    CODEC_ID_PCM_MULAW,
};
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::codecs::registry::CodecRegistry;
use symphonia::core::errors::Error as SymphoniaError;
use symphonia_adapter_libopus::OpusDecoder;

use super::error::Fault;
use super::limits::MAX_CHANNELS;

/// Offset and length of the pre-skip in an Opus identification header (RFC 7845, section 5.1).
const OPUS_PRE_SKIP: std::ops::Range<usize> = 10..12;
/// Most samples of a channel in one packet: decoders allocate them before the first packet. FLAC's longest hold 65 535,
/// those of all other codecs fewer.
const MAX_PACKET_FRAMES: u64 = 1 << 18;
/// Codecs with a kind in every packet.
pub(super) const IS_MPEG: [AudioCodecId; 3] = [CODEC_ID_MP1, CODEC_ID_MP2, CODEC_ID_MP3];

/// Version, layer, rate and number of channels in the header of a frame of MPEG audio (ISO/IEC 11172-3, section 2.4.1.3).
pub(super) fn mpeg_kind(frame: &[u8]) -> Option<[u8; 3]> {
    const MONO: u8 = 0xc0;
    let [0xff, version, rate, mode, ..] = frame else { return None };
    Some([version & 0xfe, rate & 0x0c, u8::from(mode & MONO == MONO)])
}

/// A decoder, and how many frames at the start of the track are to be left out.
///
/// The Opus adapter takes the pre-skip from the first packet only, though it is often longer than one packet, so
/// the adapter gets a pre-skip of zero and the caller removes it.
pub(super) fn make_decoder(params: &AudioCodecParameters) -> Result<(Box<dyn AudioDecoder>, u64), Fault> {
    check_size(params)?;
    let mut params = params.clone();
    let mut n_skip_frames = 0;
    match params.codec {
        // Some headers give the 8 bits that are stored, others the 16 that come out. The decoder knows them.
        CODEC_ID_PCM_ALAW | CODEC_ID_PCM_MULAW => {
            (params.bits_per_sample, params.bits_per_coded_sample) = (None, None);
        }
        CODEC_ID_FLAC if params.extra_data.is_none() => {
            return Err(Fault::Unsupported {
                what: "FLAC in a container that holds no header of it".to_owned(),
            });
        }
        _ => {}
    }
    if params.codec == CODEC_ID_OPUS
        && let Some(header) = params.extra_data.as_mut().filter(|header| header.starts_with(b"OpusHead"))
        && let Some(pre_skip) = header.get_mut(OPUS_PRE_SKIP)
    {
        n_skip_frames = u64::from(u16::from_le_bytes([pre_skip[0], pre_skip[1]]));
        pre_skip.fill(0);
    }
    let decoder = codecs().make_audio_decoder(&params, &AudioDecoderOptions::default());
    decoder.map(|decoder| (decoder, n_skip_frames)).map_err(|error| open_fault(&error))
}

/// Refuses a header whose decoder would allocate more than any real file needs.
fn check_size(params: &AudioCodecParameters) -> Result<(), Fault> {
    if let Some(got) = params.channels.as_ref().map(|c| c.count()).filter(|n| *n > MAX_CHANNELS) {
        return Err(Fault::Channels { got, max: MAX_CHANNELS });
    }
    let n_frames = params.max_frames_per_packet.max(params.frames_per_block).unwrap_or(0);
    if n_frames > MAX_PACKET_FRAMES {
        let reason =
            format!("its header promises {n_frames} samples a packet, at most {MAX_PACKET_FRAMES} are taken");
        return Err(Fault::Damaged { reason });
    }
    Ok(())
}

fn codecs() -> &'static CodecRegistry {
    static CODECS: OnceLock<CodecRegistry> = OnceLock::new();
    CODECS.get_or_init(|| {
        let mut registry = CodecRegistry::new();
        symphonia::default::register_enabled_codecs(&mut registry);
        registry.register_audio_decoder::<OpusDecoder>();
        registry
    })
}

pub(super) fn open_fault(error: &SymphoniaError) -> Fault {
    match error {
        SymphoniaError::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => Fault::UnknownKind,
        SymphoniaError::IoError(error) => {
            Fault::Read { source: std::io::Error::new(error.kind(), error.to_string()) }
        }
        // The probe's and the registry's own words.
        SymphoniaError::Unsupported(what) if what.starts_with("core (probe)") => Fault::UnknownKind,
        SymphoniaError::Unsupported(what) if what.contains("missing") => {
            Fault::Damaged { reason: (*what).to_owned() }
        }
        SymphoniaError::Unsupported(what) => Fault::Unsupported { what: (*what).to_owned() },
        SymphoniaError::DecodeError(reason) => Fault::Damaged { reason: (*reason).to_owned() },
        error => Fault::Damaged { reason: error.to_string() },
    }
}
