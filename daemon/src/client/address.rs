//! The address of a server, as a person types it.

use std::fmt;

use tokio_tungstenite::tungstenite::http::Uri;

use crate::protocol::DEFAULT_PORT;

/// Host and port of a server; and the session, when the address named one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
    /// The `session` of an address such as `ws://host:7007/v1/events?session=kitchen`.
    pub session: Option<String>,
}

/// A text that is not the address of a server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// Not an address at all.
    #[error("{got:?} is not an address; write it as ws://127.0.0.1:7007")]
    Malformed {
        /// The text.
        got: String,
    },
    /// Encrypted connections are not built in.
    #[error("{got:?} asks for an encrypted connection, which this version cannot make; use ws://")]
    Encrypted {
        /// The text.
        got: String,
    },
}

impl Address {
    /// Reads `ws://host:port`, `http://host:port` or `host:port`; the port may be left out, and a path with a
    /// `session` in its query may follow.
    ///
    /// # Errors
    /// [`AddressError`]
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let malformed = || AddressError::Malformed { got: text.to_owned() };
        let (scheme, rest) = text.trim().split_once("://").unwrap_or(("ws", text.trim()));
        match scheme {
            "ws" | "http" => {}
            "wss" | "https" => return Err(AddressError::Encrypted { got: text.to_owned() }),
            _ => return Err(malformed()),
        }
        let uri: Uri = format!("ws://{rest}").parse().map_err(|_| malformed())?;
        let host = uri.host().filter(|h| !h.is_empty()).ok_or_else(malformed)?.to_owned();
        let session = uri.query().and_then(|query| {
            query.split('&').find_map(|pair| pair.strip_prefix("session=")).map(str::to_owned)
        });
        // What follows the host in the authority is nothing or a port.
        let has_port = uri.authority().is_some_and(|a| a.as_str().len() > host.len());
        let port = match uri.port_u16() {
            None if has_port => return Err(malformed()),
            port => port.unwrap_or(DEFAULT_PORT),
        };
        Ok(Self { host, port, session })
    }

    /// The URL of a path, which begins with `/`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("ws://{self}{path}")
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
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
        assert_eq!(url("[::1]:80").as_deref(), Ok("ws://[::1]:80/v1/events"));
        let with = Address::parse("ws://host:1/v1/events?since=3&session=kitchen").unwrap();
        assert_eq!(with.session.as_deref(), Some("kitchen"));
    }

    #[test]
    fn what_is_no_address_is_said_to_be_none() {
        assert!(matches!(Address::parse("wss://host"), Err(AddressError::Encrypted { .. })));
        for text in ["", "ftp://host", "ws://", "ho st", "host:port"] {
            assert!(matches!(Address::parse(text), Err(AddressError::Malformed { .. })), "{text:?}");
        }
    }
}
