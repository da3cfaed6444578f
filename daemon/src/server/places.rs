//! Who holds a connection: peers that were let in, up to a limit, and beside them a waiting room for those who have not
//! said yet who they are, in which the oldest goes when it is full.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::limits::Limits;

/// Places of the waiting room at least.
const MIN_WAITING: usize = 64;
/// Sockets beyond all places: those that are being closed.
const CLOSING: usize = 16;

/// The addresses that one peer has at hand: one of IPv4, a /64 of IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Block(u64);

impl From<IpAddr> for Block {
    fn from(addr: IpAddr) -> Self {
        match addr.to_canonical() {
            // No /64 of global addresses begins with sixteen zero bits.
            IpAddr::V4(addr) => Self(u64::from(addr.to_bits())),
            IpAddr::V6(addr) => Self((addr.to_bits() >> 64) as u64 | 1 << 63),
        }
    }
}

/// Why a peer is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Full {
    #[error("the limit of {max} open connections is reached (server.max_connections); try again later")]
    Server { max: usize },
    #[error(
        "the limit of {max} connections of your address is reached (server.max_connections_per_address); close some"
    )]
    Address { max: usize },
}

/// All connections of a server.
#[derive(Debug)]
pub(super) struct Places {
    /// Connections that are let in: in all, and of one block of addresses.
    max: usize,
    max_of_block: usize,
    /// Connections that wait: in all, and of one block of addresses.
    max_waiting: usize,
    max_waiting_of_block: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// By number; the numbers grow.
    peers: BTreeMap<u64, Peer>,
    /// Connections that are let in, by their addresses.
    let_in: HashMap<Block, usize>,
    n_let_in: usize,
    n_shed: u64,
    /// Grows with every change; orders connections by waiting time.
    clock: u64,
}

#[derive(Debug)]
struct Peer {
    block: Block,
    /// Requests that are under way and were let in.
    n_let_in: usize,
    /// Whether any was.
    is_known: bool,
    /// When it began to wait.
    since: u64,
    /// Closes the connection.
    leave: Option<oneshot::Sender<()>>,
}

impl Places {
    pub(super) fn new(limits: &Limits) -> Arc<Self> {
        let max_waiting = (limits.max_connections / 2).max(MIN_WAITING);
        Arc::new(Self {
            max: limits.max_connections,
            max_of_block: limits.max_connections_per_address,
            max_waiting,
            max_waiting_of_block: max_waiting / 2,
            inner: Mutex::default(),
        })
    }

    /// Sockets that may be open at once, those that are being closed included.
    pub(super) fn n_sockets(&self) -> usize {
        self.max + self.max_waiting + CLOSING
    }

    /// Connections that were closed to make room for others.
    pub(super) fn n_shed(&self) -> u64 {
        self.inner.lock().n_shed
    }

    /// A place in the waiting room. A full room closes the connection that has waited longest: of the same addresses, if those
    /// hold half of it. Who was let in before stays longer.
    pub(super) fn enter(self: &Arc<Self>, addr: IpAddr) -> (Place, oneshot::Receiver<()>) {
        let block = Block::from(addr);
        let (leave, left) = oneshot::channel();
        let mut inner = self.inner.lock();
        if inner.n_waiting(Some(block)) >= self.max_waiting_of_block {
            inner.shed(Some(block));
        } else if inner.n_waiting(None) >= self.max_waiting {
            inner.shed(None);
        }
        let number = inner.tick();
        let peer = Peer { block, n_let_in: 0, is_known: false, since: number, leave: Some(leave) };
        inner.peers.insert(number, peer);
        (Place { peer: PeerHandle { places: Arc::clone(self), number, addr: addr.to_canonical() } }, left)
    }
}

impl Inner {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn waiting(&self, block: Option<Block>) -> impl Iterator<Item = (u64, &Peer)> {
        let waits = move |peer: &Peer| {
            peer.n_let_in == 0 && peer.leave.is_some() && block.is_none_or(|block| peer.block == block)
        };
        self.peers.iter().filter(move |(_, peer)| waits(peer)).map(|(number, peer)| (*number, peer))
    }

    fn n_waiting(&self, block: Option<Block>) -> usize {
        self.waiting(block).count()
    }

    fn shed(&mut self, block: Option<Block>) {
        let oldest = self.waiting(block).min_by_key(|(_, peer)| (peer.is_known, peer.since));
        let Some(number) = oldest.map(|(number, _)| number) else { return };
        if let Some(leave) = self.peers.get_mut(&number).and_then(|peer| peer.leave.take()) {
            self.n_shed += 1;
            // A connection that has just closed by itself needs no word.
            let _ = leave.send(());
        }
    }
}

/// One connection's place, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    peer: PeerHandle,
}

impl Place {
    /// What the requests of this connection carry.
    pub(super) fn peer(&self) -> PeerHandle {
        self.peer.clone()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inner = self.peer.places.inner.lock();
        if let Some(peer) = inner.peers.remove(&self.peer.number)
            && peer.n_let_in > 0
        {
            inner.leave(peer.block);
        }
    }
}

impl Inner {
    fn leave(&mut self, block: Block) {
        self.n_let_in -= 1;
        if let Some(n) = self.let_in.get_mut(&block) {
            *n -= 1;
            if *n == 0 {
                self.let_in.remove(&block);
            }
        }
    }
}

/// Names a connection to those who answer its requests.
#[derive(Debug, Clone)]
pub(super) struct PeerHandle {
    places: Arc<Places>,
    number: u64,
    addr: IpAddr,
}

impl PeerHandle {
    /// The address that the connection comes from.
    pub(super) fn addr(&self) -> IpAddr {
        self.addr
    }

    /// Takes the connection out of the waiting room until what is returned is dropped.
    ///
    /// # Errors
    /// [`Full`] if as many are let in as may be; the connection goes on waiting.
    pub(super) fn let_in(&self) -> Result<LetIn, Full> {
        let places = &self.places;
        let mut inner = places.inner.lock();
        let inner = &mut *inner;
        let Some(peer) = inner.peers.get_mut(&self.number) else { return Ok(LetIn { peer: None }) };
        if peer.n_let_in == 0 {
            let n_of_block = inner.let_in.entry(peer.block).or_default();
            if *n_of_block >= places.max_of_block {
                return Err(Full::Address { max: places.max_of_block });
            }
            if inner.n_let_in >= places.max {
                if *n_of_block == 0 {
                    inner.let_in.remove(&peer.block);
                }
                return Err(Full::Server { max: places.max });
            }
            *n_of_block += 1;
            inner.n_let_in += 1;
        }
        peer.n_let_in += 1;
        peer.is_known = true;
        Ok(LetIn { peer: Some(self.clone()) })
    }
}

/// A connection is let in while this lives.
#[derive(Debug)]
pub(super) struct LetIn {
    peer: Option<PeerHandle>,
}

impl Drop for LetIn {
    fn drop(&mut self) {
        let Some(PeerHandle { places, number, .. }) = self.peer.take() else { return };
        let mut inner = places.inner.lock();
        let now = inner.tick();
        let Some(peer) = inner.peers.get_mut(&number) else { return };
        peer.n_let_in -= 1;
        peer.since = now;
        let (is_over, block) = (peer.n_let_in == 0, peer.block);
        if is_over {
            inner.leave(block);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(max_connections: usize, max_connections_per_address: usize) -> Arc<Places> {
        Places::new(&Limits { max_connections, max_connections_per_address, ..Limits::default() })
    }

    fn addr(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_block_is_an_address_of_ipv4_and_a_64_of_ipv6() {
        let block = |text| Block::from(addr(text));
        assert_eq!(block("192.0.2.1"), block("::ffff:192.0.2.1"));
        assert_ne!(block("192.0.2.1"), block("192.0.2.2"));
        assert_eq!(block("2001:db8:0:1::1"), block("2001:db8:0:1:ffff::2"));
        assert_ne!(block("2001:db8:0:1::1"), block("2001:db8:0:2::1"));
        assert_ne!(block("0.0.0.0"), block("::1"));
    }

    #[test]
    fn the_oldest_stranger_leaves_first_and_those_let_in_never() {
        let places = places(200, 200);
        assert_eq!((places.max_waiting, places.max_waiting_of_block), (100, 50));
        let (mut all, mut left) = (Vec::new(), Vec::new());
        let mut enter = |n: usize| {
            let (place, leaves) = places.enter(addr(&format!("192.0.2.{n}")));
            all.push(place);
            left.push(leaves);
        };
        (0..100).for_each(&mut enter);
        let (first, second) = (all[0].peer(), all[1].peer());
        let let_in = first.let_in().unwrap();
        drop(second.let_in().unwrap());
        // One has left the waiting room, so one more has room in it; those after it do not.
        let mut enter = |n: usize| {
            let (place, leaves) = places.enter(addr(&format!("192.0.2.{n}")));
            all.push(place);
            left.push(leaves);
        };
        enter(100);
        assert_eq!(places.n_shed(), 0);
        enter(101);
        enter(102);
        let gone: Vec<_> = (0..left.len()).filter(|n| left[*n].try_recv().is_ok()).collect();
        assert_eq!((gone, places.n_shed()), (vec![2, 3], 2), "neither who is in nor who was");
        drop(let_in);
        drop(all);
        let inner = places.inner.lock();
        assert!(inner.peers.is_empty() && inner.let_in.is_empty() && inner.n_let_in == 0);
    }

    #[test]
    fn one_block_of_addresses_sheds_its_own() {
        let places = places(200, 2);
        let other = places.enter(addr("192.0.2.1"));
        let mut crowd: Vec<_> = (0..60).map(|n| places.enter(addr(&format!("2001:db8::{n}")))).collect();
        let mut other_left = other.1;
        assert!(other_left.try_recv().is_err(), "it is older than all of the crowd");
        assert_eq!(crowd.iter_mut().filter_map(|(_, left)| left.try_recv().ok()).count(), 10);
        let of = |n: usize| crowd[n].0.peer();
        let _in = (of(50).let_in().unwrap(), of(51).let_in().unwrap());
        assert_eq!(of(52).let_in().unwrap_err(), Full::Address { max: 2 });
        assert!(of(51).let_in().is_ok(), "another request of a connection that is in");
        assert!(other.0.peer().let_in().is_ok());
    }

    #[test]
    fn no_more_are_let_in_than_may_be() {
        let places = places(2, 9);
        let all: Vec<_> = (0..3).map(|n| places.enter(addr(&format!("192.0.2.{n}")))).collect();
        let first = all[0].0.peer().let_in().unwrap();
        let _second = all[1].0.peer().let_in().unwrap();
        assert_eq!(all[2].0.peer().let_in().unwrap_err(), Full::Server { max: 2 });
        drop(first);
        assert!(all[2].0.peer().let_in().is_ok());
    }
}
