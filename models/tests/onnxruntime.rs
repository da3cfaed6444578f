//! tract gives the embeddings that onnxruntime gave when the built-in model was made: cosine at least 0.9999.

use std::path::{Path, PathBuf};

use diarized_models::{Embedder, Embedding, ModelSource};
use serde::Deserialize;

/// Lowest cosine between the two engines.
const MIN_COSINE: f32 = 0.9999;

/// `golden.json`: fixed features and onnxruntime's embeddings of them.
#[derive(Debug, Deserialize)]
struct Golden {
    onnx_sha256: String,
    n_mels: usize,
    #[serde(flatten)]
    whole: Answer,
    /// Shape `(n_mels, n_frames)`, row-major.
    features: Vec<f32>,
    other_lengths: Vec<Answer>,
}

#[derive(Debug, Deserialize)]
struct Answer {
    n_frames: usize,
    embedding: Vec<f32>,
}

impl Golden {
    /// The features for another length: cut off, or begun again from the first frame.
    fn features_of(&self, n_frames: usize) -> Vec<f32> {
        let rows = self.features.chunks_exact(self.whole.n_frames);
        rows.flat_map(|row| row.iter().cycle().take(n_frames).copied()).collect()
    }
}

/// Folders of the zoo that hold a voice model and a golden file.
fn models() -> Vec<PathBuf> {
    let zoo = Path::new(env!("CARGO_MANIFEST_DIR")).join("zoo");
    let folders = std::fs::read_dir(&zoo).unwrap().map(|entry| entry.unwrap().path());
    let is_voice_model = |folder: &PathBuf| {
        let card = std::fs::read_to_string(folder.join("model.toml")).unwrap_or_default();
        card.contains("embedding_dim") && folder.join("golden.json").is_file()
    };
    let models: Vec<_> = folders.filter(is_voice_model).collect();
    assert!(!models.is_empty(), "{} holds no voice model with a golden.json", zoo.display());
    models
}

fn assert_agrees(embedder: &Embedder, golden: &Golden, answer: &Answer, what: &str) {
    let features = golden.features_of(answer.n_frames);
    let got = embedder.embed(&features, answer.n_frames).unwrap();
    let cosine = got.cosine(&Embedding::from_raw(&answer.embedding).unwrap());
    assert!(cosine >= MIN_COSINE, "{what}, {} frames: cosine {cosine} to onnxruntime", answer.n_frames);
}

#[test]
fn tract_agrees_with_onnxruntime_at_every_stored_length() {
    for folder in models() {
        let text = std::fs::read_to_string(folder.join("golden.json")).unwrap();
        let golden: Golden = serde_json::from_str(&text).unwrap();
        let answers: Vec<&Answer> = std::iter::once(&golden.whole).chain(&golden.other_lengths).collect();
        let lengths: Vec<usize> = answers.iter().map(|answer| answer.n_frames).collect();
        assert_eq!(golden.features.len(), golden.n_mels * golden.whole.n_frames);

        let source = ModelSource::Folder(folder.clone());
        let planned = Embedder::load(&source, &lengths).unwrap();
        assert_eq!(planned.card().onnx_sha256, golden.onnx_sha256, "golden.json is of another model.onnx");
        for ms in &planned.card().window_ms {
            assert!(lengths.contains(&(*ms as usize / 10)), "golden.json lacks windows of {ms} ms");
        }
        // The plan for any length is another one, with other kernels.
        let unplanned = Embedder::load(&source, &[]).unwrap();
        for answer in answers {
            assert_agrees(&planned, &golden, answer, "a plan of its own");
            assert_agrees(&unplanned, &golden, answer, "the plan for any length");
        }
        // The measure can fail: an answer for one length is not that for another.
        let short = planned.embed(&golden.features_of(lengths[1]), lengths[1]).unwrap();
        let whole = Embedding::from_raw(&golden.whole.embedding).unwrap();
        assert!(short.cosine(&whole) < MIN_COSINE);
    }
}

#[test]
fn the_built_in_model_is_one_of_those() {
    let built_in = Embedder::load(&ModelSource::Builtin, &[]).unwrap();
    let name = &built_in.card().name;
    let folder = models().into_iter().find(|folder| folder.ends_with(name));
    let card = std::fs::read_to_string(folder.unwrap().join("model.toml")).unwrap();
    assert!(card.contains(&built_in.card().onnx_sha256));
}
