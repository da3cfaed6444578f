//! The choice between the kernels of this crate and tract.

/// What runs a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Engine {
    /// This crate's kernels for a graph that they are made for, and tract for every other one.
    #[default]
    Best,
    /// tract, whatever the graph.
    Tract,
}
