//! Authentication and TLS set-up of the server, and the refusal of an open server by mistake.

use std::sync::Arc;

use anyhow::Context as _;
use diarized_config::{Config, ServerConfig};

use crate::access::{Access, Origins, Scope, Tokens};
use crate::error_chain::error_chain;
use crate::private_file::OWNER;
use crate::server::{Tls, TlsError};
use crate::whole_file::write_whole_file_with_mode;

/// File with the first token, beside the token file.
const FIRST_TOKEN: &str = "first-token";

/// Creates a missing token file with one token of all scopes, so that a server without tokens is not the easier way.
pub(super) fn make_first_token(config: &ServerConfig) -> anyhow::Result<()> {
    let Some(path) = &config.token_file else {
        anyhow::bail!("--first-token makes the token file that server.token_file names: set it");
    };
    let _lock = Tokens::lock(path)?;
    if path.exists() {
        return Ok(());
    }
    let mut tokens = Tokens::default();
    let token = tokens.add("first", [Scope::Admin].into_iter().collect())?;
    let shown = path.with_file_name(FIRST_TOKEN);
    write_whole_file_with_mode(&shown, format!("{token}\n").as_bytes(), OWNER)
        .with_context(|| format!("cannot write the first token to {}", shown.display()))?;
    tokens.save(path)?;
    tracing::warn!(
        file = %shown.display(),
        "a first token was made, which may do everything: take it from this file, then delete the file"
    );
    Ok(())
}

/// Authentication and TLS set-up of the server.
#[derive(Debug)]
pub(super) struct AccessSetup {
    pub(super) access: Arc<Access>,
    pub(super) tls: Option<Arc<Tls>>,
}

impl AccessSetup {
    /// Loads what the configuration names.
    pub(super) fn open(config: &Config) -> anyhow::Result<Self> {
        let (grpc, config) = (&config.grpc, &config.server);
        let origins = Origins::new(config.allowed_origins.clone());
        let access = match &config.token_file {
            Some(file) => Access::with_tokens(file.clone(), origins)?,
            None => Access::without_tokens(origins),
        };
        let mut addresses = config.listen.iter().chain(&grpc.listen);
        let remote = addresses.find(|addr| !addr.ip().is_loopback());
        if let Some(addr) = remote
            && !access.asks_for_tokens()
            && !config.allow_insecure
        {
            anyhow::bail!(
                "{addr} can be reached from other machines, and without authentication any of them may listen \
                 in. Listen on 127.0.0.1, make tokens with `diarized token add` and name their file as \
                 server.token_file, or say --allow-insecure if everybody who can reach it is trusted"
            );
        }
        if access.asks_for_tokens() && access.n_tokens() == 0 {
            tracing::warn!(
                "server.token_file holds no token, so nobody can come in; `diarized token add` makes one"
            );
        }
        let tls = match (&config.tls_certificate, &config.tls_key) {
            (Some(certificate), Some(key)) => Some(Arc::new(Tls::load(certificate.clone(), key.clone())?)),
            _ => None,
        };
        if remote.is_some() && access.asks_for_tokens() && tls.is_none() {
            tracing::warn!(
                "tokens and labels travel unencrypted; set server.tls_certificate and server.tls_key, or put a proxy \
                 with TLS before the server"
            );
        }
        Ok(Self { access: Arc::new(access), tls })
    }

    /// Loads tokens and certificate again; what cannot be loaded stays as it was.
    pub(super) fn reload(&self) {
        if let Err(error) = self.access.reload() {
            tracing::error!("the tokens stay as they were: {}", error_chain(&error));
        }
        let reloaded: Result<(), TlsError> = self.tls.as_ref().map_or(Ok(()), |tls| tls.reload());
        if let Err(error) = reloaded {
            tracing::error!("the certificate stays as it was: {}", error_chain(&error));
        }
    }
}
