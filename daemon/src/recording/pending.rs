//! Between a session and the disk: the packets of a session that are not written yet, bounded.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::Sender;
use diarized_dsp::SampleIndex;
use parking_lot::Mutex;

use super::encoder::{EncoderError, FrameEncoder, Packet};

/// Packets that wait for the disk: two minutes of audio, about 0.4 MB.
const MAX_WAITING: usize = 6000;
/// Packets at which the disk is asked for before its time, so that audio which arrives faster than it is spoken is not
/// lost.
const MANY_WAITING: usize = MAX_WAITING / 2;

/// Reports a problem to those who follow the session: a code and a reason.
pub(super) type Warn = Box<dyn Fn(&str, &str) + Send + Sync>;

/// What waits of one session.
pub(super) struct Pending {
    pub(super) id: String,
    pub(super) pre_skip: u16,
    inner: Mutex<Inner>,
    /// Whether the session was deleted.
    is_forgotten: AtomicBool,
    pub(super) warn: Warn,
}

#[derive(Debug, Default)]
struct Inner {
    packets: VecDeque<Packet>,
    rest: Rest,
}

/// What follows what waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Rest {
    /// More audio.
    #[default]
    More,
    /// More audio, by another process.
    Later,
    /// Nothing: the session ended here.
    End(SampleIndex),
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pending").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Pending {
    /// What waits now, and what follows it.
    pub(super) fn take(&self) -> (Vec<Packet>, Rest) {
        let mut inner = self.inner.lock();
        (inner.packets.drain(..).collect(), inner.rest)
    }

    /// What could not be written waits again, before what came meanwhile.
    pub(super) fn put_back(&self, packets: Vec<Packet>) {
        let mut inner = self.inner.lock();
        for packet in packets.into_iter().rev() {
            inner.packets.push_front(packet);
        }
        inner.trim();
    }

    /// Whether no more audio comes from this process.
    pub(super) fn has_ended(&self) -> bool {
        self.inner.lock().rest != Rest::More
    }

    pub(super) fn forget(&self) {
        self.is_forgotten.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_forgotten(&self) -> bool {
        self.is_forgotten.load(Ordering::Relaxed)
    }
}

impl Inner {
    /// The oldest packets leave: the file is silent there.
    fn trim(&mut self) {
        let n_over = self.packets.len().saturating_sub(MAX_WAITING);
        self.packets.drain(..n_over);
    }
}

/// Takes the audio of one session; used by its thread. Never waits for the disk.
pub struct Recorder {
    encoder: FrameEncoder,
    pending: Arc<Pending>,
    /// Wakes the thread that writes.
    wake: Sender<()>,
    at: SampleIndex,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("pending", &self.pending).finish_non_exhaustive()
    }
}

impl Recorder {
    pub(super) fn new(id: &str, warn: Warn, wake: Sender<()>) -> Result<(Self, Arc<Pending>), EncoderError> {
        let mut encoder = FrameEncoder::new()?;
        let pending = Arc::new(Pending {
            id: id.to_owned(),
            pre_skip: encoder.pre_skip()?,
            inner: Mutex::default(),
            is_forgotten: AtomicBool::new(false),
            warn,
        });
        Ok((Self { encoder, pending: Arc::clone(&pending), wake, at: SampleIndex::ZERO }, pending))
    }

    /// Takes audio that begins at `at` on the session's clock, 16 kHz mono; what lies between it and the audio before is
    /// silent in the file.
    ///
    /// # Errors
    /// [`EncoderError`]; the audio is missing in the file.
    pub fn push(&mut self, at: SampleIndex, samples: &[f32]) -> Result<(), EncoderError> {
        self.at = at.plus(samples.len() as u64);
        let inner = &self.pending.inner;
        self.encoder.push(at, samples, &mut |packet| inner.lock().packets.push_back(packet))?;
        let mut inner = inner.lock();
        if inner.packets.len() >= MANY_WAITING {
            // Where the channel is full the thread is on its way.
            let _ = self.wake.try_send(());
        }
        inner.trim();
        Ok(())
    }

    /// Leaves the file open for another process.
    pub fn pause(self) {
        self.pending.inner.lock().rest = Rest::Later;
    }

    /// Ends the file at `end`.
    ///
    /// # Errors
    /// [`EncoderError`]; the end of the audio is missing in the file.
    pub fn finish(mut self, end: SampleIndex) -> Result<(), EncoderError> {
        self.at = end;
        let inner = &self.pending.inner;
        self.encoder.finish(end, &mut |packet| inner.lock().packets.push_back(packet))
    }
}

impl Drop for Recorder {
    /// Whatever ends the session, its file is closed.
    fn drop(&mut self) {
        let mut inner = self.pending.inner.lock();
        if inner.rest == Rest::More {
            inner.rest = Rest::End(self.at);
        }
    }
}
