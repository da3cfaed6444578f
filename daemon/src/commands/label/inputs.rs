//! The inputs of `diarized label`: files, the audio files of folders, and the name of each recording.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use walkdir::WalkDir;

use crate::audio_file::STDIN_NAME;

/// Endings of the names of files that are taken out of a folder.
const ENDINGS: [&str; 26] = [
    "wav", "wave", "rf64", "w64", "au", "snd", "flac", "mp2", "mp3", "ogg", "oga", "opus", "m4a", "m4b",
    "mp4", "m4v", "mov", "aac", "adts", "aif", "aiff", "aifc", "caf", "mka", "mkv", "webm",
];

/// A file to be labelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Input {
    pub(super) path: PathBuf,
    /// The folders between the folder that was named and the file; empty for a file that was named itself.
    below: PathBuf,
}

impl Input {
    fn named(path: &Path) -> Self {
        Self { path: path.to_owned(), below: PathBuf::new() }
    }

    /// What the recording is called: its file's name without extension, behind the folders below the named one.
    pub(super) fn recording(&self) -> String {
        self.below.join(recording_name(&self.path)).to_string_lossy().into_owned()
    }
}

/// The files that `named` stands for: a folder stands for its audio files and those of the folders in it, in the order of
/// their paths. A folder without any stands for itself, so that its fault is reported.
pub(super) fn files_of(named: &[PathBuf]) -> Vec<Input> {
    let of_one = |path: &PathBuf| match path.as_os_str() != STDIN_NAME && path.is_dir() {
        true => Some(audio_files(path)).filter(|files| !files.is_empty()),
        false => None,
    };
    named.iter().flat_map(|path| of_one(path).unwrap_or_else(|| vec![Input::named(path)])).collect()
}

/// Audio files of a folder and of those in it. Hidden ones are passed over; of folders that several links lead to, each is
/// entered once, so links in a circle end. A folder that cannot be read stands for itself.
fn audio_files(folder: &Path) -> Vec<Input> {
    let mut entered = BTreeSet::new();
    let mut is_wanted = |entry: &walkdir::DirEntry| {
        let is_hidden = entry.depth() > 0 && entry.file_name().to_string_lossy().starts_with('.');
        let mut is_new = || entry.path().canonicalize().is_ok_and(|path| entered.insert(path));
        !is_hidden && (!entry.file_type().is_dir() || is_new())
    };
    let walk = WalkDir::new(folder).follow_links(true).sort_by_file_name();
    let mut files: Vec<Input> = Vec::new();
    for entry in walk.into_iter().filter_entry(&mut is_wanted) {
        let path = match entry {
            Ok(entry) if is_audio_file(&entry) => entry.into_path(),
            Ok(_) => continue,
            // A link to a folder around it, or to nothing.
            Err(error) if error.loop_ancestor().is_some() => continue,
            Err(error) => match error.path().filter(|path| path.is_dir()) {
                Some(path) => path.to_owned(),
                None => continue,
            },
        };
        let below = path.parent().and_then(|parent| parent.strip_prefix(folder).ok());
        files.push(Input { below: below.unwrap_or(Path::new("")).to_owned(), path });
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

fn is_audio_file(entry: &walkdir::DirEntry) -> bool {
    let ending = entry.path().extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
    entry.file_type().is_file() && ending.is_some_and(|ending| ENDINGS.contains(&&*ending))
}

/// What a recording is called: its file's name without folder and extension.
fn recording_name(path: &Path) -> String {
    if path.as_os_str() == STDIN_NAME {
        return "stdin".to_owned();
    }
    path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// What the recordings are called that go to one place: those of one name by as much of their paths as tells them apart.
///
/// # Errors
/// The path of a file that is named twice.
pub(super) fn recording_names(files: &[Input]) -> Result<Vec<String>, PathBuf> {
    let mut names: Vec<String> = files.iter().map(Input::recording).collect();
    let mut alike = BTreeMap::<String, Vec<usize>>::new();
    for (idx, name) in names.iter().enumerate() {
        alike.entry(name.clone()).or_default().push(idx);
    }
    for idxs in alike.into_values().filter(|idxs| idxs.len() > 1) {
        let paths: Vec<&Path> = idxs.iter().map(|idx| files[*idx].path.as_path()).collect();
        // What has one name lies below folders of one name.
        let below = files[idxs[0]].below.components().count();
        let Some(told_apart) = told_apart(&paths, below) else {
            return Err(twice(&paths));
        };
        for (idx, name) in idxs.into_iter().zip(told_apart) {
            names[idx] = name;
        }
    }
    Ok(names)
}

/// The shortest names of files, each with at least `n_least` of its folders, that differ from each other, if any do.
fn told_apart(paths: &[&Path], n_least: usize) -> Option<Vec<String>> {
    let depth = paths.iter().map(|path| path.components().count()).max().unwrap_or(1);
    let ways = [false, true].into_iter().flat_map(|with| (n_least..=depth).map(move |n| (n, with)));
    ways.map(|(n, with)| paths.iter().map(|path| long_name(path, n, with)).collect::<Vec<_>>())
        .find(|names| names.iter().collect::<BTreeSet<_>>().len() == names.len())
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

fn twice(paths: &[&Path]) -> PathBuf {
    let whole = |path: &Path| long_name(path, usize::MAX, true);
    let mut seen = BTreeSet::new();
    let again = paths.iter().find(|path| !seen.insert(whole(path)));
    again.unwrap_or(&paths[0]).to_path_buf()
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let named = |names: &[&str]| {
            let inputs: Vec<Input> = names.iter().map(|name| Input::named(Path::new(name))).collect();
            recording_names(&inputs)
        };
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
    fn a_folder_stands_for_its_audio_files_and_those_below() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for inner in ["b/c", "empty.wav", ".hidden", "z"] {
            std::fs::create_dir_all(at(inner)).unwrap();
        }
        for name in [
            "b.WAV",
            "a.mp3",
            ".hidden.wav",
            "notes.txt",
            "no ending",
            "b/c/x.wav",
            "b/c.wav",
            "z/x.ogg",
            ".hidden/x.wav",
        ] {
            std::fs::write(at(name), b"x").unwrap();
        }
        let files = files_of(&[folder.path().to_owned(), at("empty.wav"), PathBuf::from("-")]);
        let names: Vec<String> = files.iter().map(Input::recording).collect();
        assert_eq!(names, ["a", "b/c/x", "b/c", "b", "z/x", "empty", "stdin"]);
        assert_eq!(files[1].path, at("b/c/x.wav"));
        assert_eq!(recording_names(&files).unwrap(), names);
    }

    #[test]
    fn recordings_below_folders_keep_their_folders() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["1/in/x.wav", "1/in/x.mp3", "2/in/x.wav", "1/y.wav"] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"x").unwrap();
        }
        let [one, two] = ["1", "2"].map(|name| folder.path().join(name));
        let names = recording_names(&files_of(std::slice::from_ref(&one))).unwrap();
        assert_eq!(names, ["in/x.mp3", "in/x.wav", "y"]);
        let names = recording_names(&files_of(&[one, two])).unwrap();
        assert_eq!(names, ["1/in/x.mp3", "1/in/x.wav", "y", "2/in/x.wav"]);
    }

    /// Links in a circle, to a folder above, and many to one folder.
    #[cfg(unix)]
    #[test]
    fn links_in_a_circle_end() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let at = |name: String| folder.path().join(name);
        std::fs::create_dir(at("0".to_owned())).unwrap();
        symlink(folder.path(), at("0/up".to_owned())).unwrap();
        symlink(at("absent.wav".to_owned()), at("0/broken.wav".to_owned())).unwrap();
        // Two links in each of 40 folders to the next: a million million paths to the last one.
        for n in 1..=40 {
            std::fs::create_dir(at(format!("{n}"))).unwrap();
            for link in ["a", "b"] {
                symlink(at(format!("{n}")), at(format!("{}/{link}", n - 1))).unwrap();
            }
        }
        std::fs::write(at("40/x.wav".to_owned()), b"x").unwrap();
        symlink(at("40/x.wav".to_owned()), at("linked.wav".to_owned())).unwrap();
        let files = files_of(&[folder.path().to_owned()]);
        assert_eq!(files.len(), 2, "{files:?}");
        assert_eq!(files[1].recording(), "linked");
    }
}
