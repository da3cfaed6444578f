//! What a value may be.

use std::fmt;

use super::detector::{SPEECH_DETECTORS, SpeechDetector};

/// What the value of a parameter may be. Ends of ranges are included.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Rule {
    /// A whole number with a unit, a multiple of `step`.
    Whole {
        /// Unit as in "of ms"; may be empty.
        unit: &'static str,
        /// Distance of two allowed values.
        step: i64,
        /// Smallest value.
        from: i64,
        /// Largest value.
        to: i64,
    },
    /// A finite number.
    Number {
        /// Smallest value.
        from: f64,
        /// Largest value.
        to: f64,
    },
    /// A whole number of speakers, or none.
    Speakers {
        /// Smallest value.
        from: i64,
        /// Largest value.
        to: i64,
    },
    /// One of [`SPEECH_DETECTORS`].
    Detector,
    /// True or false.
    Switch,
}

/// A value of any parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// A whole number.
    Integer(i64),
    /// A number.
    Number(f64),
    /// True or false.
    Switch(bool),
    /// A speech detector.
    Detector(SpeechDetector),
    /// No value.
    Unset,
}

impl Rule {
    /// Whether the value keeps the rule.
    #[must_use]
    pub fn allows(self, value: Value) -> bool {
        match (self, value) {
            (Self::Whole { step, from, to, .. }, Value::Integer(n)) => {
                n % step == 0 && (from..=to).contains(&n)
            }
            (Self::Number { from, to }, Value::Number(n)) => (from..=to).contains(&n),
            (Self::Speakers { from, to }, Value::Integer(n)) => (from..=to).contains(&n),
            (Self::Detector, Value::Detector(detector)) => {
                SPEECH_DETECTORS.iter().any(|(_, known)| *known == detector)
            }
            (Self::Speakers { .. }, Value::Unset) | (Self::Switch, Value::Switch(_)) => true,
            _ => false,
        }
    }
}

impl fmt::Display for Rule {
    /// What a value must be, as the object of "must be".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole { unit, step, from, to } => {
                let space = if unit.is_empty() { "" } else { " " };
                write!(f, "a whole number{space}{unit} from {from} to {to}")?;
                if *step > 1 { write!(f, " that is a multiple of {step}") } else { Ok(()) }
            }
            Self::Number { from, to } => write!(f, "a number from {from} to {to}"),
            Self::Speakers { from, to } => {
                write!(f, "a whole number of speakers from {from} to {to}, or none")
            }
            Self::Detector => {
                let words: Vec<String> =
                    SPEECH_DETECTORS.iter().map(|(word, _)| format!("\"{word}\"")).collect();
                write!(f, "one of {}", words.join(", "))
            }
            Self::Switch => f.write_str("true or false"),
        }
    }
}

impl Value {
    /// The value as a number; none for a value of another kind.
    #[must_use]
    pub fn number(self) -> Option<f64> {
        match self {
            Self::Integer(n) => Some(n as f64),
            Self::Number(n) => Some(n),
            _ => None,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(n) => write!(f, "{n}"),
            // Values are held in single precision.
            Self::Number(n) => write!(f, "{}", *n as f32),
            Self::Switch(on) => write!(f, "{on}"),
            Self::Detector(detector) => f.write_str(detector.word()),
            Self::Unset => f.write_str("none"),
        }
    }
}

/// A type of field, and its values.
pub(crate) trait Field: Copy {
    fn to_value(self) -> Value;
    /// `None` for a value of another kind.
    fn from_value(value: Value) -> Option<Self>;
}

impl Field for u32 {
    fn to_value(self) -> Value {
        Value::Integer(self.into())
    }

    fn from_value(value: Value) -> Option<Self> {
        if let Value::Integer(n) = value { n.try_into().ok() } else { None }
    }
}

impl Field for usize {
    fn to_value(self) -> Value {
        Value::Integer(self.try_into().unwrap_or(i64::MAX))
    }

    fn from_value(value: Value) -> Option<Self> {
        if let Value::Integer(n) = value { n.try_into().ok() } else { None }
    }
}

impl Field for f32 {
    fn to_value(self) -> Value {
        Value::Number(self.into())
    }

    fn from_value(value: Value) -> Option<Self> {
        value.number().map(|n| n as f32)
    }
}

impl Field for bool {
    fn to_value(self) -> Value {
        Value::Switch(self)
    }

    fn from_value(value: Value) -> Option<Self> {
        if let Value::Switch(on) = value { Some(on) } else { None }
    }
}

impl Field for SpeechDetector {
    fn to_value(self) -> Value {
        Value::Detector(self)
    }

    fn from_value(value: Value) -> Option<Self> {
        if let Value::Detector(detector) = value { Some(detector) } else { None }
    }
}

impl Field for Option<usize> {
    fn to_value(self) -> Value {
        self.map_or(Value::Unset, Field::to_value)
    }

    fn from_value(value: Value) -> Option<Self> {
        if value == Value::Unset { Some(None) } else { usize::from_value(value).map(Some) }
    }
}
