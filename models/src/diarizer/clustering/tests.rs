//! How many people a session is found to hold, whatever its length.

use diarized_dsp::{SampleIndex, SampleRange};

use super::*;
use crate::calibration::CALIBRATION;
use crate::diarizer::tests::unit_noise as noise;
use crate::embedding::dot;
use crate::events::SegmentId;
use crate::plda::Plda;

pub(super) const DIM: usize = 32;
const WINDOWS: f32 = 4.0;

/// A second of speech, all of `speaker` so far. A voice has two moods, which no PLDA knows of.
pub(super) fn exemplar(plda: &Plda, voice: usize, mood: usize, n: usize) -> Exemplar {
    let value = |d: usize| {
        let voice_d = noise((voice * DIM + d) as u64 + 1_000_003);
        let mood_d = noise(((2 * voice + mood) * DIM + d) as u64 + 5_000_011);
        voice_d + 0.25 * mood_d + 0.5 * noise((n * DIM + d) as u64 + 9_000_017)
    };
    let raw: Vec<f32> = (0..DIM).map(value).collect();
    let length = dot(&raw, &raw).sqrt();
    let unit: Vec<f32> = raw.iter().map(|v| v / length).collect();
    let trust = 0.14 * WINDOWS;
    Exemplar {
        projected: plda.project(&unit).iter().map(|v| v * trust).collect(),
        sum: unit.iter().map(|v| v * WINDOWS).collect(),
        weight: WINDOWS,
        trust,
        continues: false,
        strong: true,
        speaker: SpeakerId(1),
        former: None,
        constraint: Constraint::Free,
        second: SecondView::default(),
    }
}

/// A memory that honours these hints.
pub(super) fn memory_of(max_speakers: Option<usize>, expected_speakers: Option<usize>) -> SpeechMemory {
    let params = MemoryParams {
        recluster_margin_llr: 2.0,
        window_weight: 0.14,
        window_s: 0.25,
        min_speaker_windows: 12.0,
        max_exemplars: 4096,
        max_speakers,
        expected_speakers,
    };
    SpeechMemory::new(params, Plda::isotropic(DIM), CALIBRATION)
}

/// Speakers found where `n_people` speak in turn for ten seconds each, `n_seconds` in all.
fn found(n_people: usize, n_seconds: usize, thorough: bool) -> usize {
    found_in(memory_of(None, None), n_people, n_seconds, thorough)
}

fn found_in(mut memory: SpeechMemory, n_people: usize, n_seconds: usize, thorough: bool) -> usize {
    for n in 0..n_seconds {
        let span = SampleRange::new(SampleIndex(n as u64 * 16_000), SampleIndex((n as u64 + 1) * 16_000));
        let exemplar = exemplar(&memory.plda, n / 10 % n_people, n / (10 * n_people) % 2, n);
        memory.add(SegmentId(n as u64 / 10), span, exemplar);
    }
    let mut next = 1;
    memory.recluster(thorough, 0, || {
        next += 1;
        SpeakerId(next)
    });
    memory.speakers().count()
}

#[test]
fn a_long_session_holds_no_more_people_than_a_short_one() {
    for n_seconds in [40, 200, 1000] {
        for thorough in [false, true] {
            assert_eq!(found(2, n_seconds, thorough), 2, "{n_seconds} s, last pass: {thorough}");
        }
    }
}

#[test]
fn a_crowd_is_told_apart_although_each_has_said_little() {
    let n_found = found(60, 1200, true);
    assert!((48..=60).contains(&n_found), "{n_found} of 60");
}

#[test]
fn hints_bound_how_many_groups_are_joined() {
    for thorough in [false, true] {
        assert_eq!(found_in(memory_of(Some(2), None), 4, 200, thorough), 2, "last pass: {thorough}");
        assert_eq!(found_in(memory_of(None, Some(3)), 4, 200, thorough), 3, "last pass: {thorough}");
        assert_eq!(found_in(memory_of(None, None), 4, 200, thorough), 4, "last pass: {thorough}");
    }
}

#[test]
fn a_speaker_who_parts_again_is_who_they_were() {
    let mut memory = memory_of(None, None);
    for n in 0..80 {
        let span = SampleRange::new(SampleIndex(n as u64 * 16_000), SampleIndex((n as u64 + 1) * 16_000));
        let voice = n / 10 % 2;
        let mut exemplar = exemplar(&memory.plda, voice, 0, n);
        exemplar.speaker = SpeakerId(voice as u32 + 1);
        memory.add(SegmentId(n as u64 / 10), span, exemplar);
    }
    let speakers = |memory: &SpeechMemory| memory.speakers().collect::<Vec<_>>();
    let recluster = |memory: &mut SpeechMemory, most: Option<usize>| {
        memory.params.max_speakers = most;
        memory.recluster(true, 0, || SpeakerId(9))
    };
    assert_eq!(recluster(&mut memory, Some(1)), [(SpeakerId(2), SpeakerId(1))]);
    assert_eq!(speakers(&memory), [SpeakerId(1)]);
    assert_eq!(recluster(&mut memory, None), []);
    assert_eq!(speakers(&memory), [SpeakerId(1), SpeakerId(2)]);
    assert_eq!(memory.segment_speaker(SegmentId(3)), Some(SpeakerId(2)));

    // Whom a person has made one with another does not come back.
    recluster(&mut memory, Some(1));
    memory.merge(SpeakerId(2), SpeakerId(7));
    recluster(&mut memory, None);
    assert_eq!(speakers(&memory), [SpeakerId(1), SpeakerId(9)]);
}

#[test]
fn evidence_for_somebody_new_fades_with_the_speech_of_a_session() {
    let fading = |n_seconds: usize| {
        let mut memory = memory_of(None, None);
        for n in 0..n_seconds {
            let span = SampleRange::new(SampleIndex(n as u64 * 16_000), SampleIndex((n as u64 + 1) * 16_000));
            let exemplar = exemplar(&memory.plda, 0, 0, n);
            memory.add(SegmentId(n as u64 / 10), span, exemplar);
        }
        memory.fading()
    };
    assert_eq!([0, 60, 180].map(fading), [1.0; 3]);
    assert!((fading(360) - 0.5_f32.powf(0.7)).abs() < 1e-3);
    assert_eq!(fading(3000), 0.15 / 0.75);
}
