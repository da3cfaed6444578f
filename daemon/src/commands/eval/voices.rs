//! `diarized eval voices`: accuracy of names for enrolled people and strangers, on speakers of a Kaldi folder.

mod clips;
mod measure;
mod report;
mod speakers;

use std::path::PathBuf;

use anyhow::Context as _;
use diarized_models::ModelSource;

use crate::exit;
use crate::output::write_stdout;
use crate::voices::load_clip_embedder;
use clips::{Clips, clips};
use measure::{Fold, calibrate, measure};
use speakers::{Speaker, by_speaker, embed};

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
