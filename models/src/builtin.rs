//! The default voice model, inside the binary.

/// The network.
pub(crate) const ONNX: &[u8] = include_bytes!("../zoo/nexttdnn-c128-b122/model.onnx");
/// Its card.
pub(crate) const CARD: &str = include_str!("../zoo/nexttdnn-c128-b122/model.toml");
/// How its embeddings scatter.
pub(crate) const PLDA: &[u8] = include_bytes!("../zoo/nexttdnn-c128-b122/plda.f32");
/// The voice activity network.
pub(crate) const SEGMENTER_ONNX: &[u8] = include_bytes!("../zoo/segmenter-tcn96/model.onnx");
/// Its card.
pub(crate) const SEGMENTER_CARD: &str = include_str!("../zoo/segmenter-tcn96/model.toml");
