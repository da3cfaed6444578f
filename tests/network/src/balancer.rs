//! A balancer: every connection goes to one of several servers that answer `GET /healthz`.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

/// Time between two looks at a server, and the longest wait for its answer.
const LOOK_EVERY: Duration = Duration::from_millis(250);
const PATIENCE: Duration = Duration::from_secs(1);

/// The servers, and whether each of them answers.
#[derive(Debug)]
pub struct Backends {
    servers: Vec<SocketAddr>,
    is_healthy: Vec<AtomicBool>,
    next: AtomicUsize,
}

/// Which server gets a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// The next one in turn.
    InTurn,
    /// This one by its number, and the next one in turn while it does not answer.
    Rather(usize),
}

impl Backends {
    /// Looks at these servers from now on, until nobody holds the value any more.
    #[must_use]
    pub fn new(servers: &[SocketAddr]) -> Arc<Self> {
        let healthy = servers.iter().map(|_| AtomicBool::new(false)).collect();
        let backends =
            Arc::new(Self { servers: servers.to_owned(), is_healthy: healthy, next: AtomicUsize::new(0) });
        for (idx, server) in servers.iter().copied().enumerate() {
            let backends = Arc::downgrade(&backends);
            std::thread::spawn(move || {
                loop {
                    let is_there = is_healthy(server);
                    let Some(backends) = backends.upgrade() else { return };
                    backends.is_healthy[idx].store(is_there, Ordering::SeqCst);
                    drop(backends);
                    std::thread::sleep(LOOK_EVERY);
                }
            });
        }
        backends
    }

    /// Addresses of the servers that answer, with their numbers.
    #[must_use]
    pub fn healthy(&self) -> Vec<(usize, SocketAddr)> {
        let all = self.servers.iter().copied().enumerate();
        all.filter(|(idx, _)| self.is_healthy[*idx].load(Ordering::SeqCst)).collect()
    }

    /// A connection to one of them.
    fn connect(&self, choice: Choice) -> Option<(usize, TcpStream)> {
        let mut healthy = self.healthy();
        if !healthy.is_empty() {
            let n_turned = self.next.fetch_add(1, Ordering::SeqCst) % healthy.len();
            healthy.rotate_left(n_turned);
        }
        if let Choice::Rather(wanted) = choice {
            healthy.sort_by_key(|(idx, _)| *idx != wanted);
        }
        let mut connections = healthy.into_iter().filter_map(|(idx, server)| {
            TcpStream::connect_timeout(&server, PATIENCE).ok().map(|stream| (idx, stream))
        });
        connections.next()
    }
}

fn is_healthy(server: SocketAddr) -> bool {
    let ask = || {
        let mut tcp = TcpStream::connect_timeout(&server, PATIENCE)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        write!(tcp, "GET /healthz HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n")?;
        let mut head = [0; 12];
        tcp.read_exact(&mut head)?;
        Ok::<_, std::io::Error>(head)
    };
    ask().is_ok_and(|head| head == *b"HTTP/1.1 200")
}

/// A balancer on a port of its own. Dropping it ends its connections.
#[derive(Debug)]
pub struct Balancer {
    /// Where clients connect.
    pub addr: SocketAddr,
    chosen: Arc<AtomicUsize>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
    stopped: Arc<AtomicBool>,
}

impl Balancer {
    /// Balances over these servers.
    #[must_use]
    pub fn over(backends: &Arc<Backends>, choice: Choice) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let balancer = Self {
            addr: listener.local_addr().unwrap(),
            chosen: Arc::new(AtomicUsize::new(usize::MAX)),
            streams: Arc::default(),
            stopped: Arc::default(),
        };
        let (backends, chosen) = (Arc::clone(backends), Arc::clone(&balancer.chosen));
        let (streams, stopped) = (Arc::clone(&balancer.streams), Arc::clone(&balancer.stopped));
        std::thread::spawn(move || {
            for near in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                let Ok(near) = near else { continue };
                // Without a server the client's connection is closed here.
                let Some((idx, far)) = backends.connect(choice) else { continue };
                chosen.store(idx, Ordering::SeqCst);
                let mut streams = streams.lock();
                streams.retain(|stream: &TcpStream| stream.peer_addr().is_ok());
                streams.extend([&near, &far].map(|stream| stream.try_clone().unwrap()));
                let (to_near, from_far) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                std::thread::spawn(move || carry(near, far));
                std::thread::spawn(move || carry(from_far, to_near));
            }
        });
        balancer
    }

    /// Number of the server that got the last connection, if one did.
    #[must_use]
    pub fn chosen(&self) -> Option<usize> {
        Some(self.chosen.load(Ordering::SeqCst)).filter(|idx| *idx != usize::MAX)
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        for stream in self.streams.lock().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        // Wakes the thread that waits for the next connection.
        drop(TcpStream::connect(self.addr));
    }
}

/// Carries one direction until it ends; then the other side learns of it.
fn carry(mut from: TcpStream, mut to: TcpStream) {
    let _ = from.set_nodelay(true);
    let outcome = std::io::copy(&mut from, &mut to);
    // A server that was killed must not look like one that has said all to the side that only writes.
    let how = if outcome.is_ok() { Shutdown::Write } else { Shutdown::Both };
    let _ = to.shutdown(how);
}
