//! Checks of what is read from outside of the store.

use diarized_models::Embedding;

use super::voice::NewRecording;

/// Whether this may be an id of a voice or of a recording.
pub(super) fn is_id(id: &str) -> bool {
    (1..=32).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// Whether recording `id` has a length, a weight and an embedding in range.
pub(super) fn check_content(id: &str, recording: &NewRecording) -> Result<(), String> {
    let NewRecording { speech_s, weight, embedding, .. } = recording;
    let is_fine = *speech_s > 0.0
        && speech_s.is_finite()
        && *weight > 0.0
        && *weight <= 1.0
        && Embedding::from_raw(embedding).is_ok();
    if is_fine {
        Ok(())
    } else {
        Err(format!("recording {id} has a length, weight or embedding out of range"))
    }
}
