//! What must hold of any error rate; figures against scikit-learn are in the conformance tests.

use proptest::prelude::*;

use super::*;

fn scores(target: &[f64], nontarget: &[f64]) -> TrialScores {
    TrialScores::try_new(target.to_vec(), nontarget.to_vec()).unwrap()
}

#[test]
fn separated_voices_have_no_error_and_the_threshold_lies_between() {
    let scores = scores(&[0.8, 0.9], &[0.1, 0.2]);
    assert_eq!(scores.eer().rate, 0.0);
    assert!(scores.eer().threshold > 0.2 && scores.eer().threshold <= 0.8);
    assert_eq!(scores.min_dcf(0.01).rate, 0.0);
    assert_eq!(scores.min_dcf(0.01).threshold, 0.8);
    assert_eq!(scores.min_cllr(), 0.0);
}

#[test]
fn one_miss_and_one_false_alarm_of_four_is_a_quarter() {
    let scores = scores(&[0.9, 0.8, 0.7, 0.2], &[0.1, 0.3, 0.15, 0.05]);
    assert_eq!(scores.eer().rate, 0.25);
    assert_eq!(scores.eer_kaldi().rate, 0.25);
}

#[test]
fn useless_scores_cost_one_bit_and_half_the_trials() {
    let scores = scores(&[0.0, 0.0], &[0.0, 0.0]);
    assert_eq!(scores.eer().rate, 0.5);
    assert!((scores.cllr() - 1.0).abs() < 1e-12);
    assert!((scores.min_cllr() - 1.0).abs() < 1e-12);
    assert_eq!(scores.min_dcf(0.01).rate, 1.0);
}

#[test]
fn huge_log_likelihood_ratios_do_not_overflow() {
    assert_eq!(scores(&[1e6], &[-1e6]).cllr(), 0.0);
    assert!(scores(&[-1e6], &[1e6]).cllr().is_finite());
}

#[test]
fn what_cannot_be_scored_is_refused() {
    assert_eq!(
        TrialScores::try_new(vec![], vec![1.0]).unwrap_err(),
        TrialScoresError::MissingKind { n_target: 0, n_nontarget: 1 }
    );
    let error = TrialScores::try_new(vec![1.0, f64::NAN], vec![1.0]).unwrap_err();
    assert_eq!(error.to_string(), "a score is NaN, expected finite numbers");
}

fn some_scores() -> impl Strategy<Value = TrialScores> {
    // Coarse scores, so that ties within and across the kinds are common.
    let score = |n: usize| proptest::collection::vec((-20i32..20).prop_map(|s| f64::from(s) / 4.0), 1..n);
    (score(40), score(60)).prop_map(|(t, n)| TrialScores::try_new(t, n).unwrap())
}

proptest! {
    #[test]
    fn det_points_are_what_counting_gives(scores in some_scores()) {
        for point in scores.det() {
            let below = scores.target.iter().filter(|s| **s < point.threshold).count();
            let above = scores.nontarget.iter().filter(|s| **s >= point.threshold).count();
            prop_assert_eq!(point.p_miss, below as f64 / scores.n_target() as f64);
            prop_assert_eq!(point.p_fa, above as f64 / scores.n_nontarget() as f64);
        }
    }

    #[test]
    fn a_monotone_change_of_scores_changes_no_rate(scores in some_scores()) {
        let change = |s: &[f64]| s.iter().map(|s| (s / 3.0).exp() - 7.0).collect::<Vec<_>>();
        let changed = TrialScores::try_new(change(&scores.target), change(&scores.nontarget)).unwrap();
        prop_assert_eq!(changed.eer().rate, scores.eer().rate);
        prop_assert_eq!(changed.eer_kaldi().rate, scores.eer_kaldi().rate);
        prop_assert_eq!(changed.min_dcf(0.05).rate, scores.min_dcf(0.05).rate);
        prop_assert!((changed.min_cllr() - scores.min_cllr()).abs() < 1e-12);
    }

    #[test]
    fn bounds_between_the_measures_hold(scores in some_scores()) {
        prop_assert!(scores.eer_convex_hull().rate <= scores.eer().rate + 1e-12);
        prop_assert!(scores.eer_convex_hull().rate <= 0.5 + 1e-12);
        prop_assert!(scores.min_cllr() <= scores.cllr() + 1e-12);
        for p in [0.01, 0.05, 0.5] {
            prop_assert!((0.0..=1.0 + 1e-12).contains(&scores.min_dcf(p).rate));
        }
    }
}
