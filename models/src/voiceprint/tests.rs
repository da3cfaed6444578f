//! Prints, matching and clip checks on made-up voices and on the example conversation's kind of sound.

use std::sync::Arc;

use super::*;
use crate::embedder::{Embedder, ModelSource};
use crate::embedding::Embedding;
use crate::model_card::ModelCard;

fn card() -> ModelCard {
    ModelCard::parse(crate::builtin::CARD).expect("the built-in card is valid")
}

fn model() -> ModelId {
    ModelId::of(&card())
}

/// A unit vector of 192 values along `axis`, turned by `lean` towards the next one.
fn voice(axis: usize, lean: f32) -> Embedding {
    let mut values = vec![0.0; 192];
    values[axis] = 1.0;
    values[axis + 1] = lean;
    Embedding::from_raw(&values).unwrap()
}

fn recording(axis: usize, lean: f32, seconds: f32, weight: f32) -> Recording {
    Recording { embedding: voice(axis, lean), seconds, weight }
}

fn known(id: &str, axis: usize) -> KnownVoice {
    let print = Print::try_new(model(), vec![recording(axis, 0.0, 30.0, 1.0)]).unwrap();
    KnownVoice { id: Arc::from(id), name: Arc::from(id.to_uppercase()), print }
}

#[test]
fn a_print_leans_to_its_longer_recordings_and_learned_ones_count_less() {
    let of = |recordings| Print::try_new(model(), recordings).unwrap();
    let long = of(vec![recording(0, 0.0, 30.0, 1.0), recording(0, 1.0, 10.0, 1.0)]);
    let even = of(vec![recording(0, 0.0, 30.0, 1.0), recording(0, 1.0, 30.0, 1.0)]);
    let learned = of(vec![recording(0, 0.0, 30.0, 1.0), recording(0, 1.0, 30.0, 0.5)]);
    let to = |print: &Print| print.centre().cosine(&voice(0, 0.0));
    assert!(
        to(&long) > to(&learned) && to(&learned) > to(&even),
        "{} {} {}",
        to(&long),
        to(&learned),
        to(&even)
    );
    assert!((even.seconds() - 60.0).abs() < 1e-3 && (learned.seconds() - 45.0).abs() < 1e-3);
    // An hour of one day does not drown the other days.
    let hour = of(vec![recording(0, 0.0, 3600.0, 1.0), recording(0, 1.0, 60.0, 1.0)]);
    assert!((to(&hour) - to(&even)).abs() < 1e-3);
}

#[test]
fn prints_that_cannot_be_are_refused_with_the_recording() {
    let refused = |recordings| Print::try_new(model(), recordings).unwrap_err().to_string();
    assert_eq!(refused(vec![]), "a voiceprint needs at least one recording");
    let fine = || recording(0, 0.0, 3.0, 1.0);
    assert_eq!(
        refused(vec![fine(), Recording { seconds: f32::NAN, ..fine() }]),
        "seconds (NaN) of recording 1 must be above 0"
    );
    assert_eq!(
        refused(vec![Recording { weight: 1.5, ..fine() }]),
        "weight (1.5) of recording 0 must be above 0 and at most 1"
    );
    let short = Embedding::from_raw(&[1.0, 0.0]).unwrap();
    assert!(refused(vec![fine(), Recording { embedding: short, ..fine() }]).contains("different models"));
    let opposite =
        Embedding::from_raw(&voice(0, 0.0).as_slice().iter().map(|v| -v).collect::<Vec<_>>()).unwrap();
    assert!(refused(vec![fine(), Recording { embedding: opposite, ..fine() }]).contains("cancel"));
}

#[test]
fn calibrations_meet_at_their_cells_and_run_between_them() {
    let cell = |enrol_s, test_s, scale| PrintCalibration { enrol_s, test_s, scale, offset: -1.0 };
    let cells = [cell(5.0, 2.0, 10.0), cell(5.0, 8.0, 20.0), cell(20.0, 2.0, 30.0), cell(20.0, 8.0, 40.0)];
    let grid = PrintCalibrations::try_new(&cells).unwrap();
    for c in cells {
        assert!((grid.llr(0.5, c.enrol_s, c.test_s) - (0.5 * c.scale - 1.0)).abs() < 1e-5);
    }
    // Half way on the scale of logarithms, and beyond the edges.
    assert!((grid.llr(1.0, 10.0, 4.0) - 24.0).abs() < 1e-4);
    assert!((grid.llr(1.0, 0.1, 0.1) - 9.0).abs() < 1e-5 && (grid.llr(1.0, 1e6, 1e6) - 39.0).abs() < 1e-5);
    assert!(PrintCalibrations::try_new(&cells[..3]).is_err(), "a hole in the grid");
    assert!(PrintCalibrations::try_new(&[cells[0], cells[0]]).is_err(), "twice the same");
    assert!(PrintCalibrations::try_new(&[cell(5.0, 2.0, -1.0)]).is_err());
}

#[test]
fn probabilities_are_shared_with_the_stranger() {
    let mut gallery = Gallery::new(&card(), MatchRules::default());
    let nobody = gallery.rank(&voice(0, 0.0), 10.0);
    assert!(nobody.candidates.is_empty() && (nobody.stranger - 1.0).abs() < 1e-6);
    for (n, id) in ["ann", "bob", "cem"].into_iter().enumerate() {
        gallery.add(known(id, 10 * n)).unwrap();
    }
    let ranking = gallery.rank(&voice(10, 0.1), 10.0);
    let best = ranking.accepted().expect("nearly the enrolled direction");
    assert_eq!(&*gallery.voices()[best.voice_idx].name, "BOB");
    let total: f32 = ranking.candidates.iter().map(|c| c.probability).sum::<f32>() + ranking.stranger;
    assert!((total - 1.0).abs() < 1e-5);
    let stranger = gallery.rank(&voice(100, 0.0), 10.0);
    assert!(stranger.accepted().is_none() && stranger.stranger > 0.9);
}

#[test]
fn short_speech_must_be_surer() {
    let rules = MatchRules::default();
    let asked = [1.0, 3.0, 6.0, 9.9, 10.0, 60.0].map(|speech_s| rules.accept_after(speech_s));
    assert!(asked.is_sorted_by(|a, b| a >= b) && asked[0] < 1.0, "{asked:?}");
    assert!((asked[4] - rules.accept).abs() < 1e-6 && (asked[5] - rules.accept).abs() < 1e-6);
    // Odds of 4 become odds of 4 times 100 / 9.
    assert!((asked[1] - 400.0 / 409.0).abs() < 1e-4, "{asked:?}");
}

#[test]
fn a_larger_gallery_asks_for_more_evidence() {
    let probability = |n_others: usize| {
        let mut gallery = Gallery::new(&card(), MatchRules::default());
        gallery.add(known("ann", 0)).unwrap();
        for n in 0..n_others {
            gallery.add(known(&format!("v{n}"), 3 + n)).unwrap();
        }
        gallery.rank(&voice(0, 0.9), 3.0).candidates[0].probability
    };
    assert!(probability(0) > probability(10) && probability(10) > probability(100));
}

#[test]
fn prints_of_another_model_are_refused_by_name() {
    let mut gallery = Gallery::new(&card(), MatchRules::default());
    let other = ModelId { name: "other".to_owned(), sha256: "ab".repeat(32) };
    let print = Print::try_new(other, vec![recording(0, 0.0, 3.0, 1.0)]).unwrap();
    let error = gallery.add(KnownVoice { id: Arc::from("v"), name: Arc::from("Ann"), print }).unwrap_err();
    assert!(
        error.to_string().starts_with("the voiceprint of Ann was made by the model other (abababab…)"),
        "{error}"
    );
    assert!(gallery.is_empty());
}

#[test]
fn a_fitted_calibration_tells_odds() {
    // Cosines of two normal distributions of one width: the log-likelihood ratio is exactly affine.
    let quantiles = |mean: f32| -> Vec<f32> {
        (1..4000).map(|n| mean + 0.15 * probit(f64::from(n) / 4000.0) as f32).collect()
    };
    let fitted = fit_calibration(&quantiles(0.7), &quantiles(0.1)).unwrap();
    let (scale, even) = (0.6 / (0.15 * 0.15), 0.4);
    assert!((fitted.scale / scale - 1.0).abs() < 0.1, "{} against {scale}", fitted.scale);
    assert!((fitted.cosine_at(0.0) - even).abs() < 0.01, "{}", fitted.cosine_at(0.0));
    // Classes that do not overlap still get a finite scale.
    let spread =
        |low: f32, n: u16| -> Vec<f32> { (0..n).map(|k| low + 0.2 * f32::from(k) / f32::from(n)).collect() };
    let apart = fit_calibration(&spread(0.75, 40), &spread(-0.1, 200)).unwrap();
    assert!(apart.scale.is_finite() && (0.1..0.8).contains(&apart.cosine_at(0.0)), "{apart:?}");
    assert!(fit_calibration(&[], &[0.1]).is_none());
}

/// Inverse of the normal distribution function, by bisection.
fn probit(p: f64) -> f64 {
    let cdf = |x: f64| {
        let (steps, low) = (2000, -8.0);
        let width = (x - low) / f64::from(steps);
        let density = |x: f64| (-x * x / 2.0).exp() / std::f64::consts::TAU.sqrt();
        (0..steps).map(|n| density(low + (f64::from(n) + 0.5) * width) * width).sum::<f64>()
    };
    let (mut low, mut high) = (-8.0, 8.0);
    for _ in 0..40 {
        let middle = (low + high) / 2.0;
        *(if cdf(middle) < p { &mut low } else { &mut high }) = middle;
    }
    (low + high) / 2.0
}

/// Deterministic noise in `[-1, 1]`.
fn noise(n: usize) -> f32 {
    let mut x = (n as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03;
    x = (x ^ (x >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    ((x >> 40) as f32 / (1_u64 << 23) as f32) - 1.0
}

/// Pulses through two resonances with syllables at 4 Hz and a pause each two seconds: speech enough for webrtc-vad.
fn speech(seconds: usize, noise_level: f32) -> Vec<f32> {
    let mut state = [0.0_f32; 4];
    let mut sample = |n: usize| {
        let t = n as f64 / 16_000.0;
        let talks = t % 2.0 < 1.5;
        let syllable = if talks { 0.55 + 0.45 * (t * 4.0 * std::f64::consts::TAU).sin() as f32 } else { 0.0 };
        let pulse = if (t * 120.0).fract() < 120.0 / 16_000.0 { 1.0 } else { 0.0 };
        let mut x = pulse * syllable * 0.5 + noise(n + 7) * 0.01 * syllable;
        for (part, (hz, r)) in [(600.0_f32, 0.97_f32), (1700.0, 0.95)].into_iter().enumerate() {
            let (a, b) = (state[2 * part], state[2 * part + 1]);
            let y = x * 0.4 + 2.0 * r * (std::f32::consts::TAU * hz / 16_000.0).cos() * a - r * r * b;
            (state[2 * part], state[2 * part + 1]) = (y, a);
            x += y * 0.3;
        }
        (x + noise_level * noise(n)).clamp(-1.0, 1.0)
    };
    (0..seconds * 16_000).map(&mut sample).collect()
}

/// Sustained chords, as of an organ.
fn chords(seconds: usize) -> Vec<f32> {
    let tone = |t: f32, hz: f32| {
        (1..6).map(|k| (std::f32::consts::TAU * hz * k as f32 * t).sin() / k as f32).sum::<f32>()
    };
    let sample = |n: usize| {
        let t = n as f32 / 16_000.0;
        let root = [220.0, 262.0, 196.0, 247.0][n / 16_000 % 4];
        0.08 * (tone(t, root) + tone(t, root * 1.25) + tone(t, root * 1.5))
    };
    (0..seconds * 16_000).map(sample).collect()
}

#[test]
fn clips_are_refused_with_the_reason() {
    let embedder = Embedder::load(&ModelSource::Builtin, &ClipAnalyser::window_frames()).unwrap();
    let mut analyser = ClipAnalyser::new(&embedder);
    let rules = ClipRules::default();
    let mut word =
        |samples: &[f32]| analyser.analyse(samples, &rules, |_| {}).map_err(|r| (r.word(), r.to_string()));

    assert_eq!(word(&[]).unwrap_err().0, "silence");
    assert_eq!(word(&vec![0.0; 16_000 * 20]).unwrap_err().0, "silence");
    let (is, text) = word(&speech(4, 0.0)).unwrap_err();
    assert!(is == "too_short" && text.contains("at least 5.0 s"), "{text}");
    let (is, text) = word(&speech(10, 0.1)).unwrap_err();
    assert!(is == "too_noisy" && text.contains("quieter place"), "{text}");
    let (is, text) = word(&chords(20)).unwrap_err();
    assert!(is == "not_speech" || is == "too_short", "{text}");
    assert_eq!(word(&vec![0.1; 16_000 * 1300]).unwrap_err().0, "too_long");

    // Noise and music get no name, though an aggressive detector takes them for voices.
    let rules = ClipRules::for_identification();
    let steady: Vec<f32> = (0..16_000 * 15).map(|n| 0.2 * noise(n)).collect();
    // A sweep from 200 to 3000 Hz in three seconds, again and again.
    let phase = |t: f32| std::f32::consts::TAU * (200.0 * t + 467.0 * t * t);
    let sweep: Vec<f32> =
        (0..16_000 * 15).map(|n| 0.3 * phase((n % 48_000) as f32 / 16_000.0).sin()).collect();
    let quiet_noise: Vec<f32> = sweep.iter().enumerate().map(|(n, s)| s + 0.01 * noise(n)).collect();
    for (samples, words) in [
        (steady, ["no_speech"; 2]),
        (sweep, ["no_speech"; 2]),
        (quiet_noise, ["no_speech"; 2]),
        (chords(15), ["no_speech", "too_short"]),
    ] {
        let refusal = analyser.analyse(&samples, &rules, |_| {}).unwrap_err();
        assert!(words.contains(&refusal.word()), "{refusal}");
    }

    // Pulses are no speech to the network, so its rule is off here.
    let rules = ClipRules { min_speech_share: 0.0, ..ClipRules::default() };
    let mut shares = Vec::new();
    let clip = analyser.analyse(&speech(14, 1e-4), &rules, |share| shares.push(share)).unwrap();
    assert!((9.0..14.1).contains(&clip.speech_s), "{}", clip.speech_s);
    assert!(clip.snr_db.unwrap() > 20.0, "{:?}", clip.snr_db);
    assert!(shares.is_sorted() && shares.last() == Some(&1.0));
    // The same sound is the same voice.
    let again = analyser.analyse(&speech(9, 1e-4), &rules, |_| {}).unwrap();
    assert!(clip.embedding.cosine(&again.embedding) > 0.9);
}
