//! NeXt-TDNN in fused kernels: recognised in a loaded graph, packed for this processor, run without copies.
//!
//! A graph that is not exactly this network gives no [`Network`], and runs in tract.

mod graph;
mod scratch;

use std::sync::Arc;

use fearless_simd::prelude::*;
use fearless_simd::{Level, dispatch};
use parking_lot::Mutex;
use tract_onnx::pb::ModelProto;

use self::graph::{Graph, Norm};
use self::scratch::{Scratch, Shape};
use super::kernels::{
    Add, Affine, Buffer, CHANNELS_MULTIPLE, GeluEnergy, Kernels, Plain, Rows, Tanh, Weights,
    attentive_statistics, depthwise_gelu, normalise, normalise_in_place, product,
};
use super::reader::Convolution;

/// Windows of more frames leave no memory behind: they are rare, and a session's are shorter.
const MAX_KEPT_FRAMES: usize = 400;

/// A NeXt-TDNN, packed for one kind of processor. Serves windows of any length and any number of threads.
pub(crate) struct Network {
    level: Level,
    shape: Shape,
    stem: Weights,
    stem_norm: LayerNorm,
    stages: Vec<Vec<Block>>,
    mfa: Weights,
    mfa_norm: LayerNorm,
    attend_in: Weights,
    attend_out: Weights,
    least_variance: f32,
    head: Weights,
    /// Memory of calls that have ended, at most one for each thread.
    spare: Mutex<Vec<Scratch>>,
}

struct LayerNorm {
    eps: f32,
    affine: Affine,
}

struct Block {
    project: Weights,
    scales: Vec<Kernels>,
    mix: Weights,
    eps: f32,
    expand: Weights,
    gamma: Vec<f32>,
    energy_eps: f32,
    shrink: Weights,
}

impl Network {
    /// The network of `model` for processors of `level`, or `None` where the graph is another one or has numbers of
    /// channels that do not fill vectors.
    pub(crate) fn recognise(model: &ModelProto, level: Level) -> Option<Arc<Self>> {
        let graph = Graph::read(model)?;
        let scales = || graph.stages.iter().flatten().flat_map(|block| &block.scales);
        let mut widths = scales().map(Convolution::n_out).chain([graph.stem.n_out(), graph.mfa.n_out()]);
        let fills_vectors = widths.all(|n| n.is_multiple_of(CHANNELS_MULTIPLE));
        let mut expanded = graph.stages.iter().flatten().map(|block| block.expand.n_out());
        let first = expanded.next()?;
        let is_uniform = expanded.all(|n| n == first);
        (fills_vectors && is_uniform).then(|| Arc::new(Self::new(&graph, level)))
    }

    fn new(graph: &Graph, level: Level) -> Self {
        let blocks = || graph.stages.iter().flatten();
        let shape = Shape {
            n_mels: graph.n_mels,
            n_taps: graph.stem.n_taps,
            n_channels: graph.stem.n_out(),
            n_expanded: graph.stages[0][0].expand.n_out(),
            n_joined: graph.mfa.n_in,
            n_wide: graph.mfa.n_out(),
            n_hidden: graph.attend_in.n_out(),
            n_embedding: graph.head.n_out(),
            pad: blocks().flat_map(|block| &block.scales).map(|scale| scale.n_taps / 2).max().unwrap_or(0),
        };
        Self {
            level,
            stem: graph.stem.packed_over_frames(level),
            stem_norm: LayerNorm::new(&graph.stem_norm),
            stages: graph
                .stages
                .iter()
                .map(|stage| stage.iter().map(|block| Block::new(level, block)).collect())
                .collect(),
            mfa: graph.mfa.packed(level),
            mfa_norm: LayerNorm::new(&graph.mfa_norm),
            attend_in: graph.attend_in.packed(level),
            attend_out: graph.attend_out.packed(level),
            least_variance: graph.least_variance,
            head: graph.head.packed(level),
            shape,
            spare: Mutex::new(Vec::new()),
        }
    }

    /// Mel bands of a frame.
    pub(crate) fn n_mels(&self) -> usize {
        self.shape.n_mels
    }

    /// Frames of the shortest window.
    pub(crate) fn least_frames(&self) -> usize {
        self.shape.n_taps
    }

    /// The embedding of features `(n_mels, n_frames)`, row-major. There are at least
    /// [`least_frames`](Self::least_frames).
    pub(crate) fn run(&self, features: &[f32], n_frames: usize) -> Vec<f32> {
        let spare = self.spare.lock().pop().filter(|scratch| scratch.has_room(n_frames));
        let mut scratch = spare.unwrap_or_else(|| Scratch::new(&self.shape, n_frames, self.a_shrink()));
        scratch.prepare(&self.shape, n_frames);
        let embedding = dispatch!(self.level, simd => self.run_with(simd, features, n_frames, &mut scratch));
        if n_frames <= MAX_KEPT_FRAMES {
            self.spare.lock().push(scratch);
        }
        embedding
    }

    /// The weights of a block that are scaled; those of all blocks have one shape.
    fn a_shrink(&self) -> &Weights {
        &self.stages[0][0].shrink
    }

    #[inline(always)]
    fn run_with<S: Simd>(
        &self,
        simd: S,
        features: &[f32],
        n_frames: usize,
        scratch: &mut Scratch,
    ) -> Vec<f32> {
        let Shape { n_mels, n_channels, n_wide, n_embedding, .. } = self.shape;
        let n_rows = self.shape.n_rows(n_frames);
        scratch.frames.transpose(features, n_mels, n_frames);
        // A row of the stem's input is some frames, so rows overlap.
        product(simd, scratch.frames.overlapping(n_mels), n_rows, &self.stem, scratch.stem.rows_mut(), Plain);
        let norm = &self.stem_norm;
        let size = (n_rows, n_channels);
        normalise_in_place(simd, scratch.stem.rows_mut(), size, norm.eps, &norm.affine);
        for (idx, stage) in self.stages.iter().enumerate() {
            for (place, block) in stage.iter().enumerate() {
                let column = idx * n_channels;
                let from = if place == 0 { column.checked_sub(n_channels) } else { Some(column) };
                block.run(simd, n_rows, from, column, self.shape.pad, scratch);
            }
        }
        let joined = scratch.joined.rows();
        product(simd, joined, n_rows, &self.mfa, scratch.wide.rows_mut(), Plain);
        let norm = &self.mfa_norm;
        normalise_in_place(simd, scratch.wide.rows_mut(), (n_rows, n_wide), norm.eps, &norm.affine);
        self.pool(simd, n_rows, scratch);
        let pooled = Rows { values: &scratch.pooled, stride: 2 * n_wide };
        product(simd, pooled, 1, &self.head, scratch.embedding.rows_mut(), Plain);
        scratch.embedding.rows().at(0, 0, n_embedding).to_vec()
    }

    /// Mean and deviation of the wide features, by attention.
    #[inline(always)]
    fn pool<S: Simd>(&self, simd: S, n_rows: usize, scratch: &mut Scratch) {
        let n_wide = self.shape.n_wide;
        product(simd, scratch.wide.rows(), n_rows, &self.attend_in, scratch.hidden.rows_mut(), Tanh);
        product(simd, scratch.hidden.rows(), n_rows, &self.attend_out, scratch.logits.rows_mut(), Plain);
        attentive_statistics(
            simd,
            scratch.wide.rows(),
            scratch.logits.rows(),
            n_rows,
            self.least_variance,
            scratch.pooled.split_at_mut(n_wide),
        );
    }
}

impl LayerNorm {
    fn new(norm: &Norm) -> Self {
        let buffer = |values: &[f32]| Buffer::of(values.iter().copied());
        Self { eps: norm.eps, affine: Affine { gain: buffer(&norm.gain), offset: buffer(&norm.offset) } }
    }
}

impl Block {
    fn new(level: Level, block: &graph::Block) -> Self {
        Self {
            project: block.project.packed(level),
            scales: block.scales.iter().map(Convolution::kernels).collect(),
            mix: block.mix.packed(level),
            eps: block.eps,
            expand: block.expand.packed(level),
            gamma: block.gamma.clone(),
            energy_eps: block.energy_eps,
            shrink: block.shrink.packed(level),
        }
    }

    /// Runs the block on the columns `from` of what is joined, or on the stem, and writes to the columns `to`.
    #[inline(always)]
    fn run<S: Simd>(
        &self,
        simd: S,
        n_rows: usize,
        from: Option<usize>,
        to: usize,
        pad: usize,
        scratch: &mut Scratch,
    ) {
        let input = match from {
            Some(column) => scratch.joined.rows().skip_columns(column),
            None => scratch.stem.rows(),
        };
        product(simd, input, n_rows, &self.project, scratch.padded.window_mut(simd), Plain);
        let mut column = 0;
        for kernels in &self.scales {
            let first = pad - kernels.n_taps() / 2;
            let input = (scratch.padded.planes(), first, column);
            depthwise_gelu(simd, input, n_rows, kernels, scratch.narrow.rows_mut().skip_columns(column));
            column += kernels.n_channels();
        }
        let add = Add { to: input };
        product(simd, scratch.narrow.rows(), n_rows, &self.mix, scratch.middle.rows_mut(), add);

        let size = (n_rows, column);
        normalise(simd, scratch.middle.rows(), size, self.eps, None, scratch.narrow.rows_mut());
        scratch.energy.fill(0.0);
        let finish = GeluEnergy { energy: &mut scratch.energy };
        product(simd, scratch.narrow.rows(), n_rows, &self.expand, scratch.expanded.rows_mut(), finish);
        // The response is a factor of each expanded channel, so of the row of weights that meets it.
        response(&mut scratch.energy[..self.gamma.len()], &self.gamma, self.energy_eps);
        self.shrink.scale_into(simd, &scratch.energy, &mut scratch.scaled);
        let add = Add { to: scratch.middle.rows() };
        let output = scratch.joined.rows_mut().skip_columns(to);
        product(simd, scratch.expanded.rows(), n_rows, &scratch.scaled, output, add);
    }
}

/// Global response normalisation (Woo et al., "ConvNeXt V2", 2023): the factor of each channel, out of the energies of
/// all.
fn response(energy: &mut [f32], gamma: &[f32], eps: f32) {
    energy.iter_mut().for_each(|energy| *energy = energy.sqrt());
    let mean = energy.iter().sum::<f32>() / energy.len() as f32 + eps;
    for (energy, gamma) in energy.iter_mut().zip(gamma) {
        *energy = 1.0 + gamma * (*energy / mean);
    }
}

#[cfg(test)]
mod tests;
