//! Certificates given by a user: authorities, and certificates of servers.

use std::sync::Arc;

use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::client::{VerifierBuilderError, WebPkiServerVerifier, verify_server_name};
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::ParsedCertificate;
use tokio_rustls::rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

/// Takes what the authorities signed, and a certificate that is itself among those that were named.
///
/// A certificate of `openssl req -x509` is marked as an authority, which the certificate of a server may not be. For a given
/// certificate itself, only its dates and names remain to check.
#[derive(Debug)]
pub(super) struct NamedCertificates {
    by_authority: Arc<WebPkiServerVerifier>,
    named: Arc<[CertificateDer<'static>]>,
}

impl NamedCertificates {
    pub(super) fn new(
        authorities: Arc<RootCertStore>,
        provider: Arc<CryptoProvider>,
        named: Arc<[CertificateDer<'static>]>,
    ) -> Result<Self, VerifierBuilderError> {
        let by_authority = WebPkiServerVerifier::builder_with_provider(authorities, provider).build()?;
        Ok(Self { by_authority, named })
    }
}

impl ServerCertVerifier for NamedCertificates {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified =
            self.by_authority.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            // Dates are checked before the refusal of an authority, so they are valid here.
            Err(error) if is_authority(&error) && self.named.iter().any(|named| named == end_entity) => {
                match verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name) {
                    Ok(()) => Ok(ServerCertVerified::assertion()),
                    Err(error) if names_nobody(&error) => Ok(ServerCertVerified::assertion()),
                    Err(error) => Err(error),
                }
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_authority.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_authority.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.by_authority.supported_verify_schemes()
    }
}

/// Whether a certificate was refused for nothing but being that of an authority.
fn is_authority(error: &Error) -> bool {
    let Error::InvalidCertificate(CertificateError::Other(other)) = error else { return false };
    // The library that says so is not a dependency of its own; a test holds its word.
    format!("{other:?}").contains("CaUsedAsEndEntity")
}

/// Whether a certificate holds no alternative name at all, as one made with `-subj` alone. A user who pins such a
/// certificate has accepted its owner.
fn names_nobody(error: &Error) -> bool {
    matches!(
        error,
        Error::InvalidCertificate(CertificateError::NotValidForNameContext { presented, .. }) if presented.is_empty()
    )
}
