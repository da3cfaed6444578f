//! Operators that stand in for slow ones of tract: depthwise convolution, sums along an axis, layer normalisation; and
//! a depthwise convolution that remembers the frames before.
//!
//! In a NeXt-TDNN on a window of 1.5 s tract spends nearly as much time in these as in its matrix products: it visits a
//! depthwise kernel output by output, and sums and normalises along an axis that is not the last through a general
//! iterator. Here each is a loop over rows that lie in memory one after the other, which the compiler turns into
//! vector instructions. Everything else stays tract's, and so does the graph: a network without these patterns is
//! left as it is. `benches/diarizer.rs` measures windows both ways.

mod depthwise;
mod reduction;

use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::source::TypedSource;

use self::depthwise::{DepthwiseConv, StreamedConv};
use self::reduction::{LayerNorm, Sum};

/// tract's own optimisation of `model`, with the operators of this module where they fit.
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

#[cfg(test)]
mod tests;
