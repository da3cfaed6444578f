use proptest::prelude::*;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::array::{Slice, TypedConcat};
use tract_onnx::tract_core::ops::cnn::{Conv, KernelFormat, PaddingSpec, PoolSpec};
use tract_onnx::tract_core::ops::math::{mul, square, sub};
use tract_onnx::tract_core::ops::nn::{DataFormat, Reduce, Reducer, RmsNorm};

use super::{DepthwiseConv, LayerNorm, StreamedConv, Sum, optimise, optimise_stream};

/// Values in `[-1, 1]` that depend on place and seed alone.
fn values(n: usize, seed: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 37 + seed * 101 + i * i % 7) % 211) as f32 / 105.0 - 1.0).collect()
}

fn tensor(shape: &[usize], seed: usize) -> Tensor {
    Tensor::from_shape(shape, &values(shape.iter().product(), seed)).unwrap()
}

fn run(model: TypedModel, input: &Tensor) -> Vec<f32> {
    let output = model.into_runnable().unwrap().run(tvec!(input.clone().into())).unwrap();
    output[0].to_plain_array_view::<f32>().unwrap().iter().copied().collect()
}

fn count<O: Op>(model: &TypedModel) -> usize {
    model.nodes().iter().filter(|node| node.op_is::<O>()).count()
}

/// Runs `model` as tract does and with this crate's operators, of which there must be `n` of type `O`.
fn assert_same<O: Op>(model: TypedModel, input: &Tensor, n: usize) {
    assert_same_within::<O>(2e-5, model, input, n);
}

/// [`assert_same`] for a model of many layers, each of which rounds.
fn assert_same_within<O: Op>(tolerance: f32, model: TypedModel, input: &Tensor, n: usize) {
    let ours = optimise(model.clone()).unwrap();
    assert_eq!(count::<O>(&ours), n, "{ours}");
    let (ours, tract) = (run(ours, input), run(model.into_optimized().unwrap(), input));
    assert_eq!(ours.len(), tract.len());
    for (i, (ours, tract)) in ours.iter().zip(&tract).enumerate() {
        assert!(
            (ours - tract).abs() <= tolerance * tract.abs().max(1.0),
            "value {i}: {ours}, tract has {tract}"
        );
    }
}

fn kernel(model: &mut TypedModel, channels: usize, of: usize, kernel_len: usize) -> OutletId {
    model.add_const("kernel", tensor(&[channels, of, kernel_len], 1)).unwrap()
}

fn bias(model: &mut TypedModel, channels: usize) -> OutletId {
    model.add_const("bias", tensor(&[channels], 2)).unwrap()
}

fn conv(channels: usize, kernel_len: usize, dilation: usize, padding: PaddingSpec, group: usize) -> Conv {
    let pool_spec = PoolSpec {
        data_format: DataFormat::NCHW,
        kernel_shape: tvec!(kernel_len),
        padding,
        dilations: Some(tvec!(dilation)),
        strides: None,
        input_channels: channels,
        output_channels: channels,
    };
    Conv { pool_spec, kernel_fmt: KernelFormat::OIHW, group, q_params: None }
}

fn depthwise(
    shape: [usize; 3],
    kernel_len: usize,
    dilation: usize,
    padding: PaddingSpec,
    group: usize,
) -> TypedModel {
    let channels = shape[1];
    let mut model = TypedModel::default();
    let x = model.add_source("x", f32::fact(shape)).unwrap();
    let inputs = [x, kernel(&mut model, channels, channels / group, kernel_len), bias(&mut model, channels)];
    let y = model.wire_node("conv", conv(channels, kernel_len, dilation, padding, group), &inputs).unwrap();
    model.select_output_outlets(&y).unwrap();
    model
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Every length of signal and kernel, odd or even, longer or shorter than a tile, and every way to pad.
    #[test]
    fn depthwise_convolution_is_tracts(
        shape in [1_usize..3, 2_usize..6, 1_usize..100],
        kernel_len in 2_usize..70,
        dilation in 1_usize..5,
        pads in [0_usize..70, 0_usize..70],
        kind in 0..4,
    ) {
        let reach = (kernel_len - 1) * dilation;
        let padding = match kind {
            0 => PaddingSpec::SameUpper,
            1 => PaddingSpec::SameLower,
            2 if reach < shape[2] => PaddingSpec::Valid,
            _ => {
                let [before, mut after] = pads;
                after = after.max((reach + 1).saturating_sub(before + shape[2]));
                PaddingSpec::Explicit(tvec!(before), tvec!(after))
            }
        };
        let model = depthwise(shape, kernel_len, dilation, padding, shape[1]);
        assert_same::<DepthwiseConv>(model, &tensor(&shape, 3), 1);
    }

    #[test]
    fn sums_are_tracts(
        shape in [1_usize..4, 1_usize..40, 1_usize..70],
        axis in 0_usize..3,
        squares in any::<bool>(),
    ) {
        let mut model = TypedModel::default();
        let mut x = model.add_source("x", f32::fact(shape)).unwrap();
        if squares {
            x = model.wire_node("square", square(), &[x]).unwrap()[0];
        }
        let y = model.wire_node("sum", Reduce { axes: tvec!(axis), reducer: Reducer::Sum }, &[x]).unwrap();
        model.select_output_outlets(&y).unwrap();
        assert_same::<Sum>(model, &tensor(&shape, 4), 1);
    }

    #[test]
    fn layer_normalisation_is_tracts(shape in [1_usize..3, 2_usize..40, 1_usize..70], swapped in any::<bool>()) {
        let model = layer_norm(&shape, 1.0 / shape[1] as f32, swapped);
        assert_same::<LayerNorm>(model, &tensor(&shape, 5), 1);
    }
}

/// A depthwise convolution over `(1, channels, n_frames)` and the past that it takes as its second input.
fn streamed(
    channels: usize,
    n_frames: usize,
    kernel_len: usize,
    dilation: usize,
    n_past: usize,
) -> TypedModel {
    let mut model = TypedModel::default();
    let x = model.add_source("x", f32::fact([1, channels, n_frames])).unwrap();
    let past = model.add_source("past", f32::fact([1, channels, n_past])).unwrap();
    let joined = model.wire_node("joined", TypedConcat { axis: 2 }, &[past, x]).unwrap()[0];
    let conv = conv(channels, kernel_len, dilation, PaddingSpec::Valid, channels);
    let inputs = [joined, kernel(&mut model, channels, 1, kernel_len), bias(&mut model, channels)];
    let y = model.wire_node("conv", conv, &inputs).unwrap()[0];
    let kept = Slice::new(2, n_frames, n_frames + n_past);
    let kept = model.wire_node("kept", kept, &[joined]).unwrap()[0];
    model.select_output_outlets(&[y, kept]).unwrap();
    model
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A stream in calls of one length is the convolution over all of it, and a new state starts from silence.
    #[test]
    fn a_stream_is_its_whole(
        channels in 1_usize..5,
        n_frames in 1_usize..50,
        n_calls in 1_usize..12,
        kernel_len in 2_usize..6,
        dilation in 1_usize..20,
    ) {
        let reach = (kernel_len - 1) * dilation;
        let model = optimise_stream(streamed(channels, n_frames, kernel_len, dilation, reach)).unwrap();
        prop_assert_eq!(count::<StreamedConv>(&model), 1);
        prop_assert_eq!((model.inputs.len(), model.outputs.len()), (1, 1));
        let n_all = n_frames * n_calls;
        let all = values(channels * n_all, 6);
        let padding = PaddingSpec::Explicit(tvec!(reach), tvec!(0));
        let whole = depthwise([1, channels, n_all], kernel_len, dilation, padding, channels);
        let whole = run(
            whole.into_optimized().unwrap(),
            &Tensor::from_shape(&[1, channels, n_all], &all).unwrap(),
        );
        let plan = model.into_runnable().unwrap();
        for _ in 0..2 {
            let mut state = plan.spawn().unwrap();
            for call in 0..n_calls {
                let rows = all.chunks(n_all).flat_map(|row| &row[call * n_frames..][..n_frames]);
                let input: Vec<f32> = rows.copied().collect();
                let input = Tensor::from_shape(&[1, channels, n_frames], &input).unwrap();
                let output = state.run(tvec!(input.into())).unwrap();
                let output = output[0].to_plain_array_view::<f32>().unwrap();
                for ((_, c, t), got) in output.into_dimensionality::<tract_ndarray::Ix3>().unwrap().indexed_iter() {
                    let expected = whole[c * n_all + call * n_frames + t];
                    prop_assert!((got - expected).abs() < 2e-5 * expected.abs().max(1.0), "{} {}", got, expected);
                }
            }
        }
    }
}

#[test]
fn a_past_of_another_length_is_refused() {
    let error = optimise_stream(streamed(3, 10, 5, 2, 9)).unwrap_err();
    assert_eq!(error.to_string(), "1 of its inputs are no past of a depthwise convolution");
}

/// `(x - mean) / sqrt(variance + eps)` along axis 1 of three, as the export writes it.
fn layer_norm(shape: &[usize], share: f32, swapped: bool) -> TypedModel {
    let mut model = TypedModel::default();
    let x = model.add_source("x", f32::fact(shape)).unwrap();
    let share = model.add_const("share", tensor3(&[[[share]]])).unwrap();
    let sum = model.wire_node("sum", Reduce { axes: tvec!(1), reducer: Reducer::Sum }, &[x]).unwrap()[0];
    let factors = if swapped { [share, sum] } else { [sum, share] };
    let mean = model.wire_node("mean", mul(), &factors).unwrap()[0];
    let centred = model.wire_node("centred", sub(), &[x, mean]).unwrap();
    let norm = RmsNorm { axis: 1, eps: tensor0(1e-6_f32).into() };
    let y = model.wire_node("norm", norm, &centred).unwrap();
    model.select_output_outlets(&y).unwrap();
    model
}

#[test]
fn what_is_no_mean_is_left_alone() {
    let shape = [1, 10, 20];
    assert_same::<LayerNorm>(layer_norm(&shape, 0.2, false), &tensor(&shape, 6), 0);
}

#[test]
fn other_convolutions_are_left_alone() {
    let shape = [1, 6, 50];
    let same = PaddingSpec::Explicit(tvec!(2), tvec!(2));
    assert_same::<DepthwiseConv>(depthwise(shape, 5, 1, same, 3), &tensor(&shape, 7), 0);
}

/// The built-in voice model, at a length of its own and at any: all its patterns are found, and the answer is tract's.
#[test]
fn the_built_in_network_is_the_same() {
    let read = || tract_onnx::onnx().model_for_read(&mut &*crate::builtin::ONNX).unwrap();
    let model = |fact: TypedFact| read().with_input_fact(0, fact.into()).unwrap().into_typed().unwrap();
    for n_frames in [98, 150, 293] {
        let shape = [1, 80, n_frames];
        // Processors round otherwise: 5.1e-5 is the largest that was seen, on one with AVX2 and without AVX-512.
        assert_same_within::<DepthwiseConv>(2e-4, model(f32::fact(shape)), &tensor(&shape, 8), 10);
        assert_same_within::<LayerNorm>(2e-4, model(f32::fact(shape)), &tensor(&shape, 9), 7);
    }
    let any = read();
    let frames = any.symbols.sym("n_frames").to_dim();
    let any = any.with_input_fact(0, f32::fact([1.to_dim(), 80.to_dim(), frames]).into()).unwrap();
    let any = optimise(any.into_typed().unwrap()).unwrap();
    assert_eq!((count::<DepthwiseConv>(&any), count::<LayerNorm>(&any)), (10, 7));
}
