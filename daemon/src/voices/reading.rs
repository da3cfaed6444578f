//! Reads the samples of a clip from an audio file or a request body.

use diarized_dsp::{ChannelSelect, SAMPLE_RATE_HZ};
use diarized_models::voiceprint::{Clip, ClipAnalyser, ClipRefusal, ClipRules, MAX_CLIP_S};
use diarized_models::{Diarizer, DiarizerOptions, DiarizerParams, Embedder, LoadError, ModelSource};

use super::people::others_share;
use crate::audio_file::{AudioFile, AudioFileError, MonoFile};

/// Why a file gave no clip.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClipError {
    /// It is no audio that can be read.
    #[error(transparent)]
    File(#[from] AudioFileError),
    /// It is audio that cannot be used.
    #[error("{name}: {refusal}")]
    Refused {
        /// The file.
        name: String,
        /// Why.
        refusal: ClipRefusal,
    },
}

/// Limit of samples: a little more than the longest clip, so that its length is reported.
const MAX_SAMPLES: usize = (MAX_CLIP_S as usize + 1) * SAMPLE_RATE_HZ as usize;

/// Reads and analyses audio; `progress` receives the finished share, in `[0, 1]`.
///
/// # Errors
/// [`ClipError`]
pub fn clip_of_audio(
    embedder: &Embedder,
    audio: AudioFile,
    channel: ChannelSelect,
    rules: &ClipRules,
    progress: impl FnMut(f32),
) -> Result<Clip, ClipError> {
    let name = audio.name().to_owned();
    let samples = samples_of(audio, channel)?;
    clip_of_samples(embedder, &name, &samples, rules, progress)
}

/// The same for samples, mono at 16 kHz; `name` is what a refusal calls them.
///
/// # Errors
/// [`ClipError::Refused`]
pub fn clip_of_samples(
    embedder: &Embedder,
    name: &str,
    samples: &[f32],
    rules: &ClipRules,
    progress: impl FnMut(f32),
) -> Result<Clip, ClipError> {
    let outcome = ClipAnalyser::new(embedder).analyse(samples, rules, progress);
    let outcome = outcome.and_then(|clip| {
        // The labels cost as much again, so a clip of anybody's voices is not labelled.
        let share = if rules.max_others_share < 1.0 { others_share(embedder, samples) } else { 0.0 };
        if share <= rules.max_others_share { Ok(clip) } else { Err(ClipRefusal::TwoPeople { share }) }
    });
    outcome.map_err(|refusal| ClipError::Refused { name: name.to_owned(), refusal })
}

/// The samples of a clip, mono at 16 kHz.
///
/// # Errors
/// [`ClipError::File`], or [`ClipError::Refused`] where it is longer than a clip may be.
pub(crate) fn samples_of_clip(audio: AudioFile, channel: ChannelSelect) -> Result<Vec<f32>, ClipError> {
    let name = audio.name().to_owned();
    let samples = samples_of(audio, channel)?;
    let (clip_s, max_s) = (samples.len() as f32 / SAMPLE_RATE_HZ as f32, MAX_CLIP_S);
    if clip_s > max_s {
        return Err(ClipError::Refused { name, refusal: ClipRefusal::TooLong { clip_s, max_s } });
    }
    Ok(samples)
}

/// All samples of a clip, or some beyond the longest.
fn samples_of(audio: AudioFile, channel: ChannelSelect) -> Result<Vec<f32>, AudioFileError> {
    let mut file = MonoFile::new(audio, channel)?;
    let mut samples = Vec::new();
    while samples.len() < MAX_SAMPLES && file.read(&mut samples)? {}
    Ok(samples)
}

/// Loads a voice model for [`clip_of_audio`].
///
/// # Errors
/// [`LoadError`]
pub fn load_clip_embedder(source: &ModelSource) -> Result<Embedder, LoadError> {
    let params = DiarizerParams::try_new(DiarizerOptions::default()).expect("a test holds the defaults");
    let frames = [&Diarizer::window_frames(&params)[..], &ClipAnalyser::window_frames()].concat();
    Embedder::load(source, &frames)
}
