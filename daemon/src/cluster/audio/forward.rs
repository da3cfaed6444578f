//! The audio of one session on its way to NATS, from the queue of the publisher that this node serves.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use diarized_dsp::{SAMPLE_RATE_HZ, SampleIndex};
use tokio::time::{Instant, sleep_until};

use super::message::{AudioMessage, MAX_BYTES, Piece, cut};
use crate::cluster::directory::Directory;
use crate::cluster::link::Link;
use crate::cluster::log::{Log, Stop};
use crate::session::{AudioInbox, Keeper, Places, Session, TakenIn, samples_until};

/// Audio that is joined to one message, where it comes no faster than it is spoken.
const JOINED: Duration = Duration::from_millis(200);
/// Audio in NATS that is not labelled, in seconds, at which no more is taken from the publisher.
const MAX_AHEAD_S: u64 = 60;
/// Time between two looks at how far the labels are.
const LOOK: Duration = Duration::from_millis(100);

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// All of it is in NATS, or the session is over.
    Done,
    /// Another node takes the audio in.
    Replaced,
}

/// Passes the audio of one session on.
pub(super) struct Forwarder {
    pub(super) link: Arc<Link>,
    pub(super) directory: Arc<Directory>,
    /// Name of this node.
    pub(super) node: String,
    pub(super) session: Arc<Session>,
    pub(super) inbox: AudioInbox,
    pub(super) log: Log,
    /// Samples of each channel that NATS has.
    pub(super) written: u64,
}

/// Audio that waits to be a message, with its places in the queue.
#[derive(Default)]
struct Batch {
    bytes: BytesMut,
    places: Vec<Places>,
    /// When it goes.
    due: Option<Instant>,
}

impl Forwarder {
    /// Passes audio on until the session is over.
    pub(super) async fn run(&mut self) -> Over {
        match self.pass().await {
            Ok(()) => Over::Done,
            Err(_) => Over::Replaced,
        }
    }

    async fn pass(&mut self) -> Result<(), Stop> {
        let channel = Arc::clone(self.session.channel());
        let mut batch = Batch::default();
        loop {
            let is_ahead = self.is_ahead();
            let due = batch.due.unwrap_or_else(|| Instant::now() + LOOK);
            let next = tokio::select! {
                biased;
                () = channel.wait_ended() => break,
                next = self.inbox.next(), if !is_ahead => Some(next),
                () = sleep_until(due) => None,
            };
            let is_full = match next {
                Some(next) => {
                    if self.take(next, &mut batch).await? {
                        return Ok(());
                    }
                    batch.bytes.len() >= MAX_BYTES / 2
                }
                None => true,
            };
            if is_full {
                self.flush(&mut batch).await?;
            }
        }
        // What comes after the end of a session is void. Where it goes on elsewhere its publisher need not send this again.
        while channel.ended().is_none()
            && let Some(next) = self.inbox.try_next()
        {
            if self.take(next, &mut batch).await? {
                return Ok(());
            }
        }
        if channel.ended().is_none() { self.flush(&mut batch).await } else { Ok(()) }
    }

    /// Takes what came next. Whether it was the last.
    async fn take(&mut self, next: (TakenIn, Places), batch: &mut Batch) -> Result<bool, Stop> {
        let (taken, places) = next;
        if let TakenIn::Bytes(bytes) = taken {
            batch.bytes.extend_from_slice(&bytes);
            batch.places.push(places);
            batch.due.get_or_insert_with(|| Instant::now() + JOINED);
            return Ok(false);
        }
        self.flush(batch).await?;
        match taken {
            TakenIn::Gap { n_samples, reason } => {
                self.write(Piece::Gap { n: n_samples, reason }).await?;
                Ok(false)
            }
            TakenIn::End(reason) => {
                self.write(Piece::End(reason)).await?;
                Ok(true)
            }
            TakenIn::Bytes(_) | TakenIn::Left => Ok(true),
        }
    }

    /// Whether so much is in NATS and not labelled that the publisher has to wait.
    fn is_ahead(&self) -> bool {
        let rate = self.session.format().sample_rate;
        let labelled =
            self.directory.get(self.session.id()).map_or(0, |(record, _)| record.going_on.labelled);
        let labelled = samples_until(SampleIndex(labelled), rate);
        self.written.saturating_sub(labelled) > MAX_AHEAD_S * u64::from(rate)
    }

    async fn flush(&mut self, batch: &mut Batch) -> Result<(), Stop> {
        let Batch { bytes, places, .. } = std::mem::take(batch);
        for piece in cut(&bytes.freeze(), self.session.format()) {
            self.write(Piece::Audio(piece)).await?;
        }
        // NATS has it: there is room in the queue again.
        drop(places);
        Ok(())
    }

    async fn write(&mut self, piece: Piece) -> Result<(), Stop> {
        if let Some(title) = self.session.take_wanted_title() {
            self.write_one(Piece::Title(title)).await?;
        }
        self.write_one(piece).await
    }

    /// Writes one message; waits as long as NATS is away or its stream is full.
    async fn write_one(&mut self, piece: Piece) -> Result<(), Stop> {
        let format = self.session.format();
        let message = AudioMessage { intake: self.node.clone(), first: self.written, piece };
        let bytes = message.to_bytes(format);
        loop {
            match self.log.append_message(&bytes).await {
                Ok(()) => break,
                Err(Stop::Fenced) => return Err(Stop::Fenced),
                // NATS has lost what was there, or forgotten it by its age: what follows is new.
                Err(Stop::Emptied) => self.log.begin_again(),
            }
        }
        self.written = message.end(format);
        self.link.counts.audio.add(bytes.len() as u64);
        let at = u128::from(self.written) * u128::from(SAMPLE_RATE_HZ) / u128::from(format.sample_rate);
        let at = SampleIndex(u64::try_from(at).unwrap_or(u64::MAX));
        self.session.channel().handover().set_stored(Keeper::Cluster, at);
        Ok(())
    }
}
