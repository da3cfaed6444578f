//! Topics of the broker.

/// What topics begin with.
#[derive(Debug, Clone)]
pub(super) struct Names {
    pub(super) client_id: String,
    pub(super) topic: String,
    pub(super) discovery: Option<String>,
}

impl Names {
    /// Whether the daemon is there: `online` or `offline`.
    pub(super) fn status(&self) -> String {
        format!("{}/status", self.topic)
    }

    /// A filter for the messages of all rooms.
    pub(super) fn of_all_rooms(&self) -> String {
        format!("{}/+/+", self.topic)
    }

    /// The topic of a room's message.
    pub(super) fn of(&self, room: &str, what: &str) -> String {
        format!("{}/{room}/{what}", self.topic)
    }

    /// Topic and payload by which Home Assistant makes a sensor of a room.
    pub(super) fn sensor(&self, room: &str) -> Option<(String, String)> {
        let id = format!("{}_{room}", self.client_id);
        let topic = format!("{}/sensor/{id}/config", self.discovery.as_ref()?);
        let state = self.of(room, "speaking");
        let payload = serde_json::json!({
            "name": room,
            "unique_id": format!("{id}_speaking"),
            "object_id": format!("{id}_speaking"),
            "icon": "mdi:account-voice",
            "state_topic": state,
            "value_template": "{{ value_json.who }}",
            "json_attributes_topic": state,
            "availability_topic": self.status(),
            "device": {
                "identifiers": [self.client_id],
                "name": self.client_id,
                "manufacturer": "diarized",
                "model": "diarized",
                "sw_version": env!("CARGO_PKG_VERSION"),
            },
        });
        Some((topic, payload.to_string()))
    }
}
