//! `[voices]`: recognition of enrolled people.

use std::path::PathBuf;

use crate::reader::Reader;

/// `[voices]`: the store of voiceprints and the rule for names. Changes results.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct VoicesConfig {
    /// Whether `serve` and `label` name enrolled people, and `serve` accepts enrolments over HTTP. Default false.
    pub enabled: bool,
    /// The store; `None` is `voices.db` in the user's data folder. Default `None`.
    pub path: Option<PathBuf>,
    /// File of the encryption key of the store; `None` is `voices.key` in the user's configuration folder.
    /// The environment variable `DIARIZED_VOICES_KEY`, if set, is the key itself. Default `None`.
    pub key_file: Option<PathBuf>,
    /// Probability from which on a speaker gets a name, after 10 s of speech; with less speech a higher one is needed.
    /// 0.5 to 0.9999, default 0.8.
    pub accept: f64,
    /// Prior probability that a speaker is not enrolled. 0.001 to 0.999, default 0.5.
    pub stranger_prior: f64,
    /// Speech needed before a speaker gets a name, in seconds. 1 to 60, default 3.
    pub min_speech_s: f64,
    /// Whether a voiceprint learns from long, clean and confidently recognised speech. Default false.
    pub learn: bool,
    /// Largest clip that `serve` accepts over HTTP, in bytes. 64 KiB to 1 GiB, default 32 MiB.
    pub max_clip_bytes: usize,
}

impl VoicesConfig {
    pub(crate) fn read(r: &mut Reader) -> Self {
        Self {
            enabled: r.boolean("voices.enabled", false),
            path: r.optional_path("voices.path"),
            key_file: r.optional_path("voices.key_file"),
            accept: r.number("voices.accept", 0.5..=0.9999, 0.8),
            stranger_prior: r.number("voices.stranger_prior", 0.001..=0.999, 0.5),
            min_speech_s: r.number("voices.min_speech_s", 1.0..=60.0, 3.0),
            learn: r.boolean("voices.learn", false),
            max_clip_bytes: usize::try_from(r.integer(
                "voices.max_clip_bytes",
                "of bytes",
                64 << 10..=1 << 30,
                32 << 20,
            ))
            .expect("the range fits u32"),
        }
    }
}
