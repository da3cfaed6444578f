//! `diarized eval eer`: accuracy of a voice model on a list of trials.

mod report;
mod trials;
mod voices;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use diarized_models::scoring::eer::TrialScores;
use diarized_models::{Embedder, ModelSource};

use crate::exit;
use crate::output::write_stdout;
use report::Report;
use trials::{Lists, Trial};
use voices::{Clips, Voices};

/// Arguments of `diarized eval eer`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A line of a trial list is `enrol test target` or `enrol test nontarget` (Kaldi), `1 enrol test` or `0 enrol test` \
(VoxCeleb), or, in a file named tar… or imp…, `enrol test`. Names are those of --wav-scp (or of its \
--segments), without it paths of audio files. A name on the enrolment side may be a speaker of --enrol, whose \
embeddings are averaged.

The EER is the point of the linearly interpolated ROC at which miss rate = false-alarm rate. The EER on the convex \
hull of the ROC and the EER of Kaldi's compute-eer are printed too. minDCF has C_miss = C_fa = 1 and \
is normalised.")]
pub(super) struct Args {
    /// Trial lists; all of them make one list.
    #[arg(required = true, value_name = "FILE")]
    trials: Vec<PathBuf>,
    /// Kaldi list of recordings: name and path a line.
    #[arg(long, value_name = "FILE")]
    wav_scp: Option<PathBuf>,
    /// Kaldi list of utterances within them: utterance, recording, start, end a line.
    #[arg(long, value_name = "FILE", requires = "wav_scp")]
    segments: Option<PathBuf>,
    /// Base folder of relative paths.
    #[arg(long, value_name = "DIR")]
    audio_root: Option<PathBuf>,
    /// Speakers enrolled from several utterances: speaker and its utterances a line (Kaldi's spk2utt).
    #[arg(long, value_name = "FILE")]
    enrol: Option<PathBuf>,
    /// Folder of the voice model: model.onnx and model.toml [default: the built-in one].
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Length of the crop from the middle of each utterance; shorter utterances are repeated [default: all of it].
    #[arg(long, value_name = "SECONDS")]
    crop: Option<f64>,
    /// Remove non-speech by webrtc-vad before cropping.
    #[arg(long)]
    vad: bool,
    /// Normalise scores by a cohort (AS-norm): a Kaldi list of other speakers' recordings.
    #[arg(long, value_name = "FILE")]
    cohort: Option<PathBuf>,
    /// Utterances within the cohort's recordings.
    #[arg(long, value_name = "FILE", requires = "cohort")]
    cohort_segments: Option<PathBuf>,
    /// Number of cohort scores for the normalisation: the highest of each side.
    #[arg(long, value_name = "N", default_value_t = 300, requires = "cohort")]
    cohort_top: usize,
    /// Write the operating points as CSV: threshold, `p_miss`, `p_fa`.
    #[arg(long, value_name = "FILE")]
    det: Option<PathBuf>,
    /// Draw the DET curve as SVG.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Write `enrol test score` a line.
    #[arg(long, value_name = "FILE")]
    scores: Option<PathBuf>,
    /// Print JSON; rates in per cent.
    #[arg(long)]
    json: bool,
}

/// Longest crop, in seconds.
const LONGEST_CROP_S: f64 = 60.0;

/// Runs the command and gives the exit code.
pub(super) fn run(args: &Args) -> anyhow::Result<u8> {
    if args.crop.is_some_and(|crop| !(0.3..=LONGEST_CROP_S).contains(&crop)) {
        eprintln!("diarized: --crop: must be from 0.3 to {LONGEST_CROP_S} s");
        return Ok(exit::USAGE);
    }
    if args.cohort_top < 2 {
        eprintln!("diarized: --cohort-top: must be at least 2");
        return Ok(exit::USAGE);
    }
    let report = match measure(args) {
        Ok(report) => report,
        Err(fault) => {
            eprintln!("diarized: {fault:#}");
            return Ok(exit::NO_INPUT);
        }
    };
    let write = |path: &Option<PathBuf>, text: &dyn Fn() -> String| match path {
        Some(path) => {
            std::fs::write(path, text()).with_context(|| format!("cannot write {}", path.display()))
        }
        None => Ok(()),
    };
    write(&args.det, &|| report.det_csv())?;
    write(&args.plot, &|| report.det_svg())?;
    write(&args.scores, &|| report.score_lines())?;
    let text = if args.json { report.json() } else { report.table() };
    write_stdout(&text)?;
    Ok(exit::OK)
}

fn measure(args: &Args) -> anyhow::Result<Report> {
    let clips = Clips::read(args.wav_scp.as_deref(), args.segments.as_deref(), args.audio_root.as_deref())?;
    let lists = Lists::read(&args.trials, args.enrol.as_deref(), &clips)?;
    let cohort = match &args.cohort {
        Some(list) => {
            Clips::read(Some(list), args.cohort_segments.as_deref(), args.audio_root.as_deref())?.all()
        }
        None => BTreeMap::new(),
    };
    let source = args.model.clone().map_or(ModelSource::Builtin, ModelSource::Folder);
    let hop_s = 0.01;
    let crop_frames = args.crop.map(|crop| (crop / hop_s).round() as usize);
    let embedder = Embedder::load(&source, crop_frames.as_slice())?;

    let voices = Voices::embed(&embedder, &lists.utterances(&clips)?, crop_frames, args.vad, "utterances")?;
    let cohort = Voices::embed(&embedder, &cohort, crop_frames, args.vad, "cohort")?;
    if args.cohort.is_some() && cohort.len() < 2 {
        bail!("the cohort holds {} utterance, expected at least 2", cohort.len());
    }
    let sides = lists.sides(&voices)?;
    let norm = |name: &str| cohort.norm_of(&sides[name], args.cohort_top);
    let norms: BTreeMap<&str, (f64, f64)> = match &args.cohort {
        Some(_) => sides.keys().map(|name| (name.as_str(), norm(name))).collect(),
        None => BTreeMap::new(),
    };
    let score = |trial: &Trial| {
        let cosine = voices::dot(&sides[&trial.enrol], &sides[&trial.test]);
        match (norms.get(trial.enrol.as_str()), norms.get(trial.test.as_str())) {
            (Some((m_e, s_e)), Some((m_t, s_t))) => ((cosine - m_e) / s_e + (cosine - m_t) / s_t) / 2.0,
            _ => cosine,
        }
    };
    let scored: Vec<(Trial, f64)> = lists.trials.iter().map(|trial| (trial.clone(), score(trial))).collect();
    let of_kind =
        |target| scored.iter().filter(|(t, _)| t.is_target == target).map(|(_, s)| *s).collect::<Vec<_>>();
    // Calibration belongs to plain cosines of a known length.
    let calibrated = match (&args.cohort, args.crop) {
        (None, Some(crop)) => {
            let calibration = embedder.card().calibration((crop * 1000.0).round() as u32);
            let llrs =
                |target| of_kind(target).iter().map(|s| f64::from(calibration.llr(*s as f32))).collect();
            Some(TrialScores::try_new(llrs(true), llrs(false))?.cllr())
        }
        _ => None,
    };
    Ok(Report {
        model: embedder.card().name.clone(),
        setup: format!(
            "{}, {}{}",
            args.crop.map_or("whole utterances".to_owned(), |crop| format!("crops of {crop} s")),
            if args.vad { "voice activity only" } else { "no voice activity detection" },
            if args.cohort.is_some() { ", AS-norm" } else { "" },
        ),
        scores: TrialScores::try_new(of_kind(true), of_kind(false))?,
        calibrated_cllr: calibrated,
        scored,
    })
}
