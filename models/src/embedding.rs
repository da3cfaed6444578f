//! Speaker embeddings: vectors of unit length by construction, so that a dot product is a cosine.

/// A speaker embedding of unit Euclidean norm.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding(Box<[f32]>);

/// A vector that has no direction.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddingError {
    /// The vector is empty, or its norm is zero or not finite.
    #[error("the vector of {dim} values has norm {norm}, which gives no direction")]
    NoDirection {
        /// Number of values.
        dim: usize,
        /// Euclidean norm of the vector.
        norm: f32,
    },
}

impl Embedding {
    /// Scales `values` to unit norm. Allocates the result.
    ///
    /// # Errors
    /// [`EmbeddingError::NoDirection`] if the norm is zero or not finite.
    pub fn from_raw(values: &[f32]) -> Result<Self, EmbeddingError> {
        let norm = values.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt();
        if !norm.is_finite() || norm < 1e-12 {
            return Err(EmbeddingError::NoDirection { dim: values.len(), norm: norm as f32 });
        }
        Ok(Self(values.iter().map(|&v| (f64::from(v) / norm) as f32).collect()))
    }

    /// The values, shape `(dim,)`.
    #[must_use]
    pub fn as_slice(&self) -> &[f32] {
        &self.0
    }

    /// Number of values.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.0.len()
    }

    /// Cosine of the angle to `other`, in `[-1, 1]`.
    #[must_use]
    pub fn cosine(&self, other: &Self) -> f32 {
        dot(&self.0, &other.0)
    }
}

/// Dot product over the common length, in eight lanes so that it vectorises.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 8;
    let mut lanes = [0.0_f32; LANES];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let tail: f32 = a_chunks.remainder().iter().zip(b_chunks.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a_chunks.zip(b_chunks) {
        for (lane, (x, y)) in lanes.iter_mut().zip(x.iter().zip(y)) {
            *lane += x * y;
        }
    }
    lanes.iter().sum::<f32>() + tail
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_norm_is_one_whatever_the_scale() {
        for scale in [1e-6_f32, 1.0, 1e6] {
            let e = Embedding::from_raw(&[3.0 * scale, 4.0 * scale]).unwrap();
            assert!((e.cosine(&e) - 1.0).abs() < 1e-6);
            assert!((e.as_slice()[0] - 0.6).abs() < 1e-6);
        }
    }

    #[test]
    fn vectors_without_direction_are_refused() {
        assert!(Embedding::from_raw(&[]).is_err());
        assert!(Embedding::from_raw(&[0.0; 4]).is_err());
        assert!(Embedding::from_raw(&[f32::NAN, 1.0]).is_err());
    }

    #[test]
    fn dot_handles_every_length() {
        for n in 0..40 {
            let a: Vec<f32> = (0..n).map(|i| i as f32).collect();
            let expected: f32 = a.iter().map(|x| x * x).sum();
            assert!((dot(&a, &a) - expected).abs() < 1e-3);
        }
    }
}
