//! `diarized eval voices`: accuracy of names for enrolled people and strangers, on speakers of a Kaldi folder.

mod clips;
mod measure;
mod report;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context as _;
use diarized_models::voiceprint::ClipAnalyser;
use diarized_models::{Embedder, Embedding, ModelSource};
use parking_lot::Mutex;

use crate::exit;
use crate::kaldi::{self, Utterance};
use crate::output::write_stdout;
use crate::threads::n_cores;
use crate::voices::load_clip_embedder;
use clips::{Clips, clips};
use measure::{Fold, calibrate, measure};

/// Arguments of `diarized eval voices`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Every second speaker with enough speech is enrolled; everybody else is a stranger. Then the two halves change roles. \
The speech outside the enrolment is cut into pieces, and each piece is named by the rules of the product. A miss is an \
enrolled person with no name or a wrong one; a false accept is a stranger with a name.

With --fit the calibration of voiceprints is fitted on pairs within one set of recordings and printed as the \
[[voiceprint]] tables of model.toml. The set is the part of a speaker's name before the first `_`. The figures are then \
those of the new calibration, on the speakers of the fit. With --cross a second table uses a calibration fitted on \
other speakers only.")]
pub(super) struct Args {
    /// Kaldi data folder: wav.scp, segments (if there are any) and utt2spk.
    #[arg(value_name = "DIR")]
    data: PathBuf,
    /// Folder of the voice model: model.onnx and model.toml [default: the built-in one].
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Base folder of relative paths.
    #[arg(long, value_name = "DIR")]
    audio_root: Option<PathBuf>,
    /// Speech of an enrolment, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0)]
    enrol_s: f32,
    /// Probability from which on a speaker gets a name.
    #[arg(long, value_name = "P", default_value_t = 0.8)]
    accept: f32,
    /// Fit the calibration and print it.
    #[arg(long)]
    fit: bool,
    /// Also print results with a calibration fitted on other speakers only.
    #[arg(long)]
    cross: bool,
    /// Also count clips of one person that enrolment takes for two people's, and clips of two for one's. It labels minutes of
    /// audio for each speaker.
    #[arg(long, conflicts_with = "json")]
    clips: bool,
    /// Write one JSON object.
    #[arg(long)]
    json: bool,
}

/// A speaker's window embeddings, every 0.25 s of speech.
pub(super) struct Speaker {
    pub(super) name: String,
    pub(super) windows: Vec<Embedding>,
}

/// Frames of 10 ms between two windows.
const STEP_FRAMES: usize = 25;

/// Runs the command and gives the exit code.
///
/// # Errors
/// A list, an audio file or the model cannot be used.
pub(super) fn run(args: &Args) -> anyhow::Result<u8> {
    let source = args.model.clone().map_or(ModelSource::Builtin, ModelSource::Folder);
    let embedder = load_clip_embedder(&source)?;
    let by_speaker = by_speaker(&args.data, args.audio_root.as_deref())?;
    let speakers = embed(&embedder, &by_speaker)?;
    let mut card = embedder.card().clone();
    if args.fit {
        let all: Vec<&Speaker> = speakers.iter().collect();
        let (calibrations, table) = calibrate(&all).context("too few speakers to fit a calibration")?;
        card.print_calibrations = calibrations;
        write_stdout(&table)?;
    }
    let folds = Fold::both(&speakers, args.enrol_s);
    if args.clips {
        let all: Vec<_> = by_speaker.iter().collect();
        for Clips { clip_s, one, two } in clips(&embedder, &all)? {
            let percent = |(part, whole): (usize, usize)| 100.0 * part as f64 / whole.max(1) as f64;
            write_stdout(&format!(
                "clips of {clip_s} s: {:.1} % of {} with one voice refused as two, {:.1} % of {} with two voices \
                 taken\n",
                percent(one),
                one.1,
                percent(two),
                two.1
            ))?;
        }
        write_stdout("\n")?;
    }
    for cross in [false, true] {
        if cross && !args.cross {
            break;
        }
        let report = measure(&speakers, &folds, &card, args.accept, args.enrol_s, cross)?;
        write_stdout(&if args.json { report.json() } else { report.table() })?;
    }
    Ok(exit::OK)
}

/// Utterances by speaker, those of one file together.
fn by_speaker(data: &Path, root: Option<&Path>) -> anyhow::Result<BTreeMap<String, Vec<Utterance>>> {
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
fn samples_of(utterances: &[Utterance]) -> anyhow::Result<Vec<f32>> {
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

fn embed(embedder: &Embedder, by_speaker: &BTreeMap<String, Vec<Utterance>>) -> anyhow::Result<Vec<Speaker>> {
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
