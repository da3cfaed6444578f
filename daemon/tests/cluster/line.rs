//! The line between a node and NATS: a proxy that stops forwarding for a while, as a network that falls apart.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::nats::Nats;

/// Time between two looks at what stops the line.
const LOOK: Duration = Duration::from_millis(5);

/// A TCP proxy on a free port. Its threads end with the process.
pub(crate) struct Line {
    addr: SocketAddr,
    is_cut: Arc<AtomicBool>,
}

impl Line {
    /// A line to this server.
    pub(crate) fn to(nats: &Nats) -> Self {
        let server = nats.url().strip_prefix("nats://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (addr, is_cut) = (listener.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
        let cut = Arc::clone(&is_cut);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // Who connects while the line is cut waits, as for a machine that does not answer.
                let Ok(server) = TcpStream::connect(&server) else { continue };
                let (from_client, to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                for (from, to) in [(from_client, to_server), (server, client)] {
                    let cut = Arc::clone(&cut);
                    std::thread::spawn(move || pass(from, to, &cut));
                }
            }
        });
        Self { addr, is_cut }
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://{}", self.addr)
    }

    /// Forwards nothing from now on. No connection is closed.
    pub(crate) fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
    }

    /// Goes on, with what came meanwhile.
    pub(crate) fn heal(&self) {
        self.is_cut.store(false, Ordering::SeqCst);
    }
}

/// Passes bytes on until one side closes.
fn pass(mut from: TcpStream, mut to: TcpStream, cut: &AtomicBool) {
    from.set_read_timeout(Some(LOOK)).unwrap();
    let mut block = [0; 16 << 10];
    loop {
        let n = match from.read(&mut block) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
            Err(_) => break,
        };
        while cut.load(Ordering::SeqCst) {
            std::thread::sleep(LOOK);
        }
        if to.write_all(&block[..n]).is_err() {
            break;
        }
    }
    // The other direction ends, too.
    let _ = from.shutdown(std::net::Shutdown::Both);
    let _ = to.shutdown(std::net::Shutdown::Both);
}
