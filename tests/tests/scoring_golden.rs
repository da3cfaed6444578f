//! Scores of stored cases agree with pyannote.metrics (DER, JER, speaker count) and scikit-learn (EER, Cllr).
//!
//! The figures come from `tests/scoring/parity.py golden` and `tests/scoring/eer_golden.py`.

use std::fs;
use std::path::{Path, PathBuf};

use diarized_models::rttm::{parse_rttm, parse_uem};
use diarized_models::scoring::eer::TrialScores;
use diarized_models::scoring::{DerParams, Span, Turn, score_recording};
use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scoring")
}

fn rows(path: &Path) -> Vec<Value> {
    let rows: Vec<Value> = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    assert!(!rows.is_empty(), "{} holds no case", path.display());
    rows
}

fn turns(path: &Path) -> Vec<Turn> {
    let lines = parse_rttm(&path.display().to_string(), &fs::read(path).unwrap()).unwrap();
    lines.iter().map(Turn::from).collect()
}

fn uem(path: &Path) -> Option<Vec<Span>> {
    let regions = parse_uem(&path.display().to_string(), &fs::read(path).ok()?).unwrap();
    Some(regions.iter().map(|region| Span::new(region.start, region.end)).collect())
}

#[test]
fn diarization_error_agrees_with_pyannote_metrics() {
    let golden = folder().join("golden");
    let rows = rows(&golden.join("expected.json"));
    assert!(rows.len() >= 150, "only {} golden scores", rows.len());
    for row in rows {
        let case = row["case"].as_str().unwrap();
        let number = |key: &str| row[key].as_f64().unwrap();
        let params = DerParams::try_new(number("collar_s"), row["skip_overlap"].as_bool().unwrap()).unwrap();
        let side = |kind: &str| turns(&golden.join(format!("{case}.{kind}.rttm")));
        let regions = uem(&golden.join(format!("{case}.uem")));
        let score = score_recording(&side("ref"), &side("hyp"), regions.as_deref(), params);

        let check = |key: &str, got: f64, tolerance: f64| {
            let expected = number(key);
            assert!(
                (got - expected).abs() <= tolerance,
                "{case} {params:?}: {key} {got}, expected {expected}"
            );
        };
        // 0.01 points is the promise; the sums differ only by what 64-bit floats lose on the other side.
        check("der", 100.0 * score.der.rate(), 1e-4);
        // pyannote.metrics has a JER of 100 % where neither side has speech in the scored regions; here it is 0.
        if number("total_s") == 0.0 && number("false_alarm_s") == 0.0 {
            assert_eq!(score.jer.rate(), 0.0, "{case}");
        } else {
            check("jer", 100.0 * score.jer.rate(), 1e-4);
        }
        check("total_s", score.der.total.seconds(), 1e-5);
        check("missed_s", score.der.missed.seconds(), 1e-5);
        check("false_alarm_s", score.der.false_alarm.seconds(), 1e-5);
        check("confusion_s", score.der.confusion.seconds(), 1e-5);
        check("speaker_count_error", score.speaker_count_error().abs() as f64, 0.0);
    }
}

#[test]
fn verification_error_agrees_with_scikit_learn() {
    for row in rows(&folder().join("eer_expected.json")) {
        let list = |key: &str| row[key].as_array().unwrap().iter().map(|s| s.as_f64().unwrap()).collect();
        let scores = TrialScores::try_new(list("target"), list("nontarget")).unwrap();
        let check = |key: &str, got: f64| {
            let expected = row[key].as_f64().unwrap();
            assert!((got - expected).abs() < 1e-6, "{}: {key} {got}, expected {expected}", row["case"]);
        };
        check("eer", scores.eer().rate);
        check("eer_convex_hull", scores.eer_convex_hull().rate);
        check("eer_kaldi", scores.eer_kaldi().rate);
        check("min_dcf_01", scores.min_dcf(0.01).rate);
        check("min_dcf_05", scores.min_dcf(0.05).rate);
        check("cllr", scores.cllr());
        check("min_cllr", scores.min_cllr());
    }
}
