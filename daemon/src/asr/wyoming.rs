//! A recogniser behind the Wyoming protocol, over TCP or a unix socket: one connection for each stretch of speech.

use std::time::Duration;

use diarized_config::Place;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep_until, timeout};

use super::answer::Answer;
use super::recogniser::{Answers, Feed, Recogniser, TalkError, Talking};
use crate::byte_stream::ByteStream;
use crate::client::dial;
use crate::wyoming::{Decoder, Message};

/// A server of this kind.
pub(super) struct Wyoming {
    pub(super) place: Place,
    pub(super) model: Option<String>,
    pub(super) language: Option<String>,
    pub(super) limit: Duration,
}

impl Recogniser for Wyoming {
    fn takes_utterances(&self) -> bool {
        true
    }

    fn talk(&self, feed: Feed, answers: Answers) -> Talking<'_> {
        Box::pin(self.converse(feed, answers))
    }
}

impl Wyoming {
    async fn converse(&self, mut feed: Feed, answers: Answers) -> Result<(), TalkError> {
        let connecting = timeout(self.limit, self.connect()).await;
        let mut stream = connecting.map_err(|_| TalkError::Timeout("accept a connection"))??;
        answers.connected();
        let transcribe = Message::new("transcribe", json!({"name": self.model, "language": self.language}));
        let format = || json!({"rate": 16_000, "width": 2, "channels": 1});
        self.send(&mut stream, &transcribe).await?;
        self.send(&mut stream, &Message::new("audio-start", format())).await?;
        let (mut decoder, mut transcript) = (Decoder::default(), Transcript::default());
        let mut bytes = vec![0; 16 << 10];
        let mut until: Option<Instant> = None;
        loop {
            let wake = until.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
            tokio::select! {
                pcm = feed.recv(), if until.is_none() => {
                    let message = match pcm {
                        Some(pcm) => Message::new("audio-chunk", format()).with_payload(pcm),
                        None => {
                            until = Some(Instant::now() + self.limit);
                            Message::new("audio-stop", Value::Null)
                        }
                    };
                    self.send(&mut stream, &message).await?;
                }
                n = stream.read(&mut bytes) => {
                    let n = n?;
                    if n == 0 {
                        return Err(TalkError::Connection("it closed the connection without a transcript".to_owned()));
                    }
                    decoder.push(&bytes[..n]);
                    while let Some(message) = decoder.read().map_err(|e| TalkError::Protocol(e.to_string()))? {
                        let Some(answer) = transcript.take(&message).map_err(TalkError::Refused)? else { continue };
                        let is_final = answer.is_final;
                        answers.give(answer).await;
                        if is_final {
                            return Ok(());
                        }
                    }
                }
                () = sleep_until(wake), if until.is_some() => return Err(TalkError::Timeout("answer")),
            }
        }
    }

    async fn send(&self, stream: &mut Box<dyn ByteStream>, message: &Message) -> Result<(), TalkError> {
        let sent = timeout(self.limit, stream.write_all(&message.to_bytes())).await;
        Ok(sent.map_err(|_| TalkError::Timeout("take audio"))??)
    }

    async fn connect(&self) -> Result<Box<dyn ByteStream>, TalkError> {
        match &self.place {
            Place::Net(endpoint) => {
                let stream = dial(&endpoint.host, endpoint.port, None).await;
                stream.map_err(|error| TalkError::Connection(error.to_string()))
            }
            #[cfg(unix)]
            Place::Unix(path) => Ok(Box::new(tokio::net::UnixStream::connect(path).await?)),
            _ => Err(TalkError::Connection("this system has no unix sockets".to_owned())),
        }
    }
}

/// The text of one conversation, which may come in parts.
#[derive(Debug, Default)]
pub(super) struct Transcript {
    so_far: String,
}

impl Transcript {
    /// The answer in a message; nothing if it has none.
    ///
    /// # Errors
    /// The server refuses.
    pub(super) fn take(&mut self, message: &Message) -> Result<Option<Answer>, String> {
        const MAX_BYTES: usize = 64 << 10;
        let text = message.text("text").unwrap_or_default();
        Ok(match message.kind.as_str() {
            "transcript" => Some(Answer::text(text, true)),
            "transcript-chunk" if self.so_far.len() + text.len() <= MAX_BYTES => {
                self.so_far.push_str(text);
                Some(Answer::text(self.so_far.clone(), false))
            }
            "transcript-stop" => Some(Answer::text(std::mem::take(&mut self.so_far), true)),
            "error" => return Err(text.chars().filter(|c| !c.is_control()).take(200).collect()),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_in_parts_grows_until_it_is_complete() {
        let mut transcript = Transcript::default();
        let mut take =
            |kind: &str, text: &str| transcript.take(&Message::new(kind, json!({"text": text}))).unwrap();
        assert_eq!(take("transcript-start", ""), None);
        assert_eq!(take("transcript-chunk", "turn on"), Some(Answer::text("turn on", false)));
        assert_eq!(take("transcript-chunk", " the light"), Some(Answer::text("turn on the light", false)));
        assert_eq!(take("transcript-stop", ""), Some(Answer::text("turn on the light", true)));
        assert_eq!(take("transcript", "Hello."), Some(Answer::text("Hello.", true)));
        let error = Message::new("error", json!({"text": "no model\n"}));
        assert_eq!(transcript.take(&error), Err("no model".to_owned()));
    }
}
