//! Cuts speakers into enrolments and pieces, fits calibrations and counts errors.

use std::fmt::Write as _;
use std::sync::Arc;

use anyhow::Context as _;
use diarized_models::voiceprint::{
    Gallery, KnownVoice, MatchRules, ModelId, Print, PrintCalibration, PrintCalibrations, Recording,
    fit_calibration,
};
use diarized_models::{Embedding, ModelCard};

use super::report::{Counts, Report};
use super::speakers::Speaker;

/// Lengths of speech that calibrations are fitted for, in seconds.
const ENROL_S: [f32; 3] = [5.0, 10.0, 30.0];
const FIT_TEST_S: [f32; 4] = [1.5, 3.0, 6.0, 10.0];
/// Lengths of the pieces that are named, in seconds.
const TEST_S: [f32; 4] = [3.0, 6.0, 10.0, 20.0];
/// Pieces of one speaker at most, so that long recordings do not outvote the others.
const MAX_PIECES: usize = 6;
/// Windows left out between enrolment and pieces, so that none contains both.
const APART: usize = 6;

/// Windows of 1.5 s every 0.25 s that cover `seconds`.
fn n_windows(seconds: f32) -> usize {
    (((seconds - 1.5) / 0.25).max(0.0) as usize) + 1
}

fn mean(windows: &[Embedding]) -> Option<Embedding> {
    let mut sum = vec![0.0; windows.first()?.dim()];
    for window in windows {
        sum.iter_mut().zip(window.as_slice()).for_each(|(s, w)| *s += w);
    }
    Embedding::from_raw(&sum).ok()
}

/// Means of the pieces of `test_s` behind the first `enrol_s`.
fn pieces(speaker: &Speaker, enrol_s: f32, test_s: f32) -> Vec<Embedding> {
    let rest = speaker.windows.get(n_windows(enrol_s) + APART..).unwrap_or(&[]);
    rest.chunks_exact(n_windows(test_s).max(APART)).take(MAX_PIECES).filter_map(mean).collect()
}

fn enrolment(speaker: &Speaker, enrol_s: f32) -> Option<Embedding> {
    mean(speaker.windows.get(..n_windows(enrol_s))?)
}

/// The recordings that the speaker's come from: people within one share language and device.
pub(super) fn origin(name: &str) -> &str {
    name.split('_').next().unwrap_or(name)
}

/// Calibrations fitted on pairs of these speakers within one origin, and the same as TOML.
pub(super) fn calibrate(speakers: &[&Speaker]) -> Option<(PrintCalibrations, String)> {
    let mut cells = Vec::new();
    let mut toml = String::new();
    for enrol_s in ENROL_S {
        let prints: Vec<(&str, Embedding)> =
            speakers.iter().filter_map(|s| Some((s.name.as_str(), enrolment(s, enrol_s)?))).collect();
        for test_s in FIT_TEST_S {
            let (mut target, mut nontarget) = (Vec::new(), Vec::new());
            for speaker in speakers {
                let pieces = pieces(speaker, enrol_s, test_s);
                for (name, print) in prints.iter().filter(|(name, _)| origin(name) == origin(&speaker.name)) {
                    let into = if *name == speaker.name { &mut target } else { &mut nontarget };
                    into.extend(pieces.iter().map(|piece| piece.cosine(print)));
                }
            }
            let fitted = fit_calibration(&target, &nontarget)?;
            let (scale, offset) = (fitted.scale, fitted.offset);
            cells.push(PrintCalibration { enrol_s, test_s, scale, offset });
            let _ = write!(
                toml,
                "[[voiceprint]]\nenrol_s = {enrol_s:.1}\ntest_s = {test_s:.1}\nscale = {scale:.4}\noffset = \
                 {offset:.4}\n\n"
            );
        }
    }
    Some((PrintCalibrations::try_new(&cells).ok()?, toml))
}

/// Who is enrolled.
pub(super) struct Fold {
    /// Indices of the speakers who are enrolled.
    enrolled: Vec<usize>,
    /// Indices of those with enough speech who are not.
    others: Vec<usize>,
}

impl Fold {
    /// Every second speaker with enough speech for an enrolment and a piece, and then the others.
    pub(super) fn both(speakers: &[Speaker], enrol_s: f32) -> [Self; 2] {
        let is_able =
            |s: &Speaker| s.windows.len() >= n_windows(enrol_s) + APART + n_windows(TEST_S[0]).max(APART);
        let able: Vec<usize> = (0..speakers.len()).filter(|&i| is_able(&speakers[i])).collect();
        let half = |first: usize| able.iter().copied().skip(first).step_by(2).collect::<Vec<usize>>();
        [0, 1].map(|first| Self { enrolled: half(first), others: half(1 - first) })
    }
}

/// Names every piece of every speaker by the rules of the product.
pub(super) fn measure(
    speakers: &[Speaker],
    folds: &[Fold],
    card: &ModelCard,
    accept: f32,
    enrol_s: f32,
    cross: bool,
) -> anyhow::Result<Report> {
    let rules = MatchRules { accept, ..MatchRules::default() };
    let mut by_length: Vec<(f32, Counts)> = TEST_S.map(|test_s| (test_s, Counts::default())).to_vec();
    let mut n_enrolled = 0;
    for fold in folds {
        let mut card = card.clone();
        if cross {
            // Neither the enrolled people nor the strangers of this fold's figures shaped the calibration.
            let fitted_on: Vec<&Speaker> = fold.others.iter().step_by(2).map(|&i| &speakers[i]).collect();
            card.print_calibrations =
                calibrate(&fitted_on).context("too few speakers to fit a calibration on a part of them")?.0;
        }
        let unseen = |i: &usize| !cross || !fold.others.iter().step_by(2).any(|other| other == i);
        let mut gallery = Gallery::new(&card, rules);
        for &i in &fold.enrolled {
            let embedding = enrolment(&speakers[i], enrol_s).context("an enrolment without windows")?;
            let recording = Recording { embedding, seconds: enrol_s, weight: 1.0 };
            let print = Print::try_new(ModelId::of(&card), vec![recording])?;
            let name: Arc<str> = Arc::from(speakers[i].name.as_str());
            gallery.add(KnownVoice { id: Arc::clone(&name), name, print })?;
        }
        n_enrolled = n_enrolled.max(fold.enrolled.len());
        for (test_s, counts) in &mut by_length {
            for i in (0..speakers.len()).filter(unseen) {
                let is_enrolled = fold.enrolled.contains(&i);
                let skipped_s = if is_enrolled { enrol_s } else { 0.0 };
                for piece in pieces(&speakers[i], skipped_s, *test_s) {
                    let ranking = gallery.rank(&piece, *test_s);
                    let named = ranking.accepted().map(|c| &*gallery.voices()[c.voice_idx].name);
                    counts.add(is_enrolled, named.map(|name| name == speakers[i].name));
                    for candidate in &ranking.candidates {
                        let is_target = *gallery.voices()[candidate.voice_idx].name == *speakers[i].name;
                        counts.compare(is_target, candidate.llr);
                    }
                }
            }
        }
    }
    Ok(Report {
        model: card.name.clone(),
        enrol_s,
        accept,
        cross,
        n_enrolled,
        n_speakers: speakers.len(),
        by_length,
    })
}
