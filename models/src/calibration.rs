//! From cosine to evidence: the log-likelihood ratio of "one speaker" against "two speakers".

/// An affine map from cosine to log-likelihood ratio, fitted by logistic regression (Brümmer and du Preez,
/// "Application-independent evaluation of speaker detection", 2006) on speakers that training never saw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Calibration {
    /// Length of the windows it was fitted on, in milliseconds.
    pub window_ms: u32,
    /// Factor of the cosine; positive.
    pub scale: f32,
    /// Constant added; the cosine of even evidence is `-offset / scale`.
    pub offset: f32,
}

impl Calibration {
    /// Natural-log likelihood ratio of a cosine in `[-1, 1]`; free of any prior.
    #[must_use]
    pub fn llr(&self, cosine: f32) -> f32 {
        self.scale.mul_add(cosine, self.offset)
    }

    /// The cosine at which the log-likelihood ratio is `llr`.
    #[must_use]
    pub fn cosine_at(&self, llr: f32) -> f32 {
        (llr - self.offset) / self.scale
    }
}

/// The map from cosine to log-likelihood ratio for one length of print and one of the voice it is compared with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PrintCalibration {
    /// Speech behind the print, in seconds.
    pub enrol_s: f32,
    /// Speech behind the voice, in seconds.
    pub test_s: f32,
    /// Factor of the cosine; positive.
    pub scale: f32,
    /// Constant added.
    pub offset: f32,
}

/// Calibrations over a grid of lengths. Longer speech gives steadier means: cosines of one person rise, those of two
/// do not, so the same cosine is weaker and weaker evidence for "one person" as the lengths grow.
#[derive(Debug, Clone, PartialEq)]
pub struct PrintCalibrations {
    enrol_s: Vec<f32>,
    test_s: Vec<f32>,
    /// Shape `(n_enrol, n_test)`, row-major.
    cells: Vec<(f32, f32)>,
}

impl PrintCalibrations {
    /// The grid that `cells` span; each length of print must be given with each length of voice, once.
    ///
    /// # Errors
    /// What is missing, doubled or out of range.
    pub fn try_new(cells: &[PrintCalibration]) -> Result<Self, &'static str> {
        let axis = |of: fn(&PrintCalibration) -> f32| {
            let mut values: Vec<f32> = cells.iter().map(of).collect();
            values.sort_by(f32::total_cmp);
            values.dedup();
            values
        };
        let (enrol_s, test_s) = (axis(|c| c.enrol_s), axis(|c| c.test_s));
        let fine = |c: &PrintCalibration| {
            let numbers = [c.enrol_s, c.test_s, c.scale];
            numbers.iter().all(|v| v.is_finite() && *v > 0.0) && c.offset.is_finite()
        };
        if cells.is_empty() || !cells.iter().all(fine) {
            return Err("lengths and scale must be positive and finite");
        }
        if cells.len() != enrol_s.len() * test_s.len() {
            return Err("every enrol_s must be given once with every test_s");
        }
        let mut grid = Vec::with_capacity(cells.len());
        for &e in &enrol_s {
            for &t in &test_s {
                let mut here = cells.iter().filter(|c| c.enrol_s == e && c.test_s == t);
                match (here.next(), here.next()) {
                    (Some(cell), None) => grid.push((cell.scale, cell.offset)),
                    _ => return Err("every enrol_s must be given once with every test_s"),
                }
            }
        }
        Ok(Self { enrol_s, test_s, cells: grid })
    }

    /// One calibration for all lengths, for a model that was not calibrated for prints.
    #[must_use]
    pub fn flat(calibration: Calibration) -> Self {
        Self { enrol_s: vec![1.0], test_s: vec![1.0], cells: vec![(calibration.scale, calibration.offset)] }
    }

    /// Natural-log likelihood ratio of "one person" for the cosine of a print of `enrol_s` seconds and a voice of
    /// `test_s`. Between the lengths of the grid it is interpolated over their logarithms, outside of it the edge
    /// holds.
    #[must_use]
    pub fn llr(&self, cosine: f32, enrol_s: f32, test_s: f32) -> f32 {
        let (e, e_part) = place(&self.enrol_s, enrol_s);
        let (t, t_part) = place(&self.test_s, test_s);
        let n_test = self.test_s.len();
        let at = |e: usize, t: usize| {
            let (scale, offset) = self.cells[e.min(self.enrol_s.len() - 1) * n_test + t.min(n_test - 1)];
            scale.mul_add(cosine, offset)
        };
        let along = |e: usize| (1.0 - t_part) * at(e, t) + t_part * at(e, t + 1);
        (1.0 - e_part) * along(e) + e_part * along(e + 1)
    }
}

/// The cell of `axis` that `value` lies in and how far into it, on a logarithmic scale, in `[0, 1]`.
fn place(axis: &[f32], value: f32) -> (usize, f32) {
    let above = axis.partition_point(|&edge| edge <= value);
    match (above.checked_sub(1), axis.get(above)) {
        (None, _) => (0, 0.0),
        (Some(below), None) => (below, 0.0),
        (Some(below), Some(&high)) => {
            let low = axis[below];
            (below, ((value / low).ln() / (high / low).ln()).clamp(0.0, 1.0))
        }
    }
}

/// Probability that belongs to log odds.
#[must_use]
pub fn sigmoid(log_odds: f32) -> f32 {
    1.0 / (1.0 + (-log_odds).exp())
}

/// About that of the built-in model for its windows.
#[cfg(test)]
pub(crate) const CALIBRATION: Calibration = Calibration { window_ms: 1500, scale: 16.4, offset: -4.0 };
