//! What the conformance tests and the accuracy tools of `diarized` share.

pub mod cached_labeller;
pub mod cluster_soak;
pub mod fitting;
pub mod fuzz;
pub mod joined;
pub mod labelling;
pub mod peers;
pub mod recordings;
pub mod simulate;
pub mod soak;
pub mod suite;
