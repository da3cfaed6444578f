//! Operators that stand in for slow ones of tract: depthwise convolution, sums along an axis, layer normalisation; and
//! a depthwise convolution that remembers the frames before.
//!
//! In a NeXt-TDNN on a window of 1.5 s tract spends nearly as much time in these as in its matrix products: it visits a
//! depthwise kernel output by output, and sums and normalises along an axis that is not the last through a general
//! iterator. Here each is a loop over rows that lie in memory one after the other, which the compiler turns into
//! vector instructions. Everything else stays tract's, and so does the graph: a network without these patterns is
//! left as it is. `benches/diarizer.rs` measures windows both ways.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::array::TypedConcat;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::cnn::{Conv, KernelFormat, PaddingSpec};
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::math::{Mul, Square, Sub};
use tract_onnx::tract_core::ops::nn::{DataFormat, Reduce, Reducer, RmsNorm};
use tract_onnx::tract_core::ops::source::TypedSource;

/// tract's own optimisation of `model`, with the operators of this file where they fit.
///
/// # Errors
/// Those of tract, when the network cannot be optimised.
pub(crate) fn optimise(model: TypedModel) -> TractResult<TypedModel> {
    let mut model = model.into_decluttered()?;
    rules().rewrite(&(), &mut model)?;
    model.into_optimized()
}

/// Like [`optimise`], for a network over a stream that takes the past of each depthwise convolution as an input, and
/// gives it back as an output, beside its first ones. In what comes out the convolutions remember their past
/// themselves, from zeros at the start of a state; the first input and output are left.
///
/// # Errors
/// Also where an input is left that is no such past.
pub(crate) fn optimise_stream(model: TypedModel) -> TractResult<TypedModel> {
    let mut model = model.into_decluttered()?;
    let output = model.output_outlets()?[0];
    model.select_output_outlets(&[output])?;
    rules().with_rule_for("streamed", StreamedConv::replace).rewrite(&(), &mut model)?;
    let input = model.input_outlets()?[0];
    model.set_input_outlets(&[input])?;
    model.compact()?;
    let n_sources = model.nodes().iter().filter(|node| node.op_is::<TypedSource>()).count();
    ensure!(n_sources == 1, "{} of its inputs are no past of a depthwise convolution", n_sources - 1);
    model.into_optimized()
}

fn rules() -> Rewriter<()> {
    Rewriter::default()
        .with_rule_for("depthwise", DepthwiseConv::replace)
        .with_rule_for("layer-norm", LayerNorm::replace)
        .with_rule_for("sum", Sum::replace)
}

/// Outputs of a depthwise convolution that are computed together; their sums stay in registers.
const TILE: usize = 32;

/// Depthwise convolution of `(…, channels, n_frames)` with a step of one frame; inputs are the signal, the kernel
/// `(channels, 1, kernel_len)` and the bias `(channels)`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct DepthwiseConv {
    kernel_len: usize,
    /// Frames from one weight of the kernel to the next.
    dilation: usize,
    /// Zeros before the first frame.
    pad_before: usize,
    /// Zeros after the last frame.
    pad_after: usize,
}

impl DepthwiseConv {
    fn replace(
        _: &(),
        model: &TypedModel,
        node: &TypedNode,
        _: &str,
        conv: &Conv,
    ) -> TractResult<Option<TypedModelPatch>> {
        let spec = &conv.pool_spec;
        let &[kernel_len] = spec.kernel_shape.as_slice() else { return Ok(None) };
        let first = |steps: &Option<TVec<usize>>| steps.as_ref().map_or(1, |steps| steps[0]);
        let facts = model.node_input_facts(node.id)?;
        let fits = conv.q_params.is_none()
            && conv.group == spec.input_channels
            && conv.group == spec.output_channels
            && conv.kernel_fmt == KernelFormat::OIHW
            && matches!(spec.data_format, DataFormat::NCHW | DataFormat::CHW)
            && first(&spec.strides) == 1
            && facts.len() == 3
            && facts.iter().all(|fact| fact.is_plain() && fact.datum_type == f32::datum_type())
            && facts[2].shape.volume() == conv.group.to_dim();
        if !fits {
            return Ok(None);
        }
        let dilation = first(&spec.dilations);
        let reach = (kernel_len - 1) * dilation;
        let (pad_before, pad_after) = match &spec.padding {
            PaddingSpec::Explicit(before, after) => (before[0], after[0]),
            PaddingSpec::Valid => (0, 0),
            PaddingSpec::SameUpper => (reach / 2, reach - reach / 2),
            PaddingSpec::SameLower => (reach - reach / 2, reach / 2),
            PaddingSpec::ExplicitOnnxPool(..) => return Ok(None),
        };
        let ours = Self { kernel_len, dilation, pad_before, pad_after };
        TypedModelPatch::replace_single_op(model, node, &node.inputs, ours).map(Some)
    }

    /// Frames that the kernel spans beside the first.
    fn reach(&self) -> usize {
        (self.kernel_len - 1) * self.dilation
    }

    /// Writes one channel's convolution to `output`. `padded` is what it goes over, and as many values more as fill the
    /// last tile.
    fn convolve(&self, padded: &[f32], kernel: &[f32], bias: f32, output: &mut [f32]) {
        for (tile, output) in output.chunks_mut(TILE).enumerate() {
            let input = &padded[tile * TILE..][..TILE + self.reach()];
            // The common case apart, so that its loop has no multiplication.
            let sums = match self.dilation {
                1 => convolve_tile(input, kernel, 1, bias),
                dilation => convolve_tile(input, kernel, dilation, bias),
            };
            // What lies behind the last frame is not kept.
            output.copy_from_slice(&sums[..output.len()]);
        }
    }
}

#[inline(always)]
fn convolve_tile(input: &[f32], kernel: &[f32], dilation: usize, bias: f32) -> [f32; TILE] {
    let mut sums = [bias; TILE];
    for (k, weight) in kernel.iter().enumerate() {
        let window = &input[k * dilation..][..TILE];
        for (sum, value) in sums.iter_mut().zip(window) {
            *sum += weight * value;
        }
    }
    sums
}

impl Op for DepthwiseConv {
    fn name(&self) -> StaticName {
        "DiarizedDepthwiseConv".into()
    }

    op_as_typed_op!();
}

impl EvalOp for DepthwiseConv {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let (signal, kernel, bias) = args_3!(inputs);
        let mut shape: TVec<usize> = signal.shape().into();
        let last = shape.len() - 1;
        let n_frames = shape[last];
        shape[last] = (n_frames + self.pad_before + self.pad_after).saturating_sub(self.reach());
        let n_out = shape[last];
        let mut output = Tensor::zero::<f32>(&shape)?;
        if n_frames > 0 && n_out > 0 {
            let (signal, kernel, bias) =
                (signal.try_as_plain_ram()?, kernel.try_as_plain_ram()?, bias.try_as_plain_ram()?);
            let mut view = output.try_as_plain_ram_mut()?;
            let inputs = signal.as_slice::<f32>()?.chunks_exact(n_frames);
            let outputs = view.as_slice_mut::<f32>()?.chunks_exact_mut(n_out);
            let channels =
                kernel.as_slice::<f32>()?.chunks_exact(self.kernel_len).zip(bias.as_slice::<f32>()?);
            let mut padded = vec![0.0; n_out.next_multiple_of(TILE) + self.reach()];
            for ((input, output), (kernel, &bias)) in inputs.zip(outputs).zip(channels.cycle()) {
                padded[self.pad_before..][..n_frames].copy_from_slice(input);
                self.convolve(&padded, kernel, bias, output);
            }
        }
        Ok(tvec!(output.into()))
    }
}

impl TypedOp for DepthwiseConv {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let mut shape = inputs[0].shape.clone();
        let last = shape.rank() - 1;
        shape.set(last, shape[last].clone() + self.pad_before + self.pad_after - self.reach());
        Ok(tvec!(inputs[0].datum_type.fact(shape)))
    }

    as_op!();
}

/// A depthwise convolution over what comes and the frames before it, which it keeps; inputs as for [`DepthwiseConv`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct StreamedConv(DepthwiseConv);

impl StreamedConv {
    fn replace(
        _: &(),
        model: &TypedModel,
        node: &TypedNode,
        _: &str,
        conv: &DepthwiseConv,
    ) -> TractResult<Option<TypedModelPatch>> {
        let joined = model.node(node.inputs[0].node);
        let Some(concat) = joined.op_as::<TypedConcat>() else { return Ok(None) };
        let &[past, signal] = joined.inputs.as_slice() else { return Ok(None) };
        let shape = &model.outlet_fact(past)?.shape;
        let fits = concat.axis + 1 == shape.rank()
            && shape[concat.axis] == conv.reach().to_dim()
            && model.node(past.node).op_is::<TypedSource>()
            && (conv.pad_before, conv.pad_after) == (0, 0);
        if !fits {
            return Ok(None);
        }
        let inputs = [signal, node.inputs[1], node.inputs[2]];
        TypedModelPatch::replace_single_op(model, node, &inputs, Self(conv.clone())).map(Some)
    }
}

impl Op for StreamedConv {
    fn name(&self) -> StaticName {
        "DiarizedStreamedConv".into()
    }

    op_as_typed_op!();
}

impl EvalOp for StreamedConv {
    not_out_of_plan!();

    fn state(&self, _: &EvalContext) -> TractResult<Option<Box<dyn OpState>>> {
        Ok(Some(Box::new(Past::default())))
    }
}

impl TypedOp for StreamedConv {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(inputs[0].without_value()))
    }

    as_op!();
}

/// Calls for whose frames there is room before the past is moved to the front again.
const CALLS_WITHOUT_A_MOVE: usize = 4;

/// What a [`StreamedConv`] has heard. The rows of all channels lie in one piece of memory, each with room behind, so
/// that the past need not be moved at every call.
#[derive(Debug, Clone, Default)]
struct Past {
    rows: Vec<f32>,
    row_len: usize,
    /// Where the past begins in each row.
    at: usize,
}

impl OpState for Past {
    fn eval(&mut self, _: &EvalContext, op: &dyn Op, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let StreamedConv(conv) = op.downcast_ref().context("not the state of this operator")?;
        let (signal, kernel, bias) = args_3!(inputs);
        let mut output = signal.into_tensor();
        let n_frames = output.shape().last().copied().unwrap_or(0);
        if n_frames == 0 {
            return Ok(tvec!(output.into()));
        }
        let n_rows = output.len() / n_frames;
        let (kernel, bias) = (kernel.try_as_plain_ram()?, bias.try_as_plain_ram()?);
        let mut view = output.try_as_plain_ram_mut()?;
        let outputs = view.as_slice_mut::<f32>()?.chunks_exact_mut(n_frames);
        // The last tile may read beyond the newest frame.
        let n_read = conv.reach() + n_frames.next_multiple_of(TILE);
        if self.rows.is_empty() {
            self.row_len = n_read + CALLS_WITHOUT_A_MOVE * n_frames;
            self.rows = vec![0.0; n_rows * self.row_len];
        }
        ensure!(
            n_rows * self.row_len == self.rows.len() && n_read <= self.row_len,
            "a stream keeps its shape"
        );
        let is_full = self.at + n_read > self.row_len;
        let at = if is_full { 0 } else { self.at };
        let rows = self.rows.chunks_exact_mut(self.row_len);
        let channels = kernel.as_slice::<f32>()?.chunks_exact(conv.kernel_len).zip(bias.as_slice::<f32>()?);
        for ((row, output), (kernel, &bias)) in rows.zip(outputs).zip(channels.cycle()) {
            if is_full {
                row.copy_within(self.at..self.at + conv.reach(), 0);
            }
            row[at + conv.reach()..][..n_frames].copy_from_slice(output);
            conv.convolve(&row[at..at + n_read], kernel, bias, output);
        }
        self.at = at + n_frames;
        Ok(tvec!(output.into()))
    }

    fn reset_lanes(&mut self, _: &[LaneId]) -> TractResult<()> {
        bail!("one state is one stream")
    }
}

/// How the values along one axis lie in memory: blocks of `n_along` rows of `n_inner` values.
struct Rows {
    n_along: usize,
    n_inner: usize,
}

impl Rows {
    fn of(shape: &[usize], axis: usize) -> Self {
        Self { n_along: shape[axis], n_inner: shape[axis + 1..].iter().product() }
    }

    /// Values of one block.
    fn block(&self) -> usize {
        self.n_along * self.n_inner
    }
}

/// Sum along an axis, which stays with length 1, of the values or of their squares.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Sum {
    axis: usize,
    squares: bool,
}

impl Sum {
    fn replace(
        _: &(),
        model: &TypedModel,
        node: &TypedNode,
        _: &str,
        reduce: &Reduce,
    ) -> TractResult<Option<TypedModelPatch>> {
        let &[axis] = reduce.axes.as_slice() else { return Ok(None) };
        let fact = model.outlet_fact(node.inputs[0])?;
        if reduce.reducer != Reducer::Sum || fact.datum_type != f32::datum_type() || !fact.is_plain() {
            return Ok(None);
        }
        // A square that nothing else needs is taken on the way.
        let producer = model.node(node.inputs[0].node);
        let squares = producer.op_as::<ElementWiseOp>().is_some_and(|op| op.0.is::<Square>())
            && producer.outputs[0].successors.len() == 1;
        let input = if squares { producer.inputs[0] } else { node.inputs[0] };
        TypedModelPatch::replace_single_op(model, node, &[input], Self { axis, squares }).map(Some)
    }
}

impl Op for Sum {
    fn name(&self) -> StaticName {
        "DiarizedSum".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Sum {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let input = args_1!(inputs);
        let rows = Rows::of(input.shape(), self.axis);
        let mut shape: TVec<usize> = input.shape().into();
        shape[self.axis] = 1;
        let view = input.try_as_plain_ram()?;
        let mut output = Tensor::zero::<f32>(&shape)?;
        let mut sums = output.try_as_plain_ram_mut()?;
        let sums = sums.as_slice_mut::<f32>()?;
        if rows.block() > 0 {
            let blocks = view.as_slice::<f32>()?.chunks_exact(rows.block());
            for (block, sums) in blocks.zip(sums.chunks_exact_mut(rows.n_inner)) {
                match (rows.n_inner, self.squares) {
                    (1, true) => sums[0] = sum(block, |v| v * v),
                    (1, false) => sums[0] = sum(block, |v| v),
                    (_, true) => add_rows(sums, block, |v| v * v),
                    (_, false) => add_rows(sums, block, |v| v),
                }
            }
        }
        Ok(tvec!(output.into()))
    }
}

impl TypedOp for Sum {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let mut shape = inputs[0].shape.clone();
        shape.set(self.axis, 1.to_dim());
        Ok(tvec!(inputs[0].datum_type.fact(shape)))
    }

    as_op!();
}

/// Sum of `of(value)`, in lanes that the compiler can add at once.
fn sum(values: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0; 16];
    let whole = values.chunks_exact(lanes.len());
    let rest: f32 = whole.remainder().iter().map(|&v| of(v)).sum();
    for chunk in whole {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane += of(value);
        }
    }
    rest + lanes.iter().sum::<f32>()
}

/// Adds `of(value)` of each row of `block` to `sums`.
fn add_rows(sums: &mut [f32], block: &[f32], of: impl Fn(f32) -> f32) {
    for row in block.chunks_exact(sums.len()) {
        for (sum, &value) in sums.iter_mut().zip(row) {
            *sum += of(value);
        }
    }
}

/// Takes away the mean along an axis and divides by the deviation along it, without gain and offset:
/// `(x - mean) / sqrt(variance + eps)`. The axis is not the last one, which tract handles well.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct LayerNorm {
    axis: usize,
    /// A scalar, as a tensor because numbers have no `Eq`.
    eps: Arc<Tensor>,
}

impl LayerNorm {
    fn replace(
        _: &(),
        model: &TypedModel,
        node: &TypedNode,
        _: &str,
        norm: &RmsNorm,
    ) -> TractResult<Option<TypedModelPatch>> {
        let axis = norm.axis;
        let Some(input) = centred_along(model, node.inputs[0], axis)? else { return Ok(None) };
        let fact = model.outlet_fact(input)?;
        if fact.datum_type != f32::datum_type() || !fact.is_plain() || axis + 1 == fact.rank() {
            return Ok(None);
        }
        let ours = Self { axis, eps: norm.eps.clone() };
        TypedModelPatch::replace_single_op(model, node, &[input], ours).map(Some)
    }
}

/// `x` where `outlet` is `x` less its mean along `axis`.
fn centred_along(model: &TypedModel, outlet: OutletId, axis: usize) -> TractResult<Option<OutletId>> {
    let Some([x, mean]) = operands::<Sub>(model, outlet) else { return Ok(None) };
    let Some(factors) = operands::<Mul>(model, mean) else { return Ok(None) };
    let Some(length) = model.outlet_fact(x)?.shape[axis].to_usize().ok() else { return Ok(None) };
    for [sum, share] in [factors, [factors[1], factors[0]]] {
        let node = model.node(sum.node);
        let sums_x = node.inputs.first() == Some(&x)
            && match (node.op_as::<Sum>(), node.op_as::<Reduce>()) {
                (Some(sum), _) => sum.axis == axis && !sum.squares,
                (_, Some(reduce)) => reduce.axes.as_slice() == [axis] && reduce.reducer == Reducer::Sum,
                _ => false,
            };
        let share = match &model.outlet_fact(share)?.konst {
            Some(share) if share.len() == 1 => {
                share.cast_to::<f32>()?.try_as_plain_ram()?.as_slice::<f32>()?[0]
            }
            _ => continue,
        };
        if sums_x && (share * length as f32 - 1.0).abs() < 1e-5 {
            return Ok(Some(x));
        }
    }
    Ok(None)
}

/// What the binary operator `O` that makes `outlet` works on.
fn operands<O: tract_onnx::tract_core::ops::binary::BinMiniOp>(
    model: &TypedModel,
    outlet: OutletId,
) -> Option<[OutletId; 2]> {
    let node = model.node(outlet.node);
    let is_it = node.op_as::<TypedBinOp>().is_some_and(|op| op.0.is::<O>());
    is_it.then(|| node.inputs.as_slice().try_into().ok()).flatten()
}

impl Op for LayerNorm {
    fn name(&self) -> StaticName {
        "DiarizedLayerNorm".into()
    }

    op_as_typed_op!();
}

impl EvalOp for LayerNorm {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let mut output = args_1!(inputs).into_tensor();
        let rows = Rows::of(output.shape(), self.axis);
        let eps = self.eps.cast_to_scalar::<f32>()?;
        if rows.block() > 0 {
            let mut view = output.try_as_plain_ram_mut()?;
            let share = 1.0 / rows.n_along as f32;
            let (mut mean, mut scale) = (vec![0.0; rows.n_inner], vec![0.0; rows.n_inner]);
            for block in view.as_slice_mut::<f32>()?.chunks_exact_mut(rows.block()) {
                mean.fill(0.0);
                add_rows(&mut mean, block, |v| v);
                mean.iter_mut().for_each(|mean| *mean *= share);
                scale.fill(0.0);
                for row in block.chunks_exact_mut(rows.n_inner) {
                    for ((value, mean), energy) in row.iter_mut().zip(&mean).zip(&mut scale) {
                        *value -= mean;
                        *energy += *value * *value;
                    }
                }
                scale.iter_mut().for_each(|scale| *scale = 1.0 / (*scale * share + eps).sqrt());
                for row in block.chunks_exact_mut(rows.n_inner) {
                    for (value, scale) in row.iter_mut().zip(&scale) {
                        *value *= scale;
                    }
                }
            }
        }
        Ok(tvec!(output.into()))
    }
}

impl TypedOp for LayerNorm {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(inputs[0].without_value()))
    }

    as_op!();
}

#[cfg(test)]
mod tests;
