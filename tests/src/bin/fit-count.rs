//! Fits the weights from which the confidence of a number of speakers is computed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Parser;
use diarized_models::counting::{CountMeasures, N_COUNT_FEATURES};
use diarized_models::logistic::{Sample, fit_logistic};
use diarized_models::rttm::parse_rttm;
use diarized_models::scoring::Reliability;

/// Fits the weights of `models/src/counting.rs` on folders of recordings with references and labels beside them:
/// NAME.rttm, and NAME.json of `diarized label -f json -o FOLDER/ FOLDER`. Every folder weighs the same, and every
/// recording of a folder. The reliability on unseen recordings is that of six fits, each on five sixths of them.
#[derive(Debug, Parser)]
struct Args {
    /// Folders to fit on.
    #[arg(required = true, value_name = "DIR")]
    folders: Vec<PathBuf>,
    /// Folders that fit nothing and are judged with the weights in use, each by itself and all together.
    #[arg(long = "judge", value_name = "DIR")]
    judged: Vec<PathBuf>,
}

/// Number of folds of recordings.
const FOLDS: usize = 6;

/// What was measured of a recording, and whether its number of speakers is right.
#[derive(Debug, Clone, Copy)]
struct Counted {
    measures: CountMeasures,
    is_right: bool,
    weight: f64,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut counted = Vec::new();
    for folder in &args.folders {
        counted.extend(read(folder)?);
    }
    println!("WEIGHTS: {:.4?}", fitted(&counted)?);
    let mut unseen = Reliability::default();
    for fold in 0..FOLDS {
        let part = |is_own: bool| {
            let parts = counted.iter().enumerate().filter(|(n, _)| (n % FOLDS == fold) == is_own);
            parts.map(|(_, counted)| *counted).collect::<Vec<_>>()
        };
        let weights = fitted(&part(false))?;
        part(true).iter().for_each(|c| unseen.add(probability(&weights, &c.measures), c.is_right));
    }
    print_line("unseen recordings", &unseen);
    let mut all = Reliability::default();
    for folder in &args.judged {
        let mut own = Reliability::default();
        for counted in read(folder)? {
            let confidence = f64::from(counted.measures.confidence());
            own.add(confidence, counted.is_right);
            all.add(confidence, counted.is_right);
        }
        print_line(&folder.file_name().unwrap_or_default().to_string_lossy(), &own);
    }
    if !args.judged.is_empty() {
        print_line("all that are judged", &all);
    }
    Ok(())
}

/// The recordings of a folder; without speech in the labels nothing is measured.
fn read(folder: &Path) -> anyhow::Result<Vec<Counted>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut references: Vec<PathBuf> =
        entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    references.retain(|path| path.extension().is_some_and(|extension| extension == "rttm"));
    references.sort();
    let mut counted = Vec::new();
    for reference in references {
        let bytes =
            std::fs::read(&reference).with_context(|| format!("cannot read {}", reference.display()))?;
        let turns = parse_rttm(&reference.display().to_string(), &bytes)?;
        let people: BTreeSet<&str> = turns.iter().map(|turn| &*turn.speaker).collect();
        if let Some(measures) = measures(&reference.with_extension("json"))? {
            counted.push(Counted { measures, is_right: measures.n_speakers == people.len(), weight: 1.0 });
        }
    }
    if counted.is_empty() {
        bail!("{} holds no NAME.rttm with labels beside it", folder.display());
    }
    let weight = 1.0 / counted.len() as f64;
    counted.iter_mut().for_each(|counted| counted.weight = weight);
    Ok(counted)
}

/// Of the lines of `diarized label -f json`.
fn measures(path: &Path) -> anyhow::Result<Option<CountMeasures>> {
    let text = std::fs::read_to_string(path).with_context(|| {
        format!("cannot read {} (diarized label -f json -o FOLDER/ FOLDER writes it)", path.display())
    })?;
    let mut labels = Vec::new();
    for (idx, line) in text.lines().enumerate() {
        let label = label(line).with_context(|| format!("{}:{}: no label", path.display(), idx + 1))?;
        labels.push(label);
    }
    Ok(CountMeasures::of(labels))
}

/// Speaker and confidence.
fn label(line: &str) -> Option<(String, f32)> {
    let value: serde_json::Value = serde_json::from_str(line).ok()?;
    Some((value.get("speaker")?.as_str()?.to_owned(), value.get("confidence")?.as_f64()? as f32))
}

fn fitted(counted: &[Counted]) -> anyhow::Result<[f64; N_COUNT_FEATURES]> {
    let sample = |counted: &Counted| Sample {
        measures: counted.measures.features().map(f64::from),
        truth: f64::from(u8::from(counted.is_right)),
        weight: counted.weight,
    };
    let samples: Vec<_> = counted.iter().map(sample).collect();
    fit_logistic(&samples, [0.0; N_COUNT_FEATURES])
        .context("the recordings do not tell the weights: more of them are needed")
}

fn probability(weights: &[f64; N_COUNT_FEATURES], measures: &CountMeasures) -> f64 {
    let log_odds: f64 = weights.iter().zip(measures.features()).map(|(w, x)| w * f64::from(x)).sum();
    1.0 / (1.0 + (-log_odds).exp())
}

fn print_line(name: &str, reliability: &Reliability) {
    let all = reliability.total();
    print!(
        "  {name:20} {:4} recordings, {:.1} % right, ECE {:.1}, Brier {:.4} ({:.4});",
        all.n_labels,
        100.0 * all.right_share(),
        100.0 * reliability.ece(),
        reliability.brier(),
        reliability.constant_brier()
    );
    for tenth in reliability.tenths().iter().filter(|tenth| tenth.n_labels >= 10) {
        let (mean, right) = (100.0 * tenth.mean_confidence(), 100.0 * tenth.right_share());
        print!(" {mean:.0}:{right:.0} ({})", tenth.n_labels);
    }
    println!();
}
