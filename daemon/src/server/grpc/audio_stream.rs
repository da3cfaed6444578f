//! A gRPC stream as a connection of the protocol: what serves publishers on a WebSocket serves it, too.
//!
//! The two halves translate one message at a time and hold none. An error that ends the connection becomes the status of
//! the call.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message};
use futures_util::{Sink, Stream, StreamExt as _, sink, stream};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_tungstenite::tungstenite;
use tonic::{Code, Status, Streaming};

use super::messages::diarized::{Audio, Event};
use super::start::{ClientFrame, frame_of};
use super::status::status;
use crate::protocol::server_message::{Body, Error};
use crate::protocol::{CloseCode, ErrorCode, ServerMessage};
use crate::server::connection::Incoming;

/// Events on their way to the client.
const EVENTS: usize = 16;

/// How the call ends, once it is known.
type Outcome = Arc<Mutex<Option<Result<(), Status>>>>;

/// Whether the client has ended its half of the stream, as against having gone.
#[derive(Debug, Clone, Default)]
pub(super) struct HalfClosed(pub(super) Arc<AtomicBool>);

/// The events of a call, to its end.
pub(super) type Events = Pin<Box<dyn Stream<Item = Result<Event, Status>> + Send>>;

/// The halves of a connection, and the events that come out of it.
pub(super) struct Halves {
    pub(super) incoming: Incoming,
    pub(super) outgoing: Pin<Box<dyn Sink<Message, Error = axum::Error> + Send>>,
    pub(super) events: Events,
}

/// A connection over this call. HTTP/2 watches the peer, so pings of the protocol are answered here, every `ping`.
pub(super) fn halves(audio: Streaming<Audio>, half_closed: HalfClosed, ping: Duration) -> Halves {
    let outcome = Outcome::default();
    let (sender, receiver) = mpsc::channel(EVENTS);
    let mut pongs = interval(ping);
    pongs.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let outcome_of_source = Arc::clone(&outcome);
    let source =
        Source { audio, half_closed, pongs, outcome: outcome_of_source, has_begun: false, is_over: false };
    let target = Target { sender: Some(sender), outcome: Arc::clone(&outcome), fatal: None };
    Halves {
        // Who lingers reads on behind the end.
        incoming: Box::pin(stream::unfold(source, Source::next).fuse()),
        outgoing: Box::pin(sink::unfold(target, Target::take)),
        events: Box::pin(stream::unfold(Some((receiver, outcome)), next_event)),
    }
}

type Receiver = mpsc::Receiver<Event>;

/// The next event; behind the last one the status, where it is an error.
async fn next_event(
    state: Option<(Receiver, Outcome)>,
) -> Option<(Result<Event, Status>, Option<(Receiver, Outcome)>)> {
    let (mut receiver, outcome) = state?;
    if let Some(event) = receiver.recv().await {
        return Some((Ok(event), Some((receiver, outcome))));
    }
    let outcome = outcome.lock().take().unwrap_or_else(|| {
        let reason =
            "the connection was cut off: the client took nothing for too long (server.write_timeout_s)";
        Err(Status::unavailable(reason))
    });
    outcome.err().map(|status| (Err(status), None))
}

/// The incoming half.
struct Source {
    audio: Streaming<Audio>,
    half_closed: HalfClosed,
    pongs: Interval,
    outcome: Outcome,
    has_begun: bool,
    /// The client has closed its half.
    is_over: bool,
}

impl Source {
    async fn next(mut self) -> Option<(Result<Message, axum::Error>, Self)> {
        if self.is_over {
            return None;
        }
        let message = tokio::select! {
            message = self.audio.message() => message,
            _ = self.pongs.tick() => return Some((Ok(Message::Pong(axum::body::Bytes::new())), self)),
        };
        match message {
            Ok(Some(Audio { content: Some(content) })) => {
                self.has_begun = true;
                let message = match frame_of(content) {
                    ClientFrame::Text(json) => Message::Text(json.into()),
                    ClientFrame::Audio(bytes) => Message::Binary(bytes),
                };
                Some((Ok(message), self))
            }
            Ok(Some(Audio { content: None })) => {
                self.fail("an Audio message holds nothing that this server knows");
                None
            }
            Ok(None) if !self.half_closed.0.load(Ordering::Acquire) => None,
            Ok(None) if !self.has_begun => {
                self.fail("the stream ended before its `start`");
                None
            }
            Ok(None) => {
                self.is_over = true;
                let frame = CloseFrame { code: CloseCode::Done.as_u16(), reason: "".into() };
                Some((Ok(Message::Close(Some(frame))), self))
            }
            // The server of the protocol reports it, after the last events.
            Err(error) if error.code() == Code::OutOfRange => Some((Err(too_long(&error)), self)),
            Err(error) if error.code() == Code::Internal => {
                self.fail(error.message());
                None
            }
            Err(_) => None,
        }
    }

    fn fail(&self, reason: &str) {
        self.outcome.lock().get_or_insert_with(|| Err(status(ErrorCode::BadMessage, reason)));
    }
}

/// The error of a WebSocket for a message that is too long, with the length out of the words of the library.
fn too_long(error: &Status) -> axum::Error {
    let mut numbers = error.message().split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok());
    let size = numbers.next().unwrap_or(usize::MAX);
    let max_size = numbers.next().unwrap_or(0);
    let error = tungstenite::error::CapacityError::MessageTooLong { size, max_size };
    axum::Error::new(tungstenite::Error::Capacity(error))
}

/// The outgoing half.
struct Target {
    /// Until the close.
    sender: Option<mpsc::Sender<Event>>,
    outcome: Outcome,
    /// The error that the close follows.
    fatal: Option<Error>,
}

impl Target {
    async fn take(mut self, message: Message) -> Result<Self, axum::Error> {
        match message {
            Message::Text(json) => {
                // It was encoded by this process.
                let message = ServerMessage::parse(&json).map_err(axum::Error::new)?;
                match message.body {
                    Body::Error(error) if error.fatal => self.fatal = Some(error),
                    _ => self.send(message.into()).await?,
                }
            }
            Message::Close(frame) => self.close(frame.as_ref()),
            Message::Binary(_) | Message::Ping(_) | Message::Pong(_) => {}
        }
        Ok(self)
    }

    async fn send(&self, event: Event) -> Result<(), axum::Error> {
        let gone = || axum::Error::new(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        self.sender.as_ref().ok_or_else(gone)?.send(event).await.map_err(|_| gone())
    }

    fn close(&mut self, frame: Option<&CloseFrame>) {
        let outcome = match (self.fatal.take(), frame.map(|frame| frame.code)) {
            (Some(error), _) => Err(status(error.code, error.reason)),
            (None, Some(code)) if code == CloseCode::Restarting.as_u16() => {
                let reason = "the server restarts, and the session goes on then: resume it";
                Err(status(ErrorCode::ShuttingDown, reason))
            }
            (None, _) => Ok(()),
        };
        self.outcome.lock().get_or_insert(outcome);
        self.sender = None;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::SinkExt as _;

    use super::*;
    use crate::protocol::server_message::Ack;

    fn text(message: ServerMessage) -> Message {
        Message::Text(message.to_json().into())
    }

    /// What a client gets for these messages of the server.
    async fn events(messages: Vec<Message>) -> Vec<Result<Event, Status>> {
        let outcome = Outcome::default();
        let (sender, receiver) = mpsc::channel(EVENTS);
        let target = Target { sender: Some(sender), outcome: Arc::clone(&outcome), fatal: None };
        let mut sink = Box::pin(sink::unfold(target, Target::take));
        for message in messages {
            sink.send(message).await.unwrap();
        }
        drop(sink);
        stream::unfold(Some((receiver, outcome)), next_event).collect().await
    }

    fn close(code: CloseCode) -> Message {
        Message::Close(Some(CloseFrame { code: code.as_u16(), reason: "".into() }))
    }

    fn error(code: ErrorCode, fatal: bool) -> Message {
        text(ServerMessage::to_connection(None, Error { code, reason: "because".to_owned(), fatal }))
    }

    #[tokio::test]
    async fn a_fatal_error_is_the_status_and_any_other_an_event() {
        let ack =
            ServerMessage::to_connection(Some("a"), Ack { received_s: Default::default(), finalized: true });
        let got = events(vec![text(ack), Message::Ping(Default::default()), close(CloseCode::Done)]).await;
        assert!(matches!(&got[..], [Ok(event)] if event.session == "a"), "{got:?}");
        let got = events(vec![error(ErrorCode::Refused, false), close(CloseCode::Done)]).await;
        assert!(matches!(&got[..], [Ok(_)]), "{got:?}");
        let got = events(vec![error(ErrorCode::Conflict, true), close(CloseCode::Conflict)]).await;
        let [Err(status)] = &got[..] else { panic!("{got:?}") };
        assert_eq!((status.code(), status.message()), (Code::AlreadyExists, "because"));
        assert_eq!(status.metadata().get("diarized-code").unwrap(), "conflict");
    }

    #[tokio::test]
    async fn a_restart_and_a_cut_are_no_good_end() {
        for messages in [vec![close(CloseCode::Restarting)], vec![]] {
            let got = events(messages).await;
            let [Err(status)] = &got[..] else { panic!("{got:?}") };
            assert_eq!(status.code(), Code::Unavailable);
        }
    }

    #[test]
    fn the_length_of_a_message_is_read_out_of_the_words_of_the_library() {
        let words = "Error, decoded message length too large: found 2000 bytes, the limit is: 1000 bytes";
        let error = too_long(&Status::out_of_range(words)).into_inner();
        let error = error.downcast_ref::<tungstenite::Error>().unwrap().to_string();
        assert!(error.contains("2000") && error.contains("1000"), "{error}");
    }
}
