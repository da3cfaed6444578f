//! Encrypted connections of the clients: authorities for the server's certificate.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, pem};
use tokio_rustls::rustls::{self, ClientConfig, RootCertStore};

use super::named::NamedCertificates;

/// Why authorities cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The file is not there or is no PEM.
    #[error("cannot read the authorities in {}: {source}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: pem::Error,
    },
    /// There is no certificate that can be used.
    #[error("{place} holds no certificate of an authority; name a PEM file with --ca")]
    NoAuthority {
        /// Where it was looked for.
        place: String,
    },
}

/// What a server's certificate is held against.
#[derive(Clone)]
pub(crate) enum Authorities {
    /// The system's, read when they are needed.
    System,
    /// Those of a file, and the certificates themselves.
    These(Arc<RootCertStore>, Arc<[CertificateDer<'static>]>),
}

impl Authorities {
    /// Reads a PEM file.
    pub(crate) fn read(path: &Path) -> Result<Self, TlsError> {
        let pem = |source| TlsError::Pem { path: path.to_owned(), source };
        let mut roots = RootCertStore::empty();
        let certificates = CertificateDer::pem_file_iter(path).map_err(pem)?;
        let certificates = certificates.collect::<Result<Vec<_>, _>>().map_err(pem)?;
        roots.add_parsable_certificates(certificates.iter().cloned());
        if roots.is_empty() {
            return Err(TlsError::NoAuthority { place: path.display().to_string() });
        }
        Ok(Self::These(Arc::new(roots), certificates.into()))
    }

    fn roots(&self) -> Result<Arc<RootCertStore>, TlsError> {
        match self {
            Self::These(roots, _) => Ok(Arc::clone(roots)),
            Self::System => {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
                if roots.is_empty() {
                    return Err(TlsError::NoAuthority { place: "the system".to_owned() });
                }
                Ok(Arc::new(roots))
            }
        }
    }

    /// Encrypts a connection to `host`, whose certificate must be valid; returns the reason if it is not.
    pub(crate) async fn encrypt(&self, host: &str, tcp: TcpStream) -> Result<TlsStream<TcpStream>, String> {
        let roots = self.roots().map_err(|error| error.to_string())?;
        let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let config = match self {
            Self::System => builder.with_root_certificates(roots).with_no_client_auth(),
            Self::These(_, named) => {
                let verifier = NamedCertificates::new(roots, provider, Arc::clone(named));
                let verifier = Arc::new(verifier.map_err(|error| error.to_string())?);
                builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
            }
        };
        let connecting = TlsConnector::from(Arc::new(config)).connect(name, tcp);
        connecting.await.map_err(|error| {
            let reason = error.to_string();
            // What a self-signed certificate is refused with unless it is named.
            let advice = match reason.contains("CaUsedAsEndEntity") || reason.contains("UnknownIssuer") {
                true => "; where the server's certificate is signed by itself, name that very certificate with --ca",
                false if reason.contains("InvalidContentType") => {
                    "; what answers there speaks no TLS: write ws:// in place of wss://"
                }
                false => "",
            };
            format!("no encrypted connection: {reason}{advice}")
        })
    }
}
