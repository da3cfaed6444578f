//! Selection of the audio track of a container.

use symphonia::core::codecs::CodecParameters;
use symphonia::core::codecs::audio::well_known::CODEC_ID_ALAC;
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, CODEC_ID_NULL_AUDIO};
use symphonia::core::formats::{FormatReader, Track};

use super::decoders::make_decoder;
use super::error::Fault;
use super::track_layout::TrackLayout;

/// Codecs that are met and not decoded, by the words of Matroska and of ISO media files.
const CODEC_NAMES: [(&str, &str); 16] = [
    ("A_AC3", "AC-3"),
    ("ac-3", "AC-3"),
    ("A_EAC3", "E-AC-3"),
    ("ec-3", "E-AC-3"),
    ("A_DTS", "DTS"),
    ("dtsc", "DTS"),
    ("A_TRUEHD", "TrueHD"),
    ("A_WAVPACK4", "WavPack"),
    ("A_TTA1", "True Audio"),
    ("samr", "AMR"),
    ("sawb", "AMR-WB"),
    ("ac-4", "AC-4"),
    ("mha1", "MPEG-H"),
    ("QDM2", "QDesign Music"),
    ("agsm", "GSM"),
    ("enca", "encrypted audio"),
];

/// The track that is decoded.
pub(super) struct Chosen {
    pub(super) track: Track,
    pub(super) decoder: Box<dyn AudioDecoder>,
    /// Frames at its start that belong to the encoder.
    pub(super) n_skip_frames: u64,
    pub(super) layout: TrackLayout,
    /// Which of how many audio tracks it is, counted from 0.
    pub(super) idx: usize,
    pub(super) n_tracks: usize,
}

/// Chooses the audio track `wanted`, counted from 0; without it the default one, and the next that can be decoded where
/// that one cannot.
pub(super) fn choose(
    format: &dyn FormatReader,
    layouts: Vec<TrackLayout>,
    wanted: Option<usize>,
) -> Result<Chosen, Fault> {
    let layouts = match layouts.is_empty() {
        true => layouts_of(format),
        false => layouts,
    };
    let n_tracks = layouts.len();
    let order: Vec<usize> = match wanted {
        Some(got) if got >= n_tracks => return Err(Fault::NoSuchTrack { got, n_tracks }),
        Some(idx) => vec![idx],
        None => {
            let (first, then): (Vec<_>, Vec<_>) = (0..n_tracks).partition(|idx| layouts[*idx].is_default);
            [first, then].concat()
        }
    };
    let mut fault = Fault::NoTrack;
    for (nth, idx) in order.into_iter().enumerate() {
        let layout = layouts[idx].clone();
        let track = format.tracks().iter().find(|track| track.id == layout.id);
        let track = track.map(|track| completed(track, &layout));
        match track.and_then(|track| audio_params(&track).map(make_decoder).map(|made| (track, made))) {
            Some((track, Ok((decoder, n_skip_frames)))) => {
                return Ok(Chosen { track, decoder, n_skip_frames, layout, idx, n_tracks });
            }
            // Of several that cannot be decoded the first is named.
            _ if nth > 0 => {}
            Some((_, Err(Fault::Unsupported { .. }))) | None => fault = unsupported(&layout, idx, n_tracks),
            Some((_, Err(error))) => fault = error,
        }
    }
    Err(fault)
}

/// A track with what its demuxer has not found out about the codec.
fn completed(track: &Track, layout: &TrackLayout) -> Track {
    let mut track = track.clone();
    if let Some(CodecParameters::Audio(params)) = &mut track.codec_params
        && let Some(header) = layout.header.clone().filter(|_| params.codec == CODEC_ID_NULL_AUDIO)
    {
        params.for_codec(CODEC_ID_ALAC).with_extra_data(header);
    }
    track
}

/// Audio tracks as the demuxer reports them.
fn layouts_of(format: &dyn FormatReader) -> Vec<TrackLayout> {
    let default = format.default_track(symphonia::core::formats::TrackType::Audio).map(|track| track.id);
    let audio = format.tracks().iter().filter(|track| audio_params(track).is_some());
    let layout = |track: &Track| TrackLayout {
        id: track.id,
        is_default: Some(track.id) == default,
        ..TrackLayout::default()
    };
    audio.map(layout).collect()
}

fn audio_params(track: &Track) -> Option<&AudioCodecParameters> {
    match &track.codec_params {
        Some(CodecParameters::Audio(params)) => Some(params),
        _ => None,
    }
}

fn unsupported(layout: &TrackLayout, idx: usize, n_tracks: usize) -> Fault {
    let named = CODEC_NAMES.iter().find(|(code, _)| layout.codec.starts_with(code)).map(|(_, name)| *name);
    let codec = match (named, layout.codec.as_str()) {
        (Some(name), _) => name.to_owned(),
        (None, "") => "a codec that is not known here".to_owned(),
        (None, code) => format!("the codec {code}"),
    };
    let place = if n_tracks > 1 { format!(" in audio track {idx} of {n_tracks}") } else { String::new() };
    Fault::Unsupported { what: format!("{codec}{place}") }
}
