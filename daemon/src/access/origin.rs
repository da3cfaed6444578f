//! Origins of web pages: the server's own and the allowed ones.

use std::net::IpAddr;

use diarized_config::AllowedOrigin;

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
            AllowedOrigin::Hidden => origin == "null",
            AllowedOrigin::One(one) => *one == origin,
        });
        is_allowed || self.is_own(&origin, host)
    }

    /// A page of this server. A name that merely resolves to this machine is not enough: the owner of the name would
    /// control the server.
    fn is_own(&self, origin: &str, host: Option<&str>) -> bool {
        let (Some(authority), Some(host)) = (web_authority(origin), host) else { return false };
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
                AllowedOrigin::Hidden => false,
                // The hosts of other schemes are names of apps and not of machines.
                AllowedOrigin::One(one) => web_authority(one).is_some_and(|a| name_of(a) == name),
            })
    }
}

/// Host and port of a page of the web.
fn web_authority(origin: &str) -> Option<&str> {
    origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"))
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
    fn pages_of_files_and_apps_are_welcome_where_they_are_allowed() {
        for origin in ["null", "file://", "capacitor://localhost", "chrome-extension://abcdefgh", "app://-"] {
            assert!(!Origins::default().welcome(origin, Some("127.0.0.1:7007")), "{origin}");
            let origins = Origins::new(vec![AllowedOrigin::parse(origin).unwrap()]);
            assert!(origins.welcome(origin, Some("127.0.0.1:7007")), "{origin}");
            assert!(!origins.is_own_host("abcdefgh") && !origins.is_own_host("null"), "{origin}");
            assert!(!origins.welcome("https://evil.example", Some("127.0.0.1:7007")), "{origin}");
        }
    }
}
