//! Percentiles by nearest rank.

/// The smallest of `sorted`, rising values that a `share` (0 to 1) of them do not exceed; 0 without values.
#[must_use]
pub fn percentile(sorted: &[f64], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!((percentile(&values, 0.99), percentile(&values, 0.5)), (99.0, 50.0));
        assert_eq!((percentile(&[4.0], 0.01), percentile(&[], 0.5)), (4.0, 0.0));
    }
}
