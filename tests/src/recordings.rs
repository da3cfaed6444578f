//! Folders of recordings with their references beside them: `NAME.wav` or `NAME.flac`, `NAME.rttm`, `NAME.uem`.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use diarized_models::rttm::{parse_rttm, parse_uem};
use diarized_models::scoring::{Span, Turn};

/// What is right of one recording.
#[derive(Debug, Clone)]
pub struct Reference {
    /// Who speaks when.
    pub turns: Vec<Turn>,
    /// What is scored; everything if there is no such file.
    pub uem: Option<Vec<Span>>,
}

impl Reference {
    /// Reads the files beside `audio`.
    ///
    /// # Errors
    /// A file that cannot be read, or its first bad line.
    pub fn beside(audio: &Path) -> anyhow::Result<Self> {
        let path = audio.with_extension("rttm");
        let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let turns = parse_rttm(&path.display().to_string(), &bytes)?.iter().map(Turn::from).collect();
        let path = audio.with_extension("uem");
        let uem = match std::fs::read(&path) {
            Ok(bytes) => {
                let regions = parse_uem(&path.display().to_string(), &bytes)?;
                Some(regions.iter().map(|r| Span::new(r.start, r.end)).collect())
            }
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        Ok(Self { turns, uem })
    }
}

/// Audio files in `folder` that have a reference beside them, by name.
///
/// # Errors
/// A folder that cannot be read, or holds none.
pub fn recordings(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let is_audio = path.extension().is_some_and(|e| e == "wav" || e == "flac");
        if is_audio && path.with_extension("rttm").exists() {
            files.push(path);
        }
    }
    if files.is_empty() {
        bail!("{} holds no recording with a reference beside it", folder.display());
    }
    files.sort();
    Ok(files)
}

/// Name of a recording: its file's without the extension.
///
/// # Errors
/// A path that ends in no file name.
pub fn name_of(audio: &Path) -> anyhow::Result<String> {
    Ok(audio.file_stem().context("no file name")?.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_a_reference_is_a_recording() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let error = recordings(folder.path()).unwrap_err().to_string();
        assert!(error.contains("holds no recording"), "{error}");
        for name in ["b.wav", "b.rttm", "a.flac", "a.rttm", "a.uem", "c.wav", "d.rttm"] {
            std::fs::write(path(name), "").unwrap();
        }
        std::fs::write(path("a.uem"), "a 1 0.5 2.0\n").unwrap();
        let found = recordings(folder.path()).unwrap();
        assert_eq!(found, [path("a.flac"), path("b.wav")]);
        assert_eq!(name_of(&found[0]).unwrap(), "a");
        assert_eq!(Reference::beside(&found[0]).unwrap().uem.unwrap().len(), 1);
        assert!(Reference::beside(&found[1]).unwrap().uem.is_none());
        std::fs::write(path("b.rttm"), "SPEAKER b\n").unwrap();
        assert!(Reference::beside(&found[1]).is_err());
        assert!(Reference::beside(&path("c.wav")).is_err());
    }
}
