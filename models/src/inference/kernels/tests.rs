use fearless_simd::prelude::*;
use fearless_simd::{Level, dispatch};
use proptest::prelude::*;

use super::super::testing::levels;
use super::functions::{exp, gelu, tanh};
use super::*;

/// Values in `[-1, 1]` that depend on place and seed alone.
fn values(n: usize, seed: usize) -> Vec<f32> {
    (0..n).map(|i| ((i * 37 + seed * 101 + i * i % 7) % 211) as f32 / 105.0 - 1.0).collect()
}

/// Rows of `n_columns` such values, in a table as the kernels have it, with what must not matter in between.
fn table(n_rows: usize, n_columns: usize, seed: usize) -> (Buffer, usize) {
    let (stride, from) = (stride(n_columns), values(n_rows * n_columns, seed));
    let at = |idx: usize| (idx / stride, idx % stride);
    let value = |(row, column): (usize, usize)| match column < n_columns {
        true => from[row * n_columns + column],
        false => 7.0,
    };
    (Buffer::of((0..n_rows * stride).map(|idx| value(at(idx)))), stride)
}

fn assert_close(got: f32, expected: f64, what: &str) {
    assert_within(2e-6, got, expected, what);
}

fn assert_within(tolerance: f64, got: f32, expected: f64, what: &str) {
    let difference = (f64::from(got) - expected).abs();
    assert!(difference <= tolerance * expected.abs().max(1.0), "{what}: {got}, not {expected}");
}

fn erf(x: f64) -> f64 {
    let mut term = x;
    let mut sum = 0.0;
    for n in 0..200 {
        sum += term / f64::from(2 * n + 1);
        term *= -x * x / f64::from(n + 1);
    }
    sum * 2.0 / std::f64::consts::PI.sqrt()
}

fn gelu_of(x: f64) -> f64 {
    // The series is of no use far out, where the function is a line.
    let erf = if x.abs() > 6.0 { x.signum() } else { erf(x / 2.0_f64.sqrt()) };
    x * (1.0 + erf) / 2.0
}

#[inline(always)]
fn apply<S: Simd>(simd: S, function: usize, x: f32) -> f32 {
    let x = S::f32s::splat(simd, x);
    let y = match function {
        0 => gelu(simd, x),
        1 => exp(simd, x),
        _ => tanh(simd, x),
    };
    y.as_slice()[S::f32s::LEN - 1]
}

#[test]
fn functions_are_those_of_mathematics() {
    for level in levels() {
        for idx in -1600..=1600_i16 {
            let x = f32::from(idx) / 100.0;
            let wide = f64::from(x);
            let got = [0, 1, 2].map(|function| dispatch!(level, simd => apply(simd, function, x)));
            assert_close(got[0], gelu_of(wide), &format!("gelu of {x}"));
            assert_close(got[1], wide.exp(), &format!("exp of {x}"));
            assert_close(got[2], wide.tanh(), &format!("tanh of {x}"));
        }
    }
}

#[test]
fn functions_have_limits_and_keep_what_is_no_number() {
    for level in levels() {
        let of = |function: usize, x: f32| dispatch!(level, simd => apply(simd, function, x));
        assert_eq!([0, 1, 2].map(|function| of(function, f32::NAN).is_nan()), [true; 3], "{level:?}");
        assert_eq!(of(0, f32::INFINITY), f32::INFINITY);
        assert_eq!(of(2, -f32::INFINITY), -1.0);
        assert_close(of(0, 1e30) / 1e30, 1.0, "gelu");
        assert_close(of(2, 1e30), 1.0, "tanh");
        assert!(of(0, -1e30).abs() < 1e24 && of(1, -1e30) < 1e-37 && of(1, 1e30) > 1e37);
        // A denormal number is itself times a half, and no zero.
        assert_eq!(of(0, 1e-40), 5e-41);
        assert_eq!(of(1, -1e-40), 1.0);
    }
}

/// What is done after a product, by the reference's name of it.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Plain,
    Tanh,
    Gelu,
    Add,
    Relu,
    ReluAdd,
}

impl Kind {
    const ALL: [Self; 6] = [Self::Plain, Self::Tanh, Self::Gelu, Self::Add, Self::Relu, Self::ReluAdd];
}

struct Product<'a> {
    kind: Kind,
    input: Rows<'a>,
    n_rows: usize,
    weights: &'a Weights,
    other: Rows<'a>,
    energy: &'a mut [f32],
}

impl Product<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S, output: RowsMut<'_>) {
        let Self { input, n_rows, weights, .. } = self;
        match self.kind {
            Kind::Plain => product(simd, input, n_rows, weights, output, Plain),
            Kind::Tanh => product(simd, input, n_rows, weights, output, Tanh),
            Kind::Gelu => product(simd, input, n_rows, weights, output, GeluEnergy { energy: self.energy }),
            Kind::Add => product(simd, input, n_rows, weights, output, Add { to: self.other }),
            Kind::Relu => product(simd, input, n_rows, weights, output, Relu),
            Kind::ReluAdd => product(simd, input, n_rows, weights, output, ReluAdd { to: self.other }),
        }
    }
}

/// Compares one product with its definition, on one kind of processor.
fn check_product(level: Level, (n_rows, n_in, n_out): (usize, usize, usize), kind: Kind) {
    let (input, input_stride) = table(n_rows, n_in, 1);
    let (weight, bias) = (values(n_in * n_out, 2), values(n_out, 3));
    let weights = Weights::pack(level, n_in, &bias, |input, output| weight[input * n_out + output]);
    let (other, stride) = table(n_rows, n_out, 4);
    let mut output = Buffer::zeros(n_rows * stride);
    let mut energy = Buffer::zeros(stride);
    let rows = Rows { values: &input, stride: input_stride };
    let product = Product {
        kind,
        input: rows,
        n_rows,
        weights: &weights,
        other: Rows { values: &other, stride },
        energy: &mut energy,
    };
    dispatch!(level, simd => product.run(simd, RowsMut::new(&mut output, stride)));
    for column in 0..n_out {
        let mut expected_energy = 0.0;
        for row in 0..n_rows {
            let sum: f64 = (0..n_in)
                .map(|k| f64::from(rows.at(row, k, 1)[0]) * f64::from(weight[k * n_out + column]))
                .sum();
            let sum = sum + f64::from(bias[column]);
            let expected = match kind {
                Kind::Plain => sum,
                Kind::Tanh => sum.tanh(),
                Kind::Gelu => gelu_of(sum),
                Kind::Add => sum + f64::from(other[row * stride + column]),
                Kind::Relu => sum.max(0.0),
                Kind::ReluAdd => sum.max(0.0) + f64::from(other[row * stride + column]),
            };
            expected_energy += expected * expected;
            assert_within(
                2e-5,
                output[row * stride + column],
                expected,
                &format!("{level:?} {kind:?} ({n_rows}, {n_in}, {n_out}) at ({row}, {column})"),
            );
        }
        if matches!(kind, Kind::Gelu) {
            assert_within(2e-5, energy[column], expected_energy, "energy");
        }
    }
}

/// [`depthwise_gelu`] on the frames of a whole window, with zeros around them.
fn check_depthwise(level: Level, n_rows: usize, n_channels: usize, n_taps: usize) {
    let (taps, bias) = (values(n_channels * n_taps, 5), values(n_channels, 6));
    let kernels = Kernels::new(&taps, &bias);
    assert_eq!((kernels.n_channels(), kernels.n_taps()), (n_channels, n_taps));
    let (stride, pad) = (stride(n_channels), n_taps / 2);
    let signal = values(n_rows * n_channels, 7);
    let n_padded = n_rows.next_multiple_of(TILE) + 2 * pad;
    // Also the planes of other channels before.
    let mut input = Buffer::zeros(n_padded * 2 * n_channels);
    let mut output = Buffer::zeros(n_rows.next_multiple_of(TILE) * stride);
    dispatch!(level, simd => {
        fill_planes(simd, &mut input, n_padded, pad, (&signal, n_channels));
        let planes = Planes { values: &input, n_rows: n_padded };
        depthwise_gelu(simd, (planes, 0, n_channels), n_rows, &kernels, RowsMut::new(&mut output, stride));
    });
    for row in 0..n_rows {
        for channel in 0..n_channels {
            let value = |tap: usize| {
                let at = (row + tap).checked_sub(pad).filter(|&at| at < n_rows);
                f64::from(at.map_or(0.0, |at| signal[at * n_channels + channel]))
            };
            let sum: f64 = (0..n_taps).map(|tap| value(tap) * f64::from(taps[channel * n_taps + tap])).sum();
            let expected = gelu_of(sum + f64::from(bias[channel]));
            let what = format!("{level:?} ({row}, {channel})");
            assert_within(2e-5, output[row * stride + channel], expected, &what);
        }
    }
}

/// [`depthwise_relu_next`], row by row, against the sum over a signal with zeros before it.
fn check_next(level: Level, n_rows: usize, n_channels: usize, (n_taps, dilation): (usize, usize)) {
    let (taps, bias) = (values(n_channels * n_taps, 5), values(n_channels, 6));
    let kernels = Kernels::new(&taps, &bias);
    let signal = values(n_rows * n_channels, 7);
    let mut past = Past::silent((n_taps - 1) * dilation, n_channels);
    let mut output = vec![0.0; n_channels];
    for (row, newest) in signal.chunks_exact(n_channels).enumerate() {
        dispatch!(level, simd => {
            depthwise_relu_next(simd, &mut past, newest, &kernels, dilation, &mut output);
        });
        for (channel, &got) in output.iter().enumerate() {
            let value = |tap: usize| {
                let at = row.checked_sub((n_taps - 1 - tap) * dilation);
                f64::from(at.map_or(0.0, |at| signal[at * n_channels + channel]))
            };
            let sum: f64 = (0..n_taps).map(|tap| value(tap) * f64::from(taps[channel * n_taps + tap])).sum();
            let what = format!("{level:?} ({row}, {channel})");
            assert_within(2e-5, got, (sum + f64::from(bias[channel])).max(0.0), &what);
        }
    }
}

/// Writes a signal `(n, n_channels)` to the second half of the planes' columns, from row `pad` on.
#[inline(always)]
fn fill_planes<S: Simd>(
    simd: S,
    planes: &mut [f32],
    n_rows: usize,
    pad: usize,
    (signal, n_channels): (&[f32], usize),
) {
    let len = S::f32s::LEN;
    let mut rows = RowsMut::planes(simd, planes, n_rows, pad).skip_columns(n_channels);
    for (row, values) in signal.chunks_exact(n_channels).enumerate() {
        for (idx, values) in values.chunks_exact(len).enumerate() {
            rows.at(row, idx * len, len).copy_from_slice(values);
        }
    }
}

fn check_norm(level: Level, n_rows: usize, n_columns: usize) {
    let (input, stride) = table(n_rows, n_columns, 8);
    let of = |seed| Buffer::of(values(n_columns, seed).into_iter());
    let affine = Affine { gain: of(9), offset: of(10) };
    let mut output = Buffer::zeros(n_rows * stride);
    let mut in_place = input.clone();
    let (rows, size) = (Rows { values: &input, stride }, (n_rows, n_columns));
    dispatch!(level, simd => {
        normalise(simd, rows, size, 1e-6, None, RowsMut::new(&mut output, stride));
        normalise_in_place(simd, RowsMut::new(&mut in_place, stride), size, 1e-6, &affine);
    });
    for row in 0..n_rows {
        let values: Vec<f64> = rows.at(row, 0, n_columns).iter().map(|&value| f64::from(value)).collect();
        let mean = values.iter().sum::<f64>() / n_columns as f64;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n_columns as f64;
        for (column, value) in values.iter().enumerate() {
            let expected = (value - mean) / (variance + 1e-6).sqrt();
            let (gain, offset) = (f64::from(affine.gain[column]), f64::from(affine.offset[column]));
            assert_close(output[row * stride + column], expected, "normalised");
            assert_close(in_place[row * stride + column], expected * gain + offset, "normalised in place");
        }
    }
}

fn check_pooling(level: Level, n_rows: usize, n_columns: usize) {
    let (input, stride) = table(n_rows, n_columns, 11);
    let (mut logits, _) = table(n_rows, n_columns, 12);
    // Such as overflow where the largest one is not taken away first.
    logits.iter_mut().for_each(|logit| *logit = 200.0 + 5.0 * *logit);
    let (mut mean, mut deviation) = (vec![0.0; n_columns], vec![0.0; n_columns]);
    let (values, logits) = (Rows { values: &input, stride }, Rows { values: &logits, stride });
    dispatch!(level, simd => {
        attentive_statistics(simd, values, logits, n_rows, 1e-5, (&mut mean, &mut deviation));
    });
    for column in 0..n_columns {
        let at = |rows: Rows<'_>, row| f64::from(rows.at(row, column, 1)[0]);
        let weights: Vec<f64> = (0..n_rows).map(|row| (at(logits, row) - 200.0).exp()).collect();
        let total: f64 = weights.iter().sum();
        let average = |of: &dyn Fn(f64) -> f64| {
            (0..n_rows).map(|row| weights[row] * of(at(values, row))).sum::<f64>() / total
        };
        let expected = average(&|value| value);
        let variance = average(&|value| value * value) - expected * expected;
        assert_close(mean[column], expected, "mean");
        let got = f64::from(deviation[column]).powi(2);
        assert!((got - variance.max(1e-5)).abs() < 5e-6, "variance {got}, not {variance}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Tiles that are whole or not, panels that are filled or not, on every kind of processor.
    #[test]
    fn products_are_those_of_mathematics(
        n_rows in 1_usize..40,
        n_in in 1_usize..150,
        n_out in 1_usize..100,
        kind in prop::sample::select(Kind::ALL.to_vec()),
    ) {
        levels().into_iter().for_each(|level| check_product(level, (n_rows, n_in, n_out), kind));
    }

    #[test]
    fn depthwise_convolutions_are_those_of_mathematics(
        n_rows in 1_usize..60,
        n_vectors in 1_usize..4,
        half in 0_usize..35,
    ) {
        let n_channels = n_vectors * CHANNELS_MULTIPLE;
        levels().into_iter().for_each(|level| check_depthwise(level, n_rows, n_channels, 2 * half + 1));
    }

    #[test]
    fn streamed_convolutions_are_those_of_mathematics(
        n_rows in 1_usize..40,
        n_vectors in 1_usize..4,
        shape in (2_usize..7, 1_usize..12),
    ) {
        let n_channels = n_vectors * CHANNELS_MULTIPLE;
        levels().into_iter().for_each(|level| check_next(level, n_rows, n_channels, shape));
    }

    #[test]
    fn normalisation_is_that_of_mathematics(n_rows in 1_usize..20, n_vectors in 1_usize..30) {
        levels().into_iter().for_each(|level| check_norm(level, n_rows, n_vectors * CHANNELS_MULTIPLE));
    }

    #[test]
    fn pooling_is_that_of_mathematics(n_rows in 1_usize..60, n_vectors in 1_usize..6) {
        levels().into_iter().for_each(|level| check_pooling(level, n_rows, n_vectors * CHANNELS_MULTIPLE));
    }

    #[test]
    fn scaled_weights_are_scaled_rows(n_rows in 1_usize..9, n_in in 1_usize..70, n_out in 1_usize..70) {
        for level in levels() {
            let (weight, bias, scale) = (values(n_in * n_out, 13), values(n_out, 14), values(n_in, 15));
            let weights = Weights::pack(level, n_in, &bias, |input, output| weight[input * n_out + output]);
            let mut scaled = Weights::pack(level, n_in, &vec![0.0; n_out], |_, _| 0.0);
            dispatch!(level, simd => weights.scale_into(simd, &scale, &mut scaled));
            let expected = Weights::pack(level, n_in, &bias, |input, output| {
                weight[input * n_out + output] * scale[input]
            });
            let (input, input_stride) = table(n_rows, n_in, 16);
            let run = |weights: &Weights| {
                let stride = stride(n_out);
                let mut output = Buffer::zeros(n_rows * stride);
                let rows = Rows { values: &input, stride: input_stride };
                dispatch!(level, simd => {
                    product(simd, rows, n_rows, weights, RowsMut::new(&mut output, stride), Plain);
                });
                output.to_vec()
            };
            prop_assert_eq!(run(&scaled), run(&expected));
        }
    }
}
