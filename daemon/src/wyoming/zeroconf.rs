//! Announces the server on the local network, so that Home Assistant finds it (zeroconf, `_wyoming._tcp`).

use std::collections::HashMap;
use std::net::SocketAddr;

use mdns_sd::{ServiceDaemon, ServiceInfo};

const SERVICE: &str = "_wyoming._tcp.local.";

/// The announcement, until it is dropped.
pub(super) struct Announcement {
    daemon: ServiceDaemon,
    name: String,
}

impl Announcement {
    /// Announces the port; nothing where that is not possible, which the log says.
    pub(super) fn make(addr: SocketAddr) -> Option<Self> {
        match Self::try_make(addr) {
            Ok(announcement) => Some(announcement),
            Err(error) => {
                tracing::warn!(%error, "Wyoming is not announced on the network; add it to Home Assistant by its address");
                None
            }
        }
    }

    fn try_make(addr: SocketAddr) -> Result<Self, mdns_sd::Error> {
        let daemon = ServiceDaemon::new()?;
        let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
        let host = host.trim();
        let host = if host.is_empty() { "diarized" } else { host };
        let instance = format!("diarized-{host}-{}", addr.port());
        let host = format!("{host}.local.");
        let ip = if addr.ip().is_unspecified() { String::new() } else { addr.ip().to_string() };
        let service = ServiceInfo::new(
            SERVICE,
            &instance,
            &host,
            ip.as_str(),
            addr.port(),
            HashMap::<String, String>::new(),
        )?;
        let service = if addr.ip().is_unspecified() { service.enable_addr_auto() } else { service };
        let name = service.get_fullname().to_owned();
        daemon.register(service)?;
        Ok(Self { daemon, name })
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        // Others forget it by themselves after a while, where this does not reach them.
        let _ = self.daemon.unregister(&self.name);
        let _ = self.daemon.shutdown();
    }
}
