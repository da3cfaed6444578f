//! `[cluster]`: several daemons that serve each other's sessions, over NATS with JetStream.

use std::path::PathBuf;
use std::time::Duration;

use crate::endpoint::{Endpoint, HTTP, NATS};
use crate::origin::Value;
use crate::outgoing::{is_line, optional};
use crate::reader::Reader;

/// What a node does with the audio of clients. Every node serves readers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles {
    /// Whether it takes audio in.
    pub intake: bool,
    /// Whether it labels.
    pub label: bool,
}

/// `[cluster]`: this daemon as a node of several.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterConfig {
    /// Servers of NATS, `nats://` or `tls://`; with none this daemon is alone. Default none.
    pub nats: Vec<Endpoint>,
    /// Name of this node, different for each; set together with `nats`. Default `None`.
    pub node: Option<String>,
    /// Address at which clients reach this node, for people; `None` shows none. Default `None`.
    pub address: Option<Endpoint>,
    /// First part of the names of all subjects, streams and buckets. Default `diarized`.
    pub prefix: String,
    /// File of NATS credentials (a user's JWT and seed). Default `None`.
    pub credentials_file: Option<PathBuf>,
    /// User name for NATS. Default `None`.
    pub user: Option<String>,
    /// File of the password; goes with `user`. Default `None`.
    pub password_file: Option<PathBuf>,
    /// PEM file of the authorities for NATS' certificate; `None` are the system's. Default `None`.
    pub ca_file: Option<PathBuf>,
    /// Servers of NATS that keep each event. 1 to 5, default 1.
    pub replicas: usize,
    /// How long events stay in NATS. 1 h to 8760 h, default 168 h.
    pub keep: Duration,
    /// Bytes of events in NATS at most; the oldest leave first. 16 MiB to 1 PiB, default 8 GiB.
    pub max_bytes: u64,
    /// What this node does with the audio of clients. Default both.
    pub roles: Roles,
    /// How long a node may be away until the others end its sessions. 15 s to 86 400 s, default 120 s.
    pub away: Duration,
    /// Whether known voices are shared among the nodes, sealed; for nodes with `voices.enabled`. Default true.
    pub voices: bool,
}

impl ClusterConfig {
    pub(crate) fn read(r: &mut Reader) -> Self {
        let config = Self {
            nats: r.list_or_none(
                "cluster.nats",
                "nats://HOST or tls://HOST, with :PORT where it is not 4222, without user and password, or a list of them",
                |text| Endpoint::parse(text, &NATS),
            ),
            node: optional(r, "cluster.node", NAME, |text| is_name(text).then(|| text.to_owned())),
            address: optional(r, "cluster.address", "an http:// or https:// address", |text| {
                Endpoint::parse(text, &HTTP)
            }),
            prefix: r.parsed(
                "cluster.prefix",
                NAME,
                "diarized".to_owned(),
                |text| is_name(text).then(|| text.to_owned()),
                |prefix| Value::Text(prefix.clone()),
            ),
            credentials_file: r.optional_path("cluster.credentials_file"),
            user: optional(r, "cluster.user", "a user name", |text| is_line(text).then(|| text.to_owned())),
            password_file: r.optional_path("cluster.password_file"),
            ca_file: r.optional_path("cluster.ca_file"),
            replicas: usize::try_from(r.integer("cluster.replicas", "", 1..=5, 1)).expect("the range fits"),
            keep: Duration::from_secs(3600 * unsigned(r.integer("cluster.keep_hours", "of hours", 1..=8760, 168))),
            max_bytes: unsigned(r.integer("cluster.max_bytes", "of bytes", 16 << 20..=1 << 50, 8 << 30)),
            roles: roles(r),
            away: r.seconds("cluster.away_s", 15.0..=86_400.0, 120.0),
            voices: r.boolean("cluster.voices", true),
        };
        if !config.nats.is_empty() && config.node.is_none() {
            r.broken_rule("cluster.nats", "set together with", "cluster.node");
        }
        for (is_alone, key, other) in [
            (
                config.password_file.is_some() && config.user.is_none(),
                "cluster.password_file",
                "cluster.user",
            ),
            (
                config.user.is_some() && config.password_file.is_none(),
                "cluster.user",
                "cluster.password_file",
            ),
        ] {
            if is_alone {
                r.broken_rule(key, "set together with", other);
            }
        }
        if config.user.is_some() && config.credentials_file.is_some() {
            r.broken_rule("cluster.credentials_file", "set without", "cluster.user");
        }
        config
    }
}

fn roles(r: &mut Reader) -> Roles {
    let one = |text: &str| ["intake", "label"].contains(&text).then(|| text.to_owned());
    let both = ["intake", "label"].map(str::to_owned).to_vec();
    let roles = r.list("cluster.roles", "a list of \"intake\" and \"label\", one of them or both", both, one);
    let has = |role| roles.iter().any(|known| known == role);
    Roles { intake: has("intake"), label: has("label") }
}

fn unsigned(n: i64) -> u64 {
    u64::try_from(n).expect("the range has no negative numbers")
}

const NAME: &str = "1 to 32 letters, digits, - and _";

fn is_name(text: &str) -> bool {
    (1..=32).contains(&text.len())
        && text != "none"
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{Config, Sources};

    fn read(text: &str) -> Result<ClusterConfig, String> {
        match Sources::new().file_text(Path::new("/etc/d/d.toml"), text).load() {
            Ok(loaded) => Ok(loaded.config.cluster),
            Err(faults) => Err(faults.to_string()),
        }
    }

    #[test]
    fn a_node_has_a_name_and_servers() {
        assert!(Config::default().cluster.nats.is_empty());
        let cluster = read(
            "[cluster]\nnats = [\"nats://a\", \"tls://b:4333\"]\nnode = \"one\"\ncredentials_file = \"node.creds\"\n\
             keep_hours = 2\naddress = \"http://10.0.0.1:7007\"",
        )
        .unwrap();
        let nats: Vec<_> = cluster.nats.iter().map(ToString::to_string).collect();
        assert_eq!(nats, ["nats://a", "tls://b:4333"]);
        assert_eq!(cluster.credentials_file, Some("/etc/d/node.creds".into()));
        assert_eq!((cluster.keep.as_secs(), cluster.nats[1].is_secure()), (7200, true));
        assert_eq!(cluster.roles, Roles { intake: true, label: true });
        let roles = |text| read(&format!("[cluster]\nroles = {text}")).unwrap().roles;
        assert_eq!(roles("\"intake\""), Roles { intake: true, label: false });
        assert_eq!(roles("[\"label\"]"), Roles { intake: false, label: true });
    }

    #[test]
    fn what_cannot_be_meant_is_a_fault() {
        for (text, fault) in [
            ("nats = \"nats://a\"", "cluster.node"),
            ("nats = \"nats://me:secret@a\"\nnode = \"a\"", "cluster.nats"),
            ("nats = \"http://a\"\nnode = \"a\"", "nats://HOST"),
            ("node = \"a b\"", "1 to 32 letters"),
            ("prefix = \"a.b\"", "cluster.prefix"),
            ("user = \"me\"", "cluster.password_file"),
            ("password_file = \"p\"", "cluster.user"),
            ("replicas = 6", "1 to 5"),
            ("away_s = 2", "15"),
            ("roles = []", "\"intake\" and \"label\""),
            ("roles = [\"serve\"]", "\"intake\" and \"label\""),
        ] {
            let faults = read(&format!("[cluster]\n{text}\n")).unwrap_err();
            assert!(faults.contains(fault), "{text}: {faults}");
        }
    }
}
