//! Opening of gRPC.

use std::sync::Arc;

use anyhow::Context as _;
use diarized_config::Config;
use tokio::net::TcpListener;

use super::listen;
use crate::engine::LiveEngines;
use crate::error_chain::error_chain;
use crate::exit;
use crate::server::Grpc;

/// gRPC where it is configured, with its models loaded, and where it listens. What cannot be opened is reported, with the exit
/// code.
pub(super) async fn open(
    config: &Config,
    engines: &Arc<LiveEngines>,
) -> Result<Option<(Grpc, Vec<TcpListener>)>, u8> {
    if config.grpc.listen.is_empty() {
        return Ok(None);
    }
    let listeners = listen(&config.grpc.listen).await.context("gRPC cannot be served (grpc.listen)");
    let listeners = listeners.map_err(|error| {
        eprintln!("diarized: {}", error_chain(&*error));
        exit::FAILURE
    })?;
    let grpc = Grpc::load(config, engines).map_err(|error| {
        eprintln!("diarized: {}", error_chain(&error));
        exit::NO_INPUT
    })?;
    for addr in listeners.iter().filter_map(|listener| listener.local_addr().ok()) {
        tracing::info!(%addr, "gRPC is served");
    }
    Ok(Some((grpc, listeners)))
}
