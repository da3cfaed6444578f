//! Whether NATS is there and does what is asked, for people.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch;

/// What is known of the connection.
#[derive(Debug)]
pub(super) struct Health {
    inner: Mutex<Inner>,
    /// Number of connections so far; 0 while there is none.
    connection: watch::Sender<u64>,
}

#[derive(Debug)]
struct Inner {
    n_connections: u64,
    /// Since when it is as it is.
    since: Instant,
    /// Whether this node was a part of the cluster once.
    has_joined: bool,
    /// The last that went wrong since it went well, in the order of [`Part`].
    faults: [Option<String>; 2],
}

/// What may go wrong by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The connection, and the place of this node among the others.
    Place,
    /// The writing of events.
    Events,
}

impl Health {
    pub(super) fn new() -> Self {
        let inner =
            Inner { n_connections: 0, since: Instant::now(), has_joined: false, faults: [None, None] };
        Self { inner: Mutex::new(inner), connection: watch::Sender::new(0) }
    }

    pub(super) fn connected(&self) {
        let mut inner = self.inner.lock();
        inner.n_connections += 1;
        inner.since = Instant::now();
        inner.faults[Part::Place as usize] = None;
        self.connection.send_replace(inner.n_connections);
    }

    pub(super) fn disconnected(&self) {
        let mut inner = self.inner.lock();
        if self.connection.send_replace(0) != 0 {
            inner.since = Instant::now();
        }
    }

    /// Something went wrong. Whether that is new.
    pub(super) fn failed(&self, part: Part, fault: &str) -> bool {
        let mut inner = self.inner.lock();
        let before = inner.faults[part as usize].replace(fault.to_owned());
        before.as_deref() != Some(fault)
    }

    /// It goes well. A node whose place is well is a part of the cluster.
    pub(super) fn well(&self, part: Part) {
        let mut inner = self.inner.lock();
        inner.has_joined |= part == Part::Place;
        inner.faults[part as usize] = None;
    }

    /// A receiver of the number of the connection, 0 while there is none.
    pub(super) fn connection(&self) -> watch::Receiver<u64> {
        self.connection.subscribe()
    }

    pub(super) fn is_connected(&self) -> bool {
        *self.connection.borrow() != 0
    }

    /// How long NATS is away, if it is.
    pub(super) fn away_for(&self) -> Option<Duration> {
        let inner = self.inner.lock();
        (!self.is_connected()).then(|| inner.since.elapsed())
    }

    /// What keeps the node from being a part of the cluster, if it never was.
    ///
    /// # Errors
    /// What is wrong.
    pub(super) fn must_have_joined(&self) -> Result<(), String> {
        let inner = self.inner.lock();
        if inner.has_joined {
            return Ok(());
        }
        let reason = inner.fault().unwrap_or("NATS does not answer");
        Err(format!("this node has not joined its cluster: {reason}"))
    }

    /// What people should know of a node that was a part of the cluster; none if all is well.
    pub(super) fn remark(&self) -> Option<String> {
        let inner = self.inner.lock();
        if !self.is_connected() {
            let away_s = inner.since.elapsed().as_secs();
            let reason = inner.fault().map(|fault| format!(" ({fault})")).unwrap_or_default();
            return Some(format!(
                "cluster: NATS is away since {away_s} s{reason}; sessions of this node go on"
            ));
        }
        inner.fault().map(|fault| format!("cluster: {fault}; sessions of this node go on"))
    }
}

impl Inner {
    fn fault(&self) -> Option<&str> {
        self.faults.iter().flatten().next().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_ready_once_it_was_there_and_says_what_is_wrong_later() {
        let health = Health::new();
        let failed = || health.failed(Part::Place, "connection refused");
        assert!(failed() && !failed());
        assert!(health.must_have_joined().unwrap_err().contains("connection refused"));
        health.connected();
        assert!(health.must_have_joined().is_err() && health.is_connected());
        health.well(Part::Place);
        assert_eq!((health.must_have_joined(), health.remark(), health.away_for()), (Ok(()), None, None));
        health.disconnected();
        assert!(health.remark().unwrap().starts_with("cluster: NATS is away since 0 s;"));
        assert!(health.must_have_joined().is_ok() && health.away_for().is_some());
        health.connected();
        assert!(health.failed(Part::Events, "the disk is full"));
        health.well(Part::Place);
        assert!(health.remark().unwrap().contains("the disk is full"));
        health.well(Part::Events);
        assert_eq!(health.remark(), None);
    }
}
