//! Reads the nodes of an ONNX graph one after the other, each of which must be exactly what is expected.

use std::collections::HashMap;

use fearless_simd::Level;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, TensorProto};

use super::kernels::{Kernels, Weights};

/// Value of an attribute.
#[derive(Debug, Clone, Copy)]
pub(in crate::inference) enum Attribute<'a> {
    Int(i64),
    Ints(&'a [i64]),
    Float(f32),
}

impl Attribute<'_> {
    fn is(self, attribute: &AttributeProto) -> bool {
        match self {
            Self::Int(value) => attribute.i == value && attribute.ints.is_empty(),
            Self::Ints(values) => attribute.ints == values,
            Self::Float(value) => attribute.f == value,
        }
    }
}

/// The name of a value of the graph.
pub(in crate::inference) type Name<'a> = &'a str;

/// A convolution with its weights `(n_out, n_in, n_taps)`.
#[derive(Debug, Clone)]
pub(in crate::inference) struct Convolution {
    pub(in crate::inference) weight: Vec<f32>,
    pub(in crate::inference) bias: Vec<f32>,
    pub(in crate::inference) n_in: usize,
    pub(in crate::inference) n_taps: usize,
}

impl Convolution {
    pub(in crate::inference) fn n_out(&self) -> usize {
        self.bias.len()
    }

    /// Weights of a convolution of one frame.
    pub(in crate::inference) fn packed(&self, level: Level) -> Weights {
        let Self { weight, bias, n_in, .. } = self;
        Weights::pack(level, *n_in, bias, |input, output| weight[output * n_in + input])
    }

    /// Weights of a convolution over frames, for rows that hold its frames one after the other.
    pub(in crate::inference) fn packed_over_frames(&self, level: Level) -> Weights {
        let Self { weight, bias, n_in, n_taps } = self;
        Weights::pack(level, n_in * n_taps, bias, |input, output| {
            let (tap, channel) = (input / n_in, input % n_in);
            weight[(output * n_in + channel) * n_taps + tap]
        })
    }

    /// The kernels of a depthwise convolution.
    pub(in crate::inference) fn kernels(&self) -> Kernels {
        Kernels::new(&self.weight, &self.bias)
    }
}

/// How the taps of a convolution lie.
#[derive(Debug, Clone, Copy)]
pub(in crate::inference) struct Layout {
    /// Frames from one tap to the next.
    pub(in crate::inference) dilation: usize,
    /// Zeros on each side.
    pub(in crate::inference) pad: usize,
}

impl Layout {
    /// Taps side by side.
    pub(in crate::inference) fn padded(pad: usize) -> Self {
        Self { dilation: 1, pad }
    }
}

/// The nodes that are left, and the constants. Every method gives `None` where the graph is another one.
pub(in crate::inference) struct Reader<'a> {
    nodes: std::iter::Peekable<std::vec::IntoIter<&'a NodeProto>>,
    tensors: HashMap<Name<'a>, &'a TensorProto>,
}

impl<'a> Reader<'a> {
    pub(in crate::inference) fn new(graph: &'a GraphProto) -> Option<Self> {
        let mut tensors: HashMap<Name<'a>, _> =
            graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
        let mut nodes = Vec::new();
        for node in &graph.node {
            if node.op_type == "Constant" {
                let [output] = node.output.as_slice() else { return None };
                let [value] = node.attribute.as_slice() else { return None };
                tensors.insert(output, value.t.as_ref()?);
            } else {
                nodes.push(node);
            }
        }
        Some(Self { nodes: nodes.into_iter().peekable(), tensors })
    }

    /// The operator of the next node.
    pub(in crate::inference) fn next_op(&mut self) -> Option<&'a str> {
        self.nodes.peek().map(|node| node.op_type.as_str())
    }

    /// The inputs of the next node.
    pub(in crate::inference) fn next_inputs(&mut self) -> Option<&'a [String]> {
        self.nodes.peek().map(|node| node.input.as_slice())
    }

    /// The outputs of the next node, which has this operator, these inputs and these attributes, and no others.
    fn outputs(
        &mut self,
        op: &str,
        inputs: &[Name<'_>],
        attributes: &[(&str, Attribute<'_>)],
    ) -> Option<&'a [String]> {
        let node = self.nodes.next()?;
        // Optional inputs at the end may be named empty.
        let n_inputs = node.input.iter().rposition(|name| !name.is_empty()).map_or(0, |idx| idx + 1);
        let has = |(name, value): &(&str, Attribute<'_>)| {
            node.attribute.iter().any(|attribute| attribute.name == *name && value.is(attribute))
        };
        let fits = node.op_type == op
            && node.domain.is_empty()
            && node.input[..n_inputs] == *inputs
            && node.attribute.len() == attributes.len()
            && attributes.iter().all(has);
        fits.then_some(node.output.as_slice())
    }

    /// The output of the next node, which has one, under the conditions of [`outputs`](Self::outputs).
    pub(in crate::inference) fn take(
        &mut self,
        op: &str,
        inputs: &[Name<'_>],
        attributes: &[(&str, Attribute<'_>)],
    ) -> Option<Name<'a>> {
        match self.outputs(op, inputs, attributes)? {
            [output] => Some(output),
            _ => None,
        }
    }

    /// The parts of `value` along its channels, each of `size`.
    pub(in crate::inference) fn split(
        &mut self,
        value: Name<'_>,
        n_parts: usize,
        size: usize,
    ) -> Option<&'a [String]> {
        let sizes = self.next_inputs()?.get(1)?;
        let expected = vec![i64::try_from(size).ok()?; n_parts];
        let outputs = self.outputs("Split", &[value, sizes], &[("axis", Attribute::Int(1))])?;
        (self.integers(sizes)? == expected && outputs.len() == n_parts).then_some(outputs)
    }

    /// The number of parts that a constant of sizes names.
    pub(in crate::inference) fn n_parts(&self, sizes: &str) -> Option<usize> {
        self.integers(sizes).map(|sizes| sizes.len())
    }

    /// The second operand of the next node, a constant of one value.
    pub(in crate::inference) fn scalar_operand(&mut self) -> Option<(Name<'a>, f32)> {
        let name = self.next_inputs()?.get(1)?;
        match self.floats(name)?.1.as_slice() {
            &[value] => Some((name, value)),
            _ => None,
        }
    }

    /// `op` of `value` and a constant of one value, which is `expected`.
    pub(in crate::inference) fn with_scalar(
        &mut self,
        op: &str,
        value: Name<'_>,
        expected: f32,
    ) -> Option<Name<'a>> {
        let (name, scalar) = self.scalar_operand()?;
        (scalar == expected).then(|| self.take(op, &[value, name], &[]))?
    }

    /// `op` of `value` and a constant of shape `(1, n, 1)`, which comes back.
    pub(in crate::inference) fn with_channels(
        &mut self,
        op: &str,
        value: Name<'_>,
        n: usize,
    ) -> Option<(Name<'a>, Vec<f32>)> {
        let name = self.next_inputs()?.get(1)?;
        let (shape, values) = self.floats(name)?;
        let output = self.take(op, &[value, name], &[])?;
        (shape == [1, n, 1]).then_some((output, values))
    }

    /// A convolution of `value` with a step of one frame, and its output. `group` parts have weights of their own, and
    /// `layout` gives dilation and zeros on each side for a number of taps.
    pub(in crate::inference) fn convolution(
        &mut self,
        value: Name<'_>,
        group: usize,
        layout: impl Fn(usize) -> Layout,
    ) -> Option<(Name<'a>, Convolution)> {
        let [_, weight, bias] = self.next_inputs()? else { return None };
        let (shape, values) = self.floats(weight)?;
        let [n_out, n_in, n_taps] = shape[..] else { return None };
        let (bias_shape, bias_values) = self.floats(bias)?;
        let attribute = |n: usize| i64::try_from(n).ok();
        let Layout { dilation, pad } = layout(n_taps);
        let (dilation, pad) = (attribute(dilation)?, attribute(pad)?);
        let output = self.take(
            "Conv",
            &[value, weight, bias],
            &[
                ("dilations", Attribute::Ints(&[dilation])),
                ("group", Attribute::Int(attribute(group)?)),
                ("kernel_shape", Attribute::Ints(&[attribute(n_taps)?])),
                ("pads", Attribute::Ints(&[pad, pad])),
                ("strides", Attribute::Ints(&[1])),
            ],
        )?;
        let convolution = Convolution { weight: values, bias: bias_values, n_in, n_taps };
        (bias_shape == [n_out] && n_out > 0).then_some((output, convolution))
    }

    /// A convolution of one frame from `n_in` channels, and its output.
    pub(in crate::inference) fn pointwise(
        &mut self,
        value: Name<'_>,
        n_in: usize,
    ) -> Option<(Name<'a>, Convolution)> {
        let (output, convolution) = self.convolution(value, 1, |_| Layout::padded(0))?;
        (convolution.n_taps == 1 && convolution.n_in == n_in).then_some((output, convolution))
    }

    /// Sum or mean along `axis`.
    pub(in crate::inference) fn reduced(
        &mut self,
        op: &str,
        value: Name<'_>,
        axis: i64,
        keep: bool,
    ) -> Option<Name<'a>> {
        let keep = ("keepdims", Attribute::Int(i64::from(keep)));
        if op == "ReduceMean" {
            return self.take(op, &[value], &[("axes", Attribute::Ints(&[axis])), keep]);
        }
        let axes = self.next_inputs()?.get(1)?;
        let is_axis = self.integers(axes)? == [axis];
        is_axis.then(|| self.take(op, &[value, axes], &[keep]))?
    }

    /// Shape and values of a constant of 32-bit floats; all of them are finite.
    pub(in crate::inference) fn floats(&self, name: &str) -> Option<(Vec<usize>, Vec<f32>)> {
        let tensor = self.constant(name, DataType::Float)?;
        let raw = tensor.raw_data.chunks_exact(4);
        let values: Vec<f32> = match tensor.float_data.is_empty() {
            true => raw.map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])).collect(),
            false => tensor.float_data.clone(),
        };
        let shape = tensor.dims.iter().map(|&n| usize::try_from(n).ok()).collect::<Option<Vec<_>>>()?;
        let n_values = shape.iter().try_fold(1_usize, |product, &n| product.checked_mul(n))?;
        (n_values == values.len() && values.iter().all(|value| value.is_finite())).then_some((shape, values))
    }

    /// Values of a constant of 64-bit integers.
    pub(in crate::inference) fn integers(&self, name: &str) -> Option<Vec<i64>> {
        let tensor = self.constant(name, DataType::Int64)?;
        let raw = tensor.raw_data.as_chunks::<8>();
        Some(match tensor.int64_data.is_empty() {
            true => raw.0.iter().map(|&bytes| i64::from_le_bytes(bytes)).collect(),
            false => tensor.int64_data.clone(),
        })
    }

    fn constant(&self, name: &str, data_type: DataType) -> Option<&'a TensorProto> {
        let tensor = *self.tensors.get(name)?;
        let is_here = tensor.external_data.is_empty() && tensor.segment.is_none();
        (is_here && tensor.data_type == data_type as i32).then_some(tensor)
    }
}
