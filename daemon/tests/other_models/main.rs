//! Other models than the one inside the binary, as a person uses them.

#[path = "../common/mod.rs"]
mod common;
mod second_model;
mod segmenter;
