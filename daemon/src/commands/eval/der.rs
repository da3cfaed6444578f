//! `diarized eval der`: scores labels against a reference and prints a table or JSON.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context as _;
use diarized_models::scoring::{DerParams, DerParts, FileScore, TotalScore};
use serde_json::{Value, json};

use super::pairing;
use crate::exit;
use crate::output::write_stdout;

/// Arguments of `diarized eval der`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
DER = (missed + false alarm + confusion) / reference speech, under the best one-to-one mapping of speakers. It \
agrees with pyannote.metrics; `collar` there is the total width, twice --collar. Without a UEM a recording is scored \
from the first start to the last end of either side. Without reference speech DER is 0 % if nothing was labelled and \
100 % otherwise.

Recordings are matched by the name in the RTTM; a file without lines is a silent recording with the name of \
the file. A reference recording without labels counts as missed.")]
pub(super) struct Args {
    /// Reference: an RTTM file, JSON (.json, .jsonl) of this program, or a folder of such files.
    reference: PathBuf,
    /// Labels to be scored, in the same forms.
    hypothesis: PathBuf,
    /// Score only these regions: a UEM file or a folder of them. Other recordings are left out.
    #[arg(long, value_name = "PATH")]
    uem: Option<PathBuf>,
    /// Collar in seconds on each side of every reference boundary; not scored.
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0, allow_negative_numbers = true)]
    collar: f64,
    /// Leave out overlap of reference turns.
    #[arg(long)]
    skip_overlap: bool,
    /// Print every recording, not only the total.
    #[arg(long)]
    per_file: bool,
    /// Print JSON: rates in per cent, lengths in seconds.
    #[arg(long)]
    json: bool,
}

/// Runs the command and gives the exit code.
pub(super) fn run(args: Args) -> anyhow::Result<u8> {
    let params = match DerParams::try_new(args.collar, args.skip_overlap) {
        Ok(params) => params,
        Err(fault) => {
            eprintln!("diarized: --collar: {fault}");
            return Ok(exit::USAGE);
        }
    };
    let scores = match score(&args, params) {
        Ok(scores) => scores,
        Err(fault) => {
            eprintln!("diarized: {fault:#}");
            return Ok(exit::NO_INPUT);
        }
    };
    let text = if args.json { as_json(&args, &scores) } else { as_table(&args, &scores) };
    write_stdout(&text)?;
    Ok(exit::OK)
}

/// Reads both sides and scores every recording, by name.
fn score(args: &Args, params: DerParams) -> anyhow::Result<BTreeMap<String, FileScore>> {
    let recordings = pairing::read(&args.reference, &args.hypothesis, args.uem.as_deref())?;
    let progress = indicatif::ProgressBar::new(recordings.len() as u64);
    progress.set_style(
        indicatif::ProgressStyle::with_template("{bar:40} {pos}/{len} recordings, {eta} left")
            .context("progress template")?,
    );
    let mut scores = BTreeMap::new();
    for recording in recordings {
        scores.insert(recording.name.clone(), recording.score(params));
        progress.inc(1);
    }
    progress.finish_and_clear();
    Ok(scores)
}

fn parts_json(der: &DerParts, jer: f64) -> serde_json::Map<String, Value> {
    let mut object = serde_json::Map::new();
    for (key, value) in [
        ("der", 100.0 * der.rate()),
        ("missed_s", der.missed.seconds()),
        ("false_alarm_s", der.false_alarm.seconds()),
        ("confusion_s", der.confusion.seconds()),
        ("correct_s", der.correct.seconds()),
        ("total_s", der.total.seconds()),
        ("jer", 100.0 * jer),
    ] {
        object.insert(key.to_owned(), json!(value));
    }
    object
}

fn as_json(args: &Args, scores: &BTreeMap<String, FileScore>) -> String {
    let total: TotalScore = scores.values().collect();
    let mut total_object = parts_json(&total.der, total.jer.rate());
    total_object.insert("recordings".into(), json!(total.n_recordings));
    total_object.insert("speaker_count_exact".into(), json!(total.n_exact_counts));
    total_object.insert("speaker_count_error".into(), json!(total.mean_count_error()));
    let mut object = json!({
        "collar_s": args.collar,
        "skip_overlap": args.skip_overlap,
        "total": total_object,
    });
    if args.per_file {
        let file = |(name, score): (&String, &FileScore)| {
            let mut file = parts_json(&score.der, score.jer.rate());
            file.insert("recording".into(), json!(name));
            file.insert("reference_speakers".into(), json!(score.n_reference_speakers));
            file.insert("hypothesis_speakers".into(), json!(score.n_hypothesis_speakers));
            file.insert("speaker_count_error".into(), json!(score.speaker_count_error()));
            let mapping: serde_json::Map<String, Value> =
                score.mapping.iter().map(|(h, r)| (h.clone(), json!(r))).collect();
            file.insert("mapping".into(), Value::Object(mapping));
            Value::Object(file)
        };
        object["files"] = scores.iter().map(file).collect();
    }
    format!("{object:#}\n")
}

fn as_table(args: &Args, scores: &BTreeMap<String, FileScore>) -> String {
    let total: TotalScore = scores.values().collect();
    let width = scores.keys().map(|name| name.chars().count()).max().unwrap_or(0).max("recording".len());
    let row = |name: &str, der: &DerParts, jer: f64, speakers: &str| {
        let percent = |part| 100.0 * der.share(part);
        format!(
            "{name:width$}  {:7.2}  {:7.2}  {:7.2}  {:9.2}  {:7.2}  {:9.1}  {speakers:>14}\n",
            100.0 * der.rate(),
            percent(der.missed),
            percent(der.false_alarm),
            percent(der.confusion),
            100.0 * jer,
            der.total.seconds(),
        )
    };
    let mut text = format!(
        "collar {} s on each side, overlap {}, {}; per cent of the reference speech\n\n",
        args.collar,
        if args.skip_overlap { "left out" } else { "scored" },
        if args.uem.is_some() { "UEM given" } else { "no UEM" },
    );
    text += &format!(
        "{:width$}  {:>7}  {:>7}  {:>7}  {:>9}  {:>7}  {:>9}  {:>14}\n",
        "recording", "DER", "missed", "f. a.", "confusion", "JER", "speech s", "speakers"
    );
    if args.per_file {
        for (name, score) in scores {
            let speakers = format!("{} for {}", score.n_hypothesis_speakers, score.n_reference_speakers);
            text += &row(name, &score.der, score.jer.rate(), &speakers);
        }
    }
    let speakers = format!("{} of {} right", total.n_exact_counts, total.n_recordings);
    text += &row("total", &total.der, total.jer.rate(), &speakers);
    text += &format!("\nspeaker count: mean absolute error {:.2}\n", total.mean_count_error());
    text
}
