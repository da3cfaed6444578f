//! Questions to other nodes.

use std::sync::Arc;

use async_nats::RequestErrorKind;

use super::ask::{Answer, Ask};
use super::link::Link;

/// Asks them.
pub(super) struct Questions(pub(super) Arc<Link>);

impl Questions {
    /// Asks a node, and gives its answer.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn ask(&self, node: &str, ask: &Ask) -> Result<Answer, String> {
        let json = serde_json::to_vec(ask).map_err(|error| error.to_string())?;
        let client = self.0.client();
        let most = client.max_payload();
        if most > 0 && json.len() > most {
            return Err(format!("{} bytes are more than NATS takes; send it to node {node:?}", json.len()));
        }
        if !self.0.health.is_connected() {
            return Err(format!("NATS is away, and the session is of node {node:?}; try again later"));
        }
        self.0.counts.asked.add(1);
        let reply = client.request(self.0.names.ask(node), json.into()).await;
        let reply = reply.map_err(|error| match error.kind() {
            RequestErrorKind::NoResponders => {
                format!("node {node:?} of the session is away; try again later")
            }
            RequestErrorKind::TimedOut => {
                format!("node {node:?} of the session does not answer; it may have done it all the same")
            }
            _ => format!("node {node:?} of the session cannot be asked: {error}"),
        })?;
        serde_json::from_slice(&reply.payload)
            .map_err(|error| format!("node {node:?} answers what cannot be read ({error})"))
    }
}
