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

/// Probability that belongs to log odds.
#[must_use]
pub fn sigmoid(log_odds: f32) -> f32 {
    1.0 / (1.0 + (-log_odds).exp())
}
