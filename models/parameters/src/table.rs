//! The table itself.

use super::detector::SpeechDetector;
use super::rule::{Field, Rule, Value};

/// One parameter of the diarizer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Parameter {
    /// Name of the field.
    pub key: &'static str,
    /// Key in the configuration.
    pub path: &'static str,
    /// What it is, in one or two sentences.
    pub text: &'static str,
    /// What its values may be.
    pub rule: Rule,
    /// Its value where none is given.
    pub default: Value,
}

const fn tens(from: i64, to: i64) -> Rule {
    Rule::Whole { unit: "of ms", step: 10, from, to }
}

const fn milliseconds(from: i64, to: i64) -> Rule {
    Rule::Whole { unit: "of ms", step: 1, from, to }
}

const fn count(from: i64, to: i64) -> Rule {
    Rule::Whole { unit: "", step: 1, from, to }
}

const fn number(from: f64, to: f64) -> Rule {
    Rule::Number { from, to }
}

/// Makes [`DiarizerOptions`] and [`PARAMETERS`] of lines `"text" field: type, constant of the type = default, rule;`.
macro_rules! parameters {
    ($($text:literal $key:ident: $type:ty, $kind:ident = $default:expr, $rule:expr;)*) => {
        /// Values of all parameters, not checked. Times are in milliseconds, evidence in natural-logarithm likelihood
        /// ratios. The defaults are chosen by the measurements in `docs/experiments`.
        #[derive(Debug, Clone, PartialEq)]
        pub struct DiarizerOptions {
            $(
                #[doc = concat!($text, " Default `", stringify!($default), "`, allowed `", stringify!($rule), "`.")]
                pub $key: $type,
            )*
        }

        impl Default for DiarizerOptions {
            fn default() -> Self {
                Self { $($key: $default,)* }
            }
        }

        impl DiarizerOptions {
            /// The value of a parameter.
            ///
            /// # Panics
            /// If there is no such key.
            #[must_use]
            pub fn value(&self, key: &str) -> Value {
                match key {
                    $(stringify!($key) => self.$key.to_value(),)*
                    _ => panic!("there is no parameter {key}"),
                }
            }

            /// Sets a parameter. The value is not checked against its rule.
            ///
            /// # Panics
            /// If there is no such key, or if the value is of another kind.
            pub fn set(&mut self, key: &str, value: Value) {
                match key {
                    $(stringify!($key) => {
                        self.$key = Field::from_value(value).expect("the value has the kind of the parameter");
                    })*
                    _ => panic!("there is no parameter {key}"),
                }
            }
        }

        /// Every parameter, in the order of the example configuration.
        pub static PARAMETERS: [Parameter; [$(stringify!($key)),*].len()] = [
            $(Parameter {
                key: stringify!($key),
                path: concat!("diarization.", stringify!($key)),
                text: $text,
                rule: $rule,
                default: parameters!(@$kind $default),
            },)*
        ];
    };
    (@Number $default:expr) => { Value::Number($default) };
    (@Integer $default:expr) => { Value::Integer($default) };
    (@Switch $default:expr) => { Value::Switch($default) };
    (@Detector $default:expr) => { Value::Detector($default) };
    (@Unset $default:expr) => { Value::Unset };
}

parameters! {
    "Length of the audio of one embedding. A longer window is more accurate, a shorter one is faster."
    window_ms: u32, Integer = 1500, tens(500, 5000);

    "Hop: time between the starts of two windows. Half of it doubles the work."
    step_ms: u32, Integer = 250, tens(50, 2000);

    "Speech needed before the first label."
    first_label_ms: u32, Integer = 800, tens(300, 5000);

    "Delay before running speech is labelled. A longer delay sees more context after a speaker change and is right more often; 0 labels all detected speech at once. The first label after a pause does not wait."
    label_delay_ms: u32, Integer = 800, milliseconds(0, 3000);

    "Age at which provisional labels are settled."
    settle_ms: u32, Integer = 3000, milliseconds(500, 30_000);

    "Speech detector: \"network\" is the built-in model. The others are WebRTC's detector, from permissive to strict."
    vad_mode: SpeechDetector, Detector = SpeechDetector::Network, Rule::Detector;

    "Threshold for the start of speech: the probability of the network, or the share of voiced frames of WebRTC (its default is then 0.6)."
    vad_onset: f32, Number = 0.97, number(0.0, 1.0);

    "Threshold for the end of speech. With WebRTC the default is 0.35."
    vad_offset: f32, Number = 0.5, number(0.0, 1.0);

    "Minimum length of speech; shorter speech is dropped."
    min_speech_ms: u32, Integer = 150, milliseconds(0, 2000);

    "Minimum length of a pause; shorter pauses count as speech."
    min_silence_ms: u32, Integer = 400, milliseconds(0, 5000);

    "Maximum length of a pause inside the turn of one speaker."
    max_turn_pause_ms: u32, Integer = 800, milliseconds(0, 5000);

    "Padding at both ends of a region of speech."
    pad_ms: u32, Integer = 50, milliseconds(0, 500);

    "Probability of two speakers at once above which the second one is labelled; 1 disables it. Needs vad_mode = \"network\"."
    overlap_onset: f32, Number = 0.6, number(0.0, 1.0);

    "Maximum number of speakers; \"none\" is no limit."
    max_speakers: Option<usize>, Unset = None, Rule::Speakers { from: 1, to: 1000 };

    "Number of speakers: never more at any moment, and this number at the end if the speech can be split so far."
    expected_speakers: Option<usize>, Unset = None, Rule::Speakers { from: 1, to: 1000 };

    "Log-likelihood ratio by which a new clustering must beat the present labels. It keeps labels from changing back and forth."
    recluster_margin_llr: f32, Number = 2.0, number(-50.0, 50.0);

    "Log-likelihood ratio by which \"new speaker\" must beat the best known speaker."
    new_speaker_llr: f32, Number = 8.0, number(-50.0, 50.0);

    "Cost of a speaker change between two windows; a higher cost gives longer turns."
    switch_cost: f32, Number = 4.0, number(0.0, 100.0);

    "Scale of the acoustic evidence for a quarter of a second of speech (F_A of VBx); a higher scale finds more speakers."
    acoustic_scale: f32, Number = 0.14, number(0.001, 1.0);

    "Consecutive windows without a matching speaker before a new speaker is opened."
    new_speaker_windows: usize, Integer = 3, count(1, 100);

    "Minimum clean speech of a speaker; a speaker with less is merged into the best match."
    min_speaker_ms: u32, Integer = 1250, milliseconds(0, 60_000);

    "Exemplars that a session keeps; bounds its memory and work."
    max_exemplars: usize, Integer = 1024, count(64, 4096);

    "Whether all labels are clustered once more at the end of a stream."
    final_pass: bool, Switch = true, Rule::Switch;
}
