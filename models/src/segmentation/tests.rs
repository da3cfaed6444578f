//! What needs no network: cards, features and speakers.

use super::card::Card;
use super::speakers::{SpeakerLimits, assign};
use super::{CHUNK_SAMPLES, FoundSegment, features};
use crate::embedding::Embedding;
use diarized_dsp::log_mel::LogMel;
use diarized_dsp::{SampleIndex, SampleRange};
use proptest::prelude::*;

const CARD: &str = r#"
schema = 1
kind = "segmentation"
name = "one"
version = "1"
architecture = "Whisper layout"
licence = "MIT"
encoder_sha256 = "AA"
decoder_sha256 = "bb"
n_mels = 80
n_layers = 2
n_heads = 2
state = 64
n_audio_ctx = 1500
n_text_ctx = 64
n_timestamps = 1500
n_speakers = 40
same_speaker_cosine = 0.5
"#;

#[test]
fn a_card_is_read_and_every_wrong_value_is_named() {
    let card = Card::parse(CARD).unwrap();
    assert_eq!((card.shape.state, card.encoder_sha256.as_str(), card.same_speaker_cosine), (64, "aa", 0.5));
    let fault = |from: &str, to: &str| {
        assert!(CARD.contains(from));
        Card::parse(&CARD.replace(from, to)).unwrap_err().to_string()
    };
    assert_eq!(fault("schema = 1", "schema = 2"), "model.toml schema (2) must be 1");
    assert!(fault("\"segmentation\"", "\"voice\"").starts_with("model.toml kind (\"voice\") must be"));
    assert!(fault("n_heads = 2", "n_heads = 3").contains("state (64) must be a multiple of n_heads"));
    assert!(fault("n_layers = 2", "n_layers = 0").contains("n_layers (0)"));
    assert!(fault("1500\nn_text", "750\nn_text").contains("n_audio_ctx (750) must be 1500 (30 s)"));
    assert!(fault("= 0.5", "= nan").contains("same_speaker_cosine (NaN)"));
    assert!(fault("n_speakers = 40", "colour = 1").contains("import segmentation"));
}

#[test]
fn features_are_of_one_size_and_within_two_of_each_other() {
    let mut mel = LogMel::new(features::params(80).unwrap());
    let samples: Vec<f32> = (0..40_000).map(|i| (i as f32 * 0.07).sin() * 0.1 + 0.3).collect();
    let got = features::of_chunk(&mut mel, &samples, 3000).unwrap();
    assert_eq!(got.len(), 80 * 3000);
    let (least, most) = got.iter().fold((f32::MAX, f32::MIN), |(l, m), &v| (l.min(v), m.max(v)));
    assert!((most - least - 2.0).abs() < 1e-5, "{least} to {most}");
    // Neither level nor offset matter.
    let other: Vec<f32> = samples.iter().map(|v| v * 0.25 - 0.01).collect();
    let same = features::of_chunk(&mut mel, &other, 3000).unwrap();
    assert!(got.iter().zip(&same).all(|(a, b)| (a - b).abs() < 1e-3));
    assert!(features::of_chunk(&mut mel, &[0.25; 16_000], 3000).is_none());
    assert!(features::of_chunk(&mut mel, &[], 3000).is_none());
    assert!(features::of_chunk(&mut mel, &[f32::NAN; 800], 3000).is_none());
}

fn speakers(segments: &[FoundSegment], chunks: &[usize], cosine: f32, limits: SpeakerLimits) -> Vec<usize> {
    let assigned = assign(segments, chunks, cosine, limits);
    assert!(assigned.iter().all(|of| (0.0..=1.0).contains(&of.confidence)), "{assigned:?}");
    assigned.iter().map(|of| of.speaker).collect()
}

/// A segment whose voice lies at this angle.
fn segment(degrees: f32, speaker: u32) -> FoundSegment {
    let (y, x) = degrees.to_radians().sin_cos();
    FoundSegment {
        range: SampleRange::new(SampleIndex(0), SampleIndex(CHUNK_SAMPLES as u64)),
        speaker,
        embedding: Embedding::from_raw(&[x, y]).unwrap(),
    }
}

#[test]
fn alike_voices_are_one_speaker_across_chunks() {
    let segments = [segment(0.0, 7), segment(90.0, 2), segment(5.0, 3), segment(95.0, 3)];
    let found = |cosine, limits| speakers(&segments, &[0, 0, 1, 2], cosine, limits);
    assert_eq!(found(0.5, SpeakerLimits::default()), [0, 1, 0, 1]);
    assert_eq!(found(0.999, SpeakerLimits::default()), [0, 1, 2, 3]);
    assert_eq!(found(0.999, SpeakerLimits { expected: Some(2), max: None }), [0, 1, 0, 1]);
    assert_eq!(found(0.5, SpeakerLimits { expected: Some(3), max: None }).iter().max(), Some(&2));
    assert_eq!(found(0.999, SpeakerLimits { expected: None, max: Some(1) }), [0; 4]);
    // A token is one person within its chunk, whatever the voices.
    assert_eq!(
        speakers(&[segment(0.0, 7), segment(180.0, 7)], &[0, 0], 0.9, SpeakerLimits::default()),
        [0, 0]
    );
    assert!(assign(&[], &[], 0.5, SpeakerLimits::default()).is_empty());
}

proptest! {
    #[test]
    fn speakers_are_numbered_by_first_segment_and_keep_to_the_limits(
        voices in prop::collection::vec((0.0f32..360.0, 0u32..4, 0usize..3), 0..25),
        expected in prop::option::of(1usize..9),
        max in prop::option::of(1usize..9),
        cosine in -1.0f32..1.0,
    ) {
        let segments: Vec<FoundSegment> = voices.iter().map(|&(at, token, _)| segment(at, token)).collect();
        let mut chunks: Vec<usize> = voices.iter().map(|&(_, _, chunk)| chunk).collect();
        chunks.sort_unstable();
        let speakers = speakers(&segments, &chunks, cosine, SpeakerLimits { expected, max });
        let mut n_speakers = 0;
        for &speaker in &speakers {
            prop_assert!(speaker <= n_speakers);
            n_speakers = n_speakers.max(speaker + 1);
        }
        let mut units: Vec<(usize, u32)> = chunks.iter().copied().zip(segments.iter().map(|s| s.speaker)).collect();
        units.sort_unstable();
        units.dedup();
        if let Some(max) = max {
            prop_assert!(n_speakers <= max.max(1));
        }
        if let (Some(expected), None) = (expected, max) {
            prop_assert_eq!(n_speakers, expected.min(units.len()));
        }
    }
}
