//! The audio of kept sessions: it leaves with its session, and earlier where that is configured.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::database::Database;
use super::error::StorageError;
use super::params::{AudioParams, StorageParams};
use crate::recording::{Recordings, RecordingsParams};
use crate::session::Session;

/// The folder beside the store where audio is kept, or was before.
#[derive(Debug)]
pub(super) struct KeptAudio {
    /// None where there is no audio.
    recordings: Option<Arc<Recordings>>,
    params: AudioParams,
}

impl KeptAudio {
    /// Opens the folder. Audio of sessions other than `ids` goes: nobody could find or delete it.
    pub(super) fn open(params: &StorageParams, ids: &BTreeSet<String>) -> Result<Self, StorageError> {
        let folder = folder(&params.path);
        if !params.audio.is_on && !folder.exists() {
            return Ok(Self { recordings: None, params: params.audio.clone() });
        }
        let fault = |source| StorageError::Audio { folder: folder.clone(), source };
        let limits = RecordingsParams { folder: folder.clone(), max_bytes: params.audio.max_bytes };
        let recordings = Recordings::open(limits).map_err(fault)?;
        let n_unknown = recordings.retain(|id| ids.contains(id)).map_err(fault)?;
        if n_unknown > 0 {
            tracing::warn!(files = n_unknown, "audio of sessions that are not kept was deleted");
        }
        Ok(Self { recordings: Some(recordings), params: params.audio.clone() })
    }

    /// Where the audio of new sessions goes, if it is kept.
    pub(super) fn for_new(&self) -> Option<&Arc<Recordings>> {
        self.recordings.as_ref().filter(|_| self.params.is_on)
    }

    /// Where audio of sessions is, if there is any.
    pub(super) fn recordings(&self) -> Option<&Arc<Recordings>> {
        self.recordings.as_ref()
    }

    /// Whether audio leaves before its session.
    pub(super) fn expires(&self) -> bool {
        self.params.keep.is_some()
    }

    /// Joins a session that was put together again to its audio.
    pub(super) fn joined(&self, session: Option<Arc<Session>>) -> Option<Arc<Session>> {
        if let (Some(session), Some(recordings)) = (&session, &self.recordings) {
            session.channel().set_recordings(recordings);
        }
        session
    }

    pub(super) fn forget(&self, id: &str) -> Result<(), StorageError> {
        let Some(recordings) = &self.recordings else { return Ok(()) };
        recordings.forget(id).map(|_| ()).map_err(|source| StorageError::AudioStays {
            id: id.to_owned(),
            folder: recordings.folder().to_owned(),
            source,
        })
    }

    /// Deletes the audio of the sessions `expired`, and of those that ended too long ago.
    pub(super) fn expire(&self, database: &Database, expired: &BTreeSet<String>) {
        let Some(recordings) = &self.recordings else { return };
        let kept = recordings.ids();
        let old = self.params.keep.map(|keep| database.ended_before(SystemTime::now() - keep));
        let old = old.transpose().unwrap_or_else(|error| {
            tracing::warn!(%error, "the age of kept audio is not known");
            None
        });
        let gone = expired.iter().chain(old.iter().flatten()).filter(|id| kept.contains(*id));
        for id in gone {
            match recordings.forget(id) {
                Ok(_) => {
                    tracing::info!(session = id, "the audio of a session was deleted because of its age")
                }
                Err(error) => {
                    tracing::error!(session = id, %error, "the audio of a session cannot be deleted")
                }
            }
        }
    }
}

/// The folder of kept audio beside a store.
fn folder(path: &Path) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push("-audio");
    PathBuf::from(beside)
}
