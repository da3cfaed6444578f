//! Probabilistic linear discriminant analysis: how embeddings of one voice scatter, and how voices differ.
//!
//! The two-covariance model in the coordinates in which the scatter within a voice is the identity and the scatter
//! between voices is diagonal (Brümmer and de Villiers, "The speaker partitioning problem", 2010; the notation is
//! that of Landini et al., "Bayesian HMM clustering of x-vector sequences (VBx)", 2022). A voice is a point `y` with
//! prior `N(0, I)`; its embeddings are `z = V·y + noise` with `V = diag(√Φ)`.

use std::sync::Arc;

use crate::embedding::dot;

/// The model's matrices, from the recipe, or isotropic ones where a model brings none. Clones share the large ones.
#[derive(Debug, Clone, PartialEq)]
pub struct Plda {
    mean: Arc<[f32]>,
    /// Shape `(dim, embedding_dim)`, row-major.
    transform: Arc<[f32]>,
    /// Between-voice variance of each coordinate, `Φ`; shape `(dim,)`.
    phi: Vec<f32>,
    root_phi: Vec<f32>,
    /// Length that every projected embedding is scaled to: what the model expects, `√Σ(1 + Φ)`.
    norm: f32,
}

/// Matrices that do not fit the model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PldaError {
    /// The file is not `embedding_dim + dim + dim · embedding_dim` values long.
    #[error(
        "plda.f32 holds {got} bytes; plda_dim = {dim} and embedding_dim = {embedding_dim} need {expected}"
    )]
    Size {
        /// Coordinates that the card promises.
        dim: usize,
        /// Size of the embeddings.
        embedding_dim: usize,
        /// Bytes that these ask for.
        expected: usize,
        /// Bytes of the file.
        got: usize,
    },
    /// A value is not finite, or a variance is not positive.
    #[error("value {index} of plda.f32 is not finite, or is a variance that is not positive")]
    Value {
        /// Position in the file, in values.
        index: usize,
    },
}

impl Plda {
    /// From the contents of `plda.f32`: little-endian floats, the mean `(embedding_dim,)`, `Φ` `(dim,)`, the
    /// transform `(dim, embedding_dim)`.
    ///
    /// # Errors
    /// [`PldaError`].
    pub fn from_bytes(bytes: &[u8], embedding_dim: usize, dim: usize) -> Result<Self, PldaError> {
        let n = embedding_dim + dim + dim * embedding_dim;
        if dim == 0 || bytes.len() != 4 * n {
            return Err(PldaError::Size { dim, embedding_dim, expected: 4 * n, got: bytes.len() });
        }
        let values: Vec<f32> =
            bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        let variances = embedding_dim..embedding_dim + dim;
        if let Some(index) =
            (0..n).find(|i| !values[*i].is_finite() || variances.contains(i) && values[*i] <= 0.0)
        {
            return Err(PldaError::Value { index });
        }
        let (mean, rest) = values.split_at(embedding_dim);
        let (phi, transform) = rest.split_at(dim);
        Ok(Self::new(mean.to_vec(), transform.to_vec(), phi.to_vec()))
    }

    /// A stand-in for a model without matrices: every direction of its embeddings counts alike, and voices differ by
    /// as much as one voice scatters.
    #[must_use]
    pub fn isotropic(embedding_dim: usize) -> Self {
        let mut transform = vec![0.0; embedding_dim * embedding_dim];
        for d in 0..embedding_dim {
            transform[d * embedding_dim + d] = 1.0;
        }
        Self::new(vec![0.0; embedding_dim], transform, vec![1.0; embedding_dim])
    }

    fn new(mean: Vec<f32>, transform: Vec<f32>, phi: Vec<f32>) -> Self {
        let root_phi = phi.iter().map(|p| p.sqrt()).collect();
        let norm = phi.iter().map(|p| 1.0 + p).sum::<f32>().sqrt();
        Self { mean: mean.into(), transform: transform.into(), phi, root_phi, norm }
    }

    /// Number of coordinates.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.phi.len()
    }

    /// Size of the embeddings that it takes.
    #[must_use]
    pub fn embedding_dim(&self) -> usize {
        self.mean.len()
    }

    /// Between-voice variance of each coordinate.
    #[must_use]
    pub fn phi(&self) -> &[f32] {
        &self.phi
    }

    /// `V'z` of an embedding, shape `(dim,)`: centred, projected, scaled to the expected length, weighted by `√Φ`.
    /// Allocates the result; an embedding at the very mean gives zeros.
    #[must_use]
    pub fn project(&self, embedding: &[f32]) -> Vec<f32> {
        let centred: Vec<f32> = embedding.iter().zip(self.mean.iter()).map(|(e, m)| e - m).collect();
        let mut z: Vec<f32> =
            self.transform.chunks_exact(self.mean.len()).map(|row| dot(row, &centred)).collect();
        let length = dot(&z, &z).sqrt();
        let scale = if length > 1e-9 { self.norm / length } else { 0.0 };
        for (value, root) in z.iter_mut().zip(&self.root_phi) {
            *value *= scale * root;
        }
        z
    }
}

/// What is known of one voice: the weighted sum of its projected embeddings and their weight, and with them its
/// posterior `N(α, diag(1/L))`.
#[derive(Debug, Clone)]
pub(crate) struct SpeakerPosterior {
    sum: Vec<f32>,
    weight: f32,
    /// Mean of the posterior.
    alpha: Vec<f32>,
    /// `½ Σ (1/L + α²) Φ`.
    offset: f32,
}

impl SpeakerPosterior {
    /// Without speech: the prior.
    pub(crate) fn prior(phi: &[f32]) -> Self {
        let mut voice =
            Self { sum: vec![0.0; phi.len()], weight: 0.0, alpha: vec![0.0; phi.len()], offset: 0.0 };
        voice.update(phi);
        voice
    }

    /// Takes in `sum`, the weighted sum of embeddings of total `weight`. Call [`update`](Self::update) after the last.
    pub(crate) fn add(&mut self, sum: &[f32], weight: f32) {
        for (mine, other) in self.sum.iter_mut().zip(sum) {
            *mine += other;
        }
        self.weight += weight;
    }

    /// Brings the posterior up to date.
    pub(crate) fn update(&mut self, phi: &[f32]) {
        let mut offset = 0.0;
        for ((alpha, sum), phi) in self.alpha.iter_mut().zip(&self.sum).zip(phi) {
            let precision = 1.0 + self.weight * phi;
            *alpha = sum / precision;
            offset += (1.0 / precision + *alpha * *alpha) * phi;
        }
        self.offset = 0.5 * offset;
    }

    pub(crate) fn sum(&self) -> &[f32] {
        &self.sum
    }

    pub(crate) fn weight(&self) -> f32 {
        self.weight
    }

    /// Expected log-likelihood that embeddings with this `sum` and `weight` are the voice's, up to a constant that
    /// depends on them alone.
    pub(crate) fn log_likelihood(&self, sum: &[f32], weight: f32) -> f32 {
        dot(&self.alpha, sum) - self.bias(weight)
    }

    /// Mean of the posterior; shape `(dim,)`.
    pub(crate) fn mean(&self) -> &[f32] {
        &self.alpha
    }

    /// What [`log_likelihood`](Self::log_likelihood) takes off for embeddings of this `weight`, whatever they are.
    pub(crate) fn bias(&self, weight: f32) -> f32 {
        weight * self.offset
    }

    /// Log of the evidence for everything in it being one voice, to the same constant.
    pub(crate) fn evidence(&self, phi: &[f32]) -> f32 {
        evidence(self.sum.iter().copied(), self.weight, phi)
    }

    /// The same for everything in it and embeddings with this `sum` and `weight`.
    pub(crate) fn evidence_with(&self, sum: &[f32], weight: f32, phi: &[f32]) -> f32 {
        evidence(self.sum.iter().zip(sum).map(|(a, b)| a + b), self.weight + weight, phi)
    }

    /// `½ Σ (ln 1/L − 1/L − α² + 1)`: minus the divergence of the posterior from the prior.
    pub(crate) fn divergence(&self, phi: &[f32]) -> f32 {
        let parts = self.alpha.iter().zip(phi).map(|(alpha, phi)| {
            let precision = 1.0 + self.weight * phi;
            1.0 - precision.ln() - 1.0 / precision - alpha * alpha
        });
        0.5 * parts.sum::<f32>()
    }

    /// Gain in log evidence when embeddings with this `sum` and `weight` join.
    pub(crate) fn merge_gain(&self, sum: &[f32], weight: f32, phi: &[f32]) -> f32 {
        self.evidence_with(sum, weight, phi) - self.evidence(phi)
    }
}

/// Log of the evidence for embeddings of this `sum` and `weight` being one voice of the prior.
pub(crate) fn evidence(sum: impl Iterator<Item = f32>, weight: f32, phi: &[f32]) -> f32 {
    let mut total = 0.0;
    for (sum, phi) in sum.zip(phi) {
        let precision = 1.0 + weight * phi;
        total += sum * sum / precision - precision.ln();
    }
    0.5 * total
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    #[test]
    fn projects_as_its_matrices_say() {
        // Mean (1, 0), Φ = 4, transform (0, 2): z is the sign of the second value, scaled to √5 and by √4.
        let plda = Plda::from_bytes(&bytes(&[1.0, 0.0, 4.0, 0.0, 2.0]), 2, 1).unwrap();
        let got = plda.project(&[0.3, -0.7])[0];
        assert!((got + 2.0 * 5.0_f32.sqrt()).abs() < 1e-5, "{got}");
        assert_eq!(plda.project(&[1.0, 0.0]), [0.0]);
    }

    #[test]
    fn damaged_files_are_refused() {
        let good = bytes(&[1.0, 0.0, 4.0, 0.0, 2.0]);
        assert!(matches!(
            Plda::from_bytes(&good[..16], 2, 1),
            Err(PldaError::Size { expected: 20, got: 16, .. })
        ));
        assert_eq!(
            Plda::from_bytes(&bytes(&[1.0, 0.0, 0.0, 0.0, 2.0]), 2, 1),
            Err(PldaError::Value { index: 2 })
        );
        assert_eq!(
            Plda::from_bytes(&bytes(&[1.0, f32::NAN, 4.0, 0.0, 2.0]), 2, 1),
            Err(PldaError::Value { index: 1 })
        );
    }

    /// In one dimension the evidence is an integral that can be done by hand and by sums.
    #[test]
    fn evidence_is_the_integral_over_the_prior() {
        let (phi, z) = (2.5_f32, [1.3_f32, 0.4, 2.2]);
        let root = phi.sqrt();
        let integral: f64 = (-40_000..40_000)
            .map(|i| {
                let y = f64::from(i) * 5e-4;
                let log =
                    z.iter().map(|z| f64::from(z * root) * y - 0.5 * f64::from(phi) * y * y).sum::<f64>();
                (log - 0.5 * y * y).exp() * 5e-4 / (2.0 * std::f64::consts::PI).sqrt()
            })
            .sum();
        let got = evidence([z.iter().map(|z| z * root).sum()].into_iter(), 3.0, &[phi]);
        assert!((f64::from(got) - integral.ln()).abs() < 1e-4, "{got} {}", integral.ln());
    }

    #[test]
    fn gains_add_up_to_the_evidence() {
        let phi = [3.0, 0.7];
        let mut voice = SpeakerPosterior::prior(&phi);
        let mut total = 0.0;
        for (sum, weight) in [([1.0, 0.2], 1.0), ([0.4, -0.8], 0.5), ([2.0, 0.1], 2.0)] {
            total += voice.merge_gain(&sum, weight, &phi);
            voice.add(&sum, weight);
        }
        voice.update(&phi);
        assert!((total - voice.evidence(&phi)).abs() < 1e-5);
        // The mean of the posterior fits best.
        assert!(voice.log_likelihood(&[1.0, -0.1], 1.0) > voice.log_likelihood(&[-1.0, 0.1], 1.0));
    }
}
