//! What a clip must be to be used.

/// Limits of a clip. Defaults are for enrolment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClipRules {
    /// Least speech, in seconds.
    pub min_speech_s: f32,
    /// Least signal-to-noise ratio, in dB.
    pub min_snr_db: f32,
    /// A clip is another voice than the one it is held against where it is that one's with less than this log-likelihood ratio.
    pub other_voice_llr: f32,
    /// Two people are believed in where more than this share of the labelled speech is not the first person's, in `[0, 1]`; 1
    /// asks for no labels. The caller that reads the clip makes the labels.
    pub max_others_share: f32,
    /// Least standard deviation of the level of 10 ms frames inside speech, in dB: syllables rise and fall, music and
    /// machines hold their level.
    pub min_modulation_db: f32,
    /// Least share of the sound in which somebody speaks, by the network, in `[0, 1]`. Music, steady noise and pure tones
    /// have up to 0.03, clips of 2 to 5 s from calls and meetings at least 0.84; noise between the words lowers it.
    pub min_speech_share: f32,
    /// Most that one tone has of the sound, in `[0, 1]`: sweeps look like speech to the network and have 0.99, people at most 0.81.
    pub max_tonal_share: f32,
}

impl Default for ClipRules {
    fn default() -> Self {
        Self {
            min_speech_s: 5.0,
            min_snr_db: 5.0,
            other_voice_llr: -4.0,
            max_others_share: 0.125,
            min_modulation_db: 3.5,
            min_speech_share: 0.25,
            max_tonal_share: 0.95,
        }
    }
}

impl ClipRules {
    /// What a clip must be to be compared: a short or noisy one gives a weak answer and spoils nothing.
    #[must_use]
    pub fn for_comparison() -> Self {
        Self {
            min_speech_s: 1.0,
            min_snr_db: f32::NEG_INFINITY,
            max_others_share: 1.0,
            min_modulation_db: 0.0,
            ..Self::default()
        }
    }

    /// The same for a clip that is to get a name: of two people it would name one, and be sure of it.
    #[must_use]
    pub fn for_identification() -> Self {
        Self { max_others_share: Self::default().max_others_share, ..Self::for_comparison() }
    }
}
