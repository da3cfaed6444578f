//! Names of people.

use diarized_models::names;

use super::error::StoreError;

/// The name without white space around it.
///
/// # Errors
/// It is empty, too long, holds characters that are not seen, or reads like a label.
pub fn checked_name(name: &str) -> Result<&str, StoreError> {
    match names::checked_name(name) {
        Ok("") => Err(StoreError::NoName),
        Ok(name) => Ok(name),
        Err(fault) => Err(StoreError::BadName(fault)),
    }
}
