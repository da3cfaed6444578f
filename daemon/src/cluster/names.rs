//! Names of what the nodes share in NATS.

/// Everything begins with the configured prefix.
#[derive(Debug, Clone)]
pub(super) struct Names {
    prefix: String,
}

impl Names {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }

    /// The bucket in which every node shows that it is there.
    pub(super) fn nodes(&self) -> String {
        format!("{}_nodes", self.prefix)
    }

    /// The bucket of what is known of each session.
    pub(super) fn sessions(&self) -> String {
        format!("{}_sessions", self.prefix)
    }

    /// The bucket of the voices of running sessions, sealed.
    pub(super) fn copies(&self) -> String {
        format!("{}_copies", self.prefix)
    }

    /// The bucket of sealed voices.
    pub(super) fn voices(&self) -> String {
        format!("{}_voices", self.prefix)
    }

    /// The bucket of what tokens have used.
    pub(super) fn tenants(&self) -> String {
        format!("{}_tenants", self.prefix)
    }

    /// The stream of all events.
    pub(super) fn stream(&self) -> String {
        format!("{}_events", self.prefix)
    }

    /// The subject of a session's events; of all sessions with `*`.
    pub(super) fn events(&self, session: &str) -> String {
        format!("{}.events.{session}", self.prefix)
    }

    /// The stream of audio on its way to the nodes that label it.
    pub(super) fn audio_stream(&self) -> String {
        format!("{}_audio", self.prefix)
    }

    /// The subject of a session's audio; of all sessions with `*`.
    pub(super) fn audio(&self, session: &str) -> String {
        format!("{}.audio.{session}", self.prefix)
    }

    /// The subject of how a session runs; nothing keeps it.
    pub(super) fn stats(&self, session: &str) -> String {
        format!("{}.stats.{session}", self.prefix)
    }

    /// The subject of events that the stream does not have yet; nothing keeps it.
    pub(super) fn ahead(&self, session: &str) -> String {
        format!("{}.ahead.{session}", self.prefix)
    }

    /// The subject on which a node is asked.
    pub(super) fn ask(&self, node: &str) -> String {
        format!("{}.ask.{node}", self.prefix)
    }
}
