//! Fits the calibration of voiceprints on scored comparisons.

use crate::calibration::Calibration;
use crate::logistic::{Sample, fit_logistic};

/// Probability of "one person" that the fit is made for: names are given among some thirty known people, so the map must
/// be right where evidence is strong, and not half way between the classes.
const PRIOR: f64 = 0.03;

/// The affine map from cosine to log-likelihood ratio that fits the cosines of comparisons within one person
/// (`target`) and between two (`nontarget`) best: logistic regression weighted for a small probability of "one person"
/// (Brümmer and du Preez, "Application-independent evaluation of speaker detection", 2006), with the softened labels of
/// Platt ("Probabilistic outputs for support vector machines", 1999), which keep the scale finite where the classes do
/// not overlap. `None` without comparisons of both kinds or if the cosines do not separate them.
#[must_use]
pub fn fit_calibration(target: &[f32], nontarget: &[f32]) -> Option<Calibration> {
    let (n_target, n_nontarget) = (target.len() as f64, nontarget.len() as f64);
    if target.is_empty() || nontarget.is_empty() {
        return None;
    }
    let sample = |&cosine: &f32, truth, weight| Sample { measures: [f64::from(cosine), 1.0], truth, weight };
    let (soft_one, soft_zero) = ((n_target + 1.0) / (n_target + 2.0), 1.0 / (n_nontarget + 2.0));
    let ones = target.iter().map(|cosine| sample(cosine, soft_one, PRIOR / n_target));
    let zeros = nontarget.iter().map(|cosine| sample(cosine, soft_zero, (1.0 - PRIOR) / n_nontarget));
    let samples: Vec<Sample<2>> = ones.chain(zeros).collect();
    let log_odds = (PRIOR / (1.0 - PRIOR)).ln();
    let [scale, constant] = fit_logistic(&samples, [10.0, -4.0 + log_odds])?;
    let offset = (constant - log_odds) as f32;
    (scale > 0.0).then_some(Calibration { window_ms: 0, scale: scale as f32, offset })
}
