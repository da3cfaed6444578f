//! What a node shows of itself.

use diarized_config::{Config, Roles};
use serde::{Deserialize, Serialize};

use crate::hub::Hub;
use crate::protocol::Decimal;
use crate::secret::random_hex;

/// Version of what the nodes exchange. Nodes of another one are shown, and not spoken to.
pub(super) const FORMAT: u32 = 1;

/// One process as the others see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Version of what it exchanges.
    pub(super) format: u32,
    /// Its name.
    pub node: String,
    /// Different for each process.
    pub(super) instance: String,
    /// Version of the program.
    pub version: String,
    /// Its voice model.
    pub model: String,
    /// Where clients reach it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Sessions that run there.
    pub sessions: usize,
    /// As many as may.
    pub max_sessions: usize,
    /// Whether it is too slow for those that run.
    pub overloaded: bool,
    /// Whether it labels audio that other nodes take in; those of versions before the roles do not.
    #[serde(default)]
    pub labels: bool,
    /// Largest lag of a session, in seconds.
    pub lag_s: Decimal,
}

impl Node {
    /// Reads what a node wrote.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts and finite numbers have a JSON form")
    }
}

/// This process.
#[derive(Debug, Clone)]
pub(super) struct Own {
    pub(super) name: String,
    pub(super) instance: String,
    address: Option<String>,
    max_sessions: usize,
    pub(super) roles: Roles,
}

impl Own {
    pub(super) fn new(name: &str, config: &Config) -> Self {
        let address = config.cluster.address.as_ref().map(ToString::to_string);
        let (max_sessions, roles) = (config.server.max_sessions, config.cluster.roles);
        Self { name: name.to_owned(), instance: random_hex(8), address, max_sessions, roles }
    }

    /// Sessions that it runs at most.
    pub(super) fn max_sessions(&self) -> usize {
        self.max_sessions
    }

    /// As it is now.
    pub(super) fn now(&self, hub: &Hub) -> Node {
        let stats = hub.stats();
        Node {
            format: FORMAT,
            node: self.name.clone(),
            instance: self.instance.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            model: hub.model().to_owned(),
            address: self.address.clone(),
            sessions: stats.live,
            max_sessions: self.max_sessions,
            overloaded: hub.inference().overloaded,
            labels: self.roles.label && !*hub.shutting_down().borrow(),
            lag_s: Decimal(stats.max_lag_s),
        }
    }
}
