//! A network that fails on demand: a TCP proxy that cuts, delays, forgets and freezes connections, and delivers late; and a
//! balancer over several servers.
//!
//! For tests: it panics where the system gives no port, socket or thread.

mod balancer;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

pub use balancer::{Backends, Balancer, Choice};

/// Most bytes that are on their way at once.
const PIECE: usize = 16_384;

/// What becomes of one connection.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fate {
    /// Bytes that the client sends before the connection ends.
    pub up: Option<usize>,
    /// Bytes that the server sends before the connection ends.
    pub down: Option<usize>,
    /// How it ends after one of these.
    pub end: End,
    /// Largest piece in which bytes come, if they are cut up.
    pub piece: Option<usize>,
    /// How long each piece is on its way.
    pub delay: Duration,
    /// Age at which both ends lose the connection; one that ended before does not count as cut.
    pub lasts: Option<Duration>,
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, Default)]
pub enum End {
    /// Both ends learn of it.
    #[default]
    Cut,
    /// The client learns of it. To the server it goes on in silence.
    Forgotten,
    /// The client learns of it. What it had sent arrives so much later, when it may be there on another connection.
    Late(Duration),
}

/// A proxy on a port of its own, and the connections through it. Dropping it cuts them.
#[derive(Debug)]
pub struct Proxy {
    /// Where clients connect.
    pub addr: SocketAddr,
    /// Connections that it has cut.
    pub n_cut: Arc<AtomicUsize>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
    frozen: Arc<AtomicBool>,
    stopped: Arc<AtomicBool>,
}

impl Proxy {
    /// A network that works until [`Self::cut`].
    #[must_use]
    pub fn to(upstream: SocketAddr) -> Self {
        Self::with(upstream, [])
    }

    /// A network that cuts its first connection when the client has sent the first number of bytes over it, the next
    /// one after the next number, and works when there are no more.
    #[must_use]
    pub fn cutting(upstream: SocketAddr, budgets: Vec<usize>) -> Self {
        let fates = budgets.into_iter().map(|n| Fate { up: Some(n), ..Fate::default() });
        Self::with(upstream, fates)
    }

    /// A network whose connections have these fates, one after the other, and which works when there are no more.
    #[must_use]
    pub fn with(
        upstream: SocketAddr,
        fates: impl IntoIterator<Item = Fate, IntoIter: Send + 'static>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self {
            addr: listener.local_addr().unwrap(),
            n_cut: Arc::default(),
            streams: Arc::default(),
            frozen: Arc::default(),
            stopped: Arc::default(),
        };
        let (streams, n_cut) = (Arc::clone(&proxy.streams), Arc::clone(&proxy.n_cut));
        let (frozen, stopped) = (Arc::clone(&proxy.frozen), Arc::clone(&proxy.stopped));
        let mut fates = fates.into_iter();
        std::thread::spawn(move || {
            for near in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                let Ok(near) = near else { continue };
                let Ok(far) = TcpStream::connect(upstream) else { continue };
                let fate = fates.next().unwrap_or_default();
                let link = Arc::new(Link {
                    near: near.try_clone().unwrap(),
                    far: far.try_clone().unwrap(),
                    fate,
                    over: AtomicBool::new(false),
                    n_cut: Arc::clone(&n_cut),
                    frozen: Arc::clone(&frozen),
                    stopped: Arc::clone(&stopped),
                });
                for is_up in [true, false] {
                    let link = Arc::clone(&link);
                    std::thread::spawn(move || link.forward(is_up));
                }
                match fate.lasts {
                    Some(lasts) => drop(std::thread::spawn(move || link.expire(lasts))),
                    // Kept, so that what is forgotten stays open.
                    None => streams.lock().extend([near, far]),
                }
            }
        });
        proxy
    }

    /// Cuts every connection that there is.
    pub fn cut(&self) {
        for stream in self.streams.lock().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// From now on nothing passes on the existing connections, and neither end is notified.
    pub fn freeze(&self) {
        self.frozen.store(true, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.cut();
        // Wakes the thread that waits for the next connection.
        drop(TcpStream::connect(self.addr));
    }
}

/// One connection: the client's half, the server's half.
struct Link {
    near: TcpStream,
    far: TcpStream,
    fate: Fate,
    over: AtomicBool,
    n_cut: Arc<AtomicUsize>,
    frozen: Arc<AtomicBool>,
    stopped: Arc<AtomicBool>,
}

impl Link {
    /// Carries one direction until it ends.
    fn forward(&self, is_up: bool) {
        let (mut from, mut to, budget) = match is_up {
            true => (&self.near, &self.far, self.fate.up),
            false => (&self.far, &self.near, self.fate.down),
        };
        let mut left = budget.unwrap_or(usize::MAX);
        let mut bytes = [0; PIECE];
        let piece = self.fate.piece.unwrap_or(PIECE).clamp(1, PIECE);
        while let Ok(n @ 1..) = from.read(&mut bytes[..piece]) {
            while self.frozen.load(Ordering::SeqCst) && !self.stopped.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(5));
            }
            std::thread::sleep(self.fate.delay);
            if self.over.load(Ordering::SeqCst) {
                return;
            }
            if to.write_all(&bytes[..n.min(left)]).is_err() {
                break;
            }
            if n >= left {
                return self.end(if is_up { &bytes[left..n] } else { &[] });
            }
            left -= if budget.is_some() { n } else { 0 };
        }
        if !self.over.load(Ordering::SeqCst) {
            let _ = to.shutdown(Shutdown::Both);
        }
    }

    /// Cuts the connection at its age, if it is still there.
    fn expire(&self, lasts: Duration) {
        std::thread::sleep(lasts);
        if self.near.shutdown(Shutdown::Both).is_ok() {
            self.n_cut.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Ends the connection as its fate has it; `rest` was sent by the client and has not been delivered.
    fn end(&self, rest: &[u8]) {
        if self.over.swap(true, Ordering::SeqCst) {
            return;
        }
        self.n_cut.fetch_add(1, Ordering::SeqCst);
        let _ = self.near.shutdown(Shutdown::Both);
        match self.fate.end {
            End::Forgotten => return,
            End::Cut => {}
            End::Late(by) => {
                std::thread::sleep(by);
                // The server may have closed this connection meanwhile.
                let _ = (&self.far).write_all(rest);
            }
        }
        let _ = self.far.shutdown(Shutdown::Both);
    }
}
