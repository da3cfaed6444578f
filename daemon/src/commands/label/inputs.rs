//! The inputs of `diarized label`: files, the audio files of folders, and the name of each recording.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use crate::audio_file::STDIN_NAME;

/// Endings of the names of files that are taken out of a folder.
const ENDINGS: [&str; 25] = [
    "wav", "wave", "rf64", "w64", "au", "snd", "flac", "mp3", "ogg", "oga", "opus", "m4a", "m4b", "mp4",
    "m4v", "mov", "aac", "adts", "aif", "aiff", "aifc", "caf", "mka", "mkv", "webm",
];

/// The files that `named` stands for: a folder stands for its audio files in the order of their names, without those of
/// folders in it. A folder without any, or an unreadable one, stands for itself, so that its fault is reported.
pub(super) fn files_of(named: &[PathBuf]) -> Vec<PathBuf> {
    let of_one = |path: &PathBuf| match path.as_os_str() != STDIN_NAME && path.is_dir() {
        true => {
            Some(audio_files(path)).filter(|files| !files.is_empty()).unwrap_or_else(|| vec![path.clone()])
        }
        false => vec![path.clone()],
    };
    named.iter().flat_map(of_one).collect()
}

fn audio_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|path| is_audio_file(path)).collect();
    files.sort();
    files
}

fn is_audio_file(path: &Path) -> bool {
    let is_hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
    !is_hidden && ending.is_some_and(|ending| ENDINGS.contains(&&*ending)) && path.is_file()
}

/// What a recording is called: its file's name without folder and extension.
pub(super) fn recording_name(path: &Path) -> String {
    if path.as_os_str() == STDIN_NAME {
        return "stdin".to_owned();
    }
    path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// What the recordings are called that go to one place: those of one name by as much of their paths as tells them apart.
///
/// # Errors
/// The path of a file that is named twice.
pub(super) fn recording_names(files: &[PathBuf]) -> Result<Vec<String>, PathBuf> {
    let mut names: Vec<String> = files.iter().map(|path| recording_name(path)).collect();
    let mut alike = BTreeMap::<String, Vec<usize>>::new();
    for (idx, name) in names.iter().enumerate() {
        alike.entry(name.clone()).or_default().push(idx);
    }
    for idxs in alike.into_values().filter(|idxs| idxs.len() > 1) {
        let depth = idxs.iter().map(|idx| files[*idx].components().count()).max().unwrap_or(1);
        let tell_apart = |n_folders: usize, with_ending: bool| {
            let names: Vec<String> =
                idxs.iter().map(|idx| long_name(&files[*idx], n_folders, with_ending)).collect();
            let unique: std::collections::BTreeSet<&String> = names.iter().collect();
            (unique.len() == names.len()).then_some(names)
        };
        let ways = [false, true].into_iter().flat_map(|with| (0..=depth).map(move |n| (n, with)));
        let Some(told_apart) = ways.into_iter().find_map(|(n, with)| tell_apart(n, with)) else {
            return Err(twice(files, &idxs));
        };
        for (idx, name) in idxs.into_iter().zip(told_apart) {
            names[idx] = name;
        }
    }
    Ok(names)
}

/// The name of a file with a number of its parent folders.
fn long_name(path: &Path, n_folders: usize, with_ending: bool) -> String {
    let last = match with_ending {
        true => path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned(),
        false => recording_name(path),
    };
    let parts = path.parent().into_iter().flat_map(Path::components);
    let folders: Vec<_> = parts
        .filter(|part| !matches!(part, Component::CurDir | Component::RootDir))
        .map(|part| part.as_os_str().to_string_lossy().into_owned())
        .collect();
    let kept = &folders[folders.len().saturating_sub(n_folders)..];
    kept.iter().cloned().chain([last]).collect::<Vec<_>>().join("/")
}

fn twice(files: &[PathBuf], idxs: &[usize]) -> PathBuf {
    let whole = |idx: usize| long_name(&files[idx], usize::MAX, true);
    let again =
        idxs.iter().enumerate().find(|(n, idx)| idxs[..*n].iter().any(|other| whole(*other) == whole(**idx)));
    files[*again.map_or(&idxs[0], |(_, idx)| idx)].clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(names: &[&str]) -> Vec<PathBuf> {
        names.iter().map(PathBuf::from).collect()
    }

    #[test]
    fn names_become_recordings() {
        for (path, name) in
            [("a/board room.wav", "board room"), ("-", "stdin"), ("x.tar.gz", "x.tar"), ("..", "..")]
        {
            assert_eq!(recording_name(Path::new(path)), name);
        }
    }

    #[test]
    fn recordings_of_one_name_are_told_apart() {
        let named = |names: &[&str]| recording_names(&paths(names));
        assert_eq!(named(&["a/x.wav", "b/y.wav"]).unwrap(), ["x", "y"]);
        assert_eq!(named(&["a/x.wav", "b/x.wav", "y.wav"]).unwrap(), ["a/x", "b/x", "y"]);
        assert_eq!(named(&["1/a/x.wav", "2/a/x.mp3"]).unwrap(), ["1/a/x", "2/a/x"]);
        assert_eq!(named(&["x.wav", "x.mp3"]).unwrap(), ["x.wav", "x.mp3"]);
        assert_eq!(named(&["x.wav", "a/x.wav"]).unwrap(), ["x", "a/x"]);
        assert_eq!(named(&["/x.wav", "../x.wav"]).unwrap(), ["x", "../x"]);
        for twice in [["a/x.wav", "a/x.wav"], ["x.wav", "./x.wav"]] {
            assert_eq!(named(&twice).unwrap_err(), PathBuf::from(twice[1]));
        }
    }

    #[test]
    fn a_folder_stands_for_its_audio_files() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.WAV", "a.mp3", ".hidden.wav", "notes.txt", "no ending"] {
            std::fs::write(folder.path().join(name), b"x").unwrap();
        }
        let inner = folder.path().join("inner.wav");
        std::fs::create_dir(&inner).unwrap();
        let files = files_of(&[folder.path().to_owned(), inner.clone(), PathBuf::from("-")]);
        assert_eq!(
            files,
            [folder.path().join("a.mp3"), folder.path().join("b.WAV"), inner, PathBuf::from("-")]
        );
    }
}
