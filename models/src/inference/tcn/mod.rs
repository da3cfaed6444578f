//! The voice activity network, a causal stack of dilated convolutions, in fused kernels: recognised in a loaded graph, packed
//! for this processor, run a few frames at a time.
//!
//! A graph that is not exactly this network gives no [`Network`], and runs in tract.

mod graph;

use fearless_simd::prelude::*;
use fearless_simd::{Level, dispatch};
use tract_onnx::pb::ModelProto;

use self::graph::Graph;
use super::kernels::{
    CHANNELS_MULTIPLE, Kernels, Past, Plain, Relu, ReluAdd, Rows, Table, Weights, depthwise_relu_next,
    product,
};

/// A network, packed for one kind of processor. Serves any number of streams and threads.
pub(crate) struct Network {
    level: Level,
    n_mels: usize,
    n_channels: usize,
    n_outputs: usize,
    stem: Weights,
    blocks: Vec<Block>,
    head: Weights,
}

struct Block {
    depthwise: Kernels,
    dilation: usize,
    reach: usize,
    pointwise: Weights,
}

/// What a stream keeps between calls: what each block needs of the past, 390 kB in the built-in network, and the
/// activations of a call.
#[derive(Debug)]
pub(crate) struct State {
    pasts: Vec<Past>,
    hidden: Table,
    next: Table,
    active: Table,
    scores: Table,
    /// Frames of the longest call that there is room for.
    n_frames: usize,
}

impl Network {
    /// The network of `model` for processors of `level`, or `None` where the graph is another one or has a number of
    /// channels that does not fill vectors.
    pub(crate) fn recognise(model: &ModelProto, level: Level) -> Option<Self> {
        let graph = Graph::read(model)?;
        let n_channels = graph.stem.n_out();
        n_channels.is_multiple_of(CHANNELS_MULTIPLE).then(|| Self {
            level,
            n_mels: graph.n_mels,
            n_channels,
            n_outputs: graph.head.n_out(),
            stem: graph.stem.packed(level),
            blocks: graph.blocks.iter().map(|block| Block::new(level, block)).collect(),
            head: graph.head.packed(level),
        })
    }

    /// Mel bands of a frame, channels between, values of a frame's output.
    pub(crate) fn shape(&self) -> (usize, usize, usize) {
        (self.n_mels, self.n_channels, self.n_outputs)
    }

    /// Frames of the past that each block needs.
    pub(crate) fn reaches(&self) -> impl Iterator<Item = usize> {
        self.blocks.iter().map(|block| block.reach)
    }

    /// A stream at its start, for calls of up to `n_frames`.
    pub(crate) fn stream(&self, n_frames: usize) -> State {
        let table = || Table::new(n_frames, self.n_channels);
        State {
            pasts: self.blocks.iter().map(|block| Past::silent(block.reach, self.n_channels)).collect(),
            hidden: table(),
            next: table(),
            active: table(),
            scores: Table::new(n_frames, self.n_outputs),
            n_frames,
        }
    }

    /// The outputs for the stream's next frames, `(n_frames, n_mels)` row-major. Row `t` of what comes back begins with the
    /// values of frame `t`. There are at most as many frames as the state has room for.
    pub(crate) fn run<'a>(&self, features: &[f32], state: &'a mut State) -> Rows<'a> {
        let n_frames = features.len() / self.n_mels;
        assert!(n_frames <= state.n_frames, "the state has room for the call");
        dispatch!(self.level, simd => self.run_with(simd, features, n_frames, state));
        state.scores.rows()
    }

    #[inline(always)]
    fn run_with<S: Simd>(&self, simd: S, features: &[f32], n_frames: usize, state: &mut State) {
        let State { pasts, hidden, next, active, scores, .. } = state;
        let features = Rows { values: features, stride: self.n_mels };
        product(simd, features, n_frames, &self.stem, hidden.rows_mut(), Relu);
        for (block, past) in self.blocks.iter().zip(pasts) {
            for frame in 0..n_frames {
                let row = hidden.rows().at(frame, 0, self.n_channels);
                let mut rows = active.rows_mut();
                let output = rows.at(frame, 0, self.n_channels);
                depthwise_relu_next(simd, past, row, &block.depthwise, block.dilation, output);
            }
            let add = ReluAdd { to: hidden.rows() };
            product(simd, active.rows(), n_frames, &block.pointwise, next.rows_mut(), add);
            std::mem::swap(hidden, next);
        }
        product(simd, hidden.rows(), n_frames, &self.head, scores.rows_mut(), Plain);
    }
}

impl Block {
    fn new(level: Level, block: &graph::Block) -> Self {
        Self {
            depthwise: block.depthwise.kernels(),
            dilation: block.dilation,
            reach: block.reach(),
            pointwise: block.pointwise.packed(level),
        }
    }
}

#[cfg(test)]
mod tests;
