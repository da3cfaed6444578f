//! Kernels of the networks in vector instructions: products with packed weights, depthwise convolutions, normalisation
//! and pooling.
//!
//! A row is a frame, and its channels lie side by side, so a vector holds channels. Every kernel is one generic function
//! over the vector type of `fearless_simd`; `dispatch!` compiles it for AVX-512, AVX2 with FMA, SSE, NEON and plain
//! arithmetic, and picks one at run time. None of it is unsafe: what a kernel reads is a slice.

mod buffer;
mod depthwise;
mod functions;
mod norm;
mod pooling;
mod product;

pub(crate) use self::buffer::{Buffer, Planes, Rows, RowsMut, Table, stride};
pub(crate) use self::depthwise::{Kernels, Past, TILE, depthwise_gelu, depthwise_relu_next};
pub(crate) use self::norm::{Affine, normalise, normalise_in_place};
pub(crate) use self::pooling::attentive_statistics;
pub(crate) use self::product::{Add, GeluEnergy, Plain, Relu, ReluAdd, Tanh, Weights, product};

/// Numbers of channels are multiples of this, the longest vector of any processor.
pub(crate) const CHANNELS_MULTIPLE: usize = 16;

#[cfg(test)]
mod tests;
