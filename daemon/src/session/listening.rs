//! Listeners of a session: they get its audio as the diarizer does, and may send recognised words back.
//!
//! The session never waits for a listener while it runs. Audio that a listener does not take in time is dropped for that
//! listener, the oldest first. At the end the session waits a limited time for the last words; later ones come back to the
//! listener, which adds them to the ended session.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use diarized_dsp::SampleIndex;
use diarized_models::words::NewWord;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

/// Messages of words that wait for the session.
const MAX_WAITING: usize = 64;

/// A piece of audio, at most 100 ms long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioPiece {
    /// Where it begins on the session's clock.
    pub start: SampleIndex,
    /// The samples: 16 kHz, mono, signed 16 bit, little-endian.
    pub pcm: Bytes,
    /// Whether speech was detected at its end.
    pub is_speech: bool,
}

impl AudioPiece {
    /// The piece of these samples.
    #[must_use]
    pub fn of(start: SampleIndex, samples: &[f32], is_speech: bool) -> Self {
        let pcm: Vec<u8> = samples.iter().flat_map(|sample| to_s16(*sample).to_le_bytes()).collect();
        Self { start, pcm: pcm.into(), is_speech }
    }

    /// Its length in samples.
    #[must_use]
    pub fn n_samples(&self) -> u64 {
        self.pcm.len() as u64 / 2
    }
}

/// Words of a listener; they replace the provisional ones.
#[derive(Debug, Clone, PartialEq)]
pub struct Recognised {
    /// The words, on the session's clock.
    pub words: Vec<NewWord>,
    /// Whether they change no more.
    pub is_final: bool,
}

/// The longest waits for the last words of a listener after the end of the audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Patience {
    /// The `ended` event waits at most so long.
    pub before_end: Duration,
    /// A reader that needs all words waits at most so long.
    pub for_all: Duration,
}

/// The audio that one listener has not taken yet.
#[derive(Debug)]
struct Queue {
    inner: Mutex<Pieces>,
    max_samples: u64,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Pieces {
    pieces: VecDeque<AudioPiece>,
    n_samples: u64,
    n_lost: u64,
    is_over: bool,
}

/// One listener; for any task. Dropped, it holds the session no longer.
#[derive(Debug)]
pub struct Listener {
    queue: Arc<Queue>,
    words: Option<WordsSide>,
}

#[derive(Debug)]
struct WordsSide(Arc<WordsGate>);

impl Drop for WordsSide {
    fn drop(&mut self) {
        self.0.n_open.send_modify(|n| *n -= 1);
    }
}

/// Where the words of listeners go in.
#[derive(Debug)]
struct WordsGate {
    sender: Sender<Recognised>,
    /// Whether the session takes no more words; locked while words go in, so that none is lost.
    is_closed: Mutex<bool>,
    /// Listeners that may still send words.
    n_open: watch::Sender<usize>,
}

impl Listener {
    /// The next piece; none after the end of the session. Cancelled, it has taken nothing.
    pub async fn next(&self) -> Option<AudioPiece> {
        loop {
            let changed = self.queue.changed.notified();
            {
                let mut inner = self.queue.inner.lock();
                if let Some(piece) = inner.pieces.pop_front() {
                    inner.n_samples -= piece.n_samples();
                    return Some(piece);
                }
                if inner.is_over {
                    return None;
                }
            }
            changed.await;
        }
    }

    /// Samples that were dropped since the last call because this listener was too slow.
    #[must_use]
    pub fn take_lost(&self) -> u64 {
        std::mem::take(&mut self.queue.inner.lock().n_lost)
    }

    /// Whether the session has ended; audio of it may still wait.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.queue.inner.lock().is_over
    }

    /// Samples that wait.
    #[must_use]
    pub fn n_waiting(&self) -> u64 {
        self.queue.inner.lock().n_samples
    }

    /// Sends words to the session; waits while others wait there.
    ///
    /// # Errors
    /// The words, if the session takes no more.
    pub async fn recognised(&self, recognised: Recognised) -> Result<(), Recognised> {
        let Some(WordsSide(gate)) = &self.words else { return Ok(()) };
        let mut recognised = recognised;
        loop {
            match gate.try_send(recognised) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Disconnected(back)) => return Err(back),
                Err(TrySendError::Full(back)) => recognised = back,
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl WordsGate {
    fn try_send(&self, recognised: Recognised) -> Result<(), TrySendError<Recognised>> {
        let is_closed = self.is_closed.lock();
        if *is_closed {
            return Err(TrySendError::Disconnected(recognised));
        }
        self.sender.try_send(recognised)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.queue.inner.lock().is_over = true;
    }
}

/// All listeners of a session.
#[derive(Debug)]
pub(super) struct Listeners {
    queues: Mutex<Vec<Arc<Queue>>>,
    gate: Arc<WordsGate>,
    receiver: Receiver<Recognised>,
    /// The longest of all listeners.
    patience: Mutex<Patience>,
    is_over: AtomicBool,
}

impl Listeners {
    pub(super) fn new() -> Arc<Self> {
        let (sender, receiver) = bounded(MAX_WAITING);
        let gate = WordsGate { sender, is_closed: Mutex::new(false), n_open: watch::Sender::new(0) };
        Arc::new(Self {
            queues: Mutex::default(),
            gate: Arc::new(gate),
            receiver,
            patience: Mutex::default(),
            is_over: AtomicBool::new(false),
        })
    }

    /// One more, which holds at most `max_samples`. With `patience` it may send words.
    pub(super) fn add(&self, max_samples: u64, patience: Option<Patience>) -> Listener {
        let queue = Queue { inner: Mutex::default(), max_samples, changed: Notify::new() };
        let queue = Arc::new(queue);
        let words = patience.map(|patience| {
            self.gate.n_open.send_modify(|n| *n += 1);
            let mut longest = self.patience.lock();
            longest.before_end = longest.before_end.max(patience.before_end);
            longest.for_all = longest.for_all.max(patience.for_all);
            WordsSide(Arc::clone(&self.gate))
        });
        let mut queues = self.queues.lock();
        queue.inner.lock().is_over = self.is_over.load(Ordering::Acquire);
        queues.push(Arc::clone(&queue));
        Listener { queue, words }
    }

    /// Whether anybody listens.
    pub(super) fn is_any(&self) -> bool {
        !self.queues.lock().is_empty()
    }

    /// Hands a piece to everybody.
    pub(super) fn hand_out(&self, start: SampleIndex, samples: &[f32], is_speech: bool) {
        let mut queues = self.queues.lock();
        let piece = AudioPiece::of(start, samples, is_speech);
        queues.retain(|queue| queue.push(piece.clone()));
    }

    /// No more audio comes.
    pub(super) fn end(&self) {
        let mut queues = self.queues.lock();
        self.is_over.store(true, Ordering::Release);
        for queue in queues.drain(..) {
            queue.inner.lock().is_over = true;
            queue.changed.notify_one();
        }
    }

    /// The words that come back.
    pub(super) fn words(&self) -> &Receiver<Recognised> {
        &self.receiver
    }

    /// The session takes no more words from here on; those that wait are the last.
    pub(super) fn close(&self) {
        *self.gate.is_closed.lock() = true;
    }

    /// The longest wait for words; `None` if no listener sends any.
    pub(super) fn patience(&self) -> Option<Patience> {
        (*self.gate.n_open.borrow() > 0).then(|| *self.patience.lock())
    }

    /// Waits until no listener sends any more words, no longer than their patience.
    pub(super) async fn all_words(&self) {
        let Some(patience) = self.patience() else { return };
        let mut n_open = self.gate.n_open.subscribe();
        // The sender lives in the gate, which is held here.
        let _ = tokio::time::timeout(patience.for_all, n_open.wait_for(|n| *n == 0)).await;
    }
}

impl Queue {
    /// Whether the listener is still there.
    fn push(&self, piece: AudioPiece) -> bool {
        let mut inner = self.inner.lock();
        if inner.is_over {
            return false;
        }
        inner.n_samples += piece.n_samples();
        inner.pieces.push_back(piece);
        while inner.n_samples > self.max_samples
            && let Some(oldest) = inner.pieces.pop_front()
        {
            inner.n_samples -= oldest.n_samples();
            inner.n_lost += oldest.n_samples();
        }
        self.changed.notify_one();
        true
    }
}

/// The nearest integer; what is beyond full scale is cut off.
fn to_s16(sample: f32) -> i16 {
    // `as` saturates, and NaN is 0.
    (sample * 32_768.0).round() as i16
}

#[cfg(test)]
mod tests {
    use pollster::block_on;

    use super::*;

    #[test]
    fn the_oldest_audio_of_a_slow_listener_is_dropped_and_counted() {
        let all = Listeners::new();
        let (slow, other) = (all.add(200, None), all.add(1000, None));
        for n in 0..5 {
            all.hand_out(SampleIndex(n * 100), &[0.5; 100], n == 4);
        }
        all.end();
        let starts = |listener: &Listener| {
            let next = || block_on(listener.next()).map(|piece| piece.start.0);
            std::iter::from_fn(next).collect::<Vec<_>>()
        };
        assert_eq!((starts(&slow), slow.take_lost(), slow.take_lost()), (vec![300, 400], 300, 0));
        assert_eq!((starts(&other), other.take_lost()), (vec![0, 100, 200, 300, 400], 0));
        assert!(!all.is_any());
        assert_eq!(block_on(all.add(10, None).next()), None, "after the end there is nothing");
    }

    #[test]
    fn samples_are_the_nearest_integers() {
        let all = Listeners::new();
        let listener = all.add(100, None);
        all.hand_out(SampleIndex::ZERO, &[0.0, 1.0, -1.0, 2.0, f32::NAN, 0.5], true);
        let heard = block_on(listener.next()).unwrap();
        let samples: Vec<_> = heard.pcm.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect();
        assert_eq!(samples, [0, 32_767, -32_768, 32_767, 0, 16_384]);
        assert_eq!((heard.n_samples(), heard.is_speech), (6, true));
    }

    #[test]
    fn only_who_sends_words_is_waited_for() {
        let all = Listeners::new();
        let _mute = all.add(100, None);
        assert_eq!(all.patience(), None);
        let patience = Patience { before_end: Duration::from_secs(2), for_all: Duration::from_secs(9) };
        let speaks = all.add(100, Some(patience));
        assert_eq!(all.patience(), Some(patience));
        let nothing = || Recognised { words: Vec::new(), is_final: false };
        assert_eq!(block_on(speaks.recognised(nothing())), Ok(()));
        assert_eq!(all.words().len(), 1);
        all.close();
        assert_eq!(block_on(speaks.recognised(nothing())), Err(nothing()), "it comes back");
        drop(speaks);
        assert_eq!(all.patience(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn all_words_are_there_when_the_last_listener_has_left_or_its_patience_is_over() {
        let all = Listeners::new();
        all.all_words().await;
        let patience = Patience { for_all: Duration::from_secs(600), ..Patience::default() };
        let speaks = all.add(100, Some(patience));
        let waiting = {
            let all = Arc::clone(&all);
            tokio::spawn(async move { all.all_words().await })
        };
        tokio::time::sleep(Duration::from_secs(599)).await;
        assert!(!waiting.is_finished());
        drop(speaks);
        waiting.await.unwrap();
        let _hangs = all.add(100, Some(patience));
        let began = tokio::time::Instant::now();
        all.all_words().await;
        assert_eq!(began.elapsed().as_secs(), 600);
    }
}
