//! `[wyoming]` and `[vosk]`: servers for clients that speak somebody else's protocol.

use crate::asr::Place;
use crate::origin::Value;
use crate::outgoing::{is_line, optional};
use crate::reader::Reader;

const PLACE: &str = "tcp://ADDRESS:PORT or unix:///PATH";

/// `[wyoming]`: Home Assistant's voice protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WyomingConfig {
    /// Where it is served; `None` serves it not. Default `None`.
    pub listen: Option<Place>,
    /// Whether other machines may use it. Default `false`.
    pub allow_insecure: bool,
    /// Template of the text, with `{name}`, `{speaker}` and `{text}`. Default `{text}`.
    pub text: String,
    /// Languages that are announced. Default `en`.
    pub languages: Vec<String>,
    /// Whether it is announced on the network. Default `true`.
    pub zeroconf: bool,
}

impl WyomingConfig {
    pub(crate) fn read(r: &mut Reader) -> Self {
        Self {
            listen: optional(r, "wyoming.listen", PLACE, listen),
            allow_insecure: r.boolean("wyoming.allow_insecure", false),
            text: r.parsed(
                "wyoming.text",
                "a line with {text}, and with {name} or {speaker} where they are wanted",
                "{text}".to_owned(),
                |text| (is_line(text) && text.contains("{text}")).then(|| text.to_owned()),
                |text| Value::Text(text.clone()),
            ),
            languages: r.list(
                "wyoming.languages",
                "languages, such as [\"en\", \"de\"]",
                vec!["en".to_owned()],
                |text| {
                    let is_tag = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
                    (!text.is_empty() && text.len() <= 20 && text.chars().all(is_tag))
                        .then(|| text.to_owned())
                },
            ),
            zeroconf: r.boolean("wyoming.zeroconf", true),
        }
    }
}

/// `[vosk]`: the WebSocket of vosk-server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VoskConfig {
    /// Where it is served; `None` serves it not. Default `None`.
    pub listen: Option<Place>,
    /// Whether clients without a token, and other machines, may use it. Default `false`.
    pub allow_insecure: bool,
    /// Whether clients get vectors of voices. Default `false`.
    pub vectors: bool,
}

impl VoskConfig {
    pub(crate) fn read(r: &mut Reader) -> Self {
        Self {
            listen: optional(r, "vosk.listen", PLACE, listen),
            allow_insecure: r.boolean("vosk.allow_insecure", false),
            vectors: r.boolean("vosk.vectors", false),
        }
    }
}

/// A place to listen on.
fn listen(text: &str) -> Option<Place> {
    Place::parse(text).filter(|place| match place {
        Place::Net(endpoint) => endpoint.scheme() == "tcp",
        Place::Unix(_) => true,
    })
}
