//! References and labels of the same recordings, side by side.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::bail;
use diarized_models::scoring::{DerParams, FileScore, Span, Turn, score_recording};

use super::labels::{self, Label, Labels, Uem};

/// One recording that is to be scored.
#[derive(Debug)]
pub(super) struct Recording {
    pub(super) name: String,
    pub(super) reference: Vec<Turn>,
    pub(super) labels: Vec<Label>,
    /// The regions to be scored; all of it without.
    pub(super) regions: Option<Vec<Span>>,
}

impl Recording {
    /// DER with its parts, JER and the mapping of speakers.
    pub(super) fn score(&self, params: DerParams) -> FileScore {
        score_recording(&self.reference, &labels::turns(&self.labels), self.regions.as_deref(), params)
    }
}

/// Reads reference, labels and regions, and pairs them by the name of the recording, in the order of the names.
pub(super) fn read(
    reference: &Path,
    hypothesis: &Path,
    uem: Option<&Path>,
) -> anyhow::Result<Vec<Recording>> {
    let paths = (reference, hypothesis);
    let (mut reference, mut hypothesis) = (labels::read(reference)?, labels::read(hypothesis)?);
    let uem = uem.map(labels::read_uem).transpose()?;
    match_single_files(&mut reference, &mut hypothesis, uem.as_ref());
    let names = names(paths, &reference, &hypothesis, uem.as_ref())?;
    let recording = |name: String| Recording {
        reference: reference.recordings.get(&name).map(|labels| labels::turns(labels)).unwrap_or_default(),
        labels: hypothesis.recordings.get(&name).cloned().unwrap_or_default(),
        regions: uem.as_ref().and_then(|uem| uem.get(&name)).cloned(),
        name,
    };
    Ok(names.into_iter().map(recording).collect())
}

/// Two files that hold one recording each are compared whatever the recordings are called.
fn match_single_files(reference: &mut Labels, hypothesis: &mut Labels, uem: Option<&Uem>) {
    let is_single = |labels: &Labels| labels.is_one_file && labels.recordings.len() == 1;
    if !is_single(reference)
        || !is_single(hypothesis)
        || reference.recordings.keys().eq(hypothesis.recordings.keys())
    {
        return;
    }
    let (Some((r, r_turns)), Some((h, h_turns))) =
        (reference.recordings.pop_first(), hypothesis.recordings.pop_first())
    else {
        return;
    };
    // A file without lines has only its file's name to offer, so the other side's name is the better one.
    let of_uem = uem.filter(|uem| uem.len() == 1).and_then(|uem| uem.keys().next());
    let name = of_uem.unwrap_or(if r_turns.is_empty() { &h } else { &r }).clone();
    if !r_turns.is_empty() && !h_turns.is_empty() {
        eprintln!("diarized: note: comparing recording {r:?} with recording {h:?}");
    }
    reference.recordings.insert(name.clone(), r_turns);
    hypothesis.recordings.insert(name, h_turns);
}

/// Names of the recordings to be scored.
fn names(
    (reference_path, hypothesis_path): (&Path, &Path),
    reference: &Labels,
    hypothesis: &Labels,
    uem: Option<&Uem>,
) -> anyhow::Result<BTreeSet<String>> {
    let is_labelled =
        |name: &String| reference.recordings.contains_key(name) || hypothesis.recordings.contains_key(name);
    let names: BTreeSet<String> = match uem {
        Some(uem) => {
            let (known, unknown): (BTreeSet<_>, BTreeSet<_>) = uem.keys().cloned().partition(is_labelled);
            if !unknown.is_empty() {
                eprintln!(
                    "diarized: note: nobody is labelled in these recordings of the UEM: {}",
                    list(&unknown)
                );
            }
            known
        }
        None => {
            let extra: BTreeSet<String> = hypothesis
                .recordings
                .keys()
                .filter(|name| !reference.recordings.contains_key(*name))
                .cloned()
                .collect();
            if !extra.is_empty() {
                bail!(
                    "{} names recordings that {} lacks: {}; add an empty .rttm file for a silent recording, or say \
                     with --uem what is to be scored",
                    hypothesis_path.display(),
                    reference_path.display(),
                    list(&extra)
                );
            }
            reference.recordings.keys().cloned().collect()
        }
    };
    let missing: BTreeSet<String> =
        names.iter().filter(|name| !hypothesis.recordings.contains_key(*name)).cloned().collect();
    if !missing.is_empty() {
        eprintln!(
            "diarized: note: {} lacks these recordings, which count as all missed: {}",
            hypothesis_path.display(),
            list(&missing)
        );
    }
    if names.is_empty() {
        bail!("there is no recording to be scored");
    }
    Ok(names)
}

/// At most eight names in a message.
fn list(names: &BTreeSet<String>) -> String {
    let shown: Vec<&str> = names.iter().take(8).map(String::as_str).collect();
    let more = names.len() - shown.len();
    format!("{}{}", shown.join(", "), if more > 0 { format!(" and {more} more") } else { String::new() })
}
