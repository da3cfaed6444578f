//! Errors of the cluster.

use std::path::PathBuf;

use crate::client::TlsError;
use crate::outgoing::OutgoingError;

/// Why a node cannot use NATS.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// The password cannot be read.
    #[error(transparent)]
    Password(#[from] OutgoingError),
    /// The credentials cannot be read.
    #[error("cluster.credentials_file ({}) cannot be used: it must be a file of NATS credentials (.creds)", path.display())]
    Credentials {
        /// The file.
        path: PathBuf,
        /// Error of the system.
        source: std::io::Error,
    },
    /// The authorities for the certificate cannot be read.
    #[error("cluster.ca_file cannot be used")]
    Authorities(#[from] TlsError),
    /// An address of the configuration is refused.
    #[error("cluster.nats ({address}) is no address of a NATS server")]
    Address {
        /// The address.
        address: String,
        /// What is wrong.
        source: std::io::Error,
    },
    /// NATS is not there, or refuses us.
    #[error("NATS cannot be reached at {servers}: {reason}")]
    Away {
        /// The servers.
        servers: String,
        /// What happened.
        reason: String,
    },
    /// JetStream does not do what is asked.
    #[error("NATS refuses {what}: {reason}")]
    Refused {
        /// What was asked of it.
        what: &'static str,
        /// Its reason.
        reason: String,
    },
}

/// An error of NATS in one line, with what to do where that is known.
pub(super) fn refused(what: &'static str, error: &(dyn std::error::Error + 'static)) -> ClusterError {
    let mut reason = crate::error_chain::error_chain(error);
    let is_off =
        reason.to_lowercase().contains("jetstream not enabled") || reason.contains("jetstream unavailable");
    if is_off {
        reason.push_str("; start nats-server with -js");
    }
    ClusterError::Refused { what, reason }
}
