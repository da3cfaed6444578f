//! `diarized eval count`: how often the number of speakers is right, and whether its confidence is a probability.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use diarized_models::scoring::Reliability;
use serde::Deserialize;

use super::{confidence, labels};
use crate::exit;
use crate::output::write_stdout;

/// Arguments of `diarized eval count`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A count is right if it is the number of speakers of the reference. Counts are sorted into tenths by confidence, as labels \
by `eval confidence`. A recording without speech has no confidence and is only compared. Counts are paired with references \
by the name of the recording.")]
pub(super) struct Args {
    /// Reference: an RTTM file, JSON (.json, .jsonl) of this program, or a folder of such files.
    reference: PathBuf,
    /// Counts: JSON lines of `diarized label --count --json`, or a folder of such files.
    counts: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// More people than any recording holds, so that sums of counts stay numbers.
const MAX_SPEAKERS: usize = 1_000_000;

/// A line of `diarized label --count --json`; what else it holds is of no use here.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct CountLine {
    /// The recording.
    pub file: String,
    /// Number of speakers, at most a million.
    pub speakers: usize,
    /// Probability that the number is right, in `[0, 1]`; `None` without speech.
    pub confidence: Option<f32>,
}

/// Lines of `diarized label --count --json`, each with its recording as RTTM names it; every recording once. `origin` names
/// them in faults.
///
/// # Errors
/// The first line that is none, or that counts a recording again.
pub fn read_count_lines(origin: &str, text: &str) -> anyhow::Result<BTreeMap<String, CountLine>> {
    let mut counts = BTreeMap::new();
    for (idx, text) in text.lines().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
        let at = || format!("{origin}:{}", idx + 1);
        let line: CountLine = serde_json::from_str(text)
            .with_context(|| format!("{}: expected a line of `diarized label --count --json`", at()))?;
        if line.confidence.is_some_and(|confidence| !(0.0..=1.0).contains(&confidence)) {
            bail!("{}: confidence must be from 0 to 1", at());
        }
        if line.speakers > MAX_SPEAKERS {
            bail!("{}: speakers must be at most {MAX_SPEAKERS}", at());
        }
        let name = diarized_models::rttm::field(&line.file);
        if counts.insert(name.clone(), line).is_some() {
            bail!("{}: {name} is counted twice", at());
        }
    }
    Ok(counts)
}

/// What the comparison gives.
#[derive(Debug, Default)]
struct Compared {
    reliability: Reliability,
    n_recordings: usize,
    n_right: usize,
    /// Sum over the recordings of the distance between count and reference.
    error_sum: usize,
}

/// Runs the command and gives the exit code.
pub(super) fn run(args: &Args) -> anyhow::Result<u8> {
    let compared = match compare(args) {
        Ok(compared) => compared,
        Err(fault) => {
            eprintln!("diarized: {fault:#}");
            return Ok(exit::NO_INPUT);
        }
    };
    let text = if args.json { as_json(&compared) } else { as_table(&compared) };
    write_stdout(&text)?;
    Ok(exit::OK)
}

fn compare(args: &Args) -> anyhow::Result<Compared> {
    let reference = labels::read(&args.reference)?.recordings;
    let counts = read_counts(&args.counts)?;
    let mut compared = Compared::default();
    for (name, line) in &counts {
        let Some(labels) = reference.get(name) else {
            bail!("{} counts {name}, which {} lacks", args.counts.display(), args.reference.display());
        };
        let mut speakers: Vec<&str> = labels.iter().map(|label| &*label.speaker).collect();
        speakers.sort_unstable();
        speakers.dedup();
        compared.add(speakers.len(), line);
    }
    let missing = reference.keys().filter(|name| !counts.contains_key(*name)).count();
    if missing > 0 {
        eprintln!("diarized: note: {missing} recordings of the reference have no count and are left out");
    }
    Ok(compared)
}

impl Compared {
    fn add(&mut self, n_reference: usize, line: &CountLine) {
        let is_right = line.speakers == n_reference;
        self.n_recordings += 1;
        self.n_right += usize::from(is_right);
        self.error_sum += line.speakers.abs_diff(n_reference);
        if let Some(confidence) = line.confidence {
            self.reliability.add(f64::from(confidence), is_right);
        }
    }

    fn right_share(&self) -> f64 {
        self.n_right as f64 / self.n_recordings as f64
    }

    fn mean_error(&self) -> f64 {
        self.error_sum as f64 / self.n_recordings as f64
    }
}

/// The lines of a file, or of every `.json` and `.jsonl` file directly in a folder, by recording as RTTM names it.
fn read_counts(path: &Path) -> anyhow::Result<BTreeMap<String, CountLine>> {
    let files = if path.is_dir() { labels::json_files_in(path)? } else { vec![path.to_owned()] };
    let mut counts = BTreeMap::new();
    for file in files {
        let text =
            std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let origin = file.display().to_string();
        for (name, line) in read_count_lines(&origin, &text)? {
            if counts.insert(name.clone(), line).is_some() {
                bail!("{origin}: {name} is counted in another file, too");
            }
        }
    }
    if counts.is_empty() {
        bail!("{} holds no count", path.display());
    }
    Ok(counts)
}

fn as_table(compared: &Compared) -> String {
    let mut text = confidence::as_table(&compared.reliability, "recordings");
    text += &format!(
        "number of speakers: {} of {} right, mean absolute error {:.2}\n",
        compared.n_right,
        compared.n_recordings,
        compared.mean_error()
    );
    text
}

fn as_json(compared: &Compared) -> String {
    let mut object = confidence::as_json(&compared.reliability, "recordings");
    object["counted"] = compared.n_recordings.into();
    object["counted_right"] = compared.right_share().into();
    object["mean_error"] = compared.mean_error().into();
    format!("{object:#}\n")
}
