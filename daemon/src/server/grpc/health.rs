//! Health of the services, in gRPC's own protocol.

use std::sync::Arc;
use std::time::Duration;

use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::server::shared::Shared;

/// How often the server is looked at.
const EVERY: Duration = Duration::from_secs(1);

/// Keeps the health of these services as that of the server, to its end. `configured`: which of them are served.
pub(super) async fn keep(reporter: HealthReporter, services: Vec<(&'static str, bool)>, shared: Arc<Shared>) {
    let mut down = shared.hub.shutting_down();
    loop {
        let is_down = *down.borrow_and_update();
        let is_ready = !is_down && shared.hub.readiness().is_ok();
        for (name, is_configured) in &services {
            let status = match is_ready && *is_configured {
                true => ServingStatus::Serving,
                false => ServingStatus::NotServing,
            };
            reporter.set_service_status(name, status).await;
        }
        if is_down {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            // An error means that the hub is gone.
            _ = down.changed() => {}
        }
    }
}
