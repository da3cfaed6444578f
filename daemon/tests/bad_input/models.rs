//! Voice models that are missing, damaged, or of other dimensions than their card says.

use std::path::{Path, PathBuf};

use super::wav::{PLAIN, s16, speech};
use super::{diarized, run};

fn zoo() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/zoo/nexttdnn-c128-b122")
}

/// A copy of the default model in `folder/name`, its card and its network changed.
fn model(folder: &Path, name: &str, card: impl Fn(String) -> String, onnx: impl Fn(Vec<u8>) -> Vec<u8>) {
    let to = folder.join(name);
    std::fs::create_dir(&to).unwrap();
    let text = std::fs::read_to_string(zoo().join("model.toml")).unwrap();
    std::fs::write(to.join("model.toml"), card(text)).unwrap();
    std::fs::copy(zoo().join("plda.f32"), to.join("plda.f32")).unwrap();
    std::fs::write(to.join("model.onnx"), onnx(std::fs::read(zoo().join("model.onnx")).unwrap())).unwrap();
}

fn replace(from: &'static str, to: &'static str) -> impl Fn(String) -> String {
    move |text| {
        assert!(text.contains(from), "the card holds {from:?}");
        text.replace(from, to)
    }
}

fn damaged(mut onnx: Vec<u8>) -> Vec<u8> {
    let middle = onnx.len() / 2;
    onnx[middle] ^= 1;
    onnx
}

#[test]
fn what_is_wrong_with_a_model_is_said_by_every_command_that_needs_one() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::write(at.join("talk.wav"), PLAIN.with(&s16(&speech(2)))).unwrap();
    std::fs::create_dir(at.join("empty")).unwrap();
    let same = |text: String| text;
    model(at, "damaged", same, damaged);
    model(at, "cut-off", same, |onnx| onnx[..onnx.len() / 2].to_vec());
    let without_plda = replace("plda_dim = 128\n", "");
    let smaller = replace("embedding_dim = 192", "embedding_dim = 64");
    model(at, "other-size", |text| smaller(without_plda(text)), |onnx| onnx);
    model(at, "other-mels", replace("n_mels = 80", "n_mels = 40"), |onnx| onnx);
    model(at, "bad-card", replace("n_fft = 512", "n_fft = 7"), |onnx| onnx);
    model(at, "new-schema", replace("schema = 1", "schema = 9"), |onnx| onnx);
    model(at, "misspelt", replace("embedding_dim", "embeding_dim"), |onnx| onnx);
    model(at, "binary-card", |_| "\u{0}\u{1}".to_owned(), |onnx| onnx);
    model(at, "no-plda", same, |onnx| onnx);
    std::fs::remove_file(at.join("no-plda/plda.f32")).unwrap();
    model(at, "cut-plda", same, |onnx| onnx);
    std::fs::write(at.join("cut-plda/plda.f32"), [0; 4001]).unwrap();
    let cases: [(&str, &[&str]); 12] = [
        ("no-plda", &["cannot read no-plda/plda.f32", "a model folder holds model.onnx"]),
        ("cut-plda", &["plda", "4001"]),
        ("absent", &["cannot read absent/model.onnx", "a model folder holds model.onnx"]),
        ("empty", &["cannot read empty/model.onnx", "a model folder holds model.onnx"]),
        ("damaged", &["model.onnx is damaged or another model's", "its sha256 is", "model.toml says"]),
        ("cut-off", &["model.onnx is damaged or another model's"]),
        ("other-size", &["the network gives 192 values, model.toml says embedding_dim = 64"]),
        ("other-mels", &["the network cannot be", "for windows of"]),
        ("bad-card", &["model.toml [front_end]", "n_fft"]),
        ("new-schema", &["model.toml has schema 9, this build reads schema 1"]),
        ("misspelt", &["model.toml", "embeding_dim"]),
        ("binary-card", &["model.toml is not of the expected layout"]),
    ];
    for (name, words) in cases {
        let commands: [&[&str]; 3] = [
            &["label", "talk.wav", "--model", name],
            &["embed", "talk.wav", "--model", name],
            &["serve", "--listen", "127.0.0.1:0", "--model", name],
        ];
        for args in commands {
            let (code, stdout, stderr) = run(&mut diarized(at, args));
            assert_eq!((code, &*stdout), (66, ""), "{args:?}: {stderr}");
            assert!(stderr.matches("os error").count() <= 1, "a cause is said once: {stderr}");
            words
                .iter()
                .for_each(|words| assert!(stderr.contains(words), "{args:?}: {stderr} lacks {words:?}"));
        }
    }
    // A copy that is whole is taken.
    model(at, "whole", same, |onnx| onnx);
    let (code, _, stderr) = run(&mut diarized(at, &["embed", "talk.wav", "--model", "whole"]));
    assert_eq!((code, &*stderr), (0, ""));
}

#[test]
fn a_second_model_of_another_kind_is_refused_at_the_start_and_by_the_check() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::write(at.join("talk.wav"), PLAIN.with(&s16(&speech(2)))).unwrap();
    model(at, "damaged", |text| text, damaged);
    std::fs::create_dir(at.join("segmenter")).unwrap();
    for file in ["encoder.onnx", "decoder.onnx", "model.toml"] {
        std::fs::write(at.join("segmenter").join(file), "of another kind").unwrap();
    }
    for (name, words) in [
        ("absent", "cannot read "),
        ("damaged", "model.onnx is damaged or another model's"),
        (
            "segmenter",
            "holds a segmentation model (encoder.onnx and decoder.onnx), and a voice model is needed here",
        ),
    ] {
        let config = format!("[model]\nsecond = \"{name}\"\n");
        std::fs::write(at.join("d.toml"), config).unwrap();
        let (code, stdout, stderr) = run(&mut diarized(at, &["config", "--check", "d.toml"]));
        assert_eq!((code, &*stdout), (78, ""), "{name}: {stderr}");
        assert!(stderr.starts_with("diarized: d.toml: model.second: ") && stderr.contains(words), "{stderr}");
        let commands: [&[&str]; 3] = [
            &["label", "talk.wav", "--second", name],
            &["label", "talk.wav", "--config", "d.toml"],
            &["serve", "--listen", "127.0.0.1:0", "--config", "d.toml"],
        ];
        for args in commands {
            let (code, stdout, stderr) = run(&mut diarized(at, args));
            assert_eq!((code, &*stdout), (66, ""), "{args:?}: {stderr}");
            assert!(stderr.contains("the second model (model.second) cannot be used: "), "{stderr}");
            assert!(stderr.contains(words), "{args:?}: {stderr} lacks {words:?}");
        }
    }
    // The first model is named like the second one.
    let (code, _, stderr) = run(&mut diarized(at, &["label", "talk.wav", "--model", "segmenter"]));
    assert_eq!(code, 66);
    assert!(stderr.contains("segmenter holds a segmentation model"), "{stderr}");
}
