//! A network that fails on demand: a TCP proxy that cuts and freezes connections.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;

/// A proxy on a port of its own, and the connections through it.
pub(crate) struct Proxy {
    pub(crate) addr: SocketAddr,
    pub(crate) n_cut: Arc<AtomicUsize>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
    frozen: Arc<AtomicBool>,
}

impl Proxy {
    /// A network that works until [`Self::cut`].
    pub(crate) fn to(upstream: SocketAddr) -> Self {
        Self::cutting(upstream, Vec::new())
    }

    /// A network that cuts its first connection when the client has sent the first number of bytes over it, the next
    /// one after the next number, and works when there are no more.
    pub(crate) fn cutting(upstream: SocketAddr, budgets: Vec<usize>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self {
            addr: listener.local_addr().unwrap(),
            n_cut: Arc::default(),
            streams: Arc::default(),
            frozen: Arc::default(),
        };
        let (streams, n_cut, frozen) =
            (Arc::clone(&proxy.streams), Arc::clone(&proxy.n_cut), Arc::clone(&proxy.frozen));
        let mut budgets = VecDeque::from(budgets);
        std::thread::spawn(move || {
            for near in listener.incoming() {
                let near = near.unwrap();
                let Ok(far) = TcpStream::connect(upstream) else { continue };
                let budget = budgets.pop_front();
                for (from, to, budget) in [(&near, &far, budget), (&far, &near, None)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let (n_cut, frozen) = (Arc::clone(&n_cut), Arc::clone(&frozen));
                    std::thread::spawn(move || forward(from, to, budget, &n_cut, &frozen));
                }
                streams.lock().extend([near, far]);
            }
        });
        proxy
    }

    /// Cuts every connection that there is.
    pub(crate) fn cut(&self) {
        for stream in self.streams.lock().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// From now on nothing passes on the connections that there are, and nobody is told.
    pub(crate) fn freeze(&self) {
        self.frozen.store(true, Ordering::SeqCst);
    }
}

fn forward(
    mut from: TcpStream,
    mut to: TcpStream,
    budget: Option<usize>,
    n_cut: &AtomicUsize,
    frozen: &AtomicBool,
) {
    let mut left = budget.unwrap_or(usize::MAX);
    let mut bytes = [0; 4096];
    while let Ok(n @ 1..) = from.read(&mut bytes) {
        while frozen.load(Ordering::SeqCst) {
            std::thread::park();
        }
        if to.write_all(&bytes[..n.min(left)]).is_err() {
            break;
        }
        if n >= left {
            n_cut.fetch_add(1, Ordering::SeqCst);
            let _ = from.shutdown(Shutdown::Both);
            break;
        }
        left -= if budget.is_some() { n } else { 0 };
    }
    let _ = to.shutdown(Shutdown::Both);
}
