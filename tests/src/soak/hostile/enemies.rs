//! Hostile clients: each does one kind of harm, again and again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;

use super::good::Known;
use super::rights::{Holder, breaches};
use super::storm::{Corrections, storm};
use super::wire::Wire;

/// Longest time that one act takes.
const MAX_ACT: Duration = Duration::from_secs(90);
/// Time that something stays half open, or is not read.
const HOLD: Duration = Duration::from_secs(15);
/// Rest after an act, so that on the machine of the test everybody gets a turn.
const REST: Duration = Duration::from_millis(200);

/// What a client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Requests without a pause.
    Flood,
    /// Sockets that send half a header, or a body byte by byte.
    HalfOpen,
    /// Followers that do not read.
    SlowReader,
    /// Files that declare more than they hold; half of the uploads are given up.
    Bomb,
    /// Corrections and notes of an own session: as many messages as the server takes, or as fast as they go.
    Storm,
    /// Ids of sessions of others, with and without a token of their own.
    ReusedIds,
    /// Frames: tiny, huge, odd, and text that is none.
    Frames,
    /// Bytes that are no WebSocket.
    RawBytes,
    /// Everything that a scope does not allow.
    Rights,
}

impl Kind {
    pub(super) const ALL: [Self; 9] = [
        Self::Flood,
        Self::HalfOpen,
        Self::SlowReader,
        Self::Bomb,
        Self::Storm,
        Self::ReusedIds,
        Self::Frames,
        Self::RawBytes,
        Self::Rights,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Flood => "request floods",
            Self::HalfOpen => "half-open sockets",
            Self::SlowReader => "readers that do not read",
            Self::Bomb => "decode bombs",
            Self::Storm => "correction storms",
            Self::ReusedIds => "ids of others",
            Self::Frames => "frame floods",
            Self::RawBytes => "bytes of no protocol",
            Self::Rights => "rights overstepped",
        }
    }
}

/// Acts of one kind.
#[derive(Debug, Default)]
pub(super) struct Count {
    /// Acts that went to their end.
    pub(super) n_done: AtomicUsize,
    /// Acts that the server cut short.
    pub(super) n_cut: AtomicUsize,
    /// What storms changed.
    pub(super) corrections: Arc<Corrections>,
}

/// A hostile client.
#[derive(Debug, Clone)]
pub(super) struct Enemy {
    pub(super) idx: usize,
    pub(super) kind: Kind,
    pub(super) wire: Wire,
    /// Every scope and none, for those that go through all of them.
    pub(super) holders: Arc<Vec<Holder>>,
    pub(super) bombs: Arc<Vec<Vec<u8>>>,
    /// Some seconds of speech as 16-bit samples.
    pub(super) speech: Arc<Vec<u8>>,
    /// A longer piece, of several people.
    pub(super) talk: Arc<Vec<u8>>,
    pub(super) known: Arc<Known>,
    pub(super) count: Arc<Count>,
    pub(super) breaches: mpsc::Sender<String>,
}

impl Enemy {
    /// Goes on until it is dropped.
    pub(super) async fn run(self) {
        for n in 0.. {
            let done = timeout(MAX_ACT, self.act(n)).await;
            let counter = if matches!(done, Ok(Ok(()))) { &self.count.n_done } else { &self.count.n_cut };
            counter.fetch_add(1, Ordering::Relaxed);
            sleep(REST).await;
        }
    }

    async fn act(&self, n: usize) -> anyhow::Result<()> {
        match self.kind {
            Kind::Flood => self.flood(n).await,
            Kind::HalfOpen => self.half_open(n).await,
            Kind::SlowReader => self.slow_reader().await,
            Kind::Bomb => self.bomb(n).await,
            Kind::Storm => self.storm(n).await,
            Kind::ReusedIds => self.reused_ids(n).await,
            Kind::Frames => self.frames(n).await,
            Kind::RawBytes => self.raw_bytes(n).await,
            Kind::Rights => self.rights(n).await,
        }
    }

    fn token(&self, scope: &str) -> Option<&str> {
        self.holders.iter().find(|holder| holder.scope == scope)?.token.as_deref()
    }

    async fn flood(&self, n: usize) -> anyhow::Result<()> {
        let id = self.known.one(self.idx + n);
        let paths =
            ["/v1/sessions", "/healthz", "/metrics", "/page/nothing", "/v1/speakers"].map(str::to_owned);
        for nth in 0..50 {
            let holder = &self.holders[(self.idx + n + nth) % self.holders.len()];
            let path = if nth % 6 == 5 { format!("/v1/sessions/{id}.rttm") } else { paths[nth % 5].clone() };
            let _ = self.wire.request(holder.token.as_deref(), "GET", &path, b"").await;
        }
        Ok(())
    }

    async fn half_open(&self, n: usize) -> anyhow::Result<()> {
        let mut sockets = Vec::new();
        for nth in 0..10 {
            let mut tcp = self.wire.connect().await?;
            let head = match (n + nth) % 3 {
                0 => "GET /v1/sessions HTTP/1.1\r\nHost: loc".to_owned(),
                1 => String::new(),
                _ => self.wire.head(self.token("voices"), "POST", "/v1/identify", 30_000_000),
            };
            let _ = tcp.write_all(head.as_bytes()).await;
            sockets.push(tcp);
        }
        for _ in 0..HOLD.as_secs() {
            for tcp in &mut sockets {
                let _ = tcp.write_all(b"x").await;
            }
            sleep(Duration::from_secs(1)).await;
        }
        Ok(())
    }

    async fn slow_reader(&self) -> anyhow::Result<()> {
        let _deaf = self.wire.ws(self.token("subscribe"), "/v1/events?session=*").await?;
        sleep(2 * HOLD).await;
        Ok(())
    }

    async fn bomb(&self, n: usize) -> anyhow::Result<()> {
        let bomb = &self.bombs[(self.idx + n) % self.bombs.len()];
        let path = ["/v1/identify", "/v1/speakers?name=Mallory", "/v1/verify?first_bytes=100"][n % 3];
        let upload = self.wire.request(self.token("voices"), "POST", path, bomb);
        if n.is_multiple_of(2) {
            // A client that hangs up must leave no work behind.
            let _ = timeout(Duration::from_millis(100), upload).await;
            return Ok(());
        }
        upload.await.map(drop)
    }

    async fn storm(&self, n: usize) -> anyhow::Result<()> {
        let id = format!("storm-{}-{n}", self.idx);
        let token = self.token("publish");
        storm(&self.wire, token, &id, &self.talk, !n.is_multiple_of(4), &self.count.corrections).await
    }

    async fn reused_ids(&self, n: usize) -> anyhow::Result<()> {
        let id = self.known.one(self.idx + n);
        let path = match n % 3 {
            0 => format!("/v1/stream?session={id}"),
            1 => format!("/v1/stream?resume={id}&token={:032x}", n),
            _ => format!("/v1/stream?session={id}&title=Mallory"),
        };
        let mut socket = self.wire.ws(self.token("publish"), &path).await?;
        let noise: Vec<u8> = (0..16_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let _ = socket.send(Message::Binary(noise.into())).await;
        while let Some(Ok(message)) = timeout(Duration::from_secs(5), socket.next()).await.unwrap_or(None) {
            let Message::Text(text) = message else { continue };
            let message: serde_json::Value = serde_json::from_str(&text)?;
            if message["type"] == "started" && message["session"] == id.as_str() {
                let _ = self.breaches.try_send(format!("{path} was given the session {id} of somebody else"));
            }
            if message["type"] == "started" {
                socket.send(Message::text(r#"{"type":"close"}"#)).await?;
            }
        }
        Ok(())
    }

    async fn frames(&self, n: usize) -> anyhow::Result<()> {
        let mut socket = self.wire.ws(self.token("publish"), "/v1/stream?sample_rate=16000").await?;
        match n % 4 {
            0 => {
                for _ in 0..10_000 {
                    socket.feed(Message::Binary(vec![0; 2].into())).await?;
                }
                socket.flush().await?;
            }
            1 => socket.send(Message::Binary(vec![0; 4 << 20].into())).await?,
            2 => {
                for nth in 0..500 {
                    let text = [
                        "{",
                        "\"",
                        "[[[[[[",
                        r#"{"type":"nothing"}"#,
                        r#"{"type":"gap","duration_s":1e300}"#,
                    ];
                    socket.send(Message::text(text[nth % text.len()])).await?;
                }
            }
            _ => {
                for frame in self.speech.chunks(1001) {
                    socket.send(Message::Binary(frame.to_vec().into())).await?;
                }
            }
        }
        while let Some(Ok(_)) = timeout(Duration::from_secs(2), socket.next()).await.unwrap_or(None) {}
        Ok(())
    }

    async fn raw_bytes(&self, n: usize) -> anyhow::Result<()> {
        let mut socket = self.wire.ws(self.token("publish"), "/v1/stream?sample_rate=16000").await?;
        let endless = [&[0x02, 0xfe, 0x10, 0, 1, 2, 3, 4][..], &[7; 4096]].concat();
        let bytes: &[u8] = match n % 4 {
            // A frame of no kind; one without a mask; one that announces 2^62 bytes; a message whose parts never end.
            0 => &[0x83, 0x81, 0, 0, 0, 0, 1],
            1 => &[0x82, 4, 1, 2, 3, 4],
            2 => &[0x82, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4],
            _ => &endless,
        };
        socket.get_mut().write_all(bytes).await?;
        sleep(Duration::from_secs(2)).await;
        Ok(())
    }

    async fn rights(&self, n: usize) -> anyhow::Result<()> {
        let holder = &self.holders[(self.idx + n) % self.holders.len()];
        for breach in breaches(&self.wire, holder, &self.known.one(n)).await {
            let _ = self.breaches.try_send(breach);
        }
        Ok(())
    }
}
