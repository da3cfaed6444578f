//! Equal error rate, detection cost and Cllr of verification scores.
//!
//! A trial is accepted when its score is at or above the threshold. Definitions:
//!
//! - **EER**: where the ROC, its points joined by straight lines (trials with equal scores are one step),
//!   crosses miss rate = false-alarm rate. This is `1 − x = tpr(x)` on scikit-learn's `roc_curve`.
//! - **EER of the convex hull**: the same on the ROC's lower convex hull (Brümmer & du Preez, 2013, "The BOSARIS
//!   toolkit", ROCCH-EER); never above the EER, and steadier when trials are few.
//! - **EER as Kaldi's `compute-eer` has it**: the share of targets below the first target score that beats the
//!   non-target score of the same rank from above; no interpolation.
//! - **minDCF**: the least over all thresholds of `(p·P_miss + (1 − p)·P_fa) / min(p, 1 − p)`: NIST's cost with
//!   `C_miss = C_fa = 1`, normalised by the better of accepting all and rejecting all.
//! - **Cllr** (Brümmer & du Preez, 2006): cost of natural log-likelihood ratios in bits; it means something for
//!   calibrated scores only. **min Cllr** is what the best monotone calibration (pool adjacent violators)
//!   would reach.

#[cfg(test)]
mod tests;

/// Scores of target and non-target trials, sorted, finite, and at least one of each.
#[derive(Debug, Clone, PartialEq)]
pub struct TrialScores {
    target: Vec<f64>,
    nontarget: Vec<f64>,
}

/// Scores that no error rate can be computed from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrialScoresError {
    /// One kind of trial is missing.
    #[error("got {n_target} target and {n_nontarget} non-target trials, expected at least one of each")]
    MissingKind {
        /// Number of target trials.
        n_target: usize,
        /// Number of non-target trials.
        n_nontarget: usize,
    },
    /// A score is NaN or infinite.
    #[error("a score is {got}, expected finite numbers")]
    NotFinite {
        /// The score, as text.
        got: String,
    },
}

/// A point of the detection error trade-off.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DetPoint {
    /// Trials with at least this score are accepted; +∞ for the point that accepts none.
    pub threshold: f64,
    /// Share of target trials rejected, in `[0, 1]`.
    pub p_miss: f64,
    /// Share of non-target trials accepted, in `[0, 1]`.
    pub p_fa: f64,
}

/// An error rate and the threshold that it belongs to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EqualError {
    /// The rate, in `[0, 1]`.
    pub rate: f64,
    /// The score to compare with.
    pub threshold: f64,
}

impl TrialScores {
    /// Takes the scores of both kinds of trials in any order.
    ///
    /// # Errors
    /// [`TrialScoresError`] if a kind is missing or a score is not finite.
    pub fn try_new(mut target: Vec<f64>, mut nontarget: Vec<f64>) -> Result<Self, TrialScoresError> {
        if target.is_empty() || nontarget.is_empty() {
            return Err(TrialScoresError::MissingKind {
                n_target: target.len(),
                n_nontarget: nontarget.len(),
            });
        }
        if let Some(odd) = target.iter().chain(&nontarget).find(|score| !score.is_finite()) {
            return Err(TrialScoresError::NotFinite { got: odd.to_string() });
        }
        target.sort_unstable_by(f64::total_cmp);
        nontarget.sort_unstable_by(f64::total_cmp);
        Ok(Self { target, nontarget })
    }

    /// Number of target trials, at least 1.
    #[must_use]
    pub fn n_target(&self) -> usize {
        self.target.len()
    }

    /// Number of non-target trials, at least 1.
    #[must_use]
    pub fn n_nontarget(&self) -> usize {
        self.nontarget.len()
    }

    /// All operating points, from rejecting everything to accepting everything, one a distinct score.
    #[must_use]
    pub fn det(&self) -> Vec<DetPoint> {
        let (n_target, n_nontarget) = (self.target.len(), self.nontarget.len());
        let point = |threshold, n_accepted_target: usize, n_accepted_nontarget: usize| DetPoint {
            threshold,
            p_miss: (n_target - n_accepted_target) as f64 / n_target as f64,
            p_fa: n_accepted_nontarget as f64 / n_nontarget as f64,
        };
        let mut points = vec![point(f64::INFINITY, 0, 0)];
        let (mut t, mut n) = (n_target, n_nontarget);
        while t > 0 || n > 0 {
            let top = |scores: &[f64], left: usize| left.checked_sub(1).map(|last| scores[last]);
            let threshold = match (top(&self.target, t), top(&self.nontarget, n)) {
                (Some(a), Some(b)) => a.max(b),
                (Some(a), None) => a,
                (None, b) => b.unwrap_or(f64::NEG_INFINITY),
            };
            while t > 0 && self.target[t - 1] >= threshold {
                t -= 1;
            }
            while n > 0 && self.nontarget[n - 1] >= threshold {
                n -= 1;
            }
            points.push(point(threshold, n_target - t, n_nontarget - n));
        }
        points
    }

    /// The equal error rate on the ROC with its points joined by straight lines.
    #[must_use]
    pub fn eer(&self) -> EqualError {
        crossing(&self.det())
    }

    /// The equal error rate on the convex hull of the ROC; at most [`Self::eer`].
    #[must_use]
    pub fn eer_convex_hull(&self) -> EqualError {
        crossing(&convex_hull(&self.det()))
    }

    /// The equal error rate as Kaldi's `compute-eer` computes it.
    #[must_use]
    pub fn eer_kaldi(&self) -> EqualError {
        let (n_target, n_nontarget) = (self.target.len(), self.nontarget.len());
        let mut position = 0;
        while position + 1 < n_target {
            let n_below_top = (n_nontarget as f64 * position as f64 / n_target as f64) as usize;
            let nontarget = self.nontarget[(n_nontarget - 1).saturating_sub(n_below_top)];
            if nontarget < self.target[position] {
                break;
            }
            position += 1;
        }
        EqualError { rate: position as f64 / n_target as f64, threshold: self.target[position] }
    }

    /// The least normalised detection cost for a prior `p_target` in `(0, 1)`, and its threshold.
    #[must_use]
    pub fn min_dcf(&self, p_target: f64) -> EqualError {
        let norm = p_target.min(1.0 - p_target);
        let cost = |point: &DetPoint| (p_target * point.p_miss + (1.0 - p_target) * point.p_fa) / norm;
        let best = self.det().into_iter().min_by(|a, b| cost(a).total_cmp(&cost(b)));
        // `det` gives at least the two trivial points.
        best.map_or(EqualError { rate: 1.0, threshold: f64::INFINITY }, |point| EqualError {
            rate: cost(&point),
            threshold: point.threshold,
        })
    }

    /// Cost in bits of the scores read as natural log-likelihood ratios.
    #[must_use]
    pub fn cllr(&self) -> f64 {
        let mean = |scores: &[f64], sign: f64| {
            scores.iter().map(|s| softplus(sign * s)).sum::<f64>() / scores.len() as f64
        };
        (mean(&self.target, -1.0) + mean(&self.nontarget, 1.0)) / (2.0 * std::f64::consts::LN_2)
    }

    /// Cllr after the best monotone calibration of these very trials: what the order of the scores is worth.
    #[must_use]
    pub fn min_cllr(&self) -> f64 {
        // On a segment of the hull all scores get the same log-likelihood ratio: its slope. A part with no
        // target (or no non-target) gets an infinite one and costs nothing.
        let hull = convex_hull(&self.det());
        let mut cost = 0.0;
        for pair in hull.windows(2) {
            let (d_target, d_nontarget) = (pair[0].p_miss - pair[1].p_miss, pair[1].p_fa - pair[0].p_fa);
            if d_target > 0.0 && d_nontarget > 0.0 {
                let llr = (d_target / d_nontarget).ln();
                cost += d_target * softplus(-llr) + d_nontarget * softplus(llr);
            }
        }
        cost / (2.0 * std::f64::consts::LN_2)
    }
}

/// `ln(1 + eˣ)` without overflow.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// The lower-left convex hull of a DET's points, from the point that rejects all to the one that accepts all.
#[must_use]
pub fn convex_hull(points: &[DetPoint]) -> Vec<DetPoint> {
    let mut hull: Vec<DetPoint> = Vec::new();
    for point in points {
        while let [.., a, b] = hull[..] {
            // Keep b only if the way a → b → point turns left (b lies below the line from a to point).
            let turn =
                (b.p_fa - a.p_fa) * (point.p_miss - a.p_miss) - (b.p_miss - a.p_miss) * (point.p_fa - a.p_fa);
            if turn > 0.0 {
                break;
            }
            hull.pop();
        }
        hull.push(*point);
    }
    hull
}

/// Where the line through the points crosses `p_miss == p_fa`.
fn crossing(points: &[DetPoint]) -> EqualError {
    let mut before = points[0];
    for after in &points[1..] {
        let (gap_before, gap_after) = (before.p_miss - before.p_fa, after.p_miss - after.p_fa);
        if gap_after <= 0.0 {
            let share = if gap_before > gap_after { gap_before / (gap_before - gap_after) } else { 1.0 };
            let rate = before.p_fa + share * (after.p_fa - before.p_fa);
            let threshold = if before.threshold.is_finite() {
                before.threshold + share * (after.threshold - before.threshold)
            } else {
                after.threshold
            };
            return EqualError { rate, threshold };
        }
        before = *after;
    }
    EqualError { rate: before.p_fa, threshold: before.threshold }
}
