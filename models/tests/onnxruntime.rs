//! Our kernels and tract give the embeddings that onnxruntime gave when a model was made: cosine at least 0.99999.

use std::path::{Path, PathBuf};

use diarized_models::{Embedder, Embedding, Engine, ModelSource};
use serde::Deserialize;

/// Lowest cosine between the two engines.
const MIN_COSINE: f32 = 0.99999;

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
fn both_engines_agree_with_onnxruntime_at_every_stored_length() {
    for folder in models() {
        let text = std::fs::read_to_string(folder.join("golden.json")).unwrap();
        let golden: Golden = serde_json::from_str(&text).unwrap();
        let answers: Vec<&Answer> = std::iter::once(&golden.whole).chain(&golden.other_lengths).collect();
        let lengths: Vec<usize> = answers.iter().map(|answer| answer.n_frames).collect();
        assert_eq!(golden.features.len(), golden.n_mels * golden.whole.n_frames);

        let source = ModelSource::Folder(folder.clone());
        let ours = Embedder::load(&source, &lengths).unwrap();
        assert_eq!(ours.engine(), Engine::Best, "the recipe's graphs run in our kernels");
        let planned = Embedder::load_in(Engine::Tract, &source, &lengths).unwrap();
        assert_eq!(planned.card().onnx_sha256, golden.onnx_sha256, "golden.json is of another model.onnx");
        for ms in &planned.card().window_ms {
            assert!(lengths.contains(&(*ms as usize / 10)), "golden.json lacks windows of {ms} ms");
        }
        // The plan for any length is another one, with other kernels.
        let unplanned = Embedder::load_in(Engine::Tract, &source, &[]).unwrap();
        for answer in answers {
            assert_agrees(&ours, &golden, answer, "our kernels");
            assert_agrees(&planned, &golden, answer, "a plan of its own");
            assert_agrees(&unplanned, &golden, answer, "the plan for any length");
        }
        // The measure can fail: an answer for one length is not that for another.
        let short = planned.embed(&golden.features_of(lengths[1]), lengths[1]).unwrap();
        let whole = Embedding::from_raw(&golden.whole.embedding).unwrap();
        assert!(short.cosine(&whole) < MIN_COSINE);
    }
}

/// Lengths that no plan was made for, odd ones among them, and features at the ends of what numbers can hold.
#[test]
fn both_engines_give_the_same_embeddings() {
    let ours = Embedder::load(&ModelSource::Builtin, &[150]).unwrap();
    let tract = Embedder::load_in(Engine::Tract, &ModelSource::Builtin, &[]).unwrap();
    assert_eq!((ours.engine(), tract.engine()), (Engine::Best, Engine::Tract));
    for n_frames in [4, 5, 33, 97, 150, 151, 299, 411, 1003] {
        for size in [1e-41, 1.0, 1e6] {
            let features: Vec<f32> =
                (0..80 * n_frames).map(|i| ((i * 37 % 101) as f32 - 50.0) / 25.0 * size).collect();
            let (ours, tract) = (ours.embed(&features, n_frames), tract.embed(&features, n_frames));
            let cosine = ours.unwrap().cosine(&tract.unwrap());
            assert!(cosine >= MIN_COSINE, "{n_frames} frames times {size}: cosine {cosine}");
        }
    }
}

/// What neither engine can embed is an error, and the next window is embedded.
#[test]
fn unusable_windows_are_errors() {
    let ours = Embedder::load(&ModelSource::Builtin, &[]).unwrap();
    let features: Vec<f32> = (0..80 * 20).map(|i| (i * 37 % 101) as f32).collect();
    let error = ours.embed(&features[..80 * 3], 3).unwrap_err().to_string();
    assert_eq!(error, "inference failed: a window of 3 frames is too short: this network needs 4");
    assert!(ours.embed(&[], 0).is_err() && ours.embed(&features, 19).is_err());
    for value in [f32::NAN, f32::INFINITY] {
        let mut damaged = features.clone();
        damaged[777] = value;
        assert_eq!(ours.embed(&damaged, 20).unwrap_err().to_string(), "feature 777 is not finite");
    }
    ours.embed(&features, 20).unwrap();
}

#[test]
fn the_built_in_model_is_one_of_those() {
    let built_in = Embedder::load(&ModelSource::Builtin, &[]).unwrap();
    let name = &built_in.card().name;
    let folder = models().into_iter().find(|folder| folder.ends_with(name));
    let card = std::fs::read_to_string(folder.unwrap().join("model.toml")).unwrap();
    assert!(card.contains(&built_in.card().onnx_sha256));
}
