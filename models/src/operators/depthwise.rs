//! Depthwise convolutions: of a whole, and of a stream, whose past the operator keeps.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::array::TypedConcat;
use tract_onnx::tract_core::ops::cnn::{Conv, KernelFormat, PaddingSpec};
use tract_onnx::tract_core::ops::nn::DataFormat;
use tract_onnx::tract_core::ops::source::TypedSource;

/// Outputs of a depthwise convolution that are computed together; their sums stay in registers.
const TILE: usize = 32;

/// Depthwise convolution of `(…, channels, n_frames)` with a step of one frame; inputs are the signal, the kernel
/// `(channels, 1, kernel_len)` and the bias `(channels)`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct DepthwiseConv {
    kernel_len: usize,
    /// Frames from one weight of the kernel to the next.
    dilation: usize,
    /// Zeros before the first frame.
    pad_before: usize,
    /// Zeros after the last frame.
    pad_after: usize,
}

impl DepthwiseConv {
    pub(super) fn replace(
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
pub(super) struct StreamedConv(DepthwiseConv);

impl StreamedConv {
    pub(super) fn replace(
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

/// The past input of a [`StreamedConv`]. The rows of all channels lie in one piece of memory, each with room behind, so
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
