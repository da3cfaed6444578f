//! A session of another node: its events are followed here, and nothing goes in.

use std::sync::Arc;

use bytestring::ByteString;
use diarized_dsp::SampleIndex;

use super::archive::Archive;
use super::channel::Channel;
use super::counted::HubHandle;
use super::journal::JournalParams;
use super::ledger::{Entry, Ledger};
use super::replay::{LastIds, apply};
use super::state_at::StateAt;
use super::{Session, WithoutWorker, input, samples_until};
use crate::protocol::ServerMessage;
use crate::protocol::server_message::{Body, Stats};

/// What followed does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum FollowError {
    /// Events before it are missing.
    #[error("event {expected} is missing")]
    Missing {
        /// Number of the event that comes next.
        expected: u64,
    },
    /// It makes no sense.
    #[error("event {seq} cannot be applied: {reason}")]
    Unreadable {
        /// Its number.
        seq: u64,
        /// What is wrong.
        reason: String,
    },
}

impl Session {
    /// A session that runs on `node`, as far as `archive` has it; more events come through [`Channel::follow`]. If it does
    /// not continue the events before it, `kept` is the last of them that is still valid.
    pub(crate) fn mirrored(
        number: u64,
        archive: Archive,
        kept: Option<u64>,
        node: &str,
        journal: JournalParams,
        hub: HubHandle,
    ) -> Arc<Self> {
        let (format, options, began) = (archive.format, archive.options, archive.began);
        let token_hash = archive.token_hash.clone();
        let n_received = samples_until(archive.moment.at, format.sample_rate);
        let channel = Channel::mirrored(archive, kept, journal, hub);
        Self::without_worker(WithoutWorker {
            number,
            is_archived: false,
            elsewhere: Some(node.into()),
            channel,
            input: input::elsewhere(format, n_received),
            format,
            options,
            began,
            token: None,
            token_hash,
        })
    }

    /// Name of the node where it runs, if that is another one.
    #[must_use]
    pub(crate) fn elsewhere(&self) -> Option<&str> {
        self.elsewhere.as_deref()
    }
}

impl Channel {
    /// The channel of a session of another node.
    fn mirrored(archive: Archive, kept: Option<u64>, journal: JournalParams, hub: HubHandle) -> Arc<Self> {
        let Archive { id, source, moment, events, corrections, .. } = archive;
        let mut channel = Self::empty(&id, source, journal, hub);
        *channel.taken_over_at.get_mut() = kept;
        channel.fill(moment, events, corrections);
        Arc::new(channel)
    }

    /// Takes the next events as their node encoded them; those that are here already are passed over.
    ///
    /// # Errors
    /// [`FollowError`]; the events before it were taken.
    pub(crate) fn follow(&self, first_seq: u64, events: Vec<ByteString>) -> Result<(), FollowError> {
        let outcome = {
            let mut inner = self.inner.lock();
            (first_seq..).zip(events).try_for_each(|(seq, json)| inner.follow(seq, json))
        };
        self.announce();
        outcome
    }

    /// Takes corrections with what undoes them; those that are here already are passed over.
    pub(crate) fn follow_corrections(&self, entries: Vec<Entry>) {
        let mut inner = self.inner.lock();
        for entry in entries {
            if entry.id >= inner.ledger.next_id() {
                inner.ledger.push(entry);
            }
        }
    }

    /// Goes on from this moment, which is after the events that are here; readers get it as a snapshot.
    pub(crate) fn skip_to(&self, moment: StateAt) {
        {
            let mut inner = self.inner.lock();
            inner.journal.restart(moment.seq);
            inner.ledger = Ledger::default();
            inner.put(moment);
        }
        self.announce();
    }

    /// Shows newer numbers of how the session runs.
    pub(crate) fn follow_stats(&self, stats: Stats) {
        self.show_stats(stats);
    }

    /// The session is followed no more: its readers come back and find it as it is then.
    pub(crate) fn retire(&self) {
        self.hand_over();
    }
}

impl super::channel::Inner {
    fn follow(&mut self, seq: u64, json: ByteString) -> Result<(), FollowError> {
        let expected = self.journal.last_seq() + 1;
        if seq < expected {
            return Ok(());
        }
        if seq > expected {
            return Err(FollowError::Missing { expected });
        }
        let unreadable = |reason: String| FollowError::Unreadable { seq, reason };
        let message = ServerMessage::parse(&json).map_err(|error| unreadable(error.to_string()))?;
        if message.seq != Some(seq) {
            return Err(unreadable("its number is another one".to_owned()));
        }
        let mut last = LastIds { speaker: self.last_speaker, segment: self.last_segment };
        let about = Arc::make_mut(&mut self.about);
        apply(&message.body, Arc::make_mut(&mut self.state), about, &mut last).map_err(unreadable)?;
        (self.last_speaker, self.last_segment) = (last.speaker, last.segment);
        if let Some(at) = message.at {
            self.at = self.at.max(SampleIndex::from(at));
        }
        if let Body::Segment(segment) = &message.body {
            self.last_speech = self.last_speech.max(Some(SampleIndex::from(segment.end)));
        }
        if let Body::Ended(ended) = &message.body {
            self.ended = Some(ended.reason);
        }
        self.journal.push(json);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use diarized_models::TimedEvent;
    use diarized_models::events::{Event, SpeakerId, SpeakerInfo};

    use super::*;
    use crate::protocol::{AudioFormat, SessionOptions};
    use crate::secret::SecretHash;
    use crate::session::{Cursor, Source};

    /// A session with so many speakers, and its events.
    fn original(n: u32) -> (Arc<Channel>, Vec<ByteString>) {
        let channel = Channel::new("a", Source::Stream, JournalParams::default(), HubHandle::new());
        let speaker = |n| Event::Speaker(SpeakerInfo::new(SpeakerId(n), SampleIndex(u64::from(n) * 16_000)));
        let events: Vec<_> = (1..=n)
            .map(|n| TimedEvent { at: SampleIndex(u64::from(n) * 16_000), event: speaker(n) })
            .collect();
        channel.publish(&events).unwrap();
        let events = Cursor::stored(&channel, 0, 0).read_events(usize::MAX).events;
        (channel, events)
    }

    fn followed() -> Arc<Session> {
        let channel = Channel::new("a", Source::Stream, JournalParams::default(), HubHandle::new());
        let archive = Archive {
            id: "a".to_owned(),
            source: Source::Stream,
            format: AudioFormat::default(),
            options: SessionOptions::default(),
            began: SystemTime::UNIX_EPOCH,
            token_hash: SecretHash::of("secret"),
            moment: channel.now(),
            events: Vec::new(),
            corrections: Vec::new(),
        };
        Session::mirrored(7, archive, None, "other", JournalParams::default(), HubHandle::new())
    }

    #[test]
    fn what_is_followed_becomes_the_same() {
        let (original, events) = original(5);
        let session = followed();
        let channel = session.channel();
        assert_eq!((session.elsewhere(), session.number()), (Some("other"), 7));
        channel.follow(1, events[..3].to_vec()).unwrap();
        let missing = channel.follow(5, events[4..].to_vec()).unwrap_err();
        assert_eq!(missing, FollowError::Missing { expected: 4 });
        channel.follow(2, events[1..].to_vec()).unwrap();
        assert_eq!(channel.snapshot_json(), original.snapshot_json());
        let read = Cursor::stored(channel, 0, 0).read_events(usize::MAX).events;
        assert_eq!(read, events, "the same bytes");
        let wrong = channel.follow(6, vec![events[0].clone()]).unwrap_err().to_string();
        assert!(wrong.contains("event 6") && wrong.contains("number"), "{wrong}");
        assert!(channel.follow(6, vec!["{}".into()]).is_err());
        assert_eq!(channel.last_seq(), 5, "nothing of it was taken");
    }

    #[test]
    fn a_reader_of_what_was_skipped_gets_a_snapshot() {
        let (original, events) = original(5);
        let session = followed();
        let channel = session.channel();
        channel.follow(1, events[..2].to_vec()).unwrap();
        let mut cursor = Cursor::since(channel, 2);
        channel.skip_to(original.now());
        let mut read = Vec::new();
        cursor.read(10, &mut read);
        assert!(read[0].contains(r#""type":"lagged""#) && read[0].contains(r#""missed":3"#), "{read:?}");
        assert_eq!(read[1], original.snapshot_json());
    }

    #[tokio::test]
    async fn nothing_goes_into_it() {
        let session = followed();
        assert!(session.input().push_bytes(bytes::Bytes::from_static(&[0, 0])).await.is_err());
        assert!(session.input().command(crate::session::Command::Finalize).await.is_err());
        assert_eq!(session.end_reason(), None);
        session.channel().retire();
        assert!(session.channel().is_over());
    }
}
