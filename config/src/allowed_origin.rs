//! Origins of web pages that may use the server through a browser (`server.allowed_origins`).

use std::fmt;

/// An allowed origin as browsers send it, or every page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedOrigin {
    /// Every page.
    Any,
    /// Pages without an origin: pages from files in some browsers, and sandboxed pages.
    Hidden,
    /// Pages of this origin, in lower case and without the default port, such as
    /// `https://meetings.example` or `capacitor://localhost`.
    One(String),
}

impl AllowedOrigin {
    /// Parses `*`, `null`, or a scheme with a host and an optional port, and nothing after it. `file://` needs no host.
    /// WebSocket addresses are refused: the origin of a page is the address of the page.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        match text.as_str() {
            "*" => return Some(Self::Any),
            "null" => return Some(Self::Hidden),
            "file://" => return Some(Self::One(text)),
            _ => {}
        }
        let (scheme, authority) = text.split_once("://")?;
        let is_scheme = scheme.starts_with(|c: char| c.is_ascii_lowercase())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
            && !["ws", "wss"].contains(&scheme);
        let (host, port) = match authority.rsplit_once(':') {
            // The colons of an IPv6 address stand in brackets.
            Some((host, port)) if !port.contains(']') => (host, Some(port)),
            _ => (authority, None),
        };
        let is_host = match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok()),
            None => {
                !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
            }
        };
        let port = match port {
            None => None,
            Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => Some(port.parse::<u16>().ok()?),
            Some(_) => return None,
        };
        if !is_scheme || !is_host {
            return None;
        }
        // Browsers leave out the port that the scheme has anyway.
        let own_port = matches!((scheme, port), ("http", Some(80)) | ("https", Some(443)));
        Some(Self::One(match port.filter(|_| !own_port) {
            Some(port) => format!("{scheme}://{host}:{port}"),
            None => format!("{scheme}://{host}"),
        }))
    }
}

impl fmt::Display for AllowedOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Hidden => f.write_str("null"),
            Self::One(origin) => f.write_str(origin),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_a_scheme_and_no_path() {
        for good in [
            "*",
            "null",
            "file://",
            "http://a",
            "https://a.b-c.example:8443",
            "http://[::1]:8080",
            "http://[::1]",
            "capacitor://localhost",
            "chrome-extension://abcdefghijklmnop",
            "app://-",
        ] {
            assert_eq!(AllowedOrigin::parse(good).map(|o| o.to_string()).as_deref(), Some(good));
        }
        for (text, browsers_send) in [
            (" HTTPS://A.Example:443 ", "https://a.example"),
            ("http://a:80", "http://a"),
            ("http://a:443", "http://a:443"),
        ] {
            assert_eq!(AllowedOrigin::parse(text).map(|o| o.to_string()).as_deref(), Some(browsers_send));
        }
        for bad in [
            "",
            "a.example",
            "https://",
            "https://a/",
            "https://a/b",
            "ws://a",
            "wss://a:1",
            "https://a b",
            "http://localhost:*",
            "http://*.example",
            "http://a:",
            "http://a:70000",
            "http://a:1:2",
            "http://[::1",
            "http://user@a",
            "file:///home",
            "://a",
            "1a://b",
        ] {
            assert_eq!(AllowedOrigin::parse(bad), None, "{bad}");
        }
    }
}
