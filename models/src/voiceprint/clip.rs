//! From a clip of one person to what a print is made of, and the reasons to refuse it.

use diarized_dsp::log_mel::{Layout, LogMel, subtract_mean, to_mel_major};
use diarized_dsp::{FRAME_SAMPLES, FrameCutter, Tonality, Vad, VadMode};

use super::clip_rules::ClipRules;
use super::speech_share::speech_share;
use crate::embedder::{EmbedError, Embedder};
use crate::embedding::Embedding;

/// Why a clip is refused, and what would help.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ClipRefusal {
    /// Nothing to hear.
    #[error(
        "silence: no 10 ms of the clip are louder than {max_dbfs:.0} dBFS; check the microphone and its level"
    )]
    Silence {
        /// Level of the loudest 10 ms, in dBFS.
        max_dbfs: f32,
    },
    /// Too little speech.
    #[error(
        "too short: {speech_s:.1} s of speech in {clip_s:.1} s, at least {min_s:.1} s are needed; record more"
    )]
    TooShort {
        /// Speech in the clip, in seconds.
        speech_s: f32,
        /// Length of the clip, in seconds.
        clip_s: f32,
        /// Least speech, in seconds.
        min_s: f32,
    },
    /// Longer than can be taken at once.
    #[error("too long: {clip_s:.0} s, at most {max_s:.0} s are taken; cut a piece out of it")]
    TooLong {
        /// Length of the clip, in seconds.
        clip_s: f32,
        /// Longest clip, in seconds.
        max_s: f32,
    },
    /// Too much noise.
    #[error(
        "too noisy: the speech is {snr_db:.1} dB above the noise, at least {min_db:.1} dB are needed; record \
        in a quieter place or closer to the microphone"
    )]
    TooNoisy {
        /// Signal-to-noise ratio, in dB.
        snr_db: f32,
        /// Least, in dB.
        min_db: f32,
    },
    /// No rise and fall of syllables.
    #[error(
        "music or noise: the level varies by {modulation_db:.1} dB, speech by at least {min_db:.1} dB; use a \
        clip in which only the person speaks"
    )]
    NotSpeech {
        /// Standard deviation of the level, in dB.
        modulation_db: f32,
        /// Least, in dB.
        min_db: f32,
    },
    /// Sound in which nobody speaks.
    #[error(
        "no speech: somebody speaks in {:.0} % of the clip's sound, at least {:.0} % are expected; music and noise are \
        nobody's voice", 100.0 * share, 100.0 * min_share
    )]
    NoSpeech {
        /// Share of the sound that is speech.
        share: f32,
        /// Least share.
        min_share: f32,
    },
    /// One tone at a time.
    #[error("no speech: {:.0} % of the sound is one tone at a time, which is nobody's voice", 100.0 * share)]
    Tone {
        /// Share of the strongest tone, in three quarters of the frames at least.
        share: f32,
    },
    /// Two people, by the labels of the clip.
    #[error("two voices: two people speak, {:.0} % of the speech is not the first one's; cut the clip so that one person \
        speaks alone", 100.0 * share)]
    TwoPeople {
        /// Share of the speech that is not the first person's.
        share: f32,
    },
    /// The network refused a window.
    #[error("the voice model cannot use the clip: {0}")]
    Embed(#[from] EmbedError),
}

impl ClipRefusal {
    /// A word for programs.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Silence { .. } => "silence",
            Self::TooShort { .. } => "too_short",
            Self::TooLong { .. } => "too_long",
            Self::TooNoisy { .. } => "too_noisy",
            Self::NotSpeech { .. } => "not_speech",
            Self::NoSpeech { .. } | Self::Tone { .. } => "no_speech",
            Self::TwoPeople { .. } => "two_voices",
            Self::Embed(_) => "unusable",
        }
    }
}

/// What a clip gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Clip {
    /// Direction of the mean of its window embeddings.
    pub embedding: Embedding,
    /// Speech that it was made from, in seconds.
    pub speech_s: f32,
    /// Signal-to-noise ratio in dB, where there were pauses to measure noise in.
    pub snr_db: Option<f32>,
}

/// Longest clip, in seconds: features are held in memory, 32 kB a second.
pub const MAX_CLIP_S: f32 = 1200.0;
/// Length of a window and distance between two, in frames of 10 ms.
const WINDOW_FRAMES: usize = 150;
const STEP_FRAMES: usize = 50;
/// Of long clips no more windows than this are embedded, evenly spread.
const MAX_WINDOWS: usize = 240;
/// Frames each side of a voiced one that count as speech, so that words are not cut at their ends.
const DILATE_FRAMES: usize = 10;
/// Level of silence in dBFS.
const SILENCE_DBFS: f32 = -60.0;
/// Digital silence: joints between pieces of audio are no measure of the noise, in dBFS.
const DIGITAL_DBFS: f32 = -90.0;
/// Pauses needed to measure noise, in frames.
const MIN_NOISE_FRAMES: usize = 20;
const FRAMES_A_SECOND: f32 = 100.0;

/// Analyses one clip after the other. One thread; make one a thread, they share the model.
#[derive(Debug)]
pub struct ClipAnalyser<'a> {
    embedder: &'a Embedder,
    mel: LogMel,
}

impl<'a> ClipAnalyser<'a> {
    /// Computes tables: allocates, takes up to milliseconds. The model should have a plan for
    /// [`Self::window_frames`].
    #[must_use]
    pub fn new(embedder: &'a Embedder) -> Self {
        Self { embedder, mel: LogMel::new(embedder.card().front_end) }
    }

    /// Window lengths that are embedded, in frames: the plans that an embedder should prepare.
    #[must_use]
    pub fn window_frames() -> [usize; 1] {
        [WINDOW_FRAMES]
    }

    /// Analyses mono `samples` at 16 kHz under `rules`. `progress` receives the share done, in `[0, 1]`. Takes tens of
    /// milliseconds a second of speech.
    ///
    /// # Errors
    /// [`ClipRefusal`]: what is wrong, and what would help; the analyser stays usable.
    pub fn analyse(
        &mut self,
        samples: &[f32],
        rules: &ClipRules,
        mut progress: impl FnMut(f32),
    ) -> Result<Clip, ClipRefusal> {
        let clip_s = samples.len() as f32 / (FRAMES_A_SECOND * FRAME_SAMPLES as f32);
        if clip_s > MAX_CLIP_S {
            return Err(ClipRefusal::TooLong { clip_s, max_s: MAX_CLIP_S });
        }
        let sound = Sound::of(samples);
        let speech_s = sound.n_speech() as f32 / FRAMES_A_SECOND;
        let max_dbfs = sound.levels_db.iter().copied().fold(-100.0, f32::max);
        if max_dbfs < SILENCE_DBFS {
            return Err(ClipRefusal::Silence { max_dbfs });
        }
        if speech_s < rules.min_speech_s {
            return Err(ClipRefusal::TooShort { speech_s, clip_s, min_s: rules.min_speech_s });
        }
        let modulation_db = sound.modulation_db();
        let is_even = modulation_db < rules.min_modulation_db;
        let snr_db = sound.snr_db();
        // A sound without rise and fall has no pauses either, so what is measured as its noise is itself.
        if let Some(snr_db) = snr_db.filter(|snr| *snr < rules.min_snr_db && (sound.has_pauses() || !is_even))
        {
            return Err(ClipRefusal::TooNoisy { snr_db, min_db: rules.min_snr_db });
        }
        if is_even {
            return Err(ClipRefusal::NotSpeech { modulation_db, min_db: rules.min_modulation_db });
        }
        check_is_speech(samples, &sound, rules)?;
        let windows = self.windows(samples, &sound, STEP_FRAMES, MAX_WINDOWS, &mut progress)?;
        let mut sum = vec![0.0_f32; self.embedder.card().embedding_dim];
        for window in &windows {
            sum.iter_mut().zip(window.as_slice()).for_each(|(s, w)| *s += w);
        }
        let embedding = Embedding::from_raw(&sum).map_err(EmbedError::from)?;
        Ok(Clip { embedding, speech_s, snr_db })
    }

    /// Embeddings of windows of 1.5 s every `step_frames` (of 10 ms, at least 1) over all speech in `samples`, pauses
    /// cut out, under no rules; empty without speech. For measurements.
    ///
    /// # Errors
    /// [`EmbedError`] for the first window that fails.
    pub fn speech_windows(
        &mut self,
        samples: &[f32],
        step_frames: usize,
    ) -> Result<Vec<Embedding>, EmbedError> {
        let sound = Sound::of(samples);
        self.windows(samples, &sound, step_frames.max(1), usize::MAX, &mut |_| {})
    }

    /// Embeddings of windows over the speech of the clip, its pauses cut out.
    fn windows(
        &mut self,
        samples: &[f32],
        sound: &Sound,
        step_frames: usize,
        max_windows: usize,
        progress: &mut impl FnMut(f32),
    ) -> Result<Vec<Embedding>, EmbedError> {
        let card = self.embedder.card();
        let n_mels = card.front_end.n_mels();
        let mut rows = Vec::new();
        let n_rows = self.mel.transform(samples, &mut rows);
        let mut speech: Vec<f32> = Vec::new();
        for (row, _) in (0..n_rows).zip(&sound.is_speech).filter(|(_, is_speech)| **is_speech) {
            speech.extend(&rows[row * n_mels..(row + 1) * n_mels]);
        }
        drop(rows);
        // Too little for one window is repeated, as in live audio.
        let n_there = speech.len();
        while speech.len() < WINDOW_FRAMES * n_mels && n_there > 0 {
            let n_more = n_there.min(WINDOW_FRAMES * n_mels - speech.len());
            speech.extend_from_within(..n_more);
        }
        let n_frames = speech.len() / n_mels;
        if n_frames == 0 {
            return Ok(Vec::new());
        }
        let last = n_frames - WINDOW_FRAMES;
        let step = step_frames.max(last.div_ceil(max_windows));
        let starts: Vec<usize> = (0..=last).step_by(step).collect();
        let mut windows = Vec::with_capacity(starts.len());
        let mut features = Vec::new();
        for (n, start) in starts.iter().enumerate() {
            features.clear();
            let window = &speech[start * n_mels..(start + WINDOW_FRAMES) * n_mels];
            to_mel_major(window, n_mels, &mut features).expect("whole rows were taken");
            subtract_mean(&mut features, n_mels, Layout::MelMajor, card.mean_normalisation)
                .expect("whole rows were taken");
            windows.push(self.embedder.embed(&features, WINDOW_FRAMES)?);
            progress((n + 1) as f32 / starts.len() as f32);
        }
        Ok(windows)
    }
}

/// Refuses sound in which nobody speaks.
fn check_is_speech(samples: &[f32], sound: &Sound, rules: &ClipRules) -> Result<(), ClipRefusal> {
    let share = speech_share(samples, &sound.is_speech);
    if share < rules.min_speech_share {
        return Err(ClipRefusal::NoSpeech { share, min_share: rules.min_speech_share });
    }
    let share = sound.tonal_share(samples);
    if share > rules.max_tonal_share { Err(ClipRefusal::Tone { share }) } else { Ok(()) }
}

/// Level and voice activity of a clip, one value a frame of 10 ms.
struct Sound {
    levels_db: Vec<f32>,
    voiced: Vec<bool>,
    is_speech: Vec<bool>,
}

impl Sound {
    fn of(samples: &[f32]) -> Self {
        let mut vad = Vad::new(VadMode::Aggressive);
        let (mut levels_db, mut voiced) = (Vec::new(), Vec::new());
        FrameCutter::new().push(samples, |frame| {
            let power = frame.iter().map(|s| s * s).sum::<f32>() / FRAME_SAMPLES as f32;
            levels_db.push(10.0 * power.max(1e-10).log10());
            voiced.push(vad.decide(frame));
        });
        let mut is_speech = vec![false; voiced.len()];
        for (n, _) in voiced.iter().enumerate().filter(|(_, voiced)| **voiced) {
            let end = (n + DILATE_FRAMES + 1).min(is_speech.len());
            is_speech[n.saturating_sub(DILATE_FRAMES)..end].fill(true);
        }
        // Joints of digital silence are no speech even where the detector still hangs over.
        for (is_speech, db) in is_speech.iter_mut().zip(&levels_db) {
            *is_speech &= *db > DIGITAL_DBFS;
        }
        Self { levels_db, voiced, is_speech }
    }

    fn n_speech(&self) -> usize {
        self.is_speech.iter().filter(|is_speech| **is_speech).count()
    }

    /// Standard deviation of the level inside speech, in dB.
    fn modulation_db(&self) -> f32 {
        let inside = || self.levels_db.iter().zip(&self.is_speech).filter(|(_, s)| **s).map(|(db, _)| *db);
        let n = inside().count().max(1) as f32;
        let mean = inside().sum::<f32>() / n;
        (inside().map(|db| (db - mean).powi(2)).sum::<f32>() / n).sqrt()
    }

    /// Share of one tone in the sound, in `[0, 1]`: of the frames that look like speech, a quarter has less.
    fn tonal_share(&self, samples: &[f32]) -> f32 {
        let mut tonality = Tonality::new();
        let frames = samples.chunks_exact(FRAME_SAMPLES).enumerate().zip(&self.is_speech);
        let starts = frames.filter(|(_, is_speech)| **is_speech).map(|((n, _), _)| n * FRAME_SAMPLES);
        let mut shares: Vec<f32> = starts.map(|start| tonality.share(&samples[start..])).collect();
        shares.sort_unstable_by(f32::total_cmp);
        shares.get(shares.len() / 4).copied().unwrap_or(0.0)
    }

    /// Whether there is enough between the words to measure noise in.
    fn has_pauses(&self) -> bool {
        let pauses = self.levels_db.iter().zip(&self.is_speech).filter(|(db, s)| !**s && **db > DIGITAL_DBFS);
        pauses.count() >= MIN_NOISE_FRAMES
    }

    /// Mean power of voiced frames above that of the pauses, in dB; without pauses above the quietest tenth.
    fn snr_db(&self) -> Option<f32> {
        let power = |db: f32| 10.0_f32.powf(db / 10.0);
        let mean = |powers: &[f32]| powers.iter().sum::<f32>() / powers.len().max(1) as f32;
        let heard = || self.levels_db.iter().enumerate().filter(|(_, db)| **db > DIGITAL_DBFS);
        let of = |keep: &dyn Fn(usize) -> bool| -> Vec<f32> {
            heard().filter(|(n, _)| keep(*n)).map(|(_, db)| power(*db)).collect()
        };
        let voiced = of(&|n| self.voiced[n]);
        let mut noise = of(&|n| !self.is_speech[n]);
        if !self.has_pauses() {
            noise = of(&|_| true);
            noise.sort_by(f32::total_cmp);
            noise.truncate(noise.len() / 10);
        }
        if voiced.is_empty() || noise.is_empty() {
            return None;
        }
        let (signal, noise) = (mean(&voiced), mean(&noise).max(1e-10));
        Some(10.0 * ((signal - noise).max(1e-3 * noise) / noise).log10())
    }
}
