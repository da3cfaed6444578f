//! Networks in kernels of our own, for graphs that are recognised; every other one runs in tract.

mod kernels;
pub(crate) mod nexttdnn;
pub(crate) mod plans;

pub(crate) use fearless_simd::Level;

/// The kinds of processor that this one can stand in for, itself first.
#[cfg(test)]
fn levels() -> Vec<Level> {
    let best = Level::new();
    #[cfg(target_arch = "x86_64")]
    let lower = [
        best.as_avx512().map(Level::Avx512),
        best.as_avx2().map(Level::Avx2),
        best.as_sse4_2().map(Level::Sse4_2),
        best.as_sse2().map(Level::Sse2),
    ];
    #[cfg(not(target_arch = "x86_64"))]
    let lower = [Some(best)];
    lower.into_iter().flatten().collect()
}
