//! Summary figures of many measurements.

use serde::Serialize;

use crate::percentile::percentile;

/// Median and upper percentiles; zeros without a measurement.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub(super) struct Spread {
    /// Measurements.
    pub(super) n: usize,
    /// Half of them are at most this.
    pub(super) median: f64,
    /// Nineteen of twenty are at most this.
    pub(super) p95: f64,
    /// Ninety-nine of a hundred are at most this.
    pub(super) p99: f64,
    /// The largest.
    pub(super) max: f64,
}

impl Spread {
    /// Of values in any order; sorts them. Percentiles are by nearest rank.
    pub(super) fn of(values: &mut [f64]) -> Self {
        values.sort_unstable_by(f64::total_cmp);
        let at = |share| percentile(values, share);
        Self {
            n: values.len(),
            median: at(0.5),
            p95: at(0.95),
            p99: at(0.99),
            max: values.last().copied().unwrap_or(0.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let mut values: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        let spread = Spread::of(&mut values);
        assert_eq!(spread, Spread { n: 200, median: 100.0, p95: 190.0, p99: 198.0, max: 200.0 });
        assert_eq!(Spread::of(&mut [7.0]), Spread { n: 1, median: 7.0, p95: 7.0, p99: 7.0, max: 7.0 });
        assert_eq!(Spread::of(&mut []), Spread::default());
    }
}
