//! Labels folders of recordings with several settings and prints a line for each: how parameters are chosen.
//!
//! The diarizer runs in this process, and embeddings are kept in a folder by what was embedded, so that a second
//! setting costs a twentieth of the first.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Parser;
use diarized::engine::diarizer_params;
use diarized_config::Sources;
use diarized_models::scoring::TotalScore;
use diarized_models::{DiarizerOptions, DiarizerParams, TimedEvent};
use diarized_tests::cached_labeller::CachedLabeller;
use diarized_tests::recordings::{Reference, name_of, recordings};
use diarized_tests::suite::{Measured, Returns, ScoredEvent, measure};

/// Labels folders of recordings with each of several settings of `[diarization]` and prints DER, its parts and
/// speaker counts at collar 0.25 s with overlap scored: as first emitted, 5 s later, and at the end.
#[derive(Debug, Parser)]
struct Args {
    /// Folders with NAME.wav or NAME.flac and NAME.rttm; each folder is a group.
    #[arg(required = true, value_name = "DIR")]
    folders: Vec<PathBuf>,
    /// One setting: `key=value` pairs of `[diarization]` with commas between them; an empty text is the defaults.
    /// May be given several times.
    #[arg(long = "try", value_name = "KEY=VALUE,…")]
    settings: Vec<String>,
    /// Folder of the voice model; the one inside the binary unless given.
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Folder of a second voice model, for the last pass.
    #[arg(long, value_name = "DIR")]
    second: Option<PathBuf>,
    /// Folder that keeps embeddings between calls.
    #[arg(long, value_name = "DIR")]
    cache: PathBuf,
    /// Set `expected_speakers` to the number of speakers in the reference of each recording.
    #[arg(long)]
    known_counts: bool,
    /// Also print a line for each recording.
    #[arg(long)]
    per_file: bool,
}

fn main() -> anyhow::Result<()> {
    let mut args = Args::parse();
    if args.settings.is_empty() {
        args.settings.push(String::new());
    }
    println!(
        "view: DER = missed + false alarm + confusion, exact counts; collar 0.25 s, overlap scored, in percent"
    );
    for setting in &args.settings {
        let labeller = CachedLabeller::new(args.model.as_deref(), &args.cache, params_of(setting)?)?;
        let labeller = labeller.with_second(args.second.as_deref())?;
        println!("{}", if setting.is_empty() { "defaults" } else { setting });
        for folder in &args.folders {
            let mut files = Vec::new();
            for audio in recordings(folder)? {
                let measured = label(&labeller, &audio, args.known_counts);
                files.push(measured.with_context(|| audio.display().to_string())?);
            }
            let group = folder.file_name().unwrap_or_default().to_string_lossy();
            if args.per_file {
                files.iter().for_each(|file| print_line(&file.name, std::slice::from_ref(file)));
            }
            print_line(&group, &files);
        }
    }
    Ok(())
}

fn params_of(setting: &str) -> anyhow::Result<DiarizerParams> {
    let mut sources = Sources::new();
    for pair in setting.split(',').filter(|pair| !pair.trim().is_empty()) {
        let (key, value) = pair.split_once('=').with_context(|| format!("{pair:?} is not KEY=VALUE"))?;
        sources = sources.flag("--try", &format!("diarization.{}", key.trim()), value.trim());
    }
    Ok(diarizer_params(&sources.load()?.config.diarization)?)
}

fn label(labeller: &CachedLabeller, audio: &Path, known_count: bool) -> anyhow::Result<Measured> {
    let reference = Reference::beside(audio)?;
    let params =
        if known_count { expecting(labeller.params(), &reference)? } else { labeller.params().clone() };
    let mut emitted: Vec<TimedEvent> = Vec::new();
    let diarizer = labeller.label_with(audio, params, |diarizer| {
        emitted.extend(std::iter::from_fn(|| diarizer.poll_event()));
    })?;
    let events: Vec<ScoredEvent> = emitted.iter().filter_map(ScoredEvent::of).collect();
    Ok(measure(&name_of(audio)?, &events, &reference, diarizer.heard().seconds()))
}

/// `params` with as many speakers expected as `reference` has.
fn expecting(params: &DiarizerParams, reference: &Reference) -> anyhow::Result<DiarizerParams> {
    let names: BTreeSet<&str> = reference.turns.iter().map(|turn| turn.speaker.as_str()).collect();
    let options = DiarizerOptions { expected_speakers: Some(names.len().max(1)), ..params.options().clone() };
    DiarizerParams::try_new(options).map_err(|faults| anyhow::anyhow!("{faults:?}"))
}

fn print_line(name: &str, files: &[Measured]) {
    print!("  {name:16}");
    for (idx, view) in ["first", "+5 s", "end"].iter().enumerate() {
        let total: TotalScore = files.iter().map(|f| &f.collared[idx]).collect();
        let percent = |part| 100.0 * total.der.share(part);
        print!(
            "  {view}: {:5.2} = {:5.2} + {:5.2} + {:5.2}, {:2}/{:2} ({:4.2})",
            100.0 * total.der.rate(),
            percent(total.der.missed),
            percent(total.der.false_alarm),
            percent(total.der.confusion),
            total.n_exact_counts,
            total.n_recordings,
            total.mean_count_error(),
        );
    }
    let returns: Returns = files.iter().map(|file| file.returns).sum();
    let minutes: f64 = files.iter().map(|f| f.duration_s / 60.0).sum();
    let revisions: usize = files.iter().map(|f| f.n_revisions).sum();
    let n_right = files.iter().filter(|f| f.standing_count_error == 0).count();
    println!(
        "  before the last pass: {n_right}/{}  returns {returns}  revisions/min {:.1}",
        files.len(),
        revisions as f64 / minutes
    );
}
