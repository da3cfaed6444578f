//! `diarized eval confidence`: whether the confidence of labels is a probability.

use std::path::PathBuf;

use anyhow::bail;
use diarized_models::scoring::{DerParams, Reliability, is_right};
use serde_json::json;

use super::pairing::{self, Recording};
use crate::exit;
use crate::output::write_stdout;

/// Arguments of `diarized eval confidence`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A label is right if its speaker, under the best one-to-one mapping of speakers of the whole recording, speaks in at \
least half of its speech. Labels are sorted into tenths by confidence. ECE is the mean distance between confidence and \
share of right labels, Brier the mean squared error of the confidence, in brackets that of the same confidence for \
every label. With RTTM each line is a label; with JSON each segment is.")]
pub(super) struct Args {
    /// Reference: an RTTM file, JSON (.json, .jsonl) of this program, or a folder of such files.
    reference: PathBuf,
    /// Labels with confidence, in the same forms.
    hypothesis: PathBuf,
    /// Score only these regions: a UEM file or a folder of them. Other recordings are left out.
    #[arg(long, value_name = "PATH")]
    uem: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command and gives the exit code.
pub(super) fn run(args: &Args) -> anyhow::Result<u8> {
    let reliability = match score(args) {
        Ok(reliability) => reliability,
        Err(fault) => {
            eprintln!("diarized: {fault:#}");
            return Ok(exit::NO_INPUT);
        }
    };
    let text = if args.json {
        format!("{:#}\n", as_json(&reliability, "labels"))
    } else {
        as_table(&reliability, "labels")
    };
    write_stdout(&text)?;
    Ok(exit::OK)
}

fn score(args: &Args) -> anyhow::Result<Reliability> {
    let mut reliability = Reliability::default();
    for recording in pairing::read(&args.reference, &args.hypothesis, args.uem.as_deref())? {
        add(&mut reliability, &recording);
    }
    if reliability.n_labels() == 0 {
        bail!("{}: no label in the scored regions has a confidence", args.hypothesis.display());
    }
    Ok(reliability)
}

fn add(reliability: &mut Reliability, recording: &Recording) {
    let mapping = recording.score(DerParams::STRICT).mapping;
    for label in &recording.labels {
        let Some(confidence) = label.confidence else { continue };
        let regions = recording.regions.as_deref();
        if let Some(is_right) =
            is_right(&recording.reference, &mapping, &label.speaker, &label.speech, regions)
        {
            reliability.add(f64::from(confidence), is_right);
        }
    }
}

/// The tenths that have any, and the sum; `things` are what has a confidence.
pub(super) fn as_table(reliability: &Reliability, things: &str) -> String {
    let mut text =
        format!("{:>11}  {things:>10}  {:>10}  {:>7}  {:>7}\n", "confidence", "mean", "right %", "off");
    for (idx, tenth) in reliability.tenths().iter().enumerate().filter(|(_, tenth)| tenth.n_labels > 0) {
        let (low, high) = (idx as f64 / 10.0, (idx + 1) as f64 / 10.0);
        let (mean, right) = (100.0 * tenth.mean_confidence(), 100.0 * tenth.right_share());
        text += &format!(
            "{low:>5.1} – {high:.1}  {:>10}  {mean:>10.1}  {right:>7.1}  {:>+7.1}\n",
            tenth.n_labels,
            mean - right
        );
    }
    let all = reliability.total();
    text += &format!(
        "\n{} {things}, {:.1} % right; ECE {:.1} points, Brier {:.4} ({:.4})\n",
        all.n_labels,
        100.0 * all.right_share(),
        100.0 * reliability.ece(),
        reliability.brier(),
        reliability.constant_brier(),
    );
    text
}

/// The same as JSON.
pub(super) fn as_json(reliability: &Reliability, things: &str) -> serde_json::Value {
    let tenths: Vec<_> = reliability
        .tenths()
        .iter()
        .enumerate()
        .map(|(idx, tenth)| {
            json!({
                "from": idx as f64 / 10.0,
                things: tenth.n_labels,
                "mean_confidence": (tenth.n_labels > 0).then(|| tenth.mean_confidence()),
                "right": (tenth.n_labels > 0).then(|| tenth.right_share()),
            })
        })
        .collect();
    json!({
        things: reliability.n_labels(),
        "right": reliability.total().right_share(),
        "ece": reliability.ece(),
        "brier": reliability.brier(),
        "constant_brier": reliability.constant_brier(),
        "tenths": tenths,
    })
}
