//! Functions of single values, for a vector of them at once.

use std::f32::consts::LOG2_E;

use fearless_simd::prelude::*;

/// Half of `erf(x / sqrt 2)` is `x` times the quotient of two polynomials in `x²` up to [`ERF_REACH`], and 0.5 to the
/// last digit beyond. Least-squares fits with weights that level the error: 7e-9 in exact arithmetic, 2e-7 in `f32`.
const ERF_OVER: [f32; 6] =
    [0.398_942_23, 0.033_850_152, 0.004_677_098, 0.000_168_799_22, 6.351_839e-6, 2.275_071e-8];
const ERF_UNDER: [f32; 6] = [1.0, 0.251_515_7, 0.028_644_42, 0.001_884_295_1, 7.363_853_4e-5, 1.197_522_9e-6];
const ERF_REACH: f32 = 5.5;

/// ln 2 in two parts, of which the first has so few digits that its products with small integers are exact.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;
/// Added to a number below 2²² in size and taken away again, this rounds it to an integer. The low bits of the sum are
/// that integer.
const ROUNDER: f32 = 12_582_912.0;
/// Taylor coefficients of the exponential from the highest on; on half an octave they are right to 2e-8.
const EXP: [f32; 7] = [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];
/// Bounds between which the exponential and its reciprocal are normal numbers.
const EXP_REACH: f32 = 87.0;

#[inline(always)]
fn polynomial<S: Simd>(simd: S, x: S::f32s, from_lowest: &[f32]) -> S::f32s {
    let mut sum = S::f32s::splat(simd, from_lowest[from_lowest.len() - 1]);
    for &coefficient in from_lowest.iter().rev().skip(1) {
        sum = sum.mul_add(x, S::f32s::splat(simd, coefficient));
    }
    sum
}

/// `x · Φ(x)` with the normal distribution `Φ` (Hendrycks and Gimpel, "Gaussian error linear units", 2016), exact up to
/// rounding. Not a number where `x` is none.
#[inline(always)]
pub(crate) fn gelu<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let near = x.min(ERF_REACH).max(-ERF_REACH);
    let square = near * near;
    let half_erf = near * polynomial(simd, square, &ERF_OVER) / polynomial(simd, square, &ERF_UNDER);
    x * (half_erf + 0.5)
}

/// The larger of `x` and 0. A number where `x` is none, on some processors.
#[inline(always)]
pub(crate) fn relu<S: Simd>(_: S, x: S::f32s) -> S::f32s {
    x.max(0.0)
}

/// `e` to the `x`, for `x` between -87 and 87; the value at the bound beyond. Not a number where `x` is none.
#[inline(always)]
pub(crate) fn exp<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    // What `min` and `max` make of what is no number depends on the processor.
    let is_nan = x.is_nan();
    let original = x;
    let x = x.min(EXP_REACH).max(-EXP_REACH);
    let rounder = S::f32s::splat(simd, ROUNDER);
    let sum = x.mul_add(S::f32s::splat(simd, LOG2_E), rounder);
    let octaves = sum - rounder;
    let rest = octaves.mul_add(S::f32s::splat(simd, -LN_2_HIGH), x);
    let rest = octaves.mul_add(S::f32s::splat(simd, -LN_2_LOW), rest);
    let mut power = S::f32s::splat(simd, EXP[0]);
    for &coefficient in &EXP[1..] {
        power = power.mul_add(rest, S::f32s::splat(simd, coefficient));
    }
    // Adds the octaves to the exponent.
    let shifted = power.bitcast::<S::i32s>() + (sum.bitcast::<S::i32s>() << 23);
    is_nan.select(original, shifted.bitcast())
}

/// The hyperbolic tangent. Not a number where `x` is none.
#[inline(always)]
pub(crate) fn tanh<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    // Beyond 9 it is 1 to the last digit.
    let near = x.min(9.0).max(-9.0);
    let tangent = S::f32s::splat(simd, 1.0) - S::f32s::splat(simd, 2.0) / (exp(simd, near + near) + 1.0);
    x.is_nan().select(x, tangent)
}
