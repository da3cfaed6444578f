//! Trial lists in their three forms, and enrolment from several utterances.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::voices::{Clips, Voices};
use crate::kaldi::{self, KaldiError, Utterance, fault};

/// One comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trial {
    /// Name on the enrolment side.
    pub(super) enrol: String,
    /// Name on the test side.
    pub(super) test: String,
    /// Whether both are one person.
    pub(super) is_target: bool,
}

/// All trials and who is enrolled from what.
#[derive(Debug)]
pub(super) struct Lists {
    pub(super) trials: Vec<Trial>,
    /// Utterances of each enrolled speaker.
    models: BTreeMap<String, Vec<String>>,
}

impl Lists {
    /// Reads the lists and checks that every name is known.
    pub(super) fn read(trials: &[PathBuf], enrol: Option<&Path>, clips: &Clips) -> anyhow::Result<Self> {
        let mut lists = Self { trials: Vec::new(), models: BTreeMap::new() };
        for (line, text) in enrol.map(kaldi::read_lines).transpose()?.unwrap_or_default() {
            let path = enrol.unwrap_or(Path::new(""));
            let mut fields = text.split_ascii_whitespace().map(str::to_owned);
            let (speaker, utterances) = (fields.next().unwrap_or_default(), fields.collect::<Vec<_>>());
            if utterances.is_empty() {
                return Err(fault(path, line, format!("{speaker} has no utterance")).into());
            }
            if let Some(unknown) = utterances.iter().find(|name| !clips.knows(name)) {
                return Err(fault(path, line, clips.unknown(unknown)).into());
            }
            if lists.models.insert(speaker.clone(), utterances).is_some() {
                return Err(fault(path, line, format!("{speaker} is listed twice")).into());
            }
        }
        for path in trials {
            for (line, text) in kaldi::read_lines(path)? {
                let trial = parse(path, line, &text)?;
                let is_known = lists.models.contains_key(&trial.enrol) || clips.knows(&trial.enrol);
                let unknown = match (is_known, clips.knows(&trial.test)) {
                    (false, _) => Some(&trial.enrol),
                    (true, false) => Some(&trial.test),
                    (true, true) => None,
                };
                if let Some(unknown) = unknown {
                    return Err(fault(path, line, clips.unknown(unknown)).into());
                }
                lists.trials.push(trial);
            }
        }
        Ok(lists)
    }

    /// The utterances that the trials need, by name.
    pub(super) fn utterances(&self, clips: &Clips) -> anyhow::Result<BTreeMap<String, Utterance>> {
        let mut names: BTreeSet<&String> = self.trials.iter().map(|trial| &trial.test).collect();
        for trial in &self.trials {
            match self.models.get(&trial.enrol) {
                Some(utterances) => names.extend(utterances),
                None => _ = names.insert(&trial.enrol),
            }
        }
        let find = |name: &String| Ok((name.clone(), clips.get(name).with_context(|| clips.unknown(name))?));
        names.into_iter().map(find).collect()
    }

    /// One direction of unit length for every name in the trials.
    pub(super) fn sides(&self, voices: &Voices) -> anyhow::Result<BTreeMap<String, Vec<f32>>> {
        let mut sides = BTreeMap::new();
        for name in self.trials.iter().flat_map(|trial| [&trial.enrol, &trial.test]) {
            if !sides.contains_key(name) {
                let alone = vec![name.clone()];
                let utterances = self.models.get(name).unwrap_or(&alone);
                sides.insert(name.clone(), voices.mean(utterances).with_context(|| name.clone())?);
            }
        }
        Ok(sides)
    }
}

fn parse(path: &Path, line: usize, text: &str) -> Result<Trial, KaldiError> {
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    let trial = |enrol: &str, test: &str, is_target| {
        Ok(Trial { enrol: enrol.to_owned(), test: test.to_owned(), is_target })
    };
    let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    match fields[..] {
        [enrol, test, "target"] => trial(enrol, test, true),
        [enrol, test, "nontarget"] => trial(enrol, test, false),
        ["1", enrol, test] => trial(enrol, test, true),
        ["0", enrol, test] => trial(enrol, test, false),
        [enrol, test] if name.starts_with("tar") => trial(enrol, test, true),
        [enrol, test] if name.starts_with("imp") => trial(enrol, test, false),
        [_, _] => {
            Err(fault(path, line, "two fields are a trial only in a file whose name begins with tar or imp"))
        }
        [_, _, _] => Err(fault(path, line, "expected `enrol test target|nontarget` or `1|0 enrol test`")),
        _ => Err(fault(path, line, format!("{} fields, expected 2 or 3", fields.len()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_forms_are_read() {
        let read = |name: &str, text: &str| parse(Path::new(name), 7, text).map_err(|e| e.to_string());
        let trial = |is_target| Ok(Trial { enrol: "a".into(), test: "b".into(), is_target });
        assert_eq!(read("trials", "a b target"), trial(true));
        assert_eq!(read("trials", "a b nontarget"), trial(false));
        assert_eq!(read("veri_test.txt", "1 a b"), trial(true));
        assert_eq!(read("veri_test.txt", "0 a b"), trial(false));
        assert_eq!(read("lists/tar-enroll-test.txt", "a b"), trial(true));
        assert_eq!(read("lists/imp-enroll-test.txt", "a b"), trial(false));
        for (text, words) in [
            ("a b", "trials:7: two fields are a trial only in a file"),
            ("a b same", "trials:7: expected `enrol test target|nontarget`"),
            ("a", "trials:7: 1 fields, expected 2 or 3"),
        ] {
            assert!(read("trials", text).unwrap_err().starts_with(words));
        }
    }
}
