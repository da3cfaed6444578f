//! Networks in kernels of our own, for graphs that are recognised; every other one runs in tract.

mod engine;
mod kernels;
pub(crate) mod nexttdnn;
pub(crate) mod plans;
mod reader;
pub(crate) mod tcn;
#[cfg(test)]
mod testing;

pub use engine::Engine;
pub(crate) use fearless_simd::Level;
