//! Whether a clip that should be one person's holds a second voice.

use super::clip_rules::ClipRules;
use crate::calibration::PrintCalibrations;
use crate::embedding::{Embedding, dot};

/// A second voice in a clip.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SecondVoice {
    /// Its share of the speech, at most 0.5.
    pub share: f32,
    /// Log-likelihood ratio that it is the first voice all the same.
    pub llr: f32,
}

/// The second voice among the embeddings of windows every 0.5 s over `speech_s` seconds of speech, if `rules` believe
/// in one.
#[must_use]
pub fn second_voice(
    windows: &[Embedding],
    speech_s: f32,
    calibrations: &PrintCalibrations,
    rules: &ClipRules,
) -> Option<SecondVoice> {
    let Parting { share, cosine } = part(windows).filter(|p| p.share >= rules.min_second_share)?;
    let llr = calibrations.llr(cosine, (1.0 - share) * speech_s, share * speech_s);
    (llr < rules.two_voices_llr).then_some(SecondVoice { share, llr })
}

/// A clip parted into the two voices that it may hold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Parting {
    /// Share of the smaller voice, in `[0, 0.5]`.
    pub(crate) share: f32,
    /// Cosine between the means of the two.
    pub(crate) cosine: f32,
}

/// Neighbouring windows that are taken together: one alone is too unsteady.
const CHUNK_WINDOWS: usize = 3;
/// Rounds of reassignment; it settles in a few.
const ROUNDS: usize = 20;

/// Parts windows, in the order of time, into the two groups whose means are furthest apart: two-means on the sphere
/// (Dhillon and Modha, "Concept decompositions", 2001), begun with the least alike pair. `None` if there are too few
/// windows to tell. The groups of one voice are as unlike as chance and mood make them, so only a low cosine means
/// two people.
pub(crate) fn part(windows: &[Embedding]) -> Option<Parting> {
    let chunks: Vec<Vec<f32>> = windows.chunks_exact(CHUNK_WINDOWS).filter_map(unit_mean).collect();
    if chunks.len() < 4 {
        return None;
    }
    let (mut a, mut b, mut least) = (0, 1, f32::INFINITY);
    for i in 0..chunks.len() {
        for j in 0..i {
            let cosine = dot(&chunks[i], &chunks[j]);
            if cosine < least {
                (a, b, least) = (j, i, cosine);
            }
        }
    }
    let mut means = [chunks[a].clone(), chunks[b].clone()];
    let mut in_second: Vec<bool> = Vec::new();
    for _ in 0..ROUNDS {
        let next: Vec<bool> = chunks.iter().map(|c| dot(c, &means[1]) > dot(c, &means[0])).collect();
        let n_second = next.iter().filter(|second| **second).count();
        if next == in_second || n_second == 0 || n_second == next.len() {
            break;
        }
        in_second = next;
        for (group, mean) in means.iter_mut().enumerate() {
            let members = chunks.iter().zip(&in_second).filter(|(_, second)| usize::from(**second) == group);
            let mut sum = vec![0.0; mean.len()];
            members.for_each(|(chunk, _)| sum.iter_mut().zip(chunk).for_each(|(s, c)| *s += c));
            *mean = Embedding::from_raw(&sum).ok()?.as_slice().to_vec();
        }
    }
    let n_second = in_second.iter().filter(|second| **second).count();
    let share = n_second.min(in_second.len() - n_second) as f32 / in_second.len().max(1) as f32;
    Some(Parting { share, cosine: dot(&means[0], &means[1]) })
}

fn unit_mean(windows: &[Embedding]) -> Option<Vec<f32>> {
    let mut sum = vec![0.0; windows.first()?.dim()];
    for window in windows {
        sum.iter_mut().zip(window.as_slice()).for_each(|(s, w)| *s += w);
    }
    Some(Embedding::from_raw(&sum).ok()?.as_slice().to_vec())
}
