//! The address of a server as typed by a user, and its credentials.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use tokio_tungstenite::tungstenite::http::Uri;

use super::tls::{Authorities, TlsError};
use crate::protocol::DEFAULT_PORT;

/// What the server's own paths begin with: whatever stands before it is the proxy's.
const OWN_PATHS: &str = "/v1";

/// Host, port and path of a server; and the session, when the address named one.
#[derive(Clone)]
pub struct Address {
    host: String,
    port: u16,
    /// What a proxy puts before the server's own paths, such as `/diarized`; empty where there is none.
    prefix: String,
    /// The `session` of an address such as `ws://host:7007/v1/events?session=kitchen`.
    pub session: Option<String>,
    token: Option<Arc<str>>,
    /// What the server's certificate is held against, where the connection is encrypted.
    authorities: Option<Authorities>,
}

/// A text that is not the address of a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// Not an address at all.
    #[error("{got:?} is not an address; write it as ws://127.0.0.1:7007, or wss:// where the server has TLS")]
    Malformed {
        /// The text.
        got: String,
    },
    /// It holds a user, a password or a token.
    #[error(
        "an address with a user, a password or a token is not used: leave them out; a server with tokens wants one in \
         DIARIZED_TOKEN"
    )]
    Credentials,
}

impl Address {
    /// Reads `ws://host:port`, `wss://`, `http://`, `https://` or `host:port`. The path of a proxy may follow, and a path
    /// of the server with a `session` in its query. Without a port it is 443 where the connection is encrypted, 80 where
    /// there is the path of a proxy, else the server's own.
    ///
    /// # Errors
    /// [`AddressError`]
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let malformed = || AddressError::Malformed { got: text.to_owned() };
        let (scheme, rest) = text.trim().split_once("://").unwrap_or(("ws", text.trim()));
        let authorities = match scheme {
            "ws" | "http" => None,
            "wss" | "https" => Some(Authorities::System),
            _ => return Err(malformed()),
        };
        let uri: Uri = format!("ws://{rest}").parse().map_err(|_| malformed())?;
        let is_token =
            |pair: &str| ["token=", "access_token=", "bearer="].iter().any(|key| pair.starts_with(key));
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@'))
            || uri.query().is_some_and(|query| query.split('&').any(is_token))
        {
            return Err(AddressError::Credentials);
        }
        let host = uri.host().filter(|h| !h.is_empty()).ok_or_else(malformed)?.to_owned();
        // Brackets are those around an IPv6 address.
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&host);
        if inner.contains(['[', ']']) {
            return Err(malformed());
        }
        let session = uri.query().and_then(|query| {
            query.split('&').find_map(|pair| pair.strip_prefix("session=")).map(str::to_owned)
        });
        let path = uri.path();
        let own = path.rmatch_indices(OWN_PATHS).map(|(at, _)| at).find(|at| {
            let rest = &path[at + OWN_PATHS.len()..];
            rest.is_empty() || rest.starts_with('/')
        });
        let prefix = path[..own.unwrap_or(path.len())].trim_end_matches('/').to_owned();
        // What follows the host in the authority is nothing or a port.
        let has_port = uri.authority().is_some_and(|a| a.as_str().len() > host.len());
        let port = match uri.port_u16() {
            None if has_port => return Err(malformed()),
            Some(port) => port,
            None if authorities.is_some() => 443,
            None if !prefix.is_empty() => 80,
            None => DEFAULT_PORT,
        };
        Ok(Self { host, port, prefix, session, token: None, authorities })
    }

    /// The same, where this token is shown.
    #[must_use]
    pub fn with_token(self, token: Option<&str>) -> Self {
        Self { token: token.map(Arc::from), ..self }
    }

    /// The same, whose certificate is held against the authorities in this PEM file; without one, against the
    /// system's. Nothing changes where the connection is not encrypted.
    ///
    /// # Errors
    /// [`TlsError`]
    pub fn with_authorities(mut self, file: Option<&Path>) -> Result<Self, TlsError> {
        if let (Some(_), Some(file)) = (&self.authorities, file) {
            self.authorities = Some(Authorities::read(file)?);
        }
        Ok(self)
    }

    /// The URL of a path, which begins with `/`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        let scheme = if self.authorities.is_some() { "wss" } else { "ws" };
        format!("{scheme}://{self}{path}")
    }

    /// Host without the brackets of an IPv6 address, and port.
    pub(super) fn host_and_port(&self) -> (&str, u16) {
        (self.host.trim_start_matches('[').trim_end_matches(']'), self.port)
    }

    pub(super) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    pub(super) fn authorities(&self) -> Option<&Authorities> {
        self.authorities.as_ref()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}{}", self.host, self.port, self.prefix)
    }
}

impl fmt::Debug for Address {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({})", self.url(""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        let url = |text: &str| Address::parse(text).map(|a| a.url("/v1/events"));
        for text in ["ws://127.0.0.1:7007", "http://127.0.0.1:7007/", "127.0.0.1:7007", "127.0.0.1"] {
            assert_eq!(url(text).as_deref(), Ok("ws://127.0.0.1:7007/v1/events"), "{text}");
        }
        for text in ["wss://box.example:7007", "https://box.example:7007/"] {
            assert_eq!(url(text).as_deref(), Ok("wss://box.example:7007/v1/events"), "{text}");
        }
        for text in ["wss://box.example", "https://box.example/", "wss://box.example/v1/stream"] {
            assert_eq!(url(text).as_deref(), Ok("wss://box.example:443/v1/events"), "{text}");
        }
        assert_eq!(url("[::1]:80").as_deref(), Ok("ws://[::1]:80/v1/events"));
        assert_eq!(Address::parse("[::1]:80").unwrap().host_and_port(), ("::1", 80));
        let with = Address::parse("ws://host:1/v1/events?since=3&session=kitchen").unwrap();
        assert_eq!(with.session.as_deref(), Some("kitchen"));
    }

    #[test]
    fn the_path_of_a_proxy_stays_and_that_of_the_server_does_not() {
        let url = |text: &str| Address::parse(text).map(|a| a.url("/v1/events"));
        for (text, expected) in [
            ("ws://host:8080/diar", "ws://host:8080/diar/v1/events"),
            ("ws://host:8080/diar/", "ws://host:8080/diar/v1/events"),
            ("ws://host:8080/a/b//", "ws://host:8080/a/b/v1/events"),
            ("ws://host:8080/diar/v1/stream?session=x", "ws://host:8080/diar/v1/events"),
            ("ws://host:8080/diar/v1", "ws://host:8080/diar/v1/events"),
            ("ws://host:8080/v1.2/v1/events", "ws://host:8080/v1.2/v1/events"),
            ("ws://host:8080/v1/events", "ws://host:8080/v1/events"),
            ("ws://host/diar", "ws://host:80/diar/v1/events"),
            ("https://host/diar?session=x", "wss://host:443/diar/v1/events"),
            ("host/diar", "ws://host:80/diar/v1/events"),
        ] {
            assert_eq!(url(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_said_to_be_none() {
        for text in ["", "ftp://host", "ws://", "ho st", "host:port", "ws://fLaC[", "a]b", "[[::1]]"] {
            assert!(matches!(Address::parse(text), Err(AddressError::Malformed { .. })), "{text:?}");
        }
        for text in
            ["wss://ann:secret@box.example", "wss://box.example/?token=secret", "box?x=1&access_token=secret"]
        {
            let refused = Address::parse(text).unwrap_err();
            assert!(
                refused == AddressError::Credentials && !refused.to_string().contains("secret"),
                "{text}"
            );
        }
    }

    #[test]
    fn a_token_is_not_shown_to_whoever_debugs() {
        let address = Address::parse("box").unwrap().with_token(Some("dz_secret"));
        assert!(!format!("{address:?} {address}").contains("secret"));
    }
}
