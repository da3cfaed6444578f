//! Probabilities that are fitted to recordings: the folds, the fit, and the line that reports it.

use anyhow::Context as _;
use diarized_models::logistic::{Sample, fit_logistic};
use diarized_models::scoring::Reliability;

/// Number of folds of recordings.
const FOLDS: usize = 6;

/// What was measured of a case, whether it was right, and how much it counts.
#[must_use]
pub fn case<const N: usize>(features: [f32; N], is_right: bool, weight: f64) -> Sample<N> {
    Sample { measures: features.map(f64::from), truth: f64::from(u8::from(is_right)), weight }
}

/// Weights of a logistic model for which a case is likeliest right where it was.
///
/// # Errors
///
/// When the cases do not determine the weights.
pub fn fitted<const N: usize>(cases: &[Sample<N>]) -> anyhow::Result<[f64; N]> {
    fit_logistic(cases, [0.0; N]).context("the recordings do not tell the weights: more of them are needed")
}

/// The probability that a case with these `measures` is right.
#[must_use]
pub fn probability<const N: usize>(weights: &[f64; N], measures: &[f64; N]) -> f64 {
    let log_odds: f64 = weights.iter().zip(measures).map(|(weight, measure)| weight * measure).sum();
    1.0 / (1.0 + (-log_odds).exp())
}

/// The reliability on recordings that a fit has not seen: of six fits, each on five sixths of `recordings`.
///
/// # Errors
///
/// As [`fitted`].
pub fn reliability_unseen<const N: usize>(recordings: &[Vec<Sample<N>>]) -> anyhow::Result<Reliability> {
    let mut unseen = Reliability::default();
    for fold in 0..FOLDS {
        let part = |is_own: bool| -> Vec<Sample<N>> {
            let parts = recordings.iter().enumerate().filter(|(n, _)| (n % FOLDS == fold) == is_own);
            parts.flat_map(|(_, cases)| cases.iter().copied()).collect()
        };
        let weights = fitted(&part(false))?;
        for case in part(true) {
            unseen.add(probability(&weights, &case.measures), case.truth > 0.5);
        }
    }
    Ok(unseen)
}

/// Prints a line about `name`: how many cases, called `cases`, were right, how far their confidences agree, and the tenths of
/// the confidences with `fewest` cases and more.
pub fn print_line(name: &str, cases: &str, reliability: &Reliability, fewest: usize) {
    let all = reliability.total();
    print!(
        "  {name:20} {:5} {cases}, {:.1} % right, ECE {:.1}, Brier {:.4} ({:.4});",
        all.n_labels,
        100.0 * all.right_share(),
        100.0 * reliability.ece(),
        reliability.brier(),
        reliability.constant_brier()
    );
    for tenth in reliability.tenths().iter().filter(|tenth| tenth.n_labels >= fewest) {
        print!(
            " {:.0}:{:.0} ({})",
            100.0 * tenth.mean_confidence(),
            100.0 * tenth.right_share(),
            tenth.n_labels
        );
    }
    println!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recordings_of_one_kind_are_as_reliable_unseen() {
        // One in four cases with the measure 0 is right, three in four with 1.
        let recording: Vec<Sample<2>> = (0..8)
            .map(|n| {
                let (measure, in_four) = (f64::from(n / 4), n % 4);
                let is_right = if measure > 0.5 { in_four < 3 } else { in_four < 1 };
                Sample { measures: [measure, 1.0], truth: f64::from(u8::from(is_right)), weight: 1.0 }
            })
            .collect();
        let recordings = vec![recording; 12];
        let weights = fitted(&recordings.concat()).expect("both kinds are there");
        assert!((probability(&weights, &[0.0, 1.0]) - 0.25).abs() < 1e-6);
        assert!((probability(&weights, &[1.0, 1.0]) - 0.75).abs() < 1e-6);
        let unseen = reliability_unseen(&recordings).expect("each part holds both kinds");
        assert_eq!(unseen.n_labels(), 96);
        assert!(unseen.ece() < 1e-6, "{}", unseen.ece());
        let error = fitted(&[recordings[0][0]; 3]).expect_err("one kind tells nothing");
        assert!(error.to_string().contains("more of them are needed"), "{error}");
    }
}
