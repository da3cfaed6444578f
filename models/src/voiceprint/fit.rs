//! Fits the calibration of voiceprints on scored comparisons.

use crate::calibration::{Calibration, sigmoid};

/// Rounds of Newton's method; it settles in about ten.
const ROUNDS: usize = 100;
/// Probability of "one person" that the fit is made for: names are given among some thirty known people, so the map must
/// be right where evidence is strong, and not half way between the classes.
const PRIOR: f64 = 0.03;

/// The affine map from cosine to log-likelihood ratio that fits the cosines of comparisons within one person
/// (`target`) and between two (`nontarget`) best: logistic regression weighted for a small probability of "one person"
/// (Brümmer and du Preez, "Application-independent evaluation of speaker detection", 2006), with the softened labels of Platt ("Probabilistic outputs for support vector machines", 1999), which keep the scale finite
/// where the classes do not overlap. `None` without comparisons of both kinds or if the cosines say nothing.
#[must_use]
pub fn fit_calibration(target: &[f32], nontarget: &[f32]) -> Option<Calibration> {
    let (n_target, n_nontarget) = (target.len() as f64, nontarget.len() as f64);
    if target.is_empty() || nontarget.is_empty() {
        return None;
    }
    // (cosine, label, weight)
    let soft_one = (n_target + 1.0) / (n_target + 2.0);
    let soft_zero = 1.0 / (n_nontarget + 2.0);
    let trials = || {
        let ones = target.iter().map(move |&c| (f64::from(c), soft_one, PRIOR / n_target));
        ones.chain(nontarget.iter().map(move |&c| (f64::from(c), soft_zero, (1.0 - PRIOR) / n_nontarget)))
    };
    let log_odds = (PRIOR / (1.0 - PRIOR)).ln();
    let loss = |scale: f64, offset: f64| {
        trials()
            .map(|(cosine, label, weight)| {
                let z = scale * cosine + offset + log_odds;
                // ln(1 + e^z) - label z, without overflow.
                weight * (z.max(0.0) + (-z.abs()).exp().ln_1p() - label * z)
            })
            .sum::<f64>()
    };
    let (mut scale, mut offset) = (10.0_f64, -4.0_f64);
    for _ in 0..ROUNDS {
        let (mut g, mut h) = ([0.0; 2], [0.0; 3]);
        for (cosine, label, weight) in trials() {
            let p = f64::from(sigmoid((scale * cosine + offset + log_odds) as f32));
            let (error, curve) = (weight * (p - label), weight * (p * (1.0 - p)).max(1e-12));
            g[0] += error * cosine;
            g[1] += error;
            h[0] += curve * cosine * cosine;
            h[1] += curve * cosine;
            h[2] += curve;
        }
        let determinant = h[0] * h[2] - h[1] * h[1];
        if determinant <= 0.0 {
            break;
        }
        let step = [(h[2] * g[0] - h[1] * g[1]) / determinant, (h[0] * g[1] - h[1] * g[0]) / determinant];
        // Halved until the loss falls: far from the optimum a whole step may overshoot.
        let before = loss(scale, offset);
        let mut share = 1.0;
        while share > 1e-6 && loss(scale - share * step[0], offset - share * step[1]) > before {
            share /= 2.0;
        }
        scale -= share * step[0];
        offset -= share * step[1];
        if (share * step[0]).abs() < 1e-4 && (share * step[1]).abs() < 1e-4 {
            break;
        }
    }
    let fits = scale.is_finite() && offset.is_finite() && scale > 0.0;
    fits.then_some(Calibration { window_ms: 0, scale: scale as f32, offset: offset as f32 })
}
