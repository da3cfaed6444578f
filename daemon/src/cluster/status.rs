//! A look at the whole cluster, for a command.

use async_nats::jetstream::kv::Store;
use diarized_config::ClusterConfig;
use futures_util::TryStreamExt as _;

use super::error::{ClusterError, refused};
use super::link::Link;
use super::node::Node;

/// The cluster at one moment.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Overview {
    /// Nodes that are there, by name.
    pub nodes: Vec<Node>,
}

/// Reads the cluster of this configuration.
///
/// # Errors
/// [`ClusterError`]
pub async fn overview(config: &ClusterConfig) -> Result<Overview, ClusterError> {
    let (_link, stores) = Link::connect(config).await?;
    let nodes = values(&stores.nodes).await?;
    let nodes = nodes.iter().filter_map(|bytes| Node::parse(bytes).ok()).collect();
    Ok(Overview { nodes })
}

/// All values of a bucket, by key.
async fn values(store: &Store) -> Result<Vec<bytes::Bytes>, ClusterError> {
    let what = "a look at the cluster";
    let keys = store.keys().await.map_err(|error| refused(what, &error))?;
    let mut keys: Vec<String> = keys.try_collect().await.map_err(|error| refused(what, &error))?;
    keys.sort();
    // A key that is written while they are read comes twice.
    keys.dedup();
    let mut values = Vec::with_capacity(keys.len());
    for key in keys {
        // One that has gone meanwhile is left out.
        values.extend(store.get(key).await.map_err(|error| refused(what, &error))?);
    }
    Ok(values)
}
