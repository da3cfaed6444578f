//! Weighted logistic regression by Newton's method.

/// Rounds of Newton's method; it settles in about ten.
const ROUNDS: usize = 100;
/// Settled when no weight moves by more.
const TOLERANCE: f64 = 1e-4;

/// What was measured once, and what was true.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample<const N: usize> {
    /// The measures; a 1 among them gives the fit a constant.
    pub measures: [f64; N],
    /// How true the fact is, 0 to 1.
    pub truth: f64,
    /// How much the sample counts, at least 0.
    pub weight: f64,
}

/// Weights of the measures for which [`log_loss`] is least, from `start` on: Newton's method, with steps halved until
/// the loss falls. `None` if the samples do not determine the weights. Cost of a round: `O(n_samples · N²)`.
#[must_use]
pub fn fit_logistic<const N: usize>(samples: &[Sample<N>], start: [f64; N]) -> Option<[f64; N]> {
    let mut weights = start;
    let mut loss = log_loss(samples, &weights);
    for _ in 0..ROUNDS {
        let (mut slope, mut curvature) = ([0.0; N], [[0.0; N]; N]);
        for sample in samples {
            let p = 1.0 / (1.0 + (-log_odds(sample, &weights)).exp());
            let (error, curve) =
                (sample.weight * (p - sample.truth), sample.weight * (p * (1.0 - p)).max(1e-12));
            for (i, x) in sample.measures.iter().enumerate() {
                slope[i] += error * x;
                curvature[i].iter_mut().zip(&sample.measures).for_each(|(c, y)| *c += curve * x * y);
            }
        }
        let step = solved(curvature, slope)?;
        // Far from the optimum a whole step may overshoot.
        let mut share = 1.0;
        let next = loop {
            let next: [f64; N] = std::array::from_fn(|i| weights[i] - share * step[i]);
            let next_loss = log_loss(samples, &next);
            if next_loss <= loss || share < 1e-6 {
                loss = next_loss;
                break next;
            }
            share /= 2.0;
        };
        weights = next;
        if step.iter().all(|s| (share * s).abs() < TOLERANCE) {
            break;
        }
    }
    weights.iter().all(|w| w.is_finite()).then_some(weights)
}

/// Cross entropy of `samples` under these weights, in nats, summed by their own weights.
#[must_use]
pub fn log_loss<const N: usize>(samples: &[Sample<N>], weights: &[f64; N]) -> f64 {
    samples
        .iter()
        .map(|sample| {
            let z = log_odds(sample, weights);
            // ln(1 + e^z) - truth z, without overflow.
            sample.weight * (z.max(0.0) + (-z.abs()).exp().ln_1p() - sample.truth * z)
        })
        .sum()
}

fn log_odds<const N: usize>(sample: &Sample<N>, weights: &[f64; N]) -> f64 {
    sample.measures.iter().zip(weights).map(|(x, w)| x * w).sum()
}

/// `x` with `a x = b`, by Cholesky's factors; `None` unless `a` is positive definite.
fn solved<const N: usize>(a: [[f64; N]; N], b: [f64; N]) -> Option<[f64; N]> {
    let mut l = [[0.0; N]; N];
    for i in 0..N {
        for j in 0..=i {
            let rest = a[i][j] - (0..j).map(|k| l[i][k] * l[j][k]).sum::<f64>();
            if i != j {
                l[i][j] = rest / l[j][j];
            } else if rest > 0.0 {
                l[i][i] = rest.sqrt();
            } else {
                return None;
            }
        }
    }
    let mut x = b;
    for i in 0..N {
        x[i] = (x[i] - (0..i).map(|k| l[i][k] * x[k]).sum::<f64>()) / l[i][i];
    }
    for i in (0..N).rev() {
        x[i] = (x[i] - (i + 1..N).map(|k| l[k][i] * x[k]).sum::<f64>()) / l[i][i];
    }
    Some(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equations_are_solved() {
        let a = [[4.0, 1.0, 0.5], [1.0, 3.0, -0.2], [0.5, -0.2, 2.0]];
        let x = solved(a, [1.0, -2.0, 3.0]).unwrap();
        for (row, b) in a.iter().zip([1.0, -2.0, 3.0]) {
            let got: f64 = row.iter().zip(x).map(|(a, x)| a * x).sum();
            assert!((got - b).abs() < 1e-12, "{x:?}");
        }
        assert!(solved([[1.0, 1.0], [1.0, 1.0]], [1.0, 1.0]).is_none());
    }

    #[test]
    fn the_weights_that_made_the_truth_are_found() {
        let made = [1.5, -0.7, 0.3];
        let samples: Vec<Sample<3>> = (0..400)
            .map(|n| {
                let measures = [f64::from(n % 20) / 5.0 - 2.0, f64::from(n / 20) / 4.0 - 2.5, 1.0];
                let z: f64 = measures.iter().zip(made).map(|(x, w)| x * w).sum();
                Sample { measures, truth: 1.0 / (1.0 + (-z).exp()), weight: 1.0 }
            })
            .collect();
        for start in [[0.0; 3], [20.0, 20.0, -20.0]] {
            let got = fit_logistic(&samples, start).unwrap();
            assert!(got.iter().zip(made).all(|(g, m)| (g - m).abs() < 1e-3), "{got:?}");
        }
        let twice: Vec<Sample<2>> = samples
            .iter()
            .map(|s| Sample { measures: [s.measures[0]; 2], truth: s.truth, weight: 1.0 })
            .collect();
        assert!(fit_logistic(&twice, [0.0; 2]).is_none(), "two measures that are one tell no weights");
    }
}
