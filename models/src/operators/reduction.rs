//! What goes along one axis: sums, and the normalisation of a layer by its mean and deviation.

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::binary::{BinMiniOp, TypedBinOp};
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::math::{Mul, Square, Sub};
use tract_onnx::tract_core::ops::nn::{Reduce, Reducer, RmsNorm};

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
pub(super) struct Sum {
    axis: usize,
    squares: bool,
}

impl Sum {
    pub(super) fn replace(
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
pub(super) struct LayerNorm {
    axis: usize,
    /// A scalar, as a tensor because numbers have no `Eq`.
    eps: Arc<Tensor>,
}

impl LayerNorm {
    pub(super) fn replace(
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
fn operands<O: BinMiniOp>(model: &TypedModel, outlet: OutletId) -> Option<[OutletId; 2]> {
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
