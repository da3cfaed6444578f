//! The configured recogniser, for all sessions of a hub.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use axum::http::HeaderValue;
use diarized_config::{AsrConfig, AsrKind, Config, Endpoint, Place};

use super::counts::AsrCounts;
use super::driver::{Driver, Shared};
use super::openai::OpenAi;
use super::recogniser::Recogniser;
use super::websocket::OverWebSocket;
use super::wyoming::Wyoming;
use super::{deepgram, vosk};
use crate::hub::Hub;
use crate::session::{Patience, Session};

/// Beyond the time that a recogniser may take, for what happens around it.
const MARGIN: Duration = Duration::from_millis(500);

/// Why the recogniser cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AsrError {
    /// The file of the token cannot be read.
    #[error("cannot read asr.token_file in {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Error of the system.
        source: std::io::Error,
    },
    /// The file holds no token.
    #[error("asr.token_file in {} must hold a token of visible ASCII characters in its first line", path.display())]
    Token {
        /// The file.
        path: PathBuf,
    },
}

/// The recogniser.
#[derive(Debug)]
pub struct Asr;

impl Asr {
    /// Lets the configured recogniser, if there is one, listen to every session that opens from now on. To be called on a
    /// runtime.
    ///
    /// # Errors
    /// [`AsrError`]: a file that the configuration names.
    pub fn start(config: &Config, hub: &Arc<Hub>) -> Result<(), AsrError> {
        let Some(recogniser) = recogniser(&config.asr)? else { return Ok(()) };
        let url = config.asr.url.as_ref().map(ToString::to_string).unwrap_or_default();
        let counts = Arc::new(AsrCounts::default());
        let shared = Arc::new(Shared {
            recogniser,
            url,
            limit: config.asr.timeout,
            counts: Arc::clone(&counts),
            is_away: AtomicBool::new(false),
            hub: Arc::downgrade(hub),
        });
        let max_samples = config.asr.queue.as_secs() * 16_000;
        let patience = Patience { before_end: config.asr.end_wait, for_all: config.asr.timeout + MARGIN };
        let runtime = tokio::runtime::Handle::current();
        hub.on_open(move |session: &Arc<Session>| {
            if session.options().asr == Some(false) {
                return;
            }
            let listener = session.listen(max_samples, Some(patience));
            runtime.spawn(Driver::new(Arc::clone(&shared), Arc::clone(session), listener).run());
        });
        hub.add_metrics(move |page| counts.write(page));
        Ok(())
    }
}

/// The recogniser of the configuration, if there is one.
pub(super) fn recogniser(config: &AsrConfig) -> Result<Option<Box<dyn Recogniser>>, AsrError> {
    let (Some(kind), Some(place)) = (config.kind, config.url.clone()) else { return Ok(None) };
    let (model, language, limit) = (config.model.clone(), config.language.clone(), config.timeout);
    let endpoint = |place: Place| -> Option<Endpoint> {
        match place {
            Place::Net(endpoint) => Some(endpoint),
            _ => None,
        }
    };
    let recogniser: Option<Box<dyn Recogniser>> = match kind {
        AsrKind::Wyoming => Some(Box::new(Wyoming { place, model, language, limit })),
        AsrKind::Vosk => {
            let of = |place: Endpoint| OverWebSocket { dialect: vosk::dialect(&place.path), place, limit };
            endpoint(place).map(|place| Box::new(of(place)) as _)
        }
        AsrKind::OpenAi => {
            let authorization = authorization(config, "Bearer")?;
            let is_plain = AtomicBool::new(false);
            let of = |place| OpenAi { place, authorization, model, language, limit, is_plain };
            endpoint(place).map(|place| Box::new(of(place)) as _)
        }
        AsrKind::Deepgram => {
            let authorization = authorization(config, "Token")?;
            let of = |place: Endpoint| {
                let (model, language) = (model.as_deref(), language.as_deref());
                let dialect = deepgram::dialect(&place.path, authorization, model, language);
                OverWebSocket { place, dialect, limit }
            };
            endpoint(place).map(|place| Box::new(of(place)) as _)
        }
        _ => None,
    };
    Ok(recogniser)
}

/// The value of the header `Authorization`, if there is a token.
fn authorization(config: &AsrConfig, scheme: &str) -> Result<Option<HeaderValue>, AsrError> {
    let Some(path) = &config.token_file else { return Ok(None) };
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|source| AsrError::File { path: path.clone(), source })?;
    let token = text.lines().next().unwrap_or_default().trim();
    let value = HeaderValue::from_str(&format!("{scheme} {token}")).ok().filter(|_| !token.is_empty());
    let mut value = value.ok_or_else(|| AsrError::Token { path: path.clone() })?;
    value.set_sensitive(true);
    Ok(Some(value))
}
