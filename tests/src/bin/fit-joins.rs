//! Fits the weights by which the diarizer joins groups of speech that are one voice.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Parser;
use diarized_dsp::SampleRange;
use diarized_models::diarizer::{GroupPair, VoiceGroups};
use diarized_models::logistic::{Sample, fit_logistic, log_loss};
use diarized_models::rttm::Nanos;
use diarized_models::scoring::{Span, Turn};
use diarized_models::{DiarizerOptions, DiarizerParams};
use diarized_tests::cached_labeller::CachedLabeller;
use diarized_tests::recordings::{Reference, recordings};
use diarized_tests::suite::main_label;

/// Labels folders of recordings and fits the weights of `models/src/diarizer/clustering/merging.rs`: how much each measure of
/// a pair of clusters says that they are one speaker. Pairs are taken from the clustering at several moments of each
/// recording. A cluster belongs to the reference speaker of most of its speech. Every folder weighs the same, and every
/// recording of a folder. The loss on unseen recordings is that of six fits, each on five sixths of the recordings.
#[derive(Debug, Parser)]
struct Args {
    /// Folders with NAME.wav or NAME.flac and NAME.rttm.
    #[arg(required = true, value_name = "DIR")]
    folders: Vec<PathBuf>,
    /// Folder of the voice model; the one inside the binary unless given.
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Folder that keeps embeddings between calls.
    #[arg(long, value_name = "DIR")]
    cache: PathBuf,
    /// Shares of a recording after which its pairs are taken, in percent.
    #[arg(long, value_name = "PERCENT", value_delimiter = ',', default_value = "15,30,50,75,100")]
    after: Vec<f64>,
}

/// Number of folds of recordings.
const FOLDS: usize = 6;
/// A piece reaches from the centre of a window to that of another; its speech goes on for so long on both sides.
const MARGIN_S: f64 = 0.25;

/// The measures of a pair and a constant, then the log odds that the diarizer believes.
#[derive(Debug, Clone, Copy)]
struct Pair {
    sample: Sample<5>,
    believed: Sample<1>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if let Some(share) = args.after.iter().find(|share| !(0.0..=100.0).contains(*share)) {
        bail!("--after ({share}) must be in 0..=100 percent");
    }
    let options = DiarizerOptions { final_pass: false, ..DiarizerOptions::default() };
    let params = DiarizerParams::try_new(options).map_err(|faults| anyhow::anyhow!("{faults:?}"))?;
    let labeller = CachedLabeller::new(args.model.as_deref(), &args.cache, params)?;
    let mut of_recordings: Vec<Vec<Pair>> = Vec::new();
    for folder in &args.folders {
        let mut of_folder = Vec::new();
        for audio in recordings(folder)? {
            let pairs = pairs_of(&labeller, &audio, &args.after);
            let pairs = pairs.with_context(|| audio.display().to_string())?;
            eprintln!("{}: {} pairs", audio.display(), pairs.len());
            of_folder.push(pairs);
        }
        weigh(&mut of_folder);
        of_recordings.extend(of_folder);
    }
    let all: Vec<Pair> = of_recordings.concat();
    let n_one_voice = all.iter().filter(|pair| pair.sample.truth > 0.5).count();
    println!("{} recordings, {} pairs, {n_one_voice} of one voice", of_recordings.len(), all.len());
    let weights = fitted(&all)?;
    let [near, gain, cosine, length, start] = weights;
    println!(
        "log odds: near {near:.2}, gain {gain:.4}, cosine {cosine:.3}, length {length:.3}, start {start:.3}"
    );
    let mut unseen = 0.0;
    for fold in 0..FOLDS {
        let part = |is_own: bool| -> Vec<Pair> {
            let parts = of_recordings.iter().enumerate().filter(|(n, _)| (n % FOLDS == fold) == is_own);
            parts.flat_map(|(_, pairs)| pairs.iter().copied()).collect()
        };
        unseen += log_loss(&samples(&part(true)), &fitted(&part(false))?);
    }
    let n: f64 = all.iter().map(|pair| pair.sample.weight).sum();
    let seen = log_loss(&samples(&all), &weights);
    let believed: Vec<Sample<1>> = all.iter().map(|pair| pair.believed).collect();
    let believed = log_loss(&believed, &[1.0]);
    println!(
        "log loss in nats a pair: {:.4}, on unseen recordings {:.4}; with the weights in use {:.4}",
        seen / n,
        unseen / n,
        believed / n
    );
    Ok(())
}

/// Gives each recording of a folder that has pairs the same weight, 1 for the folder in all.
fn weigh(of_folder: &mut [Vec<Pair>]) {
    let n_recordings = of_folder.iter().filter(|pairs| !pairs.is_empty()).count();
    for pairs in of_folder {
        let weight = 1.0 / (n_recordings * pairs.len()) as f64;
        for pair in pairs {
            pair.sample.weight = weight;
            pair.believed.weight = weight;
        }
    }
}

fn fitted(pairs: &[Pair]) -> anyhow::Result<[f64; 5]> {
    fit_logistic(&samples(pairs), [0.0; 5])
        .context("the pairs do not tell the weights: more recordings are needed")
}

fn samples(pairs: &[Pair]) -> Vec<Sample<5>> {
    pairs.iter().map(|pair| pair.sample).collect()
}

/// The pairs of one recording after each of the shares `after`.
fn pairs_of(labeller: &CachedLabeller, audio: &Path, after: &[f64]) -> anyhow::Result<Vec<Pair>> {
    let turns = Reference::beside(audio)?.turns;
    let length_s = turns.iter().map(|turn| turn.span.end.seconds()).fold(0.0, f64::max);
    let mut cuts: Vec<f64> = after.iter().map(|share| length_s * share / 100.0).collect();
    cuts.sort_by(f64::total_cmp);
    let (mut pairs, mut next) = (Vec::new(), 0);
    labeller.label(audio, |diarizer| {
        while diarizer.poll_event().is_some() {}
        if cuts.get(next).is_some_and(|cut| diarizer.heard().seconds() >= *cut) {
            pairs.extend(judged(&diarizer.voice_groups(), &turns));
            next += 1;
        }
    })?;
    Ok(pairs)
}

/// The pairs of groups of which it is known who speaks, with whether that is one person.
fn judged(groups: &VoiceGroups, turns: &[Turn]) -> Vec<Pair> {
    let main_speaker = |spans: &Vec<SampleRange>| {
        let heard: Vec<Span> = spans.iter().map(heard).collect();
        main_label(&heard, turns)
    };
    let speakers: Vec<Option<&str>> = groups.spans.iter().map(main_speaker).collect();
    let judge = |pair: &GroupPair| {
        let (a, b) = (speakers[pair.groups.0]?, speakers[pair.groups.1]?);
        let [near, gain, cosine, length] = pair.measures.map(f64::from);
        let truth = if a == b { 1.0 } else { 0.0 };
        Some(Pair {
            sample: Sample { measures: [near, gain, cosine, length, 1.0], truth, weight: 1.0 },
            believed: Sample { measures: [f64::from(pair.log_odds())], truth, weight: 1.0 },
        })
    };
    groups.pairs.iter().filter_map(judge).collect()
}

/// The audio of windows, from the first one's centre to the last one's in `range`.
fn heard(range: &SampleRange) -> Span {
    let (start, end) = (range.start().seconds() - MARGIN_S, range.end().seconds() + MARGIN_S);
    Span::new(Nanos::from_seconds(start.max(0.0)), Nanos::from_seconds(end))
}
