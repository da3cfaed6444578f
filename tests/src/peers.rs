//! Other diarizers, whose labels lie in folders of RTTM files and are scored beside ours.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context as _, bail};
use diarized_models::rttm::parse_rttm;
use diarized_models::scoring::{DerParams, FileScore, Span, Turn, score_recording};

use crate::suite::collared;

/// A folder of labels that a peer made, written `NAME=DIR`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerFolder {
    /// Name of the peer, as it stands in tables.
    pub name: String,
    /// Folder with a `RECORDING.rttm` for each recording.
    pub folder: PathBuf,
}

impl FromStr for PeerFolder {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((name, folder)) if !name.trim().is_empty() && !folder.is_empty() => {
                Ok(Self { name: name.trim().to_owned(), folder: folder.into() })
            }
            _ => Err("expected NAME=DIR".to_owned()),
        }
    }
}

/// A peer and all its folders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Name, as it stands in tables.
    pub name: String,
    /// Where its labels are looked for.
    pub folders: Vec<PathBuf>,
}

impl Peer {
    /// Brings folders of one name together; peers stand in the order in which they first appear.
    #[must_use]
    pub fn from_folders(folders: &[PeerFolder]) -> Vec<Self> {
        let mut peers: Vec<Self> = Vec::new();
        for PeerFolder { name, folder } in folders {
            match peers.iter_mut().find(|peer| peer.name == *name) {
                Some(peer) => peer.folders.push(folder.clone()),
                None => peers.push(Self { name: name.clone(), folders: vec![folder.clone()] }),
            }
        }
        peers
    }

    /// The peer's labels of a recording.
    ///
    /// # Errors
    /// No folder or more than one has labels of it, or they are not RTTM or of another recording. A file without
    /// lines is good: the peer found nobody.
    pub fn turns(&self, recording: &str) -> anyhow::Result<Vec<Turn>> {
        let paths = self.folders.iter().map(|folder| folder.join(format!("{recording}.rttm")));
        let there: Vec<PathBuf> = paths.filter(|path| path.exists()).collect();
        let [path] = &there[..] else {
            bail!("{} of the folders of {} hold {recording}.rttm, expected one", there.len(), self.name);
        };
        let origin = path.display().to_string();
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {origin}"))?;
        let lines = parse_rttm(&origin, &bytes)?;
        if let Some(other) = lines.iter().find(|line| line.recording != recording) {
            bail!("{origin} labels {}, expected {recording}", other.recording);
        }
        Ok(lines.iter().map(Turn::from).collect())
    }

    /// Scores the peer's labels of a recording.
    ///
    /// # Errors
    /// As [`Self::turns`].
    pub fn score(
        &self,
        recording: &str,
        reference: &[Turn],
        uem: Option<&[Span]>,
    ) -> anyhow::Result<PeerScore> {
        let turns = self.turns(recording)?;
        let score = |params| score_recording(reference, &turns, uem, params);
        Ok(PeerScore {
            name: self.name.clone(),
            strict: score(DerParams::STRICT),
            collared: score(collared()),
        })
    }
}

/// How right a peer's labels of a recording are. A peer is offline: its labels are compared with ours at the end.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerScore {
    /// Name of the peer.
    pub name: String,
    /// Score with collar 0.
    pub strict: FileScore,
    /// Score with collar 0.25 s.
    pub collared: FileScore,
}

#[cfg(test)]
mod tests {
    use super::*;
    use diarized_models::rttm::Nanos;

    fn turn(start: f64, end: f64, who: &str) -> Turn {
        Turn::new(Nanos::from_seconds(start), Nanos::from_seconds(end), who)
    }

    fn peers(arguments: &[String]) -> Vec<Peer> {
        let folders: Vec<PeerFolder> = arguments.iter().map(|text| text.parse().unwrap()).collect();
        Peer::from_folders(&folders)
    }

    #[test]
    fn labels_are_found_in_any_folder_and_scored() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let labels =
            "SPEAKER x 1 0.0 2.0 <NA> <NA> P1 <NA> <NA>\nSPEAKER x 1 2.0 1.0 <NA> <NA> P2 <NA> <NA>\n";
        std::fs::write(b.path().join("x.rttm"), labels).unwrap();
        std::fs::write(a.path().join("silent.rttm"), "").unwrap();
        let of = |name: &str, folder: &tempfile::TempDir| format!("{name}={}", folder.path().display());
        let both = peers(&[of("them", &a), of("others", &a), of("them", &b)]);
        assert_eq!(both.iter().map(|peer| peer.name.as_str()).collect::<Vec<_>>(), ["them", "others"]);

        let reference = [turn(0.0, 2.5, "A"), turn(2.5, 4.0, "B")];
        let score = both[0].score("x", &reference, None).unwrap();
        assert_eq!(score.name, "them");
        // 2.0 to 2.5 s is A's and called P2, 3 to 4 s is missed.
        assert_eq!(score.strict.der.confusion, Nanos::from_seconds(0.5));
        assert_eq!(score.strict.der.missed, Nanos::from_seconds(1.0));
        assert_eq!(score.strict.der.false_alarm, Nanos(0));
        assert_eq!(score.strict.speaker_count_error(), 0);
        // The collar takes 0.25 s from each of them, at 2.25 and at 3.75 s.
        assert_eq!(score.collared.der.confusion, Nanos::from_seconds(0.25));
        assert_eq!(score.collared.der.missed, Nanos::from_seconds(0.75));

        let nobody = both[0].score("silent", &reference, None).unwrap();
        assert_eq!(nobody.strict.der.rate(), 1.0);
        assert_eq!(nobody.strict.n_hypothesis_speakers, 0);
    }

    #[test]
    fn labels_that_are_not_of_the_recording_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let argument = format!("them={}", folder.path().display());
        let error = |arguments: &[String]| format!("{:#}", peers(arguments)[0].turns("x").unwrap_err());
        let none = error(std::slice::from_ref(&argument));
        assert_eq!(none, "0 of the folders of them hold x.rttm, expected one");

        let path = folder.path().join("x.rttm");
        std::fs::write(&path, "SPEAKER y 1 0.0 2.0 <NA> <NA> P1 <NA> <NA>\n").unwrap();
        let wrong = error(std::slice::from_ref(&argument));
        assert_eq!(wrong, format!("{} labels y, expected x", path.display()));
        let twice = error(&[argument.clone(), argument]);
        assert_eq!(twice, "2 of the folders of them hold x.rttm, expected one");

        std::fs::write(&path, "SPEAKER x 1 zero 2.0 <NA> <NA> P1 <NA> <NA>\n").unwrap();
        assert!(error(&[format!("them={}", folder.path().display())]).contains("x.rttm"));
    }

    #[test]
    fn arguments_need_a_name_and_a_folder() {
        for text in ["them", "=folder", "them=", " =folder"] {
            assert_eq!(text.parse::<PeerFolder>(), Err("expected NAME=DIR".to_owned()), "{text}");
        }
        let folder: PeerFolder = "them=a=b".parse().unwrap();
        assert_eq!((folder.name.as_str(), folder.folder.to_str()), ("them", Some("a=b")));
    }
}
