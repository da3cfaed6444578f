//! Recognises the exported graph of the voice activity network, and takes its weights out.
//!
//! Every node is compared with what `training/diarized_train/export_segmenter.py` writes: operator, inputs, attributes and
//! shapes. Where one differs, the graph is another network, however alike.

use tract_onnx::pb::tensor_shape_proto::dimension::Value::DimValue;
use tract_onnx::pb::type_proto::Value;
use tract_onnx::pb::{GraphProto, ModelProto, ValueInfoProto};

use super::super::reader::{Attribute, Convolution, Layout, Name, Reader};

/// The version of the operators with the attributes and meanings that are expected.
const OPSET: i64 = 17;
/// Added to the variance of a mel band, as the export writes it.
const NORM_EPS: f32 = 1e-5;
/// Has no meaning at inference.
const NORM_MOMENTUM: f32 = 0.9;

/// The network as exported, with everything folded that is linear.
#[derive(Debug, Clone)]
pub(super) struct Graph {
    pub(super) n_mels: usize,
    /// The normalisation of the mel bands is a part of it.
    pub(super) stem: Convolution,
    pub(super) blocks: Vec<Block>,
    /// Scale and shift of the outputs are a part of it.
    pub(super) head: Convolution,
}

/// A causal depthwise convolution and a pointwise one, around which the input is added.
#[derive(Debug, Clone)]
pub(super) struct Block {
    pub(super) depthwise: Convolution,
    pub(super) dilation: usize,
    pub(super) pointwise: Convolution,
}

impl Block {
    /// Frames before the newest one that it needs.
    pub(super) fn reach(&self) -> usize {
        (self.depthwise.n_taps - 1) * self.dilation
    }
}

impl Graph {
    /// The network of `model`, or `None` if its graph is another one.
    pub(super) fn read(model: &ModelProto) -> Option<Self> {
        let [opset] = model.opset_import.as_slice() else { return None };
        if !opset.domain.is_empty() || opset.version != OPSET {
            return None;
        }
        let graph = model.graph.as_ref()?;
        if !graph.sparse_initializer.is_empty() || !graph.quantization_annotation.is_empty() {
            return None;
        }
        read_nodes(graph)
    }
}

fn read_nodes(graph: &GraphProto) -> Option<Graph> {
    let mut nodes = Reader::new(graph)?;
    let (features, caches) = graph.input.split_first()?;
    let [1, n_mels, n_frames] = sizes(features)?[..] else { return None };
    let (x, stem) = read_stem(&mut nodes, &features.name, n_mels)?;
    let mut x = nodes.take("Relu", &[x], &[])?;
    let n_channels = stem.n_out();

    let (mut blocks, mut outputs) = (Vec::new(), Vec::new());
    for cache in caches {
        let [1, n, reach] = sizes(cache)?[..] else { return None };
        let (block, kept);
        (x, kept, block) = read_block(&mut nodes, x, (&cache.name, reach), (n_channels, n_frames))?;
        if n != n_channels || block.reach() != reach {
            return None;
        }
        outputs.push(kept);
        blocks.push(block);
    }
    let (scores, head) = read_head(&mut nodes, x, n_channels)?;
    outputs.insert(0, scores);
    let fits = nodes.next_op().is_none() && graph.output.iter().map(|o| o.name.as_str()).eq(outputs);
    fits.then_some(Graph { n_mels, stem, blocks, head })
}

/// Sizes of an input, none of which is open.
fn sizes(input: &ValueInfoProto) -> Option<Vec<usize>> {
    let Value::TensorType(tensor) = input.r#type.as_ref()?.value.as_ref()?;
    let dims = &tensor.shape.as_ref()?.dim;
    dims.iter()
        .map(|dim| match dim.value {
            Some(DimValue(n)) => usize::try_from(n).ok(),
            _ => None,
        })
        .collect()
}

/// Normalises the mel bands, and takes them to channels.
fn read_stem<'a>(nodes: &mut Reader<'a>, x: Name<'_>, n_mels: usize) -> Option<(Name<'a>, Convolution)> {
    let [_, names @ ..] = nodes.next_inputs()? else { return None };
    let [gain, offset, mean, variance] = names else { return None };
    let normalised = nodes.take(
        "BatchNormalization",
        &[x, gain, offset, mean, variance],
        &[
            ("epsilon", Attribute::Float(NORM_EPS)),
            ("momentum", Attribute::Float(NORM_MOMENTUM)),
            ("training_mode", Attribute::Int(0)),
        ],
    )?;
    let band = |name: &str| {
        let (shape, values) = nodes.floats(name)?;
        (shape == [n_mels]).then_some(values)
    };
    let (gain, offset, mean, variance) = (band(gain)?, band(offset)?, band(mean)?, band(variance)?);
    if variance.iter().any(|&variance| variance < 0.0) {
        return None;
    }
    let (output, mut stem) = nodes.pointwise(normalised, n_mels)?;
    for (weights, bias) in stem.weight.chunks_exact_mut(n_mels).zip(&mut stem.bias) {
        // Means are large beside what is left of them, so the sum is one of 64 bits.
        let mut sum = f64::from(*bias);
        for (band, weight) in weights.iter_mut().enumerate() {
            let scale = gain[band] / (variance[band] + NORM_EPS).sqrt();
            sum += f64::from(*weight) * f64::from(offset[band] - mean[band] * scale);
            *weight *= scale;
        }
        *bias = sum as f32;
    }
    Some((output, stem))
}

/// The block that sees `cache` and `reach` frames of it, for `size`, channels and frames of a call. Gives its output and
/// what it keeps.
fn read_block<'a>(
    nodes: &mut Reader<'a>,
    x: Name<'_>,
    (cache, reach): (Name<'_>, usize),
    (n_channels, n_frames): (usize, usize),
) -> Option<(Name<'a>, Name<'a>, Block)> {
    let seen = nodes.take("Concat", &[cache, x], &[("axis", Attribute::Int(2))])?;
    let dilation = |n_taps: usize| reach.checked_div(n_taps.saturating_sub(1)).unwrap_or(0);
    let layout = |n_taps| Layout { dilation: dilation(n_taps), pad: 0 };
    let (y, depthwise) = nodes.convolution(seen, n_channels, layout)?;
    let y = nodes.take("Relu", &[y], &[])?;
    let (y, pointwise) = nodes.pointwise(y, n_channels)?;
    let y = nodes.take("Relu", &[y], &[])?;
    let output = nodes.take("Add", &[x, y], &[])?;
    let [_, starts, ends, axes, steps] = nodes.next_inputs()? else { return None };
    let is_tail = nodes.integers(starts)? == [i64::try_from(n_frames).ok()?]
        && nodes.integers(ends)? == [i64::MAX]
        && nodes.integers(axes)? == [2]
        && nodes.integers(steps)? == [1];
    let kept = nodes.take("Slice", &[seen, starts, ends, axes, steps], &[])?;
    let dilation = dilation(depthwise.n_taps);
    let fits = is_tail
        && dilation > 0
        && (depthwise.n_in, depthwise.n_out(), pointwise.n_out()) == (1, n_channels, n_channels);
    fits.then_some((output, kept, Block { depthwise, dilation, pointwise }))
}

/// The outputs, scaled and shifted.
fn read_head<'a>(nodes: &mut Reader<'a>, x: Name<'_>, n_channels: usize) -> Option<(Name<'a>, Convolution)> {
    let (x, mut head) = nodes.pointwise(x, n_channels)?;
    let (x, scale) = read_factor(nodes, "Mul", x, head.n_out())?;
    let (scores, shift) = read_factor(nodes, "Add", x, head.n_out())?;
    for (idx, weights) in head.weight.chunks_exact_mut(n_channels).enumerate() {
        weights.iter_mut().for_each(|weight| *weight *= scale[idx]);
        head.bias[idx] = head.bias[idx] * scale[idx] + shift[idx];
    }
    Some((scores, head))
}

/// `op` of `x` and a constant of shape `(n, 1)`, which comes back.
fn read_factor<'a>(nodes: &mut Reader<'a>, op: &str, x: Name<'_>, n: usize) -> Option<(Name<'a>, Vec<f32>)> {
    let name = nodes.next_inputs()?.get(1)?;
    let (shape, values) = nodes.floats(name)?;
    let output = nodes.take(op, &[x, name], &[])?;
    (shape == [n, 1]).then_some((output, values))
}
