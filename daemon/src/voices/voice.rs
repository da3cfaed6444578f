//! A person in the store and the recordings that a voiceprint is made from.

use diarized_models::voiceprint::ModelId;
use serde::{Deserialize, Serialize};

/// A person in the store.
#[derive(Debug, Clone, PartialEq)]
pub struct Voice {
    /// Identity that never changes: `v` and 16 hexadecimal digits.
    pub id: String,
    /// Name to show.
    pub name: String,
    /// What the person agreed to, in words.
    pub consent: Option<String>,
    /// When the person was enrolled, in seconds since 1970.
    pub created_unix_s: i64,
    /// When anything of this changed last, in seconds since 1970.
    pub changed_unix_s: i64,
    /// What the voiceprint is made from, oldest first.
    pub recordings: Vec<StoredRecording>,
}

/// One recording of a person.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredRecording {
    /// Identity: `r` and 16 hexadecimal digits.
    pub id: String,
    /// Model that made the embedding.
    pub model: ModelId,
    /// When it was stored, in seconds since 1970.
    pub created_unix_s: i64,
    /// The rest.
    pub content: NewRecording,
}

/// A recording to be stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewRecording {
    /// Where it comes from: a file's name, `http`, `session ID S2`, or `learned`.
    pub source: String,
    /// Speech, in seconds.
    pub speech_s: f32,
    /// How much a second of it counts, above 0 and at most 1.
    pub weight: f32,
    /// Signal-to-noise ratio in dB, where it could be measured.
    pub snr_db: Option<f32>,
    /// The embedding, unit norm.
    pub embedding: Vec<f32>,
}

/// What an enrolment did.
#[derive(Debug, Clone, PartialEq)]
pub struct Enrolment {
    /// The person as stored now.
    pub voice: Voice,
    /// Whether the person was not known before.
    pub is_new: bool,
}
