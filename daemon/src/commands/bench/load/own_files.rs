//! What a bench's server has of its own where the configuration names the files of a server that may be running: a
//! token, a place for kept sessions.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use diarized_config::Config;

use crate::access::{Scope, Scopes, Tokens};
use crate::secret::random_hex;

/// A folder for the time of one measurement; gone when dropped.
#[derive(Debug)]
pub(super) struct OwnFiles {
    folder: PathBuf,
    /// What the clients show, if the server asks for tokens.
    pub(super) token: Option<String>,
    /// Settings that go after those of the configuration, as `KEY=VALUE`.
    pub(super) settings: Vec<String>,
}

impl OwnFiles {
    /// The files that stand in for those which `config` names.
    ///
    /// # Errors
    /// The system's folder for temporary files cannot be written to.
    pub(super) fn in_place_of(config: &Config) -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join(format!("diarized-bench-{}", random_hex(8)));
        make(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        // Voices are only read. An encrypted server is measured as a plain one, since its certificate is not for a port of
        // this machine's own.
        let settings = ["voices.learn=false", "server.tls_certificate=none", "server.tls_key=none"];
        let mut own = Self { folder, token: None, settings: settings.map(str::to_owned).to_vec() };
        if config.server.token_file.is_some() {
            let (mut tokens, path) = (Tokens::default(), own.folder.join("tokens"));
            own.token = Some(tokens.add("bench", Scopes::from_iter([Scope::Publish]))?);
            tokens.save(&path)?;
            own.settings.push(format!("server.token_file={}", path.display()));
        }
        if config.storage.path.is_some() {
            let path = own.folder.join("sessions.sqlite");
            own.settings.push(format!("storage.path={}", path.display()));
        }
        Ok(own)
    }
}

impl Drop for OwnFiles {
    fn drop(&mut self) {
        // What cannot be removed is left to the system, which clears this place.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn make(folder: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_server_needs_nothing_and_a_guarded_one_gets_a_token_of_its_own() {
        let own = OwnFiles::in_place_of(&Config::default()).unwrap();
        assert!(own.token.is_none() && own.settings.iter().all(|s| !s.contains("token_file")));
        let sets = [("server.token_file", "/nowhere/tokens"), ("storage.path", "/nowhere/kept")];
        let sources = sets.iter().fold(diarized_config::Sources::new(), |sources, (key, value)| {
            sources.flag("--set", key, *value)
        });
        let own = OwnFiles::in_place_of(&sources.load().unwrap().config).unwrap();
        let folder = own.folder.clone();
        let tokens = Tokens::load(&folder.join("tokens")).unwrap();
        let entry = tokens.find(own.token.as_deref().unwrap()).unwrap();
        assert!(entry.scopes.allow(Scope::Publish) && !entry.scopes.allow(Scope::Voices));
        assert!(own.settings.iter().any(|s| s.starts_with("storage.path=") && !s.contains("nowhere")));
        drop(own);
        assert!(!folder.exists());
    }
}
