//! Fits the weights from which the diarizer computes the confidence of a label.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Parser;
use diarized_dsp::SampleRange;
use diarized_models::diarizer::{LabelMeasures, N_FEATURES};
use diarized_models::logistic::Sample;
use diarized_models::rttm::Nanos;
use diarized_models::scoring::{DerParams, Reliability, Span, Turn, is_right, score_recording};
use diarized_models::{Diarizer, DiarizerOptions, DiarizerParams, SegmentId, TimedEvent};
use diarized_tests::cached_labeller::CachedLabeller;
use diarized_tests::fitting::{case, fitted, print_line, reliability_unseen};
use diarized_tests::recordings::{Reference, recordings};
use diarized_tests::suite::{ScoredEvent, views};

/// Labels folders of recordings and fits the weights of `models/src/diarizer/labelling/confidence.rs`: how much each
/// measure of a label says that it is right. Labels while speech goes on are taken when they appear and before they
/// are settled, and judged by the mapping of the labels as first emitted; those of the last pass by that of the end.
/// Every folder weighs the same, and every recording of a folder. The reliability on unseen recordings is that of six
/// fits, each on five sixths of the recordings.
#[derive(Debug, Parser)]
struct Args {
    /// Folders with NAME.wav or NAME.flac and NAME.rttm.
    #[arg(required = true, value_name = "DIR")]
    folders: Vec<PathBuf>,
    /// Folders that fit nothing and are judged with the weights in use, each by itself.
    #[arg(long = "judge", value_name = "DIR")]
    judged: Vec<PathBuf>,
    /// Folder of the voice model; the one inside the binary unless given.
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Folder that keeps embeddings between calls.
    #[arg(long, value_name = "DIR")]
    cache: PathBuf,
}

/// A tenth of the confidences with fewer labels is not printed.
const FEWEST: usize = 50;

/// A label, its measures, and whether it is right.
#[derive(Debug, Clone, Copy)]
struct Judged {
    measures: LabelMeasures,
    is_right: bool,
    weight: f64,
}

impl Judged {
    fn sample(&self) -> Sample<N_FEATURES> {
        case(self.measures.features(), self.is_right, self.weight)
    }
}

/// A label at one moment.
#[derive(Debug, Clone)]
struct Label {
    speaker: String,
    speech: Vec<SampleRange>,
    measures: LabelMeasures,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let params = DiarizerParams::try_new(DiarizerOptions::default())
        .map_err(|faults| anyhow::anyhow!("{faults:?}"))?;
    let labeller = CachedLabeller::new(args.model.as_deref(), &args.cache, params)?;
    let mut of_recordings = Vec::new();
    for folder in &args.folders {
        of_recordings.extend(judged_labels(&labeller, folder)?);
    }
    for (name, is_last) in [("LIVE", false), ("LAST", true)] {
        let of_stage = |judged: &[Judged]| -> Vec<Judged> {
            judged.iter().copied().filter(|judged| judged.measures.is_last == is_last).collect()
        };
        let samples = |judged: &Vec<Judged>| of_stage(judged).iter().map(Judged::sample).collect();
        let recordings: Vec<Vec<Sample<N_FEATURES>>> = of_recordings.iter().map(samples).collect();
        println!("{name}: {:.4?}", fitted(&recordings.concat())?);
        print_line("unseen recordings", "labels", &reliability_unseen(&recordings)?, FEWEST);
        for folder in &args.judged {
            let mut reliability = Reliability::default();
            for judged in of_stage(&judged_labels(&labeller, folder)?.concat()) {
                reliability.add(f64::from(judged.measures.confidence()), judged.is_right);
            }
            print_line(
                &folder.file_name().unwrap_or_default().to_string_lossy(),
                "labels",
                &reliability,
                FEWEST,
            );
        }
    }
    Ok(())
}

/// The labels of every recording of a folder. Each recording weighs the same, 1 for the folder in all.
fn judged_labels(labeller: &CachedLabeller, folder: &Path) -> anyhow::Result<Vec<Vec<Judged>>> {
    let mut of_folder = Vec::new();
    for audio in recordings(folder)? {
        let judged = judged_of(labeller, &audio).with_context(|| audio.display().to_string())?;
        of_folder.push(judged);
    }
    let n_recordings = of_folder.len();
    for judged in &mut of_folder {
        let weight = 1.0 / (n_recordings * judged.len().max(1)) as f64;
        judged.iter_mut().for_each(|judged| judged.weight = weight);
    }
    Ok(of_folder)
}

/// The labels of one recording.
fn judged_of(labeller: &CachedLabeller, audio: &Path) -> anyhow::Result<Vec<Judged>> {
    let mut emitted: Vec<TimedEvent> = Vec::new();
    // The first and the latest version of each label.
    let mut live: BTreeMap<SegmentId, [Label; 2]> = BTreeMap::new();
    let diarizer = labeller.label(audio, |diarizer| {
        emitted.extend(std::iter::from_fn(|| diarizer.poll_event()));
        if !diarizer.is_finished() {
            for (id, label) in labels(diarizer) {
                let first = live.get(&id).map_or_else(|| label.clone(), |[first, _]| first.clone());
                live.insert(id, [first, label]);
            }
        }
    })?;
    let events: Vec<ScoredEvent> = emitted.iter().filter_map(ScoredEvent::of).collect();
    let reference = Reference::beside(audio)?;
    let views = views(&events, diarizer.heard().seconds());
    let mapping = |view: &[Turn]| {
        score_recording(&reference.turns, view, reference.uem.as_deref(), DerParams::STRICT).mapping
    };
    let judge = |label: &Label, mapping: &[(String, String)]| {
        let nanos = |at: diarized_dsp::SampleIndex| Nanos::from(at);
        let speech: Vec<Span> =
            label.speech.iter().map(|part| Span::new(nanos(part.start()), nanos(part.end()))).collect();
        let is_right =
            is_right(&reference.turns, mapping, &label.speaker, &speech, reference.uem.as_deref())?;
        Some(Judged { measures: label.measures, is_right, weight: 1.0 })
    };
    let first_mapping = mapping(&views.first);
    let mut judged: Vec<Judged> =
        live.values().flatten().filter_map(|label| judge(label, &first_mapping)).collect();
    let last_mapping = mapping(&views.last);
    judged.extend(labels(&diarizer).iter().filter_map(|(_, label)| judge(label, &last_mapping)));
    Ok(judged)
}

/// The labels that the diarizer measures now.
fn labels(diarizer: &Diarizer) -> Vec<(SegmentId, Label)> {
    let label = |(id, measures): (SegmentId, LabelMeasures)| {
        let held = diarizer.state().segment(id)?;
        Some((id, Label { speaker: held.speaker.to_string(), speech: held.speech.clone(), measures }))
    };
    diarizer.label_measures().into_iter().filter_map(label).collect()
}
