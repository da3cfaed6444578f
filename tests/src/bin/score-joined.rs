//! Labels recordings as one long session with the real binary, and prints what that costs beside a session for each.

use std::path::Path;

use clap::Parser;
use diarized_models::rttm::Nanos;
use diarized_models::scoring::{DerParams, FileScore, TotalScore, score_recording};
use diarized_tests::joined::{JoinedPart, joined_reference, write_joined};
use diarized_tests::labelling::Labelling;
use diarized_tests::recordings::{Reference, name_of, recordings};
use diarized_tests::simulate::rng::Rng;
use diarized_tests::suite::{Views, collared, parse_events, views};

/// Joins the recordings of all folders in a random order, labels the whole and each recording, and prints DER at collar 0.25 s
/// with overlap scored. A recording of the whole is scored by itself: the best mapping of its own speakers counts.
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    labelling: Labelling,
    /// The order follows from this number.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A name that occurs in two recordings is two people.
    #[arg(long)]
    own_people: bool,
}

const VIEWS: [&str; 3] = ["first", "+5 s", "end"];

/// Scores of the three views.
type Scores = [FileScore; 3];

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut files = Vec::new();
    for folder in &args.labelling.folders {
        files.extend(recordings(folder)?);
    }
    Rng::new(args.seed, 0).shuffle(&mut files);
    let folder = tempfile::tempdir()?;
    let whole = folder.path().join("whole.wav");
    let parts = write_joined(&files, &whole)?;
    let (joined, length_s) = label(&args, &whole, parts.last().map_or(0.0, |part| seconds(part.span.end.0)))?;
    println!("{} recordings, {:.2} h\n", files.len(), length_s / 3600.0);
    println!(
        "{:24}  minute  joined: first  +5 s   end  speakers  alone: first  +5 s   end  speakers",
        "recording"
    );
    let (mut as_one, mut alone) = (Vec::new(), Vec::new());
    for (part, audio) in parts.iter().zip(&files) {
        let of_whole = scores(&cut(part, &joined), &part.reference);
        let (own, _) = label(&args, audio, seconds(part.span.len_ns()))?;
        let own = scores(&own, &part.reference);
        let minute = seconds(part.span.start.0) / 60.0;
        println!("{:24}  {minute:6.1}  {}  {}", name_of(audio)?, row(&of_whole, 13), row(&own, 12));
        as_one.push(of_whole);
        alone.push(own);
    }
    println!();
    for (idx, view) in VIEWS.iter().enumerate() {
        let total = |scores: &[Scores]| -> TotalScore { scores.iter().map(|scores| &scores[idx]).collect() };
        let (joined, alone) = (total(&as_one), total(&alone));
        println!(
            "{view:5}  joined {:5.1} %, counts exact {}; alone {:5.1} %, counts exact {}",
            100.0 * joined.der.rate(),
            joined.n_exact_counts,
            100.0 * alone.der.rate(),
            alone.n_exact_counts
        );
    }
    let whole = scores(&joined, &joined_reference(&parts, args.own_people));
    println!("the whole as one recording: {}", row(&whole, 5).trim());
    Ok(())
}

/// The views of the labels of `audio`, and its length.
fn label(args: &Args, audio: &Path, duration_s: f64) -> anyhow::Result<(Views, f64)> {
    eprintln!("{}", audio.display());
    let events = parse_events(&args.labelling.events_of(audio)?)?;
    Ok((views(&events, duration_s), duration_s))
}

fn seconds(ns: i64) -> f64 {
    Nanos(ns).seconds()
}

fn cut(part: &JoinedPart, whole: &Views) -> Views {
    Views { first: part.cut(&whole.first), later: part.cut(&whole.later), last: part.cut(&whole.last) }
}

fn scores(views: &Views, reference: &Reference) -> Scores {
    let params: DerParams = collared();
    [&views.first, &views.later, &views.last]
        .map(|view| score_recording(&reference.turns, view, reference.uem.as_deref(), params))
}

/// DER of the views and the number of speakers at the end.
fn row(scores: &Scores, width: usize) -> String {
    let [first, later, end] = scores.each_ref().map(|score| {
        let total: TotalScore = [score].into_iter().collect();
        100.0 * total.der.rate()
    });
    let speakers = format!("{}/{}", scores[2].n_hypothesis_speakers, scores[2].n_reference_speakers);
    format!("{first:width$.1} {later:5.1} {end:5.1}  {speakers:>8}")
}
