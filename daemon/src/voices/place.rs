//! Paths of the store and its key, configured or by default.

use std::path::PathBuf;

use diarized_config::VoicesConfig;

use super::error::StoreError;
use super::key::KeySource;
use super::store::Store;

/// Where the store is and where its key comes from.
#[derive(Debug, Clone)]
pub struct Place {
    /// The SQLite file.
    pub path: PathBuf,
    /// The key.
    pub key: KeySource,
}

impl Place {
    /// The configured places; without them `diarized/voices.db` in the user's data folder and `diarized/voices.key` in
    /// the user's configuration folder (XDG base directories), or the working folder for a user without a home.
    #[must_use]
    pub fn of(config: &VoicesConfig) -> Self {
        let in_folder = |variable: &str, below_home: &str, name: &str| {
            let is_set = |path: &std::ffi::OsString| !path.is_empty();
            let folder = std::env::var_os(variable).filter(is_set).map(PathBuf::from).or_else(|| {
                std::env::var_os("HOME").filter(is_set).map(|home| PathBuf::from(home).join(below_home))
            });
            folder.unwrap_or_default().join("diarized").join(name)
        };
        let path =
            config.path.clone().unwrap_or_else(|| in_folder("XDG_DATA_HOME", ".local/share", "voices.db"));
        let file =
            config.key_file.clone().unwrap_or_else(|| in_folder("XDG_CONFIG_HOME", ".config", "voices.key"));
        Self { path, key: KeySource::from_env_or(file) }
    }

    /// Opens the store.
    ///
    /// # Errors
    /// [`StoreError`]; [`StoreError::Absent`] if there is none.
    pub fn open(&self) -> Result<Store, StoreError> {
        if !self.path.exists() {
            return Err(StoreError::Absent { path: self.path.clone() });
        }
        Store::open(&self.path, &self.key.read(&self.path)?)
    }

    /// Opens the store, and makes it and its key where they are absent.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn open_or_make(&self) -> Result<Store, StoreError> {
        if self.path.exists() {
            return self.open();
        }
        Store::make(&self.path, &self.key.read_or_make(&self.path)?)
    }
}
