//! A resuming subscriber: follows a session or all of them, and continues where it was after a disconnect.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

use super::address::Address;
use super::backoff::Backoff;
use super::socket::{ConnectError, SILENCE, Socket, connect};
use crate::protocol::server_message::Body;
use crate::protocol::{CloseCode, ServerMessage};

/// What a follower or a publisher learns next.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// A message, and its text as it came.
    Message(Box<ServerMessage>, String),
    /// A message of a type that this version does not know.
    Unknown(String),
    /// The connection broke; the next news follow when it is there again.
    Lost {
        /// Why.
        reason: String,
        /// When it is tried again.
        retry_in: Duration,
    },
    /// The connection is there again.
    Back,
    /// The server closed properly and there is nothing more to come.
    Closed {
        /// The close code.
        code: u16,
        /// Reason in the preceding error, if any.
        reason: Option<String>,
    },
}

/// Follows one session (by its id) or all of them (`*`).
#[derive(Debug)]
pub struct Follow {
    address: Address,
    session: String,
    since: Option<u64>,
    socket: Option<Socket>,
    last_error: Option<String>,
    backoff: Backoff,
    retry_at: Instant,
    is_back: bool,
}

impl Follow {
    /// Connects; `since` asks for the events after that number instead of a snapshot.
    ///
    /// # Errors
    /// [`ConnectError`]: the first connection is not tried again.
    pub async fn connect(address: Address, session: &str, since: Option<u64>) -> Result<Self, ConnectError> {
        let mut follow = Self {
            address,
            session: session.to_owned(),
            since,
            socket: None,
            last_error: None,
            backoff: Backoff::new(),
            retry_at: Instant::now(),
            is_back: false,
        };
        follow.socket = Some(connect(&follow.address, &follow.path()).await?);
        Ok(follow)
    }

    fn path(&self) -> String {
        let since = match self.since {
            Some(seq) if self.session != "*" => format!("&since={seq}"),
            _ => String::new(),
        };
        format!("/v1/events?session={}{since}", self.session)
    }

    /// The next news; after [`News::Closed`] there are none.
    pub async fn next(&mut self) -> News {
        loop {
            if std::mem::take(&mut self.is_back) {
                return News::Back;
            }
            let Some(socket) = &mut self.socket else {
                tokio::time::sleep_until(self.retry_at).await;
                match connect(&self.address, &self.path()).await {
                    Ok(socket) => {
                        self.socket = Some(socket);
                        self.is_back = true;
                    }
                    Err(error) => return self.lost(error.to_string()),
                }
                continue;
            };
            let heard = tokio::time::timeout(SILENCE, socket.next()).await;
            match heard {
                Ok(Some(Ok(Message::Text(text)))) => return self.message(text.as_str()),
                Ok(Some(Ok(Message::Close(frame)))) => {
                    let code = frame.map_or(1005, |f| u16::from(f.code));
                    return self.closed(code);
                }
                Ok(Some(Ok(_))) => {}
                Ok(Some(Err(error))) => return self.lost(error.to_string()),
                Ok(None) => return self.lost("the connection was closed without a word".to_owned()),
                Err(_) => return self.lost("the server has fallen silent".to_owned()),
            }
        }
    }

    fn message(&mut self, text: &str) -> News {
        let Ok(message) = ServerMessage::parse(text) else { return News::Unknown(text.to_owned()) };
        self.backoff.reset();
        if let Body::Error(error) = &message.body {
            self.last_error = Some(error.reason.clone());
        }
        if message.seq.is_some() {
            self.since = message.seq;
        }
        News::Message(Box::new(message), text.to_owned())
    }

    fn closed(&mut self, code: u16) -> News {
        if code == CloseCode::Restarting.as_u16() {
            return self.lost("the server restarts".to_owned());
        }
        // A server that restarts is worth waiting for only by those who follow whatever there is.
        if code == CloseCode::ShuttingDown.as_u16() && self.session == "*" {
            return self.lost("the server shuts down".to_owned());
        }
        self.socket = None;
        News::Closed { code, reason: self.last_error.take() }
    }

    fn lost(&mut self, reason: String) -> News {
        let retry_in = self.backoff.next();
        self.socket = None;
        self.retry_at = Instant::now() + retry_in;
        News::Lost { reason, retry_in }
    }

    /// Closes the connection, if it is open.
    pub async fn leave(mut self) {
        if let Some(socket) = &mut self.socket {
            // The server notices either way.
            let _ = tokio::time::timeout(Duration::from_secs(1), socket.close(None)).await;
            let _ = socket.flush().await;
        }
    }
}
