//! What the processes take of the machine: processor time by the system, messages and streams by NATS.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;

use anyhow::Context as _;
use serde_json::Value;

use super::http::get;

/// Ticks in a second of `/proc/PID/stat`: the same on every Linux that this runs on.
const TICKS_PER_S: f64 = 100.0;

/// Sums over all processes since each of them began.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Usage {
    /// Processor time of the nodes, in seconds.
    pub nodes_cpu_s: f64,
    /// Processor time of the servers of NATS, in seconds.
    pub nats_cpu_s: f64,
    /// Messages and bytes that the servers took in, and sent: of nodes and of each other.
    pub taken: (f64, f64),
    /// See `taken`.
    pub sent: (f64, f64),
    /// Messages written to each stream, and bytes in it; a bucket is a stream.
    pub streams: BTreeMap<String, (f64, f64)>,
}

/// Processor time of a process so far, in seconds.
///
/// # Errors
/// It does not run, or this system does not tell of it.
pub(super) fn cpu_s(id: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
    // The name, in parentheses, may hold spaces.
    let (_, rest) = stat.rsplit_once(')').context("no name in the figures of a process")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |idx: usize| fields.get(idx).and_then(|field| field.parse::<f64>().ok());
    let (user, system) = ticks(11).zip(ticks(12)).context("no times in the figures of a process")?;
    Ok((user + system) / TICKS_PER_S)
}

impl Usage {
    /// With the figures of the servers of NATS at these addresses.
    ///
    /// # Errors
    /// A server does not answer.
    pub(super) async fn read(
        nodes_cpu_s: f64,
        nats_cpu_s: f64,
        monitors: &[SocketAddr],
    ) -> anyhow::Result<Self> {
        let mut usage = Self { nodes_cpu_s, nats_cpu_s, ..Self::default() };
        for monitor in monitors {
            let shown = json(*monitor, "/varz").await?;
            let number = |key: &str| shown[key].as_f64().unwrap_or(0.0);
            usage.taken = (usage.taken.0 + number("in_msgs"), usage.taken.1 + number("in_bytes"));
            usage.sent = (usage.sent.0 + number("out_msgs"), usage.sent.1 + number("out_bytes"));
            // Each server has a copy of each stream; the one that is ahead counts.
            let shown = json(*monitor, "/jsz?streams=true").await?;
            let accounts = shown["account_details"].as_array().into_iter().flatten();
            for stream in
                accounts.flat_map(|account| account["stream_detail"].as_array().into_iter().flatten())
            {
                let (name, state) = (stream["name"].as_str().unwrap_or_default(), &stream["state"]);
                let now = (state["last_seq"].as_f64().unwrap_or(0.0), state["bytes"].as_f64().unwrap_or(0.0));
                let known = usage.streams.entry(name.to_owned()).or_default();
                *known = (known.0.max(now.0), known.1.max(now.1));
            }
        }
        Ok(usage)
    }

    /// What was added to another one since.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let minus = |now: (f64, f64), before: (f64, f64)| (now.0 - before.0, now.1 - before.1);
        let streams = self.streams.iter().map(|(name, now)| {
            let before = before.streams.get(name).copied().unwrap_or_default();
            (name.clone(), minus(*now, before))
        });
        Self {
            nodes_cpu_s: self.nodes_cpu_s - before.nodes_cpu_s,
            nats_cpu_s: self.nats_cpu_s - before.nats_cpu_s,
            taken: minus(self.taken, before.taken),
            sent: minus(self.sent, before.sent),
            streams: streams.collect(),
        }
    }
}

async fn json(monitor: SocketAddr, path: &str) -> anyhow::Result<Value> {
    let (_, body) = get(monitor, path).await?;
    Ok(serde_json::from_str(&body)?)
}

/// What sessions took, and what there was without them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figures {
    /// Length of all sessions together, in hours.
    pub session_hours: f64,
    /// Events of all sessions.
    pub n_events: f64,
    /// Without sessions: how long, in seconds, and what that took.
    pub idle: (f64, Usage),
    /// With them.
    pub load: (f64, Usage),
    /// Bytes in each stream for each session, when the last ones ran.
    pub live_bytes: BTreeMap<String, f64>,
}

impl Figures {
    /// Processor seconds of an hour of one session, of the nodes and of NATS, less what is taken without sessions.
    #[must_use]
    pub fn cpu_s(&self) -> (f64, f64) {
        let (idle_s, idle) = &self.idle;
        let (load_s, load) = &self.load;
        let own = |load: f64, idle: f64| (load - idle / idle_s * load_s).max(0.0) / self.session_hours;
        (own(load.nodes_cpu_s, idle.nodes_cpu_s), own(load.nats_cpu_s, idle.nats_cpu_s))
    }

    /// The figures of one hour of one session, for people.
    #[must_use]
    pub fn text(&self) -> String {
        let (idle_s, idle) = &self.idle;
        let (load_s, load) = &self.load;
        let mut text = String::new();
        let mut line = |what: &str, value: String| {
            let _ = writeln!(text, "{what:<50} {value:>14}");
        };
        line("session-hours", format!("{:.3}", self.session_hours));
        line("without sessions, processor of the nodes", format!("{:.4}", idle.nodes_cpu_s / idle_s));
        line("without sessions, processor of NATS", format!("{:.4}", idle.nats_cpu_s / idle_s));
        let (nodes_cpu_s, nats_cpu_s) = self.cpu_s();
        line("in a session-hour: processor of the nodes, s", format!("{nodes_cpu_s:.1}"));
        line("processor of NATS, s", format!("{nats_cpu_s:.1}"));
        let hour = |load: f64| format!("{:.0}", load / self.session_hours);
        line("events", hour(self.n_events));
        let beyond = |of: fn(&Usage) -> f64| hour(of(load) - of(idle) / idle_s * load_s);
        line("messages that NATS takes in, all servers", beyond(|u| u.taken.0));
        line("  bytes", beyond(|u| u.taken.1));
        line("messages that NATS sends, all servers", beyond(|u| u.sent.0));
        line("  bytes", beyond(|u| u.sent.1));
        for (name, (n_written, bytes)) in &load.streams {
            line(&format!("messages to {name}"), hour(*n_written));
            line("  bytes more in it", hour(*bytes));
        }
        for (name, bytes) in &self.live_bytes {
            line(&format!("bytes of a running session in {name}"), format!("{bytes:.0}"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_takes_time_and_a_missing_one_is_an_error() {
        let before = cpu_s(std::process::id()).unwrap();
        let began = std::time::Instant::now();
        while began.elapsed().as_millis() < 100 {}
        assert!(cpu_s(std::process::id()).unwrap() > before);
        assert!(cpu_s(u32::MAX).is_err());
    }

    #[test]
    fn what_there_is_without_sessions_is_not_theirs() {
        let usage = |nodes_cpu_s, nats_cpu_s, n| Usage {
            nodes_cpu_s,
            nats_cpu_s,
            streams: [("events".to_owned(), (n, 10.0 * n))].into(),
            ..Usage::default()
        };
        let before = usage(1.0, 1.0, 5.0);
        let idle = usage(1.5, 2.0, 5.0).since(&before);
        let load = usage(91.0, 21.0, 105.0).since(&before);
        let figures = Figures {
            session_hours: 2.0,
            n_events: 500.0,
            idle: (10.0, idle),
            load: (100.0, load),
            ..Figures::default()
        };
        // 90 s less the 5 s that 100 s without sessions take.
        assert_eq!(figures.cpu_s(), (42.5, 5.0));
        let text = figures.text();
        let line = |what: &str| text.lines().find(|line| line.starts_with(what)).unwrap().to_owned();
        assert!(line("events").ends_with(" 250") && line("messages to events").ends_with(" 50"), "{text}");
    }
}
