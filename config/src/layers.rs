//! The values of each source by key, and the names of environment variables.

use std::collections::BTreeMap;

use crate::raw::Raw;

/// Prefix of the environment variables.
pub(crate) const ENV_PREFIX: &str = "DIARIZED_";

/// The values of each layer that are not read yet.
#[derive(Debug, Default)]
pub(crate) struct Layers {
    pub(crate) file: BTreeMap<String, Raw>,
    /// By the variable's name.
    pub(crate) env: BTreeMap<String, Raw>,
    pub(crate) flags: BTreeMap<String, Raw>,
}

/// `server.listen` gives `DIARIZED_SERVER_LISTEN`.
pub(crate) fn variable_of(key: &str) -> String {
    format!("{ENV_PREFIX}{}", key.replace('.', "_").to_ascii_uppercase())
}
