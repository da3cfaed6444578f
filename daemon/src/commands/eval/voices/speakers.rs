//! Speakers of a data folder: their audio and its embeddings.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context as _;
use diarized_models::voiceprint::ClipAnalyser;
use diarized_models::{Embedder, Embedding};
use parking_lot::Mutex;

use crate::kaldi::{self, Utterance};
use crate::threads::n_cores;

/// A speaker's window embeddings, every 0.25 s of speech.
pub(super) struct Speaker {
    pub(super) name: String,
    pub(super) windows: Vec<Embedding>,
}

/// Frames of 10 ms between two windows.
const STEP_FRAMES: usize = 25;

/// Utterances by speaker, those of one file together.
pub(super) fn by_speaker(
    data: &Path,
    root: Option<&Path>,
) -> anyhow::Result<BTreeMap<String, Vec<Utterance>>> {
    let segments = data.join("segments");
    let segments = segments.exists().then_some(segments);
    let utterances = kaldi::read_utterances(&data.join("wav.scp"), segments.as_deref(), root)?;
    let speakers = kaldi::read_utt2spk(&data.join("utt2spk"))?;
    let mut by_speaker: BTreeMap<String, Vec<Utterance>> = BTreeMap::new();
    for utterance in utterances {
        let speaker =
            speakers.get(&utterance.id).with_context(|| format!("utt2spk lacks {}", utterance.id))?;
        by_speaker.entry(speaker.clone()).or_default().push(utterance);
    }
    Ok(by_speaker)
}

/// The audio of a speaker, one utterance behind the other.
pub(super) fn samples_of(utterances: &[Utterance]) -> anyhow::Result<Vec<f32>> {
    let mut samples = Vec::new();
    let mut file: Option<(&Path, Vec<f32>)> = None;
    for utterance in utterances {
        if file.as_ref().is_none_or(|(path, _)| *path != utterance.path) {
            file = Some((&utterance.path, kaldi::load_mono(&utterance.path)?));
        }
        samples.extend_from_slice(utterance.of(file.as_ref().map_or(&[], |(_, samples)| samples))?);
    }
    Ok(samples)
}

pub(super) fn embed(
    embedder: &Embedder,
    by_speaker: &BTreeMap<String, Vec<Utterance>>,
) -> anyhow::Result<Vec<Speaker>> {
    let work: Vec<_> = by_speaker.iter().collect();
    let bar = indicatif::ProgressBar::new(work.len() as u64);
    bar.set_style(indicatif::ProgressStyle::with_template("speakers {bar:40} {pos}/{len}, {eta} left")?);
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let one = |utterances: &[Utterance]| -> anyhow::Result<Vec<Embedding>> {
        Ok(ClipAnalyser::new(embedder).speech_windows(&samples_of(utterances)?, STEP_FRAMES)?)
    };
    let thread = || {
        while let Some((name, utterances)) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
            let outcome = one(utterances).with_context(|| (*name).clone());
            done.lock().push(outcome.map(|windows| Speaker { name: (*name).clone(), windows }));
            bar.inc(1);
        }
    };
    let n_threads = n_cores().min(work.len().max(1));
    std::thread::scope(|scope| (0..n_threads).for_each(|_| _ = scope.spawn(thread)));
    bar.finish_and_clear();
    let mut speakers = done.into_inner().into_iter().collect::<anyhow::Result<Vec<Speaker>>>()?;
    speakers.retain(|speaker| !speaker.windows.is_empty());
    speakers.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(speakers)
}
