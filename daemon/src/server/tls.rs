//! Certificate and key of the server, reloadable at run time.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::RwLock;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use tokio_rustls::rustls::{self, ServerConfig};

/// Why encrypted connections cannot be taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file is not there or holds no PEM of the kind.
    #[error("cannot read {what} in {}: {source}", path.display())]
    Pem {
        /// What was looked for.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: pem::Error,
    },
    /// The certificate file is empty.
    #[error("{} holds no certificate; it must begin with the server's own", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The two do not go together, or are of a kind that is not taken.
    #[error("the certificate in {} and the key in {} cannot be used: {source}", certificate.display(), key.display())]
    Unfit {
        /// The certificate file.
        certificate: PathBuf,
        /// The key file.
        key: PathBuf,
        /// What is wrong.
        source: rustls::Error,
    },
}

/// A certificate with its chain and key, and the files that they come from.
#[derive(Debug)]
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    configs: RwLock<Configs>,
}

/// The same certificate for each version of HTTP.
#[derive(Debug)]
struct Configs {
    http1: Arc<ServerConfig>,
    http2: Arc<ServerConfig>,
}

/// A version of HTTP, as the two sides of a connection agree upon it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HttpVersion {
    /// With WebSocket.
    One,
    /// For gRPC.
    Two,
}

impl Tls {
    /// Loads PEM files: the server's certificate followed by its chain, and the private key.
    ///
    /// # Errors
    /// [`TlsError`]
    pub fn load(certificate: PathBuf, key: PathBuf) -> Result<Self, TlsError> {
        let configs = RwLock::new(read(&certificate, &key)?);
        Ok(Self { certificate, key, configs })
    }

    /// Loads the files again; connections that are open stay as they are.
    ///
    /// # Errors
    /// [`TlsError`]; the certificate in use stays.
    pub fn reload(&self) -> Result<(), TlsError> {
        *self.configs.write() = read(&self.certificate, &self.key)?;
        Ok(())
    }

    /// What makes an encrypted connection of a plain one.
    #[must_use]
    pub(super) fn acceptor(&self, version: HttpVersion) -> TlsAcceptor {
        let configs = self.configs.read();
        TlsAcceptor::from(Arc::clone(match version {
            HttpVersion::One => &configs.http1,
            HttpVersion::Two => &configs.http2,
        }))
    }
}

fn read(certificate: &PathBuf, key: &PathBuf) -> Result<Configs, TlsError> {
    let in_certificate = |source| TlsError::Pem { what: "certificates", path: certificate.clone(), source };
    let chain = CertificateDer::pem_file_iter(certificate)
        .map_err(in_certificate)?
        .collect::<Result<Vec<_>, _>>()
        .map_err(in_certificate)?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate { path: certificate.clone() });
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|source| TlsError::Pem {
        what: "a private key",
        path: key.clone(),
        source,
    })?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let unfit = |source| TlsError::Unfit { certificate: certificate.clone(), key: key.clone(), source };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unfit)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(unfit)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let mut http2 = config.clone();
    http2.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Configs { http1: Arc::new(config), http2: Arc::new(http2) })
}
