//! Recognises the exported graph of a NeXt-TDNN, and takes its weights out.
//!
//! Every node of the graph is compared with what `training/diarized_train/export.py` writes: operator, inputs, attributes
//! and shapes. Where one differs, the graph is another network, however alike.

use std::f32::consts::SQRT_2;

use tract_onnx::pb::type_proto::Value;
use tract_onnx::pb::{GraphProto, ModelProto, ValueInfoProto, tensor_shape_proto};

use super::super::reader::{Attribute, Convolution, Layout, Name, Reader};

/// Versions of the operators with the attributes and meanings that are expected.
const OPSETS: std::ops::RangeInclusive<i64> = 13..=17;

/// A NeXt-TDNN as exported (Heo et al., "NeXt-TDNN: Modernizing Multi-Scale Temporal Convolution Backbone for Speaker
/// Verification", 2024), with everything folded that is linear at inference.
#[derive(Debug, Clone)]
pub(super) struct Graph {
    pub(super) n_mels: usize,
    pub(super) stem: Convolution,
    pub(super) stem_norm: Norm,
    pub(super) stages: Vec<Vec<Block>>,
    /// Aggregates the outputs of all stages.
    pub(super) mfa: Convolution,
    pub(super) mfa_norm: Norm,
    pub(super) attend_in: Convolution,
    pub(super) attend_out: Convolution,
    pub(super) least_variance: f32,
    /// From what is pooled to the embedding.
    pub(super) head: Convolution,
}

/// Normalisation over the channels of a frame.
#[derive(Debug, Clone)]
pub(super) struct Norm {
    pub(super) eps: f32,
    pub(super) gain: Vec<f32>,
    pub(super) offset: Vec<f32>,
}

/// Two residual steps: depthwise convolutions of several lengths, then a wide layer with a global response normalisation.
#[derive(Debug, Clone)]
pub(super) struct Block {
    pub(super) project: Convolution,
    pub(super) scales: Vec<Convolution>,
    pub(super) mix: Convolution,
    pub(super) eps: f32,
    pub(super) expand: Convolution,
    pub(super) gamma: Vec<f32>,
    pub(super) energy_eps: f32,
    pub(super) shrink: Convolution,
}

impl Graph {
    /// The network of `model`, or `None` if its graph is another one.
    pub(super) fn read(model: &ModelProto) -> Option<Self> {
        let [opset] = model.opset_import.as_slice() else { return None };
        if !opset.domain.is_empty() || !OPSETS.contains(&opset.version) {
            return None;
        }
        let graph = model.graph.as_ref()?;
        let ([input], [output]) = (graph.input.as_slice(), graph.output.as_slice()) else { return None };
        if !graph.sparse_initializer.is_empty() || !graph.quantization_annotation.is_empty() {
            return None;
        }
        let (embedding, network) = read_nodes(graph, &input.name)?;
        let fits = output.name == embedding && is_window(input, network.n_mels);
        fits.then_some(network)
    }
}

/// Whether the input is `(1, n_mels, n)` for any `n`.
fn is_window(input: &ValueInfoProto, n_mels: usize) -> bool {
    use tract_onnx::pb::tensor_shape_proto::dimension::Value::{DimParam, DimValue};
    let Some(Value::TensorType(tensor)) = input.r#type.as_ref().and_then(|kind| kind.value.as_ref()) else {
        return false;
    };
    let dims: Vec<_> = tensor.shape.iter().flat_map(|shape| &shape.dim).collect();
    let value = |dim: &tensor_shape_proto::Dimension| dim.value.clone();
    match dims[..] {
        [one, mels, frames] => {
            value(one) == Some(DimValue(1))
                && value(mels) == i64::try_from(n_mels).ok().map(DimValue)
                && matches!(value(frames), Some(DimParam(_)))
        }
        _ => false,
    }
}

fn read_nodes<'a>(graph: &'a GraphProto, input: Name<'_>) -> Option<(Name<'a>, Graph)> {
    let mut nodes = Reader::new(graph)?;
    let (mut x, stem) = nodes.convolution(input, 1, |_| Layout::padded(0))?;
    let stem_norm;
    (x, stem_norm) = norm_with_affine(&mut nodes, x, stem.n_out())?;

    // The outputs of blocks; those of the last of each stage are joined.
    let mut blocks = Vec::new();
    while nodes.next_op()? == "Conv" {
        let block;
        (x, block) = read_block(&mut nodes, x, stem.n_out())?;
        blocks.push((x, block));
    }
    let lasts: Vec<Name<'_>> = nodes.next_inputs()?.iter().map(String::as_str).collect();
    x = nodes.take("Concat", &lasts, &[("axis", Attribute::Int(1))])?;
    let mut stages = vec![Vec::new()];
    let mut ends = lasts.iter().peekable();
    for (output, block) in blocks {
        stages.last_mut()?.push(block);
        if ends.next_if(|end| **end == output).is_some() && ends.peek().is_some() {
            stages.push(Vec::new());
        }
    }
    if ends.next().is_some() || stages.iter().any(Vec::is_empty) {
        return None;
    }
    let wide = stages.len() * stem.n_out();
    let (mfa, mfa_norm);
    (x, mfa) = nodes.pointwise(x, wide)?;
    (x, mfa_norm) = norm_with_affine(&mut nodes, x, mfa.n_out())?;

    let (hidden, attend_in) = nodes.pointwise(x, mfa.n_out())?;
    let hidden = nodes.take("Tanh", &[hidden], &[])?;
    let (logits, attend_out) = nodes.pointwise(hidden, attend_in.n_out())?;
    let weights = nodes.take("Softmax", &[logits], &[("axis", Attribute::Int(2))])?;
    let (pooled, least_variance) = read_pooling(&mut nodes, x, weights)?;
    let (embedding, head) = read_head(&mut nodes, pooled, 2 * mfa.n_out())?;
    let fits = nodes.next_op().is_none() && attend_out.n_out() == mfa.n_out();
    let n_mels = stem.n_in;
    fits.then_some((
        embedding,
        Graph { n_mels, stem, stem_norm, stages, mfa, mfa_norm, attend_in, attend_out, least_variance, head },
    ))
}

/// `(x - mean) / sqrt(variance + eps)` over the channels.
fn norm<'a>(nodes: &mut Reader<'a>, x: Name<'_>) -> Option<(Name<'a>, f32)> {
    let mean = nodes.reduced("ReduceMean", x, 1, true)?;
    let centred = nodes.take("Sub", &[x, mean], &[])?;
    let square = nodes.take("Mul", &[centred, centred], &[])?;
    let variance = nodes.reduced("ReduceMean", square, 1, true)?;
    let (name, eps) = nodes.scalar_operand()?;
    let sum = nodes.take("Add", &[variance, name], &[])?;
    let deviation = nodes.take("Sqrt", &[sum], &[])?;
    let normalised = nodes.take("Div", &[centred, deviation], &[])?;
    (eps >= 0.0).then_some((normalised, eps))
}

fn norm_with_affine<'a>(nodes: &mut Reader<'a>, x: Name<'_>, n: usize) -> Option<(Name<'a>, Norm)> {
    let (x, eps) = norm(nodes, x)?;
    let (x, gain) = nodes.with_channels("Mul", x, n)?;
    let (x, offset) = nodes.with_channels("Add", x, n)?;
    Some((x, Norm { eps, gain, offset }))
}

/// `x · (erf(x / sqrt 2) + 1) / 2`.
fn gelu<'a>(nodes: &mut Reader<'a>, x: Name<'_>) -> Option<Name<'a>> {
    let scaled = nodes.with_scalar("Div", x, SQRT_2)?;
    let erf = nodes.take("Erf", &[scaled], &[])?;
    let raised = nodes.with_scalar("Add", erf, 1.0)?;
    let product = nodes.take("Mul", &[x, raised], &[])?;
    nodes.with_scalar("Mul", product, 0.5)
}

fn read_block<'a>(nodes: &mut Reader<'a>, x: Name<'_>, n: usize) -> Option<(Name<'a>, Block)> {
    let (projected, project) = nodes.pointwise(x, n)?;
    let (joined, scales) = read_scales(nodes, projected, n)?;
    let active = gelu(nodes, joined)?;
    let (mixed, mix) = nodes.pointwise(active, n)?;
    let x = nodes.take("Add", &[x, mixed], &[])?;

    let (normalised, eps) = norm(nodes, x)?;
    let (expanded, expand) = nodes.pointwise(normalised, n)?;
    let y = gelu(nodes, expanded)?;
    let square = nodes.take("Mul", &[y, y], &[])?;
    let energy = nodes.reduced("ReduceSum", square, 2, true)?;
    let energy = nodes.take("Sqrt", &[energy], &[])?;
    let mean = nodes.reduced("ReduceMean", energy, 1, true)?;
    let (name, energy_eps) = nodes.scalar_operand()?;
    let mean = nodes.take("Add", &[mean, name], &[])?;
    let share = nodes.take("Div", &[energy, mean], &[])?;
    let gamma_name = nodes.next_inputs()?.first()?;
    let (gamma_shape, gamma) = nodes.floats(gamma_name)?;
    let response = nodes.take("Mul", &[gamma_name, share], &[])?;
    let response = nodes.with_scalar("Add", response, 1.0)?;
    let y = nodes.take("Mul", &[y, response], &[])?;
    let (shrunk, shrink) = nodes.pointwise(y, expand.n_out())?;
    let output = nodes.take("Add", &[x, shrunk], &[])?;
    let fits = [project.n_out(), mix.n_out(), shrink.n_out()] == [n; 3]
        && gamma_shape == [1, expand.n_out(), 1]
        && energy_eps > 0.0;
    fits.then_some((output, Block { project, scales, mix, eps, expand, gamma, energy_eps, shrink }))
}

/// Depthwise convolutions, each of its share of the channels; or one of all of them.
fn read_scales<'a>(nodes: &mut Reader<'a>, x: Name<'_>, n: usize) -> Option<(Name<'a>, Vec<Convolution>)> {
    let sizes = nodes.next_inputs()?.get(1)?;
    let n_scales = nodes.n_parts(sizes)?;
    if n_scales == 0 || !n.is_multiple_of(n_scales) {
        return None;
    }
    let size = n / n_scales;
    let mut outputs = Vec::with_capacity(n_scales);
    let mut scales = Vec::with_capacity(n_scales);
    for part in nodes.split(x, n_scales, size)? {
        let (output, scale) = nodes.convolution(part, size, |n_taps| Layout::padded(n_taps / 2))?;
        // An even number of taps would shorten the window.
        if scale.n_in != 1 || scale.n_out() != size || scale.n_taps % 2 == 0 {
            return None;
        }
        outputs.push(output);
        scales.push(scale);
    }
    let joined = nodes.take("Concat", &outputs, &[("axis", Attribute::Int(1))])?;
    Some((joined, scales))
}

/// Weighted mean and deviation of each channel.
fn read_pooling<'a>(nodes: &mut Reader<'a>, x: Name<'_>, weights: Name<'_>) -> Option<(Name<'a>, f32)> {
    let weighted = nodes.take("Mul", &[x, weights], &[])?;
    let mean = nodes.reduced("ReduceSum", weighted, 2, false)?;
    let squares = nodes.take("Mul", &[x, weighted], &[])?;
    let squares = nodes.reduced("ReduceSum", squares, 2, false)?;
    let square = nodes.take("Mul", &[mean, mean], &[])?;
    let variance = nodes.take("Sub", &[squares, square], &[])?;
    let (name, least_variance) = nodes.scalar_operand()?;
    let variance = nodes.take("Clip", &[variance, name], &[])?;
    let deviation = nodes.take("Sqrt", &[variance], &[])?;
    let joined = nodes.take("Concat", &[mean, deviation], &[("axis", Attribute::Int(1))])?;
    (least_variance >= 0.0).then_some((joined, least_variance))
}

fn read_head<'a>(nodes: &mut Reader<'a>, x: Name<'_>, n: usize) -> Option<(Name<'a>, Convolution)> {
    let [_, weight, bias] = nodes.next_inputs()? else { return None };
    let ((shape, weights), (bias_shape, bias_values)) = (nodes.floats(weight)?, nodes.floats(bias)?);
    let output = nodes.take(
        "Gemm",
        &[x, weight, bias],
        &[("alpha", Attribute::Float(1.0)), ("beta", Attribute::Float(1.0)), ("transB", Attribute::Int(1))],
    )?;
    let head = Convolution { weight: weights, bias: bias_values, n_in: n, n_taps: 1 };
    let n_out = head.n_out();
    (shape == [n_out, n] && bias_shape == [n_out] && n_out > 0).then_some((output, head))
}
