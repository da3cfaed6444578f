//! `[mqtt]` and `[webhook]`: what the daemon sends to other programs by itself.

use std::path::PathBuf;
use std::time::Duration;

use strum::{EnumString, IntoStaticStr, VariantArray};

use crate::endpoint::{Endpoint, HTTP, MQTT};
use crate::origin::Value;
use crate::reader::Reader;

/// `[mqtt]`: who speaks now, as retained messages of a broker.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MqttConfig {
    /// The broker, `mqtt://` or `mqtts://`; `None` sends nothing. Default `None`.
    pub url: Option<Endpoint>,
    /// User name for the broker. Default `None`.
    pub user: Option<String>,
    /// File of the password; goes with `user`. Default `None`.
    pub password_file: Option<PathBuf>,
    /// PEM file of the authorities for the broker's certificate; `None` are the system's. Default `None`.
    pub ca_file: Option<PathBuf>,
    /// Client id, different for each daemon of one broker. Default `diarized`.
    pub client_id: String,
    /// First part of every topic. Default `diarized`.
    pub topic: String,
    /// First part of Home Assistant's discovery topics; `None` announces nothing. Default `homeassistant`.
    pub discovery: Option<String>,
}

impl MqttConfig {
    pub(crate) fn read(r: &mut Reader) -> Self {
        let config = Self {
            url: optional(
                r,
                "mqtt.url",
                "mqtt://HOST or mqtts://HOST, with :PORT where it is not 1883 or 8883",
                |text| Endpoint::parse(text, &MQTT),
            ),
            user: optional(r, "mqtt.user", "a user name", |text| is_line(text).then(|| text.to_owned())),
            password_file: r.optional_path("mqtt.password_file"),
            ca_file: r.optional_path("mqtt.ca_file"),
            client_id: r.parsed(
                "mqtt.client_id",
                "1 to 64 letters, digits, - and _",
                "diarized".to_owned(),
                |text| is_id(text).then(|| text.to_owned()),
                |id| Value::Text(id.clone()),
            ),
            topic: r.parsed(
                "mqtt.topic",
                TOPIC,
                "diarized".to_owned(),
                |text| is_topic(text).then(|| text.to_owned()),
                |topic| Value::Text(topic.clone()),
            ),
            discovery: r.parsed(
                "mqtt.discovery",
                &format!("{TOPIC}, or \"none\""),
                Some("homeassistant".to_owned()),
                |text| match text {
                    "none" => Some(None),
                    text => is_topic(text).then(|| Some(text.to_owned())),
                },
                |topic| Value::Text(topic.clone().unwrap_or_else(|| "none".to_owned())),
            ),
        };
        if config.password_file.is_some() && config.user.is_none() {
            r.broken_rule("mqtt.password_file", "set together with", "mqtt.user");
        }
        config
    }
}

const TOPIC: &str = "the begin of a topic, such as \"diarized\" or \"home/diarized\", without + and #";

/// `[webhook]`: chosen events of all sessions as HTTP requests.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WebhookConfig {
    /// Where events are sent; none sends nothing. Default none.
    pub urls: Vec<Endpoint>,
    /// File of the secret that signs the requests; `None` sends them unsigned. Default `None`.
    pub secret_file: Option<PathBuf>,
    /// Types of events that are sent. Default `speaker`, `segment`, `revision` and `ended`.
    pub events: Vec<WebhookEvent>,
    /// Time limit of one request. 1 s to 60 s, default 10 s.
    pub timeout: Duration,
    /// Events that wait for one address; beyond it the oldest are dropped. 100 to 1 000 000, default 10 000.
    pub queue_events: usize,
}

/// A type of event that a webhook can be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
#[non_exhaustive]
pub enum WebhookEvent {
    /// A segment that is final.
    Segment,
    /// A segment is withdrawn.
    SegmentRemoved,
    /// Labels are changed.
    Revision,
    /// A new or changed speaker.
    Speaker,
    /// Two speakers are one.
    SpeakerMerged,
    /// Words.
    Words,
    /// No audio.
    Gap,
    /// Something is not as it should be.
    Warning,
    /// The end of a session.
    Ended,
}

impl WebhookEvent {
    /// Every type.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// The `type` of the event on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

impl std::fmt::Display for WebhookEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl WebhookConfig {
    pub(crate) fn read(r: &mut Reader) -> Self {
        use WebhookEvent::{Ended, Revision, Segment, Speaker};
        let queue_events = r.integer("webhook.queue_events", "", 100..=1_000_000, 10_000);
        Self {
            urls: r.list_or_none("webhook.urls", "http:// or https:// addresses without user and password", |text| {
                Endpoint::parse(text, &HTTP)
            }),
            secret_file: r.optional_path("webhook.secret_file"),
            events: r.list(
                "webhook.events",
                "types of events: segment, segment_removed, revision, speaker, speaker_merged, words, gap, warning, ended",
                vec![Speaker, Segment, Revision, Ended],
                |text| text.parse().ok(),
            ),
            timeout: r.seconds("webhook.timeout_s", 1.0..=60.0, 10.0),
            queue_events: usize::try_from(queue_events).expect("the range fits u32"),
        }
    }
}

/// A text accepted by `parse`, or not set.
pub(crate) fn optional<T: Clone + ToString>(
    r: &mut Reader,
    key: &'static str,
    expected: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Option<T> {
    let parse = |text: &str| match text {
        "none" => Some(None),
        text => parse(text).map(Some),
    };
    let show =
        |value: &Option<T>| value.as_ref().map_or(Value::Unset, |value| Value::Text(value.to_string()));
    r.parsed(key, &format!("{expected}, or \"none\""), None, parse, show)
}

/// One line of 1 to 1000 characters without controls.
pub(crate) fn is_line(text: &str) -> bool {
    (1..=1000).contains(&text.len()) && !text.chars().any(char::is_control)
}

fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
}

/// Levels of a topic without wildcards, none of them empty.
fn is_topic(text: &str) -> bool {
    is_line(text)
        && text.len() <= 200
        && text != "none"
        && !text.contains(['+', '#'])
        && !text.starts_with('$')
        && text.split('/').all(|level| !level.is_empty())
}
