//! A network that loses every connection after a while, so that streams are taken up again and again.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How long a connection holds, at least; the next one holds a second longer, up to twice as long.
const HOLDS_S: u64 = 20;

/// Its port, and how many connections it has broken. Its threads live as long as the process.
#[derive(Debug)]
pub(super) struct Network {
    /// Where clients connect.
    pub(super) addr: SocketAddr,
    n_cut: Arc<AtomicUsize>,
}

impl Network {
    /// A network before the server at `upstream`.
    ///
    /// # Errors
    /// There is no port.
    pub(super) fn before(upstream: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let network = Self { addr: listener.local_addr()?, n_cut: Arc::default() };
        let n_cut = Arc::clone(&network.n_cut);
        std::thread::Builder::new().name("network".to_owned()).spawn(move || {
            for (idx, near) in (0_u64..).zip(listener.incoming().flatten()) {
                let Ok(far) = TcpStream::connect(upstream) else { continue };
                let holds = Duration::from_secs(HOLDS_S + idx % HOLDS_S);
                // A connection that cannot be carried is one more that breaks.
                let _ = carry(near, far, holds, Arc::clone(&n_cut));
            }
        })?;
        Ok(network)
    }

    /// Connections that it has broken.
    pub(super) fn n_cut(&self) -> usize {
        self.n_cut.load(Ordering::Relaxed)
    }
}

fn carry(near: TcpStream, far: TcpStream, holds: Duration, n_cut: Arc<AtomicUsize>) -> std::io::Result<()> {
    for (mut from, mut to) in [(near.try_clone()?, far.try_clone()?), (far, near.try_clone()?)] {
        std::thread::Builder::new().name("carry".to_owned()).spawn(move || {
            let mut bytes = [0; 8192];
            while let Ok(n @ 1..) = from.read(&mut bytes) {
                if to.write_all(&bytes[..n]).is_err() {
                    break;
                }
            }
            let _ = to.shutdown(Shutdown::Both);
        })?;
    }
    std::thread::Builder::new().name("cut".to_owned()).spawn(move || {
        std::thread::sleep(holds);
        // One that has ended by itself cannot be broken.
        if near.shutdown(Shutdown::Both).is_ok() {
            n_cut.fetch_add(1, Ordering::Relaxed);
        }
    })?;
    Ok(())
}
