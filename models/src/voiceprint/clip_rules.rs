//! What a clip must be to be used.

/// Limits of a clip. Defaults are for enrolment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClipRules {
    /// Least speech, in seconds.
    pub min_speech_s: f32,
    /// Least signal-to-noise ratio, in dB.
    pub min_snr_db: f32,
    /// A second voice is believed where the two halves that the clip falls into are one person's with less than this
    /// log-likelihood ratio.
    pub two_voices_llr: f32,
    /// A second voice with less than this share of the speech is passed over.
    pub min_second_share: f32,
    /// Least standard deviation of the level of 10 ms frames inside speech, in dB: syllables rise and fall, music and
    /// machines hold their level.
    pub min_modulation_db: f32,
    /// Least share of the sound in which somebody speaks, by the network, in `[0, 1]`. Music, steady noise and pure tones
    /// have up to 0.03, clips of 2 to 5 s from calls and meetings at least 0.84; noise between the words lowers it.
    pub min_speech_share: f32,
}

impl Default for ClipRules {
    fn default() -> Self {
        Self {
            min_speech_s: 5.0,
            min_snr_db: 5.0,
            two_voices_llr: -4.0,
            min_second_share: 0.15,
            min_modulation_db: 3.5,
            min_speech_share: 0.25,
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
            two_voices_llr: f32::NEG_INFINITY,
            min_modulation_db: 0.0,
            ..Self::default()
        }
    }

    /// The same for a clip that is to get a name: of two people it would name one, and be sure of it.
    #[must_use]
    pub fn for_identification() -> Self {
        Self { two_voices_llr: Self::default().two_voices_llr, ..Self::for_comparison() }
    }
}
