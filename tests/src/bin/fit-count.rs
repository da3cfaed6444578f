//! Fits the weights from which the confidence of a number of speakers is computed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Parser;
use diarized_models::counting::{CountMeasures, N_COUNT_FEATURES};
use diarized_models::logistic::Sample;
use diarized_models::rttm::parse_rttm;
use diarized_models::scoring::Reliability;
use diarized_tests::fitting::{case, fitted, print_line, reliability_unseen};

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

/// A tenth of the confidences with fewer recordings is not printed.
const FEWEST: usize = 10;
const CASES: &str = "recordings";

/// What was measured of a recording, and whether its number of speakers is right.
#[derive(Debug, Clone, Copy)]
struct Counted {
    measures: CountMeasures,
    is_right: bool,
    weight: f64,
}

impl Counted {
    fn sample(&self) -> Sample<N_COUNT_FEATURES> {
        case(self.measures.features(), self.is_right, self.weight)
    }
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut counted = Vec::new();
    for folder in &args.folders {
        counted.extend(read(folder)?);
    }
    let recordings: Vec<_> = counted.iter().map(|counted| vec![counted.sample()]).collect();
    println!("WEIGHTS: {:.4?}", fitted(&recordings.concat())?);
    print_line("unseen recordings", CASES, &reliability_unseen(&recordings)?, FEWEST);
    let mut all = Reliability::default();
    for folder in &args.judged {
        let mut own = Reliability::default();
        for counted in read(folder)? {
            let confidence = f64::from(counted.measures.confidence());
            own.add(confidence, counted.is_right);
            all.add(confidence, counted.is_right);
        }
        print_line(&folder.file_name().unwrap_or_default().to_string_lossy(), CASES, &own, FEWEST);
    }
    if !args.judged.is_empty() {
        print_line("all that are judged", CASES, &all, FEWEST);
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
