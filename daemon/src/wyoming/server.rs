//! The Wyoming server: one session of the daemon for each utterance of a client.

use std::sync::Arc;
use std::time::Duration;

use diarized_config::Config;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::answers;
use super::message::{Decoder, Message};
use super::zeroconf::Announcement;
use crate::byte_stream::ByteStream;
use crate::guest::{Door, DoorError, Guest, Results};
use crate::hub::Hub;
use crate::protocol::{AudioFormat, Encoding, SessionOptions};
use crate::session::{AudioPiece, Listener};

/// Id of a session of a client; further ones of the same id get a number.
const SESSION: &str = "wyoming";
/// Audio that may wait to be looked at for speech, in samples at 16 kHz.
const MAX_SAMPLES: u64 = 10 * 16_000;

/// What a client that is refused may still send, in bytes.
const MAX_REST: u64 = 64 << 20;

/// How clients are answered.
#[derive(Debug)]
struct Settings {
    template: String,
    languages: Vec<String>,
    /// Whether a recogniser gives words.
    has_words: bool,
    knows_voices: bool,
    idle: Duration,
    write: Duration,
}

/// Serves Wyoming where it is configured, until the hub shuts down.
///
/// # Errors
/// [`DoorError`]
pub async fn serve(config: &Config, hub: &Arc<Hub>) -> Result<(), DoorError> {
    let Some(place) = &config.wyoming.listen else { return Ok(()) };
    let is_trusted = config.wyoming.allow_insecure;
    let door = Door::open(place, "wyoming.listen", "wyoming.allow_insecure", is_trusted).await?;
    let announcement = door.addr().filter(|addr| config.wyoming.zeroconf && !addr.ip().is_loopback());
    let announcement = announcement.and_then(Announcement::make);
    if config.asr.kind.is_none() {
        tracing::warn!("wyoming.listen without asr.kind: transcripts have a speaker and no text");
    }
    let settings = Arc::new(Settings {
        template: config.wyoming.text.clone(),
        languages: config.wyoming.languages.clone(),
        has_words: config.asr.kind.is_some(),
        knows_voices: config.voices.enabled,
        idle: config.server.idle_timeout,
        write: config.server.write_timeout,
    });
    tracing::info!(place = %place, port = door.addr().map(|addr| addr.port()), "Wyoming is served");
    let hub = Arc::clone(hub);
    let mut down = hub.shutting_down();
    tokio::spawn(async move {
        let _announcement = announcement;
        loop {
            let (stream, permit) = tokio::select! {
                client = door.next() => client,
                _ = down.wait_for(|down| *down) => return,
            };
            let client = Client::new(stream, Arc::clone(&settings), Arc::clone(&hub));
            tokio::spawn(async move {
                client.run().await;
                drop(permit);
            });
        }
    });
    Ok(())
}

/// The client is gone, or is not served on.
struct Over;

/// An utterance that is being received.
struct Utterance {
    guest: Guest,
    listener: Listener,
    results: Results,
    is_speech: bool,
    has_started: bool,
}

struct Client {
    stream: Box<dyn ByteStream>,
    decoder: Decoder,
    settings: Arc<Settings>,
    hub: Arc<Hub>,
    language: Option<String>,
    utterance: Option<Utterance>,
}

/// What happens next.
enum Next {
    Bytes(usize),
    Audio(AudioPiece),
    Words,
}

impl Client {
    fn new(stream: Box<dyn ByteStream>, settings: Arc<Settings>, hub: Arc<Hub>) -> Self {
        Self { stream, decoder: Decoder::default(), settings, hub, language: None, utterance: None }
    }

    async fn run(mut self) {
        let mut down = self.hub.shutting_down();
        let mut bytes = vec![0; 16 << 10];
        loop {
            let next = tokio::select! {
                next = timeout(self.settings.idle, next(&mut self.stream, &mut bytes, &mut self.utterance)) => next,
                _ = down.wait_for(|down| *down) => return,
            };
            let outcome = match next {
                Ok(Ok(Next::Bytes(0)) | Err(_)) | Err(_) => return,
                Ok(Ok(Next::Bytes(n))) => {
                    self.decoder.push(&bytes[..n]);
                    self.read().await
                }
                Ok(Ok(Next::Audio(piece))) => self.speech_change(&piece).await,
                Ok(Ok(Next::Words)) => self.stream_words().await,
            };
            if outcome.is_err() {
                return;
            }
        }
    }

    async fn send(&mut self, message: Message) -> Result<(), Over> {
        let bytes = message.to_bytes();
        match timeout(self.settings.write, self.stream.write_all(&bytes)).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Over),
        }
    }

    /// Refuses what the client wants; the connection ends.
    async fn refuse(&mut self, text: &str, code: &str) -> Result<(), Over> {
        tracing::info!(reason = text, "a Wyoming client is refused");
        self.send(answers::error(text, code)).await?;
        let _ = self.stream.shutdown().await;
        // A client that still sends reads it afterwards; a connection with unread bytes would be reset before.
        let mut rest = (&mut self.stream).take(MAX_REST);
        let _ = timeout(self.settings.write, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
        Err(Over)
    }

    async fn read(&mut self) -> Result<(), Over> {
        loop {
            match self.decoder.read() {
                Ok(None) => return Ok(()),
                Ok(Some(message)) => self.act(message).await?,
                Err(error) => return self.refuse(&error.to_string(), "bad-message").await,
            }
        }
    }

    async fn act(&mut self, message: Message) -> Result<(), Over> {
        match message.kind.as_str() {
            "describe" => {
                let info = answers::info(&self.settings.languages);
                self.send(info).await
            }
            "ping" => {
                let text = message.data.get("text").cloned().unwrap_or(Value::Null);
                self.send(Message::new("pong", json!({ "text": text }))).await
            }
            "transcribe" => {
                self.language = message.text("language").map(str::to_owned);
                Ok(())
            }
            "audio-start" => self.open(&message).await,
            "audio-chunk" => self.audio(message).await,
            "audio-stop" => self.finish().await,
            // As the protocol wants, what is not known is passed over.
            _ => Ok(()),
        }
    }

    async fn open(&mut self, message: &Message) -> Result<(), Over> {
        let format = match format(message) {
            Ok(format) => format,
            Err(reason) => return self.refuse(&reason, "bad-audio").await,
        };
        let opened = Guest::open(&self.hub, "", SESSION, format, SessionOptions::default()).await;
        let guest = match opened {
            Ok(guest) => guest,
            Err(error) => return self.refuse(&error.to_string(), "unavailable").await,
        };
        let listener = guest.listen(MAX_SAMPLES);
        let results = Results::new(self.settings.has_words);
        self.utterance = Some(Utterance { guest, listener, results, is_speech: false, has_started: false });
        Ok(())
    }

    async fn audio(&mut self, message: Message) -> Result<(), Over> {
        if self.utterance.is_none() {
            self.open(&message).await?;
        }
        let declared = format(&message);
        let Some(utterance) = &mut self.utterance else { return Ok(()) };
        if declared.as_ref() != Ok(&utterance.guest.session().format()) {
            let reason = declared
                .err()
                .unwrap_or_else(|| "audio-chunk is of another format than audio-start".to_owned());
            return self.refuse(&reason, "bad-audio").await;
        }
        if utterance.guest.push(message.payload).await.is_err() {
            return self.refuse("the session was ended", "unavailable").await;
        }
        Ok(())
    }

    /// Begin and end of speech.
    async fn speech_change(&mut self, piece: &AudioPiece) -> Result<(), Over> {
        let Some(utterance) = &mut self.utterance else { return Ok(()) };
        if std::mem::replace(&mut utterance.is_speech, piece.is_speech) == piece.is_speech {
            return Ok(());
        }
        self.send(answers::voice(piece.is_speech, piece.start.seconds())).await
    }

    /// Words whose speaker is settled go out while the client still sends.
    async fn stream_words(&mut self) -> Result<(), Over> {
        let Some(utterance) = &mut self.utterance else { return Ok(()) };
        if !self.settings.has_words {
            return Ok(());
        }
        let now = utterance.guest.now();
        let words = utterance.results.take(&now.state, now.seq, now.at, false);
        if words.is_empty() {
            return Ok(());
        }
        let is_first = !std::mem::replace(&mut utterance.has_started, true);
        self.chunks(is_first, &words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" "))
            .await
    }

    async fn chunks(&mut self, is_first: bool, text: &str) -> Result<(), Over> {
        if is_first {
            let language = self.language.clone();
            let data = language.map_or(Value::Null, |language| json!({ "language": language }));
            self.send(Message::new("transcript-start", data)).await?;
        }
        let text = if is_first { text.to_owned() } else { format!(" {text}") };
        self.send(Message::new("transcript-chunk", json!({ "text": text }))).await
    }

    /// The utterance is complete: its text and its speaker.
    async fn finish(&mut self) -> Result<(), Over> {
        let Some(mut utterance) = self.utterance.take() else { return Ok(()) };
        let last = utterance.guest.finish().await;
        while let Some(piece) = utterance.listener.next().await {
            if std::mem::replace(&mut utterance.is_speech, piece.is_speech) != piece.is_speech {
                self.send(answers::voice(piece.is_speech, piece.start.seconds())).await?;
            }
        }
        if std::mem::take(&mut utterance.is_speech) {
            self.send(answers::voice(false, utterance.guest.received_s())).await?;
        }
        let all = Results::new(self.settings.has_words).take(&last.state, last.seq, last.at, true);
        if utterance.has_started {
            let rest = utterance.results.take(&last.state, last.seq, last.at, true);
            if !rest.is_empty() {
                let rest: Vec<_> = rest.iter().map(|word| word.text.as_str()).collect();
                self.chunks(false, &rest.join(" ")).await?;
            }
        }
        let Settings { template, has_words, knows_voices, .. } = &*self.settings;
        let message =
            answers::transcript(&all, *has_words, template, self.language.as_deref(), *knows_voices);
        self.send(message).await?;
        if utterance.has_started {
            self.send(Message::new("transcript-stop", Value::Null)).await?;
        }
        Ok(())
    }
}

/// Waits for bytes of the client, for audio of the utterance that was looked at, or for its words.
async fn next(
    stream: &mut Box<dyn ByteStream>,
    bytes: &mut [u8],
    utterance: &mut Option<Utterance>,
) -> std::io::Result<Next> {
    let Some(Utterance { guest, listener, .. }) = utterance else {
        return Ok(Next::Bytes(stream.read(bytes).await?));
    };
    tokio::select! {
        biased;
        piece = listener.next() => match piece {
            Some(piece) => Ok(Next::Audio(piece)),
            // The session was ended by others; the next audio is refused.
            None => Ok(Next::Bytes(stream.read(bytes).await?)),
        },
        () = guest.changed() => Ok(Next::Words),
        n = stream.read(bytes) => Ok(Next::Bytes(n?)),
    }
}

/// The format that a message declares.
fn format(message: &Message) -> Result<AudioFormat, String> {
    let field = |name: &'static str| {
        message.integer(name).ok_or_else(|| format!("{} needs `{name}`, a whole number", message.kind))
    };
    let (rate, width, channels) = (field("rate")?, field("width")?, field("channels")?);
    if width != 2 {
        return Err(format!("width ({width}) must be 2: samples are signed and have 16 bit"));
    }
    let format = AudioFormat {
        encoding: Encoding::PcmS16le,
        sample_rate: u32::try_from(rate).unwrap_or(u32::MAX),
        channels: u16::try_from(channels).unwrap_or(u16::MAX),
        channel: None,
    };
    format.check().map_err(|error| error.to_string())?;
    Ok(format)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_checked_with_its_names() {
        let of = |data: Value| format(&Message::new("audio-start", data));
        let good = of(json!({"rate": 22050, "width": 2.0, "channels": 1, "timestamp": 0})).unwrap();
        assert_eq!((good.sample_rate, good.channels), (22_050, 1));
        assert!(of(json!({"rate": 16000, "width": 4, "channels": 1})).unwrap_err().starts_with("width (4)"));
        assert!(of(json!({"rate": 16000, "channels": 1})).unwrap_err().contains("`width`"));
        assert!(of(json!({"rate": 10, "width": 2, "channels": 1})).unwrap_err().contains("sample_rate (10)"));
        assert!(of(json!({"rate": 16000, "width": 2, "channels": 99999999})).is_err());
    }
}
