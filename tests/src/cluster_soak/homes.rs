//! At which node each session was, and when, as the nodes list it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;

use super::http::get;
use super::place::Shared;

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Since when each session is at which node: times in seconds after the beginning, rising.
#[derive(Debug, Clone, Default)]
pub struct Homes(BTreeMap<String, Vec<(f64, usize)>>);

impl Homes {
    /// A session was seen at a node.
    pub fn saw(&mut self, session: &str, at_s: f64, node: usize) {
        let moves = self.0.entry(session.to_owned()).or_default();
        if moves.last().is_none_or(|(_, last)| *last != node) {
            moves.push((at_s, node));
        }
    }

    /// The node of a session at a time. The first one counts from the beginning.
    #[must_use]
    pub fn at(&self, session: &str, at_s: f64) -> Option<usize> {
        let moves = self.0.get(session)?;
        let before = moves.iter().rev().find(|(since_s, _)| *since_s <= at_s);
        before.or(moves.first()).map(|(_, node)| *node)
    }

    /// Every move to another node, in words.
    #[must_use]
    pub fn moves(&self) -> Vec<String> {
        let of_session = |(session, moves): (&String, &Vec<(f64, usize)>)| {
            let pairs = moves.iter().zip(moves.iter().skip(1));
            let line = |(from, to): (&(f64, usize), &(f64, usize))| {
                format!("{session}: node{} to node{}, {:.2} min", from.1 + 1, to.1 + 1, to.0 / 60.0)
            };
            pairs.map(line).collect::<Vec<_>>()
        };
        self.0.iter().flat_map(of_session).collect()
    }
}

/// Looks until the places stop.
pub(super) async fn watch(shared: Arc<Shared>, is_over: Arc<std::sync::atomic::AtomicBool>) -> Homes {
    let mut homes = Homes::default();
    while !is_over.load(Ordering::Relaxed) {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some((_, node)) = shared.backends.healthy().first().copied() else { continue };
        let Ok((200, body)) = get(node, "/v1/sessions").await else { continue };
        let Ok(listed) = serde_json::from_str::<Value>(&body) else { continue };
        let at_s = shared.now_s();
        for session in listed["sessions"].as_array().into_iter().flatten().filter(|s| s["live"] == true) {
            let node =
                session["node"].as_str().and_then(|name| name.strip_prefix("node")?.parse::<usize>().ok());
            if let (Some(id), Some(node)) = (session["session"].as_str(), node) {
                homes.saw(id, at_s, node.saturating_sub(1));
            }
        }
    }
    homes
}
