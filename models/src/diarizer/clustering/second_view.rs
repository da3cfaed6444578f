//! What a second voice model makes of an exemplar: sums of its embeddings, some of which may still be to come.

use serde::{Deserialize, Serialize};

use crate::calibration::Calibration;
use crate::diarizer::interface::WorkId;
use crate::embedding::Embedding;
use crate::plda::Plda;

/// A window's embedding by the second model.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum SecondEmbedding {
    /// There is none and none will come.
    None,
    /// It is still to come, under this id.
    Waiting(WorkId),
    /// Here it is.
    Done(Embedding),
}

/// What the second model makes of an exemplar.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct SecondView {
    /// Sums of the embeddings and of the projected ones; both empty without any.
    sum: Vec<f32>,
    projected: Vec<f32>,
    pub(super) n_windows: f32,
    /// Windows whose embeddings are still to come; not in another process.
    #[serde(skip)]
    pub(super) waiting: Vec<WorkId>,
}

impl SecondView {
    /// Of an exemplar of these windows.
    pub(crate) fn of<'a>(
        windows: impl IntoIterator<Item = &'a SecondEmbedding>,
        plda: Option<&Plda>,
    ) -> Self {
        let mut view = Self::default();
        let Some(plda) = plda else { return view };
        for window in windows {
            match window {
                SecondEmbedding::None => {}
                SecondEmbedding::Waiting(id) => view.waiting.push(*id),
                SecondEmbedding::Done(embedding) => view.add(embedding, plda),
            }
        }
        view
    }

    /// Takes in that of an exemplar that is joined with this one.
    pub(super) fn absorb(&mut self, other: &Self) {
        add_up(&mut self.sum, &other.sum);
        add_up(&mut self.projected, &other.projected);
        self.n_windows += other.n_windows;
        self.waiting.extend(&other.waiting);
    }

    /// Whether it is one by a model of these sizes: `dim` values, projected to `plda_dim`, none larger than `most`.
    pub(super) fn is_sound(&self, dim: usize, plda_dim: usize, most: f32) -> bool {
        let is_number = |values: &[f32]| values.iter().all(|v| v.abs() <= most);
        let sizes = (self.sum.len(), self.projected.len());
        let fits = if self.n_windows > 0.0 { sizes == (dim, plda_dim) } else { sizes == (0, 0) };
        fits && (0.0..=most).contains(&self.n_windows) && is_number(&self.sum) && is_number(&self.projected)
    }

    pub(super) fn add(&mut self, embedding: &Embedding, plda: &Plda) {
        add_up(&mut self.sum, embedding.as_slice());
        add_up(&mut self.projected, &plda.project(embedding.as_slice()));
        self.n_windows += 1.0;
    }

    /// Mean embedding times `weight`, and mean projected embedding times `trust`; `None` without any.
    pub(super) fn scaled(&self, weight: f32, trust: f32) -> Option<(Vec<f32>, Vec<f32>)> {
        let scaled =
            |values: &[f32], by: f32| values.iter().map(|v| v * by / self.n_windows).collect::<Vec<_>>();
        (self.n_windows > 0.0).then(|| (scaled(&self.sum, weight), scaled(&self.projected, trust)))
    }
}

pub(super) fn add_up(sum: &mut Vec<f32>, values: &[f32]) {
    sum.resize(sum.len().max(values.len()), 0.0);
    sum.iter_mut().zip(values).for_each(|(mine, other)| *mine += other);
}

/// The second model.
#[derive(Debug, Clone)]
pub(super) struct SecondModel {
    pub(super) plda: Plda,
    pub(super) calibration: Calibration,
}
