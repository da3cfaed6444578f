//! The audio of kept sessions: it leaves with its session, and earlier where that is configured.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::Storage;
use super::error::StorageError;
use super::params::StorageParams;
use super::writer::Writer;
use crate::recording::{Recordings, RecordingsParams};
use crate::session::Session;

/// Opens the folder beside the store where audio is kept, or was before. Audio of sessions that the store does not know goes:
/// nobody could find or delete it.
pub(super) fn open(
    params: &StorageParams,
    ids: &BTreeSet<String>,
) -> Result<Option<Arc<Recordings>>, StorageError> {
    let folder = folder(&params.path);
    if !params.audio.is_on && !folder.exists() {
        return Ok(None);
    }
    let fault = |source| StorageError::Audio { folder: folder.clone(), source };
    let params = RecordingsParams { folder: folder.clone(), max_bytes: params.audio.max_bytes };
    let recordings = Recordings::open(params).map_err(fault)?;
    let n_unknown = recordings.retain(|id| ids.contains(id)).map_err(fault)?;
    if n_unknown > 0 {
        tracing::warn!(files = n_unknown, "audio of sessions that are not kept was deleted");
    }
    Ok(Some(recordings))
}

/// The folder of kept audio beside a store.
fn folder(path: &Path) -> PathBuf {
    let mut beside = path.as_os_str().to_owned();
    beside.push("-audio");
    PathBuf::from(beside)
}

impl Storage {
    /// Where the audio of new sessions is kept, if it is.
    #[must_use]
    pub fn keeps_audio_in(&self) -> Option<&Arc<Recordings>> {
        self.recordings.as_ref().filter(|_| self.audio.is_on)
    }

    /// Where audio of sessions is, if there is any.
    #[must_use]
    pub fn recordings(&self) -> Option<&Arc<Recordings>> {
        self.recordings.as_ref()
    }

    /// Lets a session that was put together again know of its audio.
    pub(super) fn with_audio(&self, session: Option<Arc<Session>>) -> Option<Arc<Session>> {
        if let (Some(session), Some(recordings)) = (&session, &self.recordings) {
            session.channel().set_recordings(recordings);
        }
        session
    }

    pub(super) fn forget_audio(&self, id: &str) -> Result<(), StorageError> {
        let Some(recordings) = &self.recordings else { return Ok(()) };
        let fault = |source| StorageError::Audio { folder: recordings.folder().to_owned(), source };
        recordings.forget(id).map(|_| ()).map_err(fault)
    }

    /// Deletes the audio of these sessions, and of those that ended too long ago.
    pub(super) fn expire_audio(&self, writer: &Writer, expired: &BTreeSet<String>) {
        let Some(recordings) = &self.recordings else { return };
        let kept = recordings.ids();
        let old = self.audio.keep.map(|keep| writer.database.ended_before(SystemTime::now() - keep));
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
