//! Labels of one recording.

use diarized_models::{Segment, SessionState, SpeakerId, rttm};

/// Labels and what they are of.
#[derive(Debug, Clone, Copy)]
pub struct Labels<'a> {
    /// Name of the recording: the file id of RTTM, where white space becomes `_`, and `file` in JSON.
    pub recording: &'a str,
    /// The labels.
    pub state: &'a SessionState,
    /// Length of the audio, in seconds.
    pub duration_s: f64,
}

impl Labels<'_> {
    /// Segments in the order of their start.
    pub(super) fn segments(&self) -> Vec<&Segment> {
        let mut segments: Vec<&Segment> = self.state.segments().filter(|s| !s.range.is_empty()).collect();
        segments.sort_by_key(|segment| (segment.range.start(), segment.range.end(), segment.id));
        segments
    }

    /// The speaker's name, or else the label. Where two people have one name the label stands behind it; labels of one
    /// enrolled voice are one person.
    pub(super) fn speaker(&self, id: SpeakerId) -> String {
        let label = id.to_string();
        let Some(name) = self.name(id) else { return label };
        let voice = |id| self.state.speaker(id).and_then(|info| info.voice.as_ref()).map(|voice| &voice.id);
        let is_same = |other: SpeakerId| {
            let shown = self.name(other).map_or_else(|| other.to_string(), str::to_owned);
            rttm::field(&shown) == rttm::field(name) && (voice(id).is_none() || voice(id) != voice(other))
        };
        match self.state.speakers().any(|other| other.id != id && is_same(other.id)) {
            true => format!("{name} ({label})"),
            false => name.to_owned(),
        }
    }

    pub(super) fn name(&self, id: SpeakerId) -> Option<&str> {
        self.state.speaker(id)?.name.as_deref()
    }
}

/// The value with `n_places` decimal places; what is not finite becomes 0, which every format can write.
pub(super) fn rounded(value: f32, n_places: i32) -> f32 {
    let scale = 10_f32.powi(n_places);
    if value.is_finite() { (value * scale).round() / scale } else { 0.0 }
}
