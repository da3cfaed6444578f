//! Utterances by name, their embeddings, and their cohort scores.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, bail};
use diarized_dsp::log_mel::{Layout, LogMel, subtract_mean, to_mel_major};
use diarized_dsp::{FRAME_SAMPLES, Vad, VadMode};
use diarized_models::Embedder;
use parking_lot::Mutex;

use crate::kaldi::{self, Utterance};
use crate::threads::n_cores;

/// Utterances by name; without a list every name is a path.
#[derive(Debug)]
pub(super) struct Clips {
    listed: Option<BTreeMap<String, Utterance>>,
    list: PathBuf,
    audio_root: PathBuf,
}

impl Clips {
    pub(super) fn read(
        wav_scp: Option<&Path>,
        segments: Option<&Path>,
        audio_root: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let list = segments.or(wav_scp).unwrap_or(Path::new("")).to_owned();
        let listed = match wav_scp {
            Some(wav_scp) => {
                let utterances = kaldi::read_utterances(wav_scp, segments, audio_root)?;
                Some(utterances.into_iter().map(|utterance| (utterance.id.clone(), utterance)).collect())
            }
            None => None,
        };
        Ok(Self { listed, list, audio_root: audio_root.unwrap_or(Path::new("")).to_owned() })
    }

    pub(super) fn get(&self, name: &str) -> Option<Utterance> {
        match &self.listed {
            Some(listed) => listed.get(name).cloned(),
            None => Some(Utterance { id: name.to_owned(), path: self.audio_root.join(name), span_s: None }),
        }
    }

    /// Whether the name stands for an utterance.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.get(name).is_some_and(|clip| self.listed.is_some() || clip.path.is_file())
    }

    /// Reason of a negative [`Self::knows`].
    pub(super) fn unknown(&self, name: &str) -> String {
        match self.listed {
            Some(_) => format!("{name} is not in {}", self.list.display()),
            None => format!("there is no audio file {}", self.audio_root.join(name).display()),
        }
    }

    pub(super) fn all(self) -> BTreeMap<String, Utterance> {
        self.listed.unwrap_or_default()
    }
}

/// Embeddings of unit length by name of the utterance.
#[derive(Debug, Default)]
pub(super) struct Voices {
    embeddings: BTreeMap<String, Vec<f32>>,
}

impl Voices {
    /// Embeds utterances on all cores; every file is decoded once. Shows progress with the time left. Utterances
    /// that cannot be embedded are all reported in one error at the end.
    pub(super) fn embed(
        embedder: &Embedder,
        utterances: &BTreeMap<String, Utterance>,
        crop_frames: Option<usize>,
        vad: bool,
        what: &str,
    ) -> anyhow::Result<Self> {
        let mut by_file: BTreeMap<&Path, Vec<&Utterance>> = BTreeMap::new();
        for utterance in utterances.values() {
            by_file.entry(&utterance.path).or_default().push(utterance);
        }
        let files: Vec<(&Path, Vec<&Utterance>)> = by_file.into_iter().collect();
        let progress = indicatif::ProgressBar::new(utterances.len() as u64);
        let template = format!("{what} {{bar:40}} {{pos}}/{{len}}, {{eta}} left");
        progress.set_style(indicatif::ProgressStyle::with_template(&template).context("progress template")?);

        let next = AtomicUsize::new(0);
        let (done, faults) = (Mutex::new(BTreeMap::new()), Mutex::new(BTreeSet::new()));
        let work = || {
            let mut extractor = Extractor::new(embedder, crop_frames, vad);
            while let Some((path, utterances)) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                let tell = |fault: anyhow::Error| _ = faults.lock().insert(format!("{fault:#}"));
                let embeddings = extractor.file(path, utterances, &progress, tell);
                done.lock().extend(embeddings);
            }
        };
        let n_threads = n_cores().min(files.len().max(1));
        std::thread::scope(|scope| (0..n_threads).for_each(|_| _ = scope.spawn(work)));
        progress.finish_and_clear();
        let (embeddings, faults) = (done.into_inner(), faults.into_inner());
        if faults.is_empty() {
            return Ok(Self { embeddings });
        }
        let (n_missing, n_all) = (utterances.len() - embeddings.len(), utterances.len());
        let list: String = faults.iter().flat_map(|fault| ["\n  ", fault]).collect();
        bail!(
            "{n_missing} of {n_all} {what} cannot be used; mend them or leave them out of the lists:{list}"
        );
    }

    pub(super) fn len(&self) -> usize {
        self.embeddings.len()
    }

    /// The direction of the mean of several embeddings.
    pub(super) fn mean(&self, utterances: &[String]) -> anyhow::Result<Vec<f32>> {
        let mut sum: Vec<f32> = Vec::new();
        for name in utterances {
            let embedding = self.embeddings.get(name).with_context(|| format!("{name} was not embedded"))?;
            sum.resize(embedding.len(), 0.0);
            sum.iter_mut().zip(embedding).for_each(|(s, e)| *s += e);
        }
        let norm = dot(&sum, &sum).sqrt();
        if norm <= 1e-6 {
            bail!("the enrolment utterances cancel each other out");
        }
        sum.iter_mut().for_each(|s| *s = (f64::from(*s) / norm) as f32);
        Ok(sum)
    }

    /// Mean and standard deviation of the `top` highest cosines with this cohort.
    pub(super) fn norm_of(&self, side: &[f32], top: usize) -> (f64, f64) {
        let mut cosines: Vec<f64> = self.embeddings.values().map(|other| dot(side, other)).collect();
        cosines.sort_unstable_by(|a, b| b.total_cmp(a));
        cosines.truncate(top);
        let n = cosines.len().max(1) as f64;
        let mean = cosines.iter().sum::<f64>() / n;
        let variance = cosines.iter().map(|c| (c - mean).powi(2)).sum::<f64>() / n;
        (mean, variance.sqrt().max(1e-6))
    }
}

/// Cosine of two vectors of unit length.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// One thread's way from a file to embeddings.
struct Extractor<'a> {
    embedder: &'a Embedder,
    mel: LogMel,
    crop_frames: Option<usize>,
    vad: bool,
}

impl<'a> Extractor<'a> {
    fn new(embedder: &'a Embedder, crop_frames: Option<usize>, vad: bool) -> Self {
        Self { embedder, mel: LogMel::new(embedder.card().front_end), crop_frames, vad }
    }

    /// The embeddings of a file's utterances; `tell` receives what cannot be embedded.
    fn file(
        &mut self,
        path: &Path,
        utterances: &[&Utterance],
        progress: &indicatif::ProgressBar,
        tell: impl Fn(anyhow::Error),
    ) -> Vec<(String, Vec<f32>)> {
        let samples = match kaldi::load_mono(path) {
            Ok(samples) => samples,
            Err(fault) => {
                tell(fault.into());
                progress.inc(utterances.len() as u64);
                return Vec::new();
            }
        };
        let mut embeddings = Vec::new();
        for utterance in utterances {
            let embedded = utterance.of(&samples).map_err(anyhow::Error::from).and_then(|samples| {
                self.embed(samples).with_context(|| format!("{}: {}", path.display(), utterance.id))
            });
            match embedded {
                Ok(embedding) => embeddings.push((utterance.id.clone(), embedding)),
                Err(fault) => tell(fault),
            }
            progress.inc(1);
        }
        embeddings
    }

    fn embed(&mut self, samples: &[f32]) -> anyhow::Result<Vec<f32>> {
        let voiced;
        let samples = if self.vad {
            voiced = voiced_of(samples);
            &voiced
        } else {
            samples
        };
        let n_mels = self.embedder.card().front_end.n_mels();
        let mut frames = Vec::new();
        let n_frames = self.mel.transform(samples, &mut frames);
        if n_frames == 0 {
            bail!("no speech of at least one frame");
        }
        if let Some(wanted) = self.crop_frames {
            let crop = middle(n_frames, wanted);
            frames = crop.flat_map(|frame| frames[frame * n_mels..][..n_mels].to_vec()).collect();
        }
        let mut features = Vec::new();
        let n_frames = to_mel_major(&frames, n_mels, &mut features)?;
        subtract_mean(&mut features, n_mels, Layout::MelMajor, self.embedder.card().mean_normalisation)?;
        Ok(self.embedder.embed(&features, n_frames)?.as_slice().to_vec())
    }
}

/// Indices of the `wanted` frames in the middle of `n_frames`, repeated from the start if there are fewer.
fn middle(n_frames: usize, wanted: usize) -> impl Iterator<Item = usize> {
    let first = n_frames.saturating_sub(wanted) / 2;
    (0..wanted).map(move |idx| (first + idx) % n_frames)
}

/// The frames of 10 ms that webrtc-vad takes for speech, joined; everything if that is less than 0.3 s.
fn voiced_of(samples: &[f32]) -> Vec<f32> {
    let mut vad = Vad::new(VadMode::Aggressive);
    let mut decisions = Vec::new();
    vad.push(samples, |is_speech| decisions.push(is_speech));
    let kept = samples.chunks(FRAME_SAMPLES).zip(decisions).filter(|(_, speech)| *speech);
    let voiced: Vec<f32> = kept.flat_map(|(frame, _)| frame.iter().copied()).collect();
    if voiced.len() < 30 * FRAME_SAMPLES { samples.to_vec() } else { voiced }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crops_are_from_the_middle_and_short_clips_repeat() {
        assert_eq!(middle(10, 4).collect::<Vec<_>>(), [3, 4, 5, 6]);
        assert_eq!(middle(3, 7).collect::<Vec<_>>(), [0, 1, 2, 0, 1, 2, 0]);
        assert_eq!(middle(5, 5).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn enrolment_is_the_direction_of_the_mean_and_the_cohort_gives_its_top_scores() {
        let voice = |name: &str, v: [f32; 2]| (name.to_owned(), v.to_vec());
        let voices = Voices { embeddings: [voice("a", [1.0, 0.0]), voice("b", [0.0, 1.0])].into() };
        let mean = voices.mean(&["a".to_owned(), "b".to_owned()]).unwrap();
        assert!((dot(&mean, &mean) - 1.0).abs() < 1e-6 && (mean[0] - mean[1]).abs() < 1e-6);
        assert!(voices.mean(&["c".to_owned()]).is_err());
        let (mean, deviation) = voices.norm_of(&[1.0, 0.0], 2);
        assert!((mean - 0.5).abs() < 1e-9 && (deviation - 0.5).abs() < 1e-9);
        assert!((voices.norm_of(&[1.0, 0.0], 1).0 - 1.0).abs() < 1e-9);
    }
}
