//! Accepts connections, plain or TLS, and serves HTTP on each within limits of time and size. Closes the oldest
//! unauthenticated connection when there are too many.

use std::future::Future as _;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::{http1, http2};
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::Sleep;
use tokio_rustls::server::TlsStream;

use super::limits::Limits;
use super::places::{PeerHandle, Place};
use super::shared::Shared;
use super::tls::HttpVersion;

/// Header lines in a request; more than any client sends.
const MAX_HEADERS: usize = 100;
/// Requests of one HTTP/2 connection at a time.
const MAX_STREAMS: u32 = 64;
/// Bytes that a peer may send before they are read: of a request, and of a connection.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// How long to wait when the operating system has no more file descriptors for us.
const OUT_OF_FILES: Duration = Duration::from_millis(100);

/// What is served on a port.
#[derive(Debug, Clone)]
pub(super) struct Site {
    pub(super) router: Router,
    pub(super) version: HttpVersion,
}

/// Serves on `tcp` until the hub shuts down, then sees its connections to their end. `open` has a permit for each
/// socket; places are made free before the last is taken.
pub(super) async fn serve(tcp: TcpListener, open: Arc<Semaphore>, site: Site, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    let mut down = shared.hub.shutting_down();
    loop {
        let next = async {
            let permit = Arc::clone(&open).acquire_owned().await.expect("nobody closes this semaphore");
            (tcp.accept().await, permit)
        };
        let (accepted, permit) = tokio::select! {
            next = next => next,
            // An error means that the hub is gone, which ends the serving too.
            _ = down.wait_for(|down| *down) => break,
        };
        match accepted {
            Ok((tcp, addr)) => {
                let hold = Hold::new(addr.ip(), permit, &shared);
                connections.spawn(connection(tcp, hold, site.clone(), Arc::clone(&shared)));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(OUT_OF_FILES).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
    drop(tcp);
    while connections.join_next().await.is_some() {}
}

/// What a connection holds until its socket is closed.
struct Hold {
    place: Place,
    /// Signal to leave; none after it.
    leaves: Option<oneshot::Receiver<()>>,
    _permit: OwnedSemaphorePermit,
}

impl Hold {
    fn new(addr: IpAddr, permit: OwnedSemaphorePermit, shared: &Shared) -> Self {
        let (place, leaves) = shared.places.enter(addr);
        Self { place, leaves: Some(leaves), _permit: permit }
    }

    /// Whether the connection was asked to make room for another; who asks is woken when it is.
    fn poll_shed(&mut self, cx: &mut Context<'_>) -> bool {
        if let Some(leaves) = self.leaves.as_mut()
            && Pin::new(leaves).poll(cx).is_ready()
        {
            self.leaves = None;
        }
        self.leaves.is_none()
    }

    /// Waits until the connection is asked to make room.
    async fn shed(&mut self) {
        std::future::poll_fn(|cx| if self.poll_shed(cx) { Poll::Ready(()) } else { Poll::Pending }).await;
    }
}

/// Encrypts what comes over `tcp`, if the server does; nothing if that fails, or if the peer has to make room first.
async fn encrypted(tcp: TcpStream, hold: &mut Hold, version: HttpVersion, shared: &Shared) -> Option<Stream> {
    let Some(tls) = &shared.tls else { return Some(Stream::Plain(tcp)) };
    let handshake = tokio::time::timeout(shared.limits.header, tls.acceptor(version).accept(tcp));
    let done = tokio::select! {
        done = handshake => done,
        () = hold.shed() => return None,
    };
    match done {
        Ok(Ok(stream)) => return Some(Stream::Tls(Box::new(stream))),
        Ok(Err(error)) => tracing::debug!(%error, "no TLS came about"),
        Err(_) => tracing::debug!("a TLS handshake took too long"),
    }
    None
}

async fn connection(tcp: TcpStream, mut hold: Hold, site: Site, shared: Arc<Shared>) {
    // Labels are small and late ones are worth less.
    if let Err(error) = tcp.set_nodelay(true) {
        tracing::debug!(%error, "no TCP_NODELAY");
    }
    let limits = &shared.limits;
    let Some(stream) = encrypted(tcp, &mut hold, site.version, &shared).await else { return };
    let peer = hold.place.peer();
    let io = TokioIo::new(Connection {
        stream: Some(stream),
        is_over: false,
        limits: *limits,
        stalled: None,
        hold: Some(hold),
    });
    let served = match site.version {
        HttpVersion::One => serve_http1(io, site.router, peer, &shared).await,
        HttpVersion::Two => serve_http2(io, site.router, peer, &shared).await,
    };
    if let Err(error) = served {
        tracing::debug!(%error, "an HTTP connection broke");
    }
}

type Request = hyper::Request<hyper::body::Incoming>;

async fn serve_http1(
    io: TokioIo<Connection>,
    router: Router,
    peer: PeerHandle,
    shared: &Shared,
) -> hyper::Result<()> {
    let (limits, service) = (&shared.limits, TowerToHyperService::new(router));
    let service = service_fn(move |mut request: Request| {
        request.extensions_mut().insert(peer.clone());
        service.call(request)
    });
    let mut down = shared.hub.shutting_down();
    let http = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header)
        .max_buf_size(limits.max_header_bytes)
        .max_headers(MAX_HEADERS)
        .serve_connection(io, service)
        .with_upgrades();
    let mut http = std::pin::pin!(http);
    tokio::select! {
        served = &mut http => served,
        () = async { drop(down.wait_for(|down| *down).await) } => {
            // The request that is under way is answered, and no other is taken.
            http.as_mut().graceful_shutdown();
            http.await
        }
    }
}

async fn serve_http2(
    io: TokioIo<Connection>,
    router: Router,
    peer: PeerHandle,
    shared: &Shared,
) -> hyper::Result<()> {
    let (limits, service) = (&shared.limits, TowerToHyperService::new(router));
    let asked = Arc::new(Notify::new());
    let has_asked = Arc::clone(&asked);
    let service = service_fn(move |mut request: Request| {
        has_asked.notify_one();
        request.extensions_mut().insert(peer.clone());
        service.call(request)
    });
    let mut down = shared.hub.shutting_down();
    let http = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(limits.max_header_bytes).unwrap_or(u32::MAX))
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(STREAM_WINDOW as usize)
        .keep_alive_interval(limits.ping)
        .keep_alive_timeout(2 * limits.ping)
        .serve_connection(io, service);
    let mut http = std::pin::pin!(http);
    // What comes later is watched by pings.
    let mute = async {
        if tokio::time::timeout(limits.header, asked.notified()).await.is_ok() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        served = &mut http => served,
        () = mute => Ok(()),
        () = async { drop(down.wait_for(|down| *down).await) } => {
            http.as_mut().graceful_shutdown();
            http.await
        }
    }
}

/// The bytes of a connection.
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection that gives its place back when it is dropped, which an upgraded one does when its socket closes.
struct Connection {
    /// Until it is dropped.
    stream: Option<Stream>,
    /// Nothing more comes from the peer.
    is_over: bool,
    limits: Limits,
    /// Runs out when the peer has taken nothing of what is written for too long.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Until it is dropped.
    hold: Option<Hold>,
}

/// Calls a method of whichever stream there is.
macro_rules! forward {
    ($self:ident.$method:ident($($arg:expr),*)) => {
        match $self.stream.as_mut() {
            Some(Stream::Plain(stream)) => Pin::new(stream).$method($($arg),*),
            Some(Stream::Tls(stream)) => Pin::new(stream.as_mut()).$method($($arg),*),
            None => unreachable!("only a drop takes it"),
        }
    };
}

/// Closes our half, and reads and drops for a while what the peer still sends: closed with unread data a connection is
/// reset, and the peer may lose the last message.
async fn drain(mut tcp: TcpStream, at_most: Duration) {
    let drained = async {
        tcp.shutdown().await?;
        let mut bytes = vec![0; 16 << 10];
        while tcp.read(&mut bytes).await? > 0 {}
        io::Result::Ok(())
    };
    // A peer that is gone, or sends for ever, will read nothing more.
    let _ = tokio::time::timeout(at_most, drained).await;
}

impl Drop for Connection {
    fn drop(&mut self) {
        let Some(stream) = self.stream.take().filter(|_| !self.is_over) else { return };
        let Some(mut hold) = self.hold.take().filter(|hold| hold.leaves.is_some()) else { return };
        // Without a runtime the program is ending, and the operating system closes.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let tcp = match stream {
            Stream::Plain(tcp) => tcp,
            Stream::Tls(tls) => tls.into_inner().0,
        };
        let linger = self.limits.linger;
        runtime.spawn(async move {
            tokio::select! {
                () = drain(tcp, linger) => {}
                () = hold.shed() => {}
            }
        });
    }
}

impl Connection {
    /// An error once the connection has to make room for another.
    fn or_shed(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.hold.as_mut().is_some_and(|hold| hold.poll_shed(cx)) {
            true => Err(io::ErrorKind::ConnectionAborted.into()),
            false => Ok(()),
        }
    }

    /// What became of a write, or an error once the peer has taken nothing for too long.
    fn or_stalled<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let limit = self.limits.write;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        stalled.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.or_shed(cx)?;
        let n_before = buf.filled().len();
        let read = forward!(self.poll_read(cx, buf));
        if let Poll::Ready(done) = &read {
            self.is_over = done.is_err() || (buf.filled().len() == n_before && buf.remaining() > 0);
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.or_shed(cx)?;
        let written = forward!(self.poll_write(cx, buf));
        self.or_stalled(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = forward!(self.poll_flush(cx));
        self.or_stalled(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self.poll_shutdown(cx))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.or_shed(cx)?;
        let written = forward!(self.poll_write_vectored(cx, bufs));
        self.or_stalled(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Some(Stream::Plain(stream)) => stream.is_write_vectored(),
            Some(Stream::Tls(stream)) => stream.is_write_vectored(),
            None => false,
        }
    }
}
