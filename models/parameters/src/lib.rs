//! The parameters of the diarizer. One table gives each key with its default, range and text; the values, the checks, the
//! section `[diarization]` of the configuration and its example follow from it.

mod detector;
mod rule;
mod table;

pub use detector::{SPEECH_DETECTORS, SpeechDetector};
pub use rule::{Rule, Value};
pub use table::{DiarizerOptions, PARAMETERS, Parameter};

impl Parameter {
    /// The parameter with this key.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn of(key: &str) -> &'static Self {
        PARAMETERS.iter().find(|parameter| parameter.key == key).expect("the key is in the table")
    }

    /// The default with this speech detector: the thresholds of WebRTC's measure another thing.
    #[must_use]
    pub fn default_with(&self, detector: SpeechDetector) -> Value {
        match (self.key, detector) {
            ("vad_onset", SpeechDetector::WebRtc { .. }) => Value::Number(0.6),
            ("vad_offset", SpeechDetector::WebRtc { .. }) => Value::Number(0.35),
            _ => self.default,
        }
    }
}

/// Pairs of keys: the value of the first is at most that of the second, where both are set.
pub const AT_MOST: [(&str, &str); 5] = [
    ("step_ms", "window_ms"),
    ("first_label_ms", "window_ms"),
    ("label_delay_ms", "settle_ms"),
    ("vad_offset", "vad_onset"),
    ("expected_speakers", "max_speakers"),
];

/// A value that breaks the rule of its parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Key of the parameter.
    pub key: &'static str,
    /// The value.
    pub got: String,
    /// What it must be.
    pub rule: String,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({}) must be {}", self.key, self.got, self.rule)
    }
}

impl std::error::Error for Fault {}

impl DiarizerOptions {
    /// Every value outside its range, in the order of the table, then every broken pair of [`AT_MOST`].
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        for parameter in &PARAMETERS {
            let value = self.value(parameter.key);
            if !parameter.rule.allows(value) {
                faults.push(Fault {
                    key: parameter.key,
                    got: value.to_string(),
                    rule: parameter.rule.to_string(),
                });
            }
        }
        for (key, bound) in AT_MOST {
            let (value, most) = (self.value(key), self.value(bound));
            if value.number().zip(most.number()).is_some_and(|(value, most)| value > most) {
                faults.push(Fault { key, got: value.to_string(), rule: format!("at most {bound} ({most})") });
            }
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_allowed_and_come_from_the_table() {
        let options = DiarizerOptions::default();
        assert_eq!(options.faults(), []);
        for parameter in &PARAMETERS {
            assert_eq!(
                options.value(parameter.key).to_string(),
                parameter.default.to_string(),
                "{}",
                parameter.key
            );
        }
    }

    #[test]
    fn every_fault_is_found_at_once() {
        let options = DiarizerOptions {
            window_ms: 1505,
            vad_mode: SpeechDetector::WebRtc { mode: 9 },
            vad_offset: 0.98,
            max_speakers: Some(2),
            expected_speakers: Some(3),
            recluster_margin_llr: f32::NAN,
            ..DiarizerOptions::default()
        };
        let faults: Vec<String> = options.faults().iter().map(ToString::to_string).collect();
        assert_eq!(
            faults,
            [
                "window_ms (1505) must be a whole number of ms from 500 to 5000 that is a multiple of 10",
                "vad_mode (webrtc) must be one of \"network\", \"quality\", \"low_bitrate\", \"aggressive\", \
                 \"very_aggressive\"",
                "recluster_margin_llr (NaN) must be a number from -50 to 50",
                "vad_offset (0.98) must be at most vad_onset (0.97)",
                "expected_speakers (3) must be at most max_speakers (2)",
            ]
        );
    }

    #[test]
    fn a_value_that_is_set_is_read_back() {
        let mut options = DiarizerOptions::default();
        for (key, value) in [
            ("window_ms", Value::Integer(2000)),
            ("vad_onset", Value::Number(0.25)),
            ("max_speakers", Value::Integer(7)),
            ("expected_speakers", Value::Unset),
            ("final_pass", Value::Switch(false)),
            ("vad_mode", Value::Detector(SpeechDetector::WebRtc { mode: 1 })),
        ] {
            options.set(key, value);
            assert_eq!(options.value(key), value);
        }
        assert_eq!((options.window_ms, options.max_speakers), (2000, Some(7)));
    }

    #[test]
    fn every_bound_names_two_parameters() {
        for (key, bound) in AT_MOST {
            assert_ne!(Parameter::of(key).path, Parameter::of(bound).path);
        }
    }
}
