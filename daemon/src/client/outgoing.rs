//! Outgoing audio of a publisher: read from a file, paced, and kept until the server acknowledges it.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use futures_util::SinkExt as _;
use futures_util::stream::SplitSink;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::tungstenite::Message;

use super::socket::Socket;
use super::wire_audio::WireAudio;
use crate::audio_file::AudioFileError;
use crate::protocol::ClientMessage;

/// Audio in one binary frame, in ms.
const FRAME_MS: u64 = 100;
/// Audio that may be on its way without an `ack`, in seconds: a server acknowledges every second of it.
const WINDOW_S: u64 = 60;
/// Bytes of a sample of one channel, which goes up as a float.
const SAMPLE_BYTES: u64 = 4;

/// Why sending stopped.
pub(super) enum SendError {
    File(AudioFileError),
    /// The connection accepts no more; the receiving half has the reason.
    Gone,
}

/// One binary frame and where it begins, in samples of each channel.
struct Frame {
    start: u64,
    bytes: Bytes,
}

/// How a file is played.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Playback {
    /// Seconds of audio sent in a second; infinity sends as fast as the server takes it.
    pub speed: f64,
}

/// What is left to send, across connections.
pub(super) struct Outgoing {
    file: WireAudio,
    playback: Playback,
    began: Instant,
    /// Frames that the server has not acknowledged, oldest first.
    frames: VecDeque<Frame>,
    /// How many of them were sent on this connection.
    n_sent: usize,
    /// Where the next frame begins.
    n_framed: u64,
    pending: Vec<u8>,
    block: Vec<f32>,
    file_is_read: bool,
}

impl Outgoing {
    pub(super) fn new(file: WireAudio, playback: Playback) -> Self {
        Self {
            file,
            playback,
            began: Instant::now(),
            frames: VecDeque::new(),
            n_sent: 0,
            n_framed: 0,
            pending: Vec::new(),
            block: Vec::new(),
            file_is_read: false,
        }
    }

    pub(super) fn file(&self) -> &WireAudio {
        &self.file
    }

    fn step_bytes(&self) -> u64 {
        u64::from(self.file.n_channels()) * SAMPLE_BYTES
    }

    /// Forgets what the server has.
    fn forget(&mut self, n_acked: u64) {
        while let Some(frame) = self.frames.front()
            && frame.start + frame.bytes.len() as u64 / self.step_bytes() <= n_acked
        {
            self.frames.pop_front();
            self.n_sent = self.n_sent.saturating_sub(1);
        }
    }

    /// Goes on exactly where the server stands, on a new connection. Whether that can be done.
    pub(super) fn rewind(&mut self, n_received: u64) -> bool {
        self.n_sent = 0;
        self.forget(n_received);
        let step_bytes = self.step_bytes();
        match self.frames.front_mut() {
            Some(frame) if frame.start <= n_received => {
                let n_cut = (n_received - frame.start) * step_bytes;
                frame.bytes = frame.bytes.slice(n_cut as usize..);
                frame.start = n_received;
                true
            }
            Some(_) => false,
            None => self.n_framed == n_received,
        }
    }

    /// Sends what is due, what is read from the file then, and `close` at its end.
    pub(super) async fn send(
        &mut self,
        sink: &mut SplitSink<Socket, Message>,
        mut acked: watch::Receiver<u64>,
    ) -> Result<(), SendError> {
        let rate = u64::from(self.file.sample_rate_hz());
        loop {
            let n_acked = *acked.borrow_and_update();
            self.forget(n_acked);
            if let Some(frame) = self.frames.get(self.n_sent) {
                let due_s = frame.start as f64 / rate as f64 / self.playback.speed;
                let bytes = frame.bytes.clone();
                if let Ok(due) = Duration::try_from_secs_f64(due_s) {
                    sleep_until(self.began + due).await;
                }
                sink.send(Message::Binary(bytes)).await.map_err(|_| SendError::Gone)?;
                self.n_sent += 1;
            } else if self.file_is_read {
                break;
            } else if self.n_framed > n_acked + WINDOW_S * rate {
                acked.changed().await.map_err(|_| SendError::Gone)?;
            } else {
                self.read()?;
            }
        }
        let close = ClientMessage::Close(crate::protocol::client_message::Close {});
        sink.send(Message::text(close.to_json())).await.map_err(|_| SendError::Gone)
    }

    /// Makes frames of the next block of the file.
    fn read(&mut self) -> Result<(), SendError> {
        self.file_is_read = !self.file.read(&mut self.block).map_err(SendError::File)?;
        self.pending.extend(self.block.iter().flat_map(|s| s.to_le_bytes()));
        if self.file_is_read && self.block.is_empty() && self.pending.is_empty() {
            return Ok(());
        }
        let rate = u64::from(self.file.sample_rate_hz());
        let frame_bytes = (rate * FRAME_MS / 1000 * self.step_bytes()) as usize;
        while self.pending.len() >= frame_bytes || (self.file_is_read && !self.pending.is_empty()) {
            let rest = self.pending.split_off(frame_bytes.min(self.pending.len()));
            let bytes = Bytes::from(std::mem::replace(&mut self.pending, rest));
            let start = self.n_framed;
            self.n_framed += bytes.len() as u64 / self.step_bytes();
            self.frames.push_back(Frame { start, bytes });
        }
        Ok(())
    }
}
