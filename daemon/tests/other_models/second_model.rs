//! A second voice model as a person has it: in labels, in voiceprints, and in a server. It is the default model under another
//! digest, so that it is another one to everything that compares models.

use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::common::{address_of_ready, conversation, diarized_in, request, run, speech};

/// Pieces of the example conversation in which one voice speaks alone, in seconds. The first two are enrolled.
const RMS: [(f64, f64); 4] = [(13.95, 22.05), (23.2, 28.2), (42.6, 45.6), (65.6, 69.2)];

struct Home(tempfile::TempDir);

impl Home {
    /// A home with the model in the folder `second` and clips of one voice: `enrolled.wav` and `later.wav`.
    fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        home.make_model("second");
        let samples = speech(None);
        for (name, pieces) in [("enrolled.wav", &RMS[..2]), ("later.wav", &RMS[2..])] {
            let at = |seconds: f64| (seconds * 16_000.0) as usize;
            let pieces = pieces.iter().flat_map(|&(start, end)| &samples[at(start)..at(end)]);
            write_wav(&home.path(name), pieces);
        }
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn make_model(&self, name: &str) {
        let zoo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/zoo/nexttdnn-c128-b122");
        std::fs::create_dir(self.path(name)).unwrap();
        let mut onnx = std::fs::read(zoo.join("model.onnx")).unwrap();
        // The field `doc_string` of the model, which means nothing to what runs it.
        onnx.extend([&[0x32, 6][..], b"second"].concat());
        let card = std::fs::read_to_string(zoo.join("model.toml")).unwrap();
        let digest = hex::encode(Sha256::digest(std::fs::read(zoo.join("model.onnx")).unwrap()));
        let card = card.replace(&digest, &hex::encode(Sha256::digest(&onnx)));
        let card = card.replacen("name = \"nexttdnn-c128-b122\"", "name = \"larger\"", 1);
        assert!(card.contains("larger"));
        std::fs::write(self.path(name).join("model.onnx"), onnx).unwrap();
        std::fs::write(self.path(name).join("model.toml"), card).unwrap();
        std::fs::copy(zoo.join("plda.f32"), self.path(name).join("plda.f32")).unwrap();
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = diarized_in(self.0.path(), args);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("XDG_")) {
            command.env_remove(name);
        }
        command.env("HOME", self.0.path());
        command
    }

    fn run(&self, args: &[&str]) -> String {
        let (code, stdout, stderr) = run(&mut self.command(args));
        assert_eq!(code, 0, "{args:?}: {stderr}");
        stdout
    }

    fn enrol(&self, more: &[&str]) {
        self.run(&[&["enrol", "Rhys", "enrolled.wav", "--consent", "synthetic"], more].concat());
    }
}

fn write_wav<'a>(path: &Path, samples: impl Iterator<Item = &'a f32>) {
    let (channels, sample_rate, bits_per_sample) = (1, 16_000, 16);
    let sample_format = hound::SampleFormat::Int;
    let spec = hound::WavSpec { channels, sample_rate, bits_per_sample, sample_format };
    let mut writer = hound::WavWriter::create(path, spec).unwrap();
    samples.for_each(|s| writer.write_sample((s * 32_767.0) as i16).unwrap());
    writer.finalize().unwrap();
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn speakers(labels: &str) -> std::collections::BTreeSet<String> {
    lines(labels).iter().map(|label| label["speaker"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn labels_of_files_are_the_same_whatever_the_threads_and_live_labels_those_of_the_first_model() {
    let home = Home::new();
    let talk = conversation();
    let talk = talk.to_str().unwrap();
    let events = |more: &[&str]| home.run(&[&["label", "-q", "--events", talk], more].concat());
    let with = events(&["--second", "second", "--threads", "1"]);
    assert_eq!(with, events(&["--second", "second", "--threads", "4"]));
    let without = events(&[]);
    // Until the end of the file, where the last pass is.
    let live = |events: &str| {
        let events = lines(events);
        let end = events.last().unwrap()["at"].as_f64();
        events.into_iter().filter(|event| event["at"].as_f64() < end).collect::<Vec<_>>()
    };
    let (live, live_without) = (live(&with), live(&without));
    assert!(live.len() > 100);
    assert_eq!(live, live_without);
    assert_ne!(with, without, "the last pass is another one's");
    let labels = home.run(&["label", "-q", "-f", "json", talk, "--second", "second"]);
    assert_eq!(speakers(&labels).len(), 4, "{labels}");
}

#[test]
fn voiceprints_are_those_of_the_second_model() {
    let home = Home::new();
    let talk = conversation();
    let talk = talk.to_str().unwrap();
    let second = ["--set", "model.second=second"];
    let named = |more: &[&str]| {
        let labels = home.run(&[&["label", "-q", "--voices", "-f", "json", talk], more].concat());
        lines(&labels).iter().any(|label| label["name"] == "Rhys")
    };
    home.enrol(&[]);
    assert!(
        named(&[]) && !named(&["--second", "second"]),
        "a print of the first model is none of the second"
    );
    home.enrol(&second);
    assert!(named(&["--second", "second"]) && named(&second) && named(&[]), "each model has its own prints");
    let shown: Value = serde_json::from_str(&home.run(&["voices", "show", "Rhys", "--json"])).unwrap();
    let models: Vec<_> = shown["made_from"].as_array().unwrap().iter().map(|r| &r["model"]).collect();
    assert_eq!(models, ["nexttdnn-c128-b122", "larger"], "{shown}");

    let identify = |more: &[&str]| -> Value {
        serde_json::from_str(&home.run(&[&["identify", "later.wav", "--json"], more].concat())).unwrap()
    };
    assert_eq!(identify(&second)["name"], "Rhys");
    // A model that is named on the command line counts.
    assert_eq!(identify(&[&second[..], &["--model", "second"]].concat())["name"], "Rhys");
    let verified = home.run(&[&["verify", "enrolled.wav", "later.wav", "--json"], &second[..]].concat());
    assert_eq!(serde_json::from_str::<Value>(&verified).unwrap()["same"], true);
}

#[test]
fn a_server_names_people_by_it_and_ends_sessions_with_it() {
    let home = Home::new();
    let second = ["--set", "model.second=second", "--set", "voices.enabled=true"];
    home.enrol(&second[..2]);
    let mut server = home.command(&[&["serve", "--listen", "127.0.0.1:0"], &second[..]].concat());
    let mut server = server.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let addr = address_of_ready(BufReader::new(server.stdout.take().unwrap()));
    let talk = conversation();
    let url = format!("ws://{addr}");
    let stream = ["stream", "--url", &url, "--session", "talk", "--speed", "4", talk.to_str().unwrap()];
    let streamed = run(&mut home.command(&stream));
    assert_eq!(streamed.0, 0, "{}", streamed.2);
    let (status, labels) = request(&addr, "GET", "/v1/sessions/talk.json", "");
    assert_eq!(status, 200, "{labels}");
    let state: Value = serde_json::from_str(&labels).unwrap();
    let speakers = state["speakers"].as_array().unwrap();
    let names: Vec<_> = speakers.iter().filter_map(|speaker| speaker["name"].as_str()).collect();
    assert_eq!((names, speakers.len()), (vec!["Rhys"], 4), "{state}");
    server.kill().unwrap();
    server.wait().unwrap();
}
