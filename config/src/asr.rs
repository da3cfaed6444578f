//! `[asr]`: a speech recogniser that gets the audio of the sessions and gives their words.

use std::fmt;
use std::iter::once;
use std::path::PathBuf;
use std::time::Duration;

use strum::{IntoStaticStr, VariantArray};

use crate::endpoint::{Endpoint, HTTP, TCP, WEB_SOCKET};
use crate::outgoing::{is_line, optional};
use crate::reader::Reader;

/// Protocol of a speech recogniser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "lowercase")]
#[non_exhaustive]
pub enum AsrKind {
    /// Home Assistant's voice protocol.
    Wyoming,
    /// WebSocket of vosk-server.
    Vosk,
    /// HTTP of OpenAI's transcriptions.
    OpenAi,
    /// WebSocket of Deepgram's live transcription.
    Deepgram,
}

impl AsrKind {
    /// Its word in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    fn takes(self, place: &Place) -> bool {
        match (self, place) {
            (Self::Wyoming, Place::Unix(_)) => true,
            (_, Place::Unix(_)) => false,
            (Self::Wyoming, Place::Net(endpoint)) => endpoint.scheme() == "tcp",
            (Self::Vosk | Self::Deepgram, Place::Net(endpoint)) => endpoint.scheme().starts_with("ws"),
            (Self::OpenAi, Place::Net(endpoint)) => endpoint.scheme().starts_with("http"),
        }
    }
}

/// Where a program listens: a port, or a socket of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// A port.
    Net(Endpoint),
    /// A unix socket.
    Unix(PathBuf),
}

impl Place {
    /// Reads `unix:///PATH` or an address of a known scheme.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text.trim().strip_prefix("unix://") {
            Some(path) => {
                let is_path = path.starts_with('/') && path.len() <= 100 && is_line(path);
                is_path.then(|| Self::Unix(PathBuf::from(path)))
            }
            None => [&TCP[..], &WEB_SOCKET[..], &HTTP[..]]
                .into_iter()
                .find_map(|schemes| Endpoint::parse(text, schemes))
                .map(Self::Net),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Net(endpoint) => endpoint.fmt(f),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

/// `[asr]`: the speech recogniser.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AsrConfig {
    /// Its protocol; `None` recognises nothing. Default `None`.
    pub kind: Option<AsrKind>,
    /// Its address; set together with `kind`. Default `None`.
    pub url: Option<Place>,
    /// File of its token. Default `None`.
    pub token_file: Option<PathBuf>,
    /// Model that it shall use. Default `None`.
    pub model: Option<String>,
    /// Language of the speech. Default `None`.
    pub language: Option<String>,
    /// How long it may take. 1 s to 60 s, default 10 s.
    pub timeout: Duration,
    /// How long `ended` waits for the last words of a session. 0 s to 60 s, default 2 s.
    pub end_wait: Duration,
    /// Audio of a session that waits for it. 5 s to 3600 s, default 30 s.
    pub queue: Duration,
}

impl AsrConfig {
    pub(crate) fn read(r: &mut Reader) -> Self {
        const URL: &str = "tcp://HOST:PORT, unix:///PATH, ws://, wss://, http:// or https:// with a host, without user and password";
        let name = |text: &str| (is_line(text) && text.len() <= 200).then(|| text.to_owned());
        let kinds = AsrKind::VARIANTS.iter().map(|&kind| (kind.as_str(), Some(kind)));
        let kinds: Vec<_> = once(("none", None)).chain(kinds).collect();
        let config = Self {
            kind: r.choice("asr.kind", &kinds, None),
            url: optional(r, "asr.url", URL, Place::parse),
            token_file: r.optional_path("asr.token_file"),
            model: optional(r, "asr.model", "the name of a model", name),
            language: optional(r, "asr.language", "a language, such as \"en\"", name),
            timeout: r.seconds("asr.timeout_s", 1.0..=60.0, 10.0),
            end_wait: r.seconds("asr.end_wait_s", 0.0..=60.0, 2.0),
            queue: r.seconds("asr.queue_s", 5.0..=3600.0, 30.0),
        };
        match (config.kind, &config.url) {
            (None, Some(_)) | (Some(_), None) => r.broken_rule("asr.url", "set together with", "asr.kind"),
            (Some(kind), Some(url)) if !kind.takes(url) => {
                r.broken_rule("asr.url", "an address of the protocol", "asr.kind");
            }
            _ => {}
        }
        if config.token_file.is_some() && config.kind.is_none() {
            r.broken_rule("asr.token_file", "set together with", "asr.kind");
        }
        config
    }
}

#[cfg(test)]
mod tests {
    use crate::Sources;

    #[test]
    fn an_address_must_be_of_the_protocol() {
        let load = |kind: &str, url: &str| {
            let text = format!("[asr]\nkind = \"{kind}\"\nurl = \"{url}\"\n");
            Sources::new().file_text(std::path::Path::new("a.toml"), &text).load()
        };
        for (kind, url, shown) in [
            ("wyoming", "tcp://localhost", "tcp://localhost"),
            ("wyoming", "unix:///run/asr", "unix:///run/asr"),
            ("vosk", "ws://localhost:2700", "ws://localhost:2700/"),
            ("deepgram", "wss://api.deepgram.com", "wss://api.deepgram.com/"),
            ("openai", "http://localhost:8000/v1/audio/x", "http://localhost:8000/v1/audio/x"),
        ] {
            let config = load(kind, url).unwrap_or_else(|faults| panic!("{faults}")).config.asr;
            assert_eq!(config.url.unwrap().to_string(), shown);
            assert_eq!(config.kind.unwrap().as_str(), kind);
        }
        for (kind, url) in [
            ("wyoming", "ws://localhost"),
            ("vosk", "tcp://localhost"),
            ("openai", "unix:///a"),
            ("none", "tcp://a"),
            ("wyoming", "unix://a"),
            ("deepgram", "none"),
        ] {
            let fault = load(kind, url).unwrap_err().to_string();
            assert!(fault.contains("asr.url"), "{kind} {url}: {fault}");
        }
    }
}
