//! Made windows, voices and states for the tests of the steps: evidence of two coordinates, one voice along each.

use diarized_dsp::{SampleIndex, SampleRange};

use super::zone::{FRAME_SAMPLES, Window, Zone};
use crate::calibration::CALIBRATION;
use crate::diarizer::clustering::{Constraint, Exemplar, SecondEmbedding, SecondView, SpeechMemory};
use crate::diarizer::front_end::FrameMeasures;
use crate::diarizer::params::{DiarizerOptions, DiarizerParams};
use crate::embedding::Embedding;
use crate::events::{Event, Segment, SegmentId, SessionState, SpeakerId, SpeakerInfo};
use crate::plda::Plda;

pub(super) const DIM: usize = 2;
/// Evidence of one window of a voice.
pub(super) const ANN: [f32; DIM] = [3.0, 0.0];
pub(super) const BOB: [f32; DIM] = [0.0, 3.0];

pub(super) fn params() -> DiarizerParams {
    DiarizerParams::try_new(DiarizerOptions::default()).expect("the defaults are valid")
}

pub(super) fn at(seconds: f64) -> SampleIndex {
    SampleIndex::from_seconds(seconds)
}

pub(super) fn range(start_s: f64, end_s: f64) -> SampleRange {
    SampleRange::new(at(start_s), at(end_s))
}

/// A full window of 1 s with evidence of weight 1.
pub(super) fn window(centre_s: f64, projected: [f32; DIM], label: Option<u32>) -> Window {
    Window {
        support: range(centre_s - 0.5, centre_s + 0.5),
        embedding: Embedding::from_raw(&[0.6, 0.8]).expect("it has a direction"),
        second: SecondEmbedding::None,
        projected: projected.to_vec(),
        trust: 1.0,
        full: true,
        label: label.map(SpeakerId),
    }
}

/// A region from 0 s on with a window every 0.25 s, the first around 0.5 s, each with its evidence and label; levels are
/// even.
pub(super) fn zone(windows: &[([f32; DIM], Option<u32>)]) -> Zone {
    let mut zone = Zone::new(SampleIndex::ZERO, None);
    for (n, (projected, label)) in windows.iter().enumerate() {
        zone.windows.push_back(window(0.5 + 0.25 * n as f64, *projected, *label));
    }
    let n_frames = zone.windows_end().map_or(0, |end| end.0 / FRAME_SAMPLES);
    let db = vec![-30.0; n_frames as usize];
    zone.frames.add(&FrameMeasures { db, ..FrameMeasures::default() });
    zone
}

/// A memory with one exemplar of 4 windows for each speaker, in a segment of the same number as the speaker.
pub(super) fn memory(voices: &[(u32, [f32; DIM])]) -> SpeechMemory {
    let mut memory = SpeechMemory::new(params().memory(), Plda::isotropic(DIM), CALIBRATION);
    for (speaker, voice) in voices {
        let exemplar = Exemplar {
            sum: vec![2.4, 3.2],
            weight: 4.0,
            projected: voice.iter().map(|v| 4.0 * v).collect(),
            trust: 4.0,
            continues: false,
            strong: true,
            speaker: SpeakerId(*speaker),
            former: None,
            constraint: Constraint::Free,
            second: SecondView::default(),
        };
        let start_s = 10.0 * f64::from(*speaker);
        memory.add(SegmentId(u64::from(*speaker)), range(start_s, start_s + 0.75), exemplar);
    }
    memory
}

/// A state with these final segments: id, speaker, start and end in seconds.
pub(super) fn state(segments: &[(u64, u32, f64, f64)]) -> SessionState {
    let mut state = SessionState::new();
    for &(id, speaker, start_s, end_s) in segments {
        let (id, speaker, range) = (SegmentId(id), SpeakerId(speaker), range(start_s, end_s));
        if state.speaker(speaker).is_none() {
            state.apply(&Event::Speaker(SpeakerInfo::new(speaker, range.start()))).expect("it is new");
        }
        let (confidence, snr_db, c50_db) = (0.9, None, None);
        let (speech, is_final, overlap) = (vec![range], true, false);
        let segment = Segment { id, range, speech, speaker, confidence, is_final, overlap, snr_db, c50_db };
        state.apply(&Event::Segment(segment)).expect("the speaker is known");
    }
    state
}
