//! Addresses of other servers that the daemon connects to.

use std::fmt;

/// Scheme, host, port and path of a server, such as `mqtts://broker.example:8883` or `https://example.com/hook`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    scheme: &'static Scheme,
    /// Host name or address; an IPv6 address without its brackets.
    pub host: String,
    /// Port, the scheme's own where none is written.
    pub port: u16,
    /// Path with its query, `/` where none is written.
    pub path: String,
}

/// A scheme that an address may have.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Scheme {
    pub(crate) name: &'static str,
    pub(crate) port: u16,
    pub(crate) is_secure: bool,
    pub(crate) has_path: bool,
}

/// MQTT, plain and encrypted.
pub(crate) const MQTT: [Scheme; 2] = [
    Scheme { name: "mqtt", port: 1883, is_secure: false, has_path: false },
    Scheme { name: "mqtts", port: 8883, is_secure: true, has_path: false },
];
/// NATS, plain and encrypted.
pub(crate) const NATS: [Scheme; 2] = [
    Scheme { name: "nats", port: 4222, is_secure: false, has_path: false },
    Scheme { name: "tls", port: 4222, is_secure: true, has_path: false },
];
/// HTTP, plain and encrypted.
pub(crate) const HTTP: [Scheme; 2] = [
    Scheme { name: "http", port: 80, is_secure: false, has_path: true },
    Scheme { name: "https", port: 443, is_secure: true, has_path: true },
];
/// WebSocket, plain and encrypted.
pub(crate) const WEB_SOCKET: [Scheme; 2] = [
    Scheme { name: "ws", port: 80, is_secure: false, has_path: true },
    Scheme { name: "wss", port: 443, is_secure: true, has_path: true },
];
/// Wyoming over TCP, with the port of its speech recognisers.
pub(crate) const TCP: [Scheme; 1] = [Scheme { name: "tcp", port: 10_300, is_secure: false, has_path: false }];

impl Endpoint {
    /// Reads an address of one of these schemes. User and password do not belong into it.
    pub(crate) fn parse(text: &str, schemes: &'static [Scheme]) -> Option<Self> {
        let (name, rest) = text.trim().split_once("://")?;
        let scheme = schemes.iter().find(|scheme| scheme.name.eq_ignore_ascii_case(name))?;
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let is_path = path.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
        if !is_path || (!scheme.has_path && path != "/") {
            return None;
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (ip, port) = rest.split_once(']')?;
                ip.parse::<std::net::Ipv6Addr>().ok()?;
                (ip, port)
            }
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        let is_host =
            !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:".contains(&b));
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => scheme.port,
            None => return None,
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().ok().filter(|p| *p > 0)?
            }
            Some(_) => return None,
        };
        let path = path.to_owned();
        is_host.then(|| Self { scheme, host: host.to_owned(), port, path })
    }

    /// Whether the connection is encrypted.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.scheme.is_secure
    }

    /// Name of the scheme, such as `https`.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        self.scheme.name
    }

    /// Host with the brackets of an IPv6 address, and the port unless it is the scheme's own.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == self.scheme.port { host } else { format!("{host}:{}", self.port) }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path == "/" && !self.scheme.has_path { "" } else { &self.path };
        write!(f, "{}://{}{path}", self.scheme.name, self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for (text, shown) in [
            ("mqtt://broker", "mqtt://broker"),
            ("MQTTS://broker.example:1884", "mqtts://broker.example:1884"),
            ("mqtt://[::1]:1883/", "mqtt://[::1]"),
        ] {
            let read = Endpoint::parse(text, &MQTT).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(read.to_string(), shown);
            assert_eq!(Endpoint::parse(shown, &MQTT), Some(read));
        }
        let hook = Endpoint::parse("https://example.com:8443/a?b=c", &HTTP).unwrap();
        assert_eq!((hook.port, hook.path.as_str(), hook.is_secure()), (8443, "/a?b=c", true));
        assert_eq!(hook.authority(), "example.com:8443");
        assert_eq!(Endpoint::parse("http://h", &HTTP).unwrap().to_string(), "http://h/");
        for bad in [
            "",
            "broker",
            "mqtt://",
            "mqtt://a:b",
            "mqtt://a:0",
            "mqtt://a:99999",
            "mqtt://user:pw@a",
            "mqtt://a/topic",
            "http://a",
            "mqtt://a b",
            "mqtt://[::g]",
            "mqtt://[::1]x",
        ] {
            assert_eq!(Endpoint::parse(bad, &MQTT), None, "{bad}");
        }
        assert_eq!(Endpoint::parse("http://a/b c", &HTTP), None);
        assert_eq!(Endpoint::parse("http://a/b\r\nX: y", &HTTP), None);
    }
}
