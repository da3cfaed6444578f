//! Invariants of the diarizer: block sizes and answering order change nothing, events rebuild the state.
//!
//! The audio is synthetic voices that webrtc-vad takes for speech; the embedding of a window is made from who
//! speaks in it, with deterministic noise, so that the state machine is tested apart from a network.

use std::collections::BTreeMap;

use diarized_dsp::{SampleIndex, SampleRange};
use proptest::prelude::*;

use super::*;
use crate::embedder::EmbedError;
use crate::embedding::Embedding;
use crate::events::{Event, GapReason, RevisionReason, SegmentId, SessionState, SpeakerId};
use crate::model_card::ModelCard;

const DIM: usize = 64;

fn card() -> ModelCard {
    let text = crate::builtin::CARD
        .replace("embedding_dim = 192", &format!("embedding_dim = {DIM}"))
        .replace("plda_dim = 128\n", "");
    ModelCard::parse(&text).expect("the built-in card is valid")
}

/// The synthetic voices are speech to webrtc-vad alone.
fn options() -> DiarizerOptions {
    DiarizerOptions {
        vad_mode: SpeechDetector::WebRtc { mode: 3 },
        vad_onset: 0.6,
        vad_offset: 0.35,
        min_speech_ms: 200,
        min_silence_ms: 500,
        pad_ms: 100,
        ..DiarizerOptions::default()
    }
}

mod continuing;
mod delays;
mod divided;
mod limits;
mod people;
mod second_model;

/// Deterministic noise in `[-0.5, 0.5]`.
pub(super) fn noise(seed: u64) -> f32 {
    let mut x = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03;
    x ^= x >> 29;
    x = x.wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x ^= x >> 32;
    (x >> 40) as f32 / (1_u64 << 24) as f32 - 0.5
}

/// Deterministic noise of unit variance.
pub(super) fn unit_noise(seed: u64) -> f32 {
    noise(seed) * 12.0_f32.sqrt()
}

/// Who speaks when: `(start s, end s, voice)`; the rest is near silence.
type Script = Vec<(f64, f64, usize)>;

fn voice_at(script: &Script, seconds: f64) -> Option<usize> {
    script.iter().find(|(start, end, _)| (*start..*end).contains(&seconds)).map(|(_, _, v)| *v)
}

/// Pulse trains through two crude resonances, syllables at 4 Hz.
fn audio(script: &Script, duration_s: f64) -> Vec<f32> {
    let mut state = [0.0_f32; 4];
    (0..(duration_s * 16_000.0) as usize)
        .map(|i| {
            let t = i as f64 / 16_000.0;
            let mut x = noise(i as u64) * 2e-4;
            if let Some(voice) = voice_at(script, t) {
                let pitch = 100.0 + 35.0 * voice as f64;
                let pulse = if (t * pitch).fract() < pitch / 16_000.0 { 1.0 } else { 0.0 };
                let syllable = 0.55 + 0.45 * (t * 4.0 * std::f64::consts::TAU).sin() as f32;
                x += pulse * syllable * 0.5 + noise(i as u64 + 7) * 0.01 * syllable;
            }
            for (n, (hz, r)) in [(600.0_f32, 0.97_f32), (1700.0, 0.95)].into_iter().enumerate() {
                let (a, b) = (state[2 * n], state[2 * n + 1]);
                let y = x * 0.4 + 2.0 * r * (std::f32::consts::TAU * hz / 16_000.0).cos() * a - r * r * b;
                (state[2 * n], state[2 * n + 1]) = (y, a);
                x += y * 0.3;
            }
            x.clamp(-1.0, 1.0)
        })
        .collect()
}

fn direction(voice: usize) -> Vec<f32> {
    (0..DIM).map(|d| noise((voice * DIM + d) as u64 + 1_000_003)).collect()
}

/// The embedding of a window: the mix of the voices in it, and noise that depends on its place.
fn embedding(script: &Script, range: SampleRange) -> Embedding {
    let mut values = vec![0.0_f32; DIM];
    let n = 50;
    for k in 0..n {
        let at = range.start().0 as f64 + range.len() as f64 * (f64::from(k) + 0.5) / f64::from(n);
        if let Some(voice) = voice_at(script, at / 16_000.0) {
            for (value, d) in values.iter_mut().zip(direction(voice)) {
                *value += d / n as f32;
            }
        }
    }
    for (d, value) in values.iter_mut().enumerate() {
        *value += noise(range.start().0 * 131 + range.end().0 + d as u64 * 7919) * 0.55;
    }
    Embedding::from_raw(&values).expect("noise has a direction")
}

/// Runs a script; `blocks` gives block sizes in turn, `order` picks which waiting request is answered next.
fn run(
    script: &Script,
    samples: &[f32],
    blocks: impl FnMut() -> usize,
    order: impl FnMut(usize) -> usize,
) -> (Vec<TimedEvent>, SessionState) {
    run_with(options(), script, samples, blocks, order)
}

fn run_with(
    options: DiarizerOptions,
    script: &Script,
    samples: &[f32],
    mut blocks: impl FnMut() -> usize,
    mut order: impl FnMut(usize) -> usize,
) -> (Vec<TimedEvent>, SessionState) {
    let params = DiarizerParams::try_new(options).expect("the options are valid");
    let mut diarizer = Diarizer::new(params, &card());
    let mut emitted = Vec::new();
    let mut waiting: Vec<EmbedRequest> = Vec::new();
    let mut rest = samples;
    loop {
        if rest.is_empty() {
            diarizer.finish();
        } else {
            let (block, tail) = rest.split_at(blocks().clamp(1, rest.len()));
            diarizer.push(block).expect("the stream is open and the samples are finite");
            rest = tail;
        }
        waiting.extend(std::iter::from_fn(|| diarizer.poll_work()));
        // Some answers come late: up to two requests stay open while audio goes on.
        while waiting.len() > if diarizer.finished { 0 } else { 2 } {
            let request = waiting.remove(order(waiting.len()) % waiting.len());
            assert_eq!(request.features.len(), request.n_frames * 80);
            assert!(Diarizer::window_frames(diarizer.params()).contains(&request.n_frames));
            diarizer.provide(request.id, Ok(embedding(script, request.range))).expect("it was asked for");
        }
        emitted.extend(std::iter::from_fn(|| diarizer.poll_event()));
        if diarizer.is_finished() {
            return (emitted, diarizer.state().clone());
        }
    }
}

fn dialogue() -> (Script, Vec<f32>) {
    let script = vec![
        (0.5, 4.0, 0),
        (4.6, 9.0, 1),
        (9.0, 12.5, 0),
        (13.2, 14.0, 1),
        (14.8, 20.0, 2),
        (20.5, 24.0, 0),
        (25.0, 29.0, 1),
    ];
    let samples = audio(&script, 30.0);
    (script, samples)
}

/// Share of the script's speech whose label is the main label of its voice.
fn purity(script: &Script, state: &SessionState) -> f64 {
    let mut shared: BTreeMap<(usize, SpeakerId), f64> = BTreeMap::new();
    let (mut total, mut voices) = (0.0, BTreeMap::new());
    for (start, end, voice) in script {
        let turn = SampleRange::new(SampleIndex::from_seconds(*start), SampleIndex::from_seconds(*end));
        total += turn.duration_s();
        for segment in state.segments() {
            if let Some(common) = segment.range.intersection(&turn) {
                *shared.entry((*voice, segment.speaker)).or_default() += common.duration_s();
            }
        }
    }
    for ((voice, _), seconds) in shared {
        let best: &mut f64 = voices.entry(voice).or_default();
        *best = best.max(seconds);
    }
    voices.values().sum::<f64>() / total
}

#[test]
fn a_dialogue_is_labelled() {
    let (script, samples) = dialogue();
    let (emitted, state) = run(&script, &samples, || 1600, |_| 0);
    assert_eq!(state.speakers().count(), 3, "{state:#?}");
    let purity = purity(&script, &state);
    assert!(purity > 0.9, "{purity}");
    assert!(state.segments().all(|s| s.is_final && (0.0..=1.0).contains(&s.confidence)));
    for version in
        emitted.iter().filter_map(|s| if let Event::Segment(s) = &s.event { Some(s) } else { None })
    {
        let (first, last) = (version.speech.first().unwrap(), version.speech.last().unwrap());
        assert!(first.start() >= version.range.start() && last.end() <= version.range.end(), "{version:?}");
        assert!(version.speech.is_sorted_by(|a, b| a.end() < b.start()), "{version:?}");
    }
    // Between the second and the third person's turns nobody speaks for 0.8 s.
    let pause = SampleIndex::from_seconds(14.4);
    assert!(!state.segments().any(|s| s.speech.iter().any(|part| part.contains(pause))), "{state:#?}");
    // The first label of the first turn is emitted within 1.2 s of its start.
    let first = emitted.iter().find(|s| matches!(s.event, Event::Segment(_))).expect("somebody spoke");
    assert!(first.at.seconds() < 0.5 + 1.2, "{}", first.at);
}

#[test]
fn events_rebuild_the_state_from_any_moment() {
    let (script, samples) = dialogue();
    let (emitted, state) = run(&script, &samples, || 1600, |_| 0);
    for joined in 0..emitted.len() {
        let mut snapshot = SessionState::new();
        for s in &emitted[..joined] {
            snapshot.apply(&s.event).unwrap();
        }
        let mut late = snapshot.clone();
        for s in &emitted[joined..] {
            late.apply(&s.event).unwrap();
        }
        assert_eq!(late, state, "joined after {joined} events");
    }
    assert!(emitted.is_sorted_by_key(|s| s.at));
}

#[test]
fn segments_of_one_moment_do_not_overlap() {
    let (script, samples) = dialogue();
    let (_, state) = run(&script, &samples, || 1600, |_| 0);
    let mut ranges: Vec<SampleRange> = state.segments().map(|s| s.range).collect();
    ranges.sort_by_key(|r| r.start());
    assert!(ranges.windows(2).all(|pair| pair[0].end() <= pair[1].start()), "{ranges:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn neither_blocks_nor_answering_order_change_what_is_said(
        sizes in prop::collection::vec(1_usize..9000, 1..20),
        picks in prop::collection::vec(0_usize..100, 1..20),
    ) {
        let (script, samples) = dialogue();
        let expected = run(&script, &samples, || samples.len(), |_| 0);
        let (mut i, mut j) = (0, 0);
        let got = run(
            &script,
            &samples,
            || { i += 1; sizes[i % sizes.len()] },
            |_| { j += 1; picks[j % picks.len()] },
        );
        prop_assert_eq!(got, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Voices that are hard to distinguish make labels change often, and no event contradicts another.
    #[test]
    fn doubtful_voices_never_break_the_contract(
        turns in prop::collection::vec((0.2_f64..4.0, 0.0_f64..0.8, 0_usize..5), 5..40),
        doubt in 0.3_f32..3.0,
    ) {
        let mut script = Vec::new();
        let mut t = 0.3;
        for (length, pause, voice) in turns {
            script.push((t, t + length, voice));
            t += length + pause;
        }
        let mut diarizer = fresh();
        let (mut state, mut n) = (SessionState::new(), 0_u64);
        for block in audio(&script, t + 1.0).chunks(8000) {
            diarizer.push(block).unwrap();
            while let Some(request) = diarizer.poll_work() {
                let mut values = embedding(&script, request.range).as_slice().to_vec();
                for value in &mut values {
                    n += 1;
                    *value += noise(n) * doubt;
                }
                diarizer.provide(request.id, Ok(Embedding::from_raw(&values).unwrap())).unwrap();
            }
        }
        diarizer.finish();
        answer_all(&mut diarizer, &script);
        while let Some(emitted) = diarizer.poll_event() {
            state.apply(&emitted.event).unwrap();
        }
        prop_assert_eq!(&state, diarizer.state());
        prop_assert!(state.speakers().all(|s| state.segments().any(|x| x.speaker == s.id)));
    }
}

fn fresh() -> Diarizer {
    let params = DiarizerParams::try_new(options()).unwrap();
    Diarizer::new(params, &card())
}

fn answer_all(diarizer: &mut Diarizer, script: &Script) {
    while let Some(request) = diarizer.poll_work() {
        diarizer.provide(request.id, Ok(embedding(script, request.range))).unwrap();
    }
}

#[test]
fn a_gap_keeps_the_clock_true() {
    let script = vec![(0.5, 3.0, 0), (13.5, 16.0, 0)];
    let samples = audio(&script, 20.0);
    let mut diarizer = fresh();
    diarizer.push(&samples[..4 * 16_000]).unwrap();
    diarizer.gap(8 * 16_000, GapReason::DeviceLost).unwrap();
    diarizer.push(&samples[12 * 16_000..]).unwrap();
    diarizer.finish();
    answer_all(&mut diarizer, &script);
    assert!(diarizer.is_finished());
    let state = diarizer.state();
    assert_eq!(state.gaps().len(), 1);
    assert_eq!(state.gaps()[0].0.start().seconds(), 4.0);
    let last = state.segments().map(|s| s.range).max_by_key(|r| r.end()).unwrap();
    assert!((last.start().seconds() - 13.5).abs() < 0.3, "{last}");
    assert_eq!(state.speakers().count(), 1, "the voice behind the gap is known");
    assert_eq!(diarizer.heard().seconds(), 20.0);
}

#[test]
fn silence_says_nothing() {
    let mut diarizer = fresh();
    diarizer.push(&vec![0.0; 160_000]).unwrap();
    diarizer.finish();
    assert!(diarizer.is_finished() && diarizer.poll_event().is_none() && diarizer.poll_work().is_none());
}

#[test]
fn wrong_calls_are_refused_and_change_nothing() {
    let mut diarizer = fresh();
    assert_eq!(diarizer.push(&[0.0, f32::NAN]), Err(DiarizerError::NonFinite { index: 1 }));
    assert_eq!(diarizer.heard(), SampleIndex::ZERO);
    let stray = Embedding::from_raw(&[1.0; DIM]).unwrap();
    assert_eq!(diarizer.provide(WorkId(9), Ok(stray)), Err(DiarizerError::UnknownWork(WorkId(9))));
    diarizer.finish();
    assert_eq!(diarizer.push(&[0.0]), Err(DiarizerError::Finished));
    assert!(matches!(diarizer.rename(SpeakerId(1), "Ann"), Err(CorrectionError::NoSuchSpeaker(_))));
}

#[test]
fn a_window_that_the_network_refuses_does_not_stop_the_stream() {
    let (script, samples) = dialogue();
    let mut diarizer = fresh();
    diarizer.push(&samples).unwrap();
    diarizer.finish();
    let mut n = 0_u64;
    while let Some(request) = diarizer.poll_work() {
        n += 1;
        let result = if n.is_multiple_of(5) {
            Err(EmbedError::Inference("no".to_owned()))
        } else {
            Ok(embedding(&script, request.range))
        };
        diarizer.provide(request.id, result).unwrap();
    }
    assert!(diarizer.is_finished());
    assert_eq!(diarizer.n_failed(), n / 5);
    assert_eq!(diarizer.state().speakers().count(), 3);
}

#[test]
fn a_person_has_the_last_word() {
    let (script, samples) = dialogue();
    let mut diarizer = fresh();
    diarizer.push(&samples[..22 * 16_000]).unwrap();
    answer_all(&mut diarizer, &script);
    let speaker_at = |d: &Diarizer, s: f64| {
        let at = SampleIndex::from_seconds(s);
        d.state().segments().find(|x| x.range.contains(at)).map(|x| (x.id, x.speaker)).unwrap()
    };
    let (ann, bob) = (speaker_at(&diarizer, 2.0).1, speaker_at(&diarizer, 7.0).1);
    assert_ne!(ann, bob);
    diarizer.rename(bob, "Bob").unwrap();
    diarizer.merge(bob, ann).unwrap();
    diarizer.push(&samples[22 * 16_000..]).unwrap();
    diarizer.finish();
    answer_all(&mut diarizer, &script);
    assert!(diarizer.is_finished());
    assert_eq!(speaker_at(&diarizer, 7.0).1, speaker_at(&diarizer, 2.0).1, "merged voices stay together");
    let mut rebuilt = SessionState::new();
    let mut corrected = false;
    while let Some(emitted) = diarizer.poll_event() {
        corrected |= matches!(emitted.event, Event::Revision { reason: RevisionReason::Correction, .. });
        rebuilt.apply(&emitted.event).unwrap();
    }
    assert!(corrected);
    assert_eq!(&rebuilt, diarizer.state());
}

#[test]
fn a_reassigned_segment_stays_where_it_was_put() {
    let (script, samples) = dialogue();
    let mut diarizer = fresh();
    diarizer.push(&samples[..13 * 16_000]).unwrap();
    answer_all(&mut diarizer, &script);
    let find = |d: &Diarizer, s: f64| {
        let at = SampleIndex::from_seconds(s);
        d.state().segments().find(|x| x.range.contains(at)).cloned().unwrap()
    };
    let (first, second) = (find(&diarizer, 2.0), find(&diarizer, 7.0));
    diarizer.reassign(first.id, second.speaker).unwrap();
    diarizer.push(&samples[13 * 16_000..]).unwrap();
    diarizer.finish();
    answer_all(&mut diarizer, &script);
    assert_eq!(find(&diarizer, 2.0).speaker, find(&diarizer, 7.0).speaker);
}

#[test]
fn memory_stays_bounded_over_many_turns() {
    let script: Script =
        (0..400).map(|i| (f64::from(i) * 3.0, f64::from(i) * 3.0 + 2.4, i as usize % 4)).collect();
    let samples = audio(&script, 1200.0);
    let options = DiarizerOptions { max_exemplars: 64, ..options() };
    let mut diarizer = Diarizer::new(DiarizerParams::try_new(options).unwrap(), &card());
    for block in samples.chunks(16_000) {
        diarizer.push(block).unwrap();
        answer_all(&mut diarizer, &script);
        assert!(diarizer.labeller.n_exemplars() <= 64);
    }
    diarizer.finish();
    answer_all(&mut diarizer, &script);
    assert_eq!(diarizer.state().speakers().count(), 4);
    let purity = purity(&script, diarizer.state());
    assert!(purity > 0.85, "{purity}");
}
