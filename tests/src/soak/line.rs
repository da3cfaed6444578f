//! A straight line through measurements: how fast something grows.

/// The line of least squares, `value = at_zero + slope * time`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line {
    /// Its value at time 0.
    pub at_zero: f64,
    /// Its growth in one unit of time.
    pub slope: f64,
}

impl Line {
    /// Through points of time and value; level where there is only one moment, none without points.
    #[must_use]
    pub fn through(points: &[(f64, f64)]) -> Option<Self> {
        if points.is_empty() {
            return None;
        }
        let n = points.len() as f64;
        let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / n;
        let (time, value) = (mean(|p| p.0), mean(|p| p.1));
        let spread: f64 = points.iter().map(|p| (p.0 - time).powi(2)).sum();
        let common: f64 = points.iter().map(|p| (p.0 - time) * (p.1 - value)).sum();
        let slope = if spread > 0.0 { common / spread } else { 0.0 };
        Some(Self { at_zero: value - slope * time, slope })
    }

    /// What it grows between two times.
    #[must_use]
    pub fn growth(&self, from: f64, to: f64) -> f64 {
        self.slope * (to - from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_again_and_noise_on_both_sides_does_not_bend_it() {
        let points: Vec<_> = (0..100).map(|n| (f64::from(n), 3.0 + 0.5 * f64::from(n))).collect();
        let line = Line::through(&points).unwrap();
        assert!((line.at_zero - 3.0).abs() < 1e-9 && (line.slope - 0.5).abs() < 1e-9, "{line:?}");
        assert!((line.growth(10.0, 30.0) - 10.0).abs() < 1e-9);
        let noisy: Vec<_> = points
            .iter()
            .enumerate()
            .map(|(idx, p)| (p.0, p.1 + if idx % 2 == 0 { 1.0 } else { -1.0 }))
            .collect();
        assert!((Line::through(&noisy).unwrap().slope - 0.5).abs() < 0.01);
        assert_eq!(Line::through(&[(1.0, 7.0)]), Some(Line { at_zero: 7.0, slope: 0.0 }));
        assert_eq!(Line::through(&[]), None);
    }
}
