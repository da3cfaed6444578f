//! The log of refused requests. An address that sends many gets a line now and then with the number of those left out, so that
//! nobody can fill a disk or hide the attempts of others.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::places::Block;
use crate::rate::Rate;

/// Lines in a second that one block of addresses gets, and at once after a rest.
const OF_BLOCK: (u32, u32) = (1, 20);
/// The same for all blocks together.
const OF_ALL: (u32, u32) = (50, 500);
/// Blocks that are counted on their own. Those beyond share one count.
const MAX_BLOCKS: usize = 1000;

/// What was logged lately, by block of addresses. Shared by all handlers; never waits.
#[derive(Debug)]
pub(super) struct Refusals {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    all: Rate,
    blocks: HashMap<Block, Count>,
    /// Blocks for which there was no room.
    others: Count,
}

#[derive(Debug)]
struct Count {
    rate: Rate,
    n_left_out: u64,
}

impl Count {
    fn new() -> Self {
        Self { rate: rate(OF_BLOCK), n_left_out: 0 }
    }
}

impl Refusals {
    pub(super) fn new() -> Self {
        let inner = Inner { all: rate(OF_ALL), blocks: HashMap::new(), others: Count::new() };
        Self { inner: Mutex::new(inner) }
    }

    /// Whether a refusal of a request from `peer` gets a line now: with the number of refusals of its addresses since the last
    /// line that got none.
    pub(super) fn line(&self, peer: &str) -> Option<u64> {
        let addr = peer.parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        self.inner.lock().line(addr.into(), Instant::now())
    }
}

impl Inner {
    fn line(&mut self, block: Block, now: Instant) -> Option<u64> {
        if !self.blocks.contains_key(&block) && self.blocks.len() >= MAX_BLOCKS {
            self.blocks.retain(|_, count| count.n_left_out > 0 || !count.rate.is_full(now));
        }
        let has_room = self.blocks.len() < MAX_BLOCKS || self.blocks.contains_key(&block);
        let count =
            if has_room { self.blocks.entry(block).or_insert_with(Count::new) } else { &mut self.others };
        if count.rate.takes_one_more(now) && self.all.takes_one_more(now) {
            Some(std::mem::take(&mut count.n_left_out))
        } else {
            count.n_left_out += 1;
            None
        }
    }
}

fn rate((per_s, at_once): (u32, u32)) -> Rate {
    Rate::new(per_s, at_once)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn inner() -> Inner {
        Refusals::new().inner.into_inner()
    }

    fn block(n: u32) -> Block {
        IpAddr::V4(Ipv4Addr::from_bits(n)).into()
    }

    #[test]
    fn a_flood_gets_few_lines_and_none_is_lost_from_the_count() {
        let mut inner = inner();
        let now = Instant::now();
        let lines: Vec<_> = (0..1000).filter_map(|_| inner.line(block(1), now)).collect();
        assert_eq!(lines, vec![0; 20]);
        assert_eq!(inner.line(block(2), now), Some(0), "another address has lines of its own");
        assert_eq!(inner.line(block(1), now + Duration::from_secs(1)), Some(980));
        assert_eq!(inner.line(block(1), now + Duration::from_secs(60)), Some(0));
    }

    #[test]
    fn many_addresses_share_the_lines_and_the_memory_is_bounded() {
        let mut inner = inner();
        let now = Instant::now();
        let n_lines = (0..5000).filter_map(|n| inner.line(block(n), now)).count();
        assert_eq!(n_lines, 500);
        assert_eq!(inner.blocks.len(), MAX_BLOCKS);
        // Those without a line stay in the count of their address, or in that of all others.
        let left_out =
            inner.blocks.values().map(|count| count.n_left_out).sum::<u64>() + inner.others.n_left_out;
        assert_eq!(left_out, 4500);
    }

    #[test]
    fn addresses_that_rest_make_room() {
        let mut inner = inner();
        let now = Instant::now();
        for n in 0..400 {
            inner.line(block(n), now);
        }
        let later = now + Duration::from_secs(3600);
        for n in 1000..2000 {
            inner.line(block(n), later);
        }
        assert_eq!(inner.others.n_left_out, 0);
        assert!(inner.blocks.contains_key(&block(1999)));
    }
}
