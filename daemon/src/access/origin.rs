//! Which web pages a browser may speak for: the server's own and those that were allowed.

use std::fmt;
use std::net::IpAddr;

/// A page's origin that is allowed: scheme, host and port as browsers send them, or every page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedOrigin {
    /// Every page.
    Any,
    /// Pages of this origin, in lower case, such as `https://meetings.example`.
    One(String),
}

impl AllowedOrigin {
    /// Reads `*`, or `http://` or `https://` with a host and perhaps a port, and nothing after it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        if text == "*" {
            return Some(Self::Any);
        }
        let authority = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"))?;
        let is_authority = !authority.is_empty()
            && authority.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.:[]_".contains(&b));
        is_authority.then_some(Self::One(text))
    }
}

impl fmt::Display for AllowedOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::One(origin) => f.write_str(origin),
        }
    }
}

/// The origins that are welcome besides the server's own.
#[derive(Debug, Clone, Default)]
pub struct Origins(Vec<AllowedOrigin>);

impl Origins {
    /// These and the server's own.
    #[must_use]
    pub fn new(allowed: Vec<AllowedOrigin>) -> Self {
        Self(allowed)
    }

    /// Whether a page of `origin` may speak to the server that it calls `host`.
    #[must_use]
    pub fn welcome(&self, origin: &str, host: Option<&str>) -> bool {
        let origin = origin.to_ascii_lowercase();
        let is_allowed = self.0.iter().any(|allowed| match allowed {
            AllowedOrigin::Any => true,
            AllowedOrigin::One(one) => *one == origin,
        });
        is_allowed || self.is_own(&origin, host)
    }

    /// A page that this very server gave out. A name that merely resolves to this machine is not enough: whoever
    /// owns the name would own the server.
    fn is_own(&self, origin: &str, host: Option<&str>) -> bool {
        let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        let (Some(authority), Some(host)) = (authority, host) else { return false };
        authority == host.to_ascii_lowercase() && self.is_own_host(host)
    }

    /// Whether `host` (with or without a port) can only be meant for this server: an address, `localhost`, or the
    /// host of an allowed origin.
    #[must_use]
    pub fn is_own_host(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let name = name_of(&host);
        let is_address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
        is_address
            || name == "localhost"
            || self.0.iter().any(|allowed| match allowed {
                AllowedOrigin::Any => true,
                AllowedOrigin::One(one) => {
                    one.split_once("://").is_some_and(|(_, authority)| name_of(authority) == name)
                }
            })
    }
}

/// The host without its port.
fn name_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_own_pages_are_welcome_and_others_must_be_allowed() {
        let own = Origins::default();
        for (origin, host) in [
            ("http://127.0.0.1:7007", "127.0.0.1:7007"),
            ("http://localhost:7007", "LOCALHOST:7007"),
            ("https://[::1]:7007", "[::1]:7007"),
            ("http://192.168.1.5", "192.168.1.5"),
        ] {
            assert!(own.welcome(origin, Some(host)), "{origin}");
        }
        for (origin, host) in [
            ("https://evil.example", Some("127.0.0.1:7007")),
            // DNS rebinding: the name of the page's owner points here.
            ("http://evil.example:7007", Some("evil.example:7007")),
            ("http://127.0.0.1:8080", Some("127.0.0.1:7007")),
            ("http://127.0.0.1:7007", None),
            ("null", Some("127.0.0.1:7007")),
            ("file://", Some("127.0.0.1:7007")),
        ] {
            assert!(!own.welcome(origin, host), "{origin}");
        }
        let some = Origins::new(vec![AllowedOrigin::parse("https://Meetings.example").unwrap()]);
        assert!(some.welcome("https://meetings.example", Some("10.0.0.1:7007")));
        assert!(!some.welcome("http://meetings.example", Some("10.0.0.1:7007")), "the scheme counts");
        assert!(some.is_own_host("meetings.example:7007") && !some.is_own_host("other.example"));
        assert!(Origins::new(vec![AllowedOrigin::Any]).welcome("null", None));
    }

    #[test]
    fn an_origin_has_a_scheme_and_no_path() {
        for good in ["*", "http://a", "https://a.b-c.example:8443", "http://[::1]:80"] {
            assert_eq!(AllowedOrigin::parse(good).unwrap().to_string(), good);
        }
        for bad in ["", "a.example", "https://", "https://a/", "https://a/b", "ws://a", "https://a b"] {
            assert_eq!(AllowedOrigin::parse(bad), None, "{bad}");
        }
    }
}
