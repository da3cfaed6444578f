//! OpenAI's `/v1/audio/transcriptions`, and servers that answer like it: one request for each stretch of speech.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderValue, Request, StatusCode, header};
use diarized_config::Endpoint;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::answer::{Answer, word};
use super::recogniser::{Answers, Feed, Recogniser, TalkError, Talking};
use crate::client::{Authorities, dial};
use crate::protocol::words::SentWord;
use crate::secret::random_hex;

/// Largest answer that is read.
const MAX_ANSWER: usize = 4 << 20;

/// A server of this kind.
pub(super) struct OpenAi {
    pub(super) place: Endpoint,
    pub(super) authorization: Option<HeaderValue>,
    pub(super) model: Option<String>,
    pub(super) language: Option<String>,
    pub(super) limit: Duration,
    /// The server has refused times of words: some models give text only.
    pub(super) is_plain: AtomicBool,
}

impl Recogniser for OpenAi {
    fn takes_utterances(&self) -> bool {
        true
    }

    fn talk(&self, feed: Feed, answers: Answers) -> Talking<'_> {
        Box::pin(self.converse(feed, answers))
    }
}

impl OpenAi {
    async fn converse(&self, mut feed: Feed, answers: Answers) -> Result<(), TalkError> {
        let mut pcm = Vec::new();
        while let Some(piece) = feed.recv().await {
            pcm.extend_from_slice(&piece);
        }
        if pcm.is_empty() {
            return Ok(());
        }
        let asked = timeout(self.limit, self.ask(&pcm)).await;
        let body = asked.map_err(|_| TalkError::Timeout("answer"))??;
        if let Some(answer) = read(&body).map_err(TalkError::Protocol)? {
            answers.give(answer).await;
        }
        Ok(())
    }

    /// The body of the answer; asked again for text only if the server gives no times.
    async fn ask(&self, pcm: &[u8]) -> Result<Bytes, TalkError> {
        if !self.is_plain.load(Ordering::Relaxed) {
            let (status, body) = self.post(pcm, false).await?;
            if status != StatusCode::BAD_REQUEST {
                return accepted(status, body);
            }
        }
        let (status, body) = self.post(pcm, true).await?;
        if status.is_success() {
            self.is_plain.store(true, Ordering::Relaxed);
        }
        accepted(status, body)
    }

    async fn post(&self, pcm: &[u8], is_plain: bool) -> Result<(StatusCode, Bytes), TalkError> {
        let broken = |error: &dyn std::error::Error| TalkError::Connection(error.to_string());
        let authorities = self.place.is_secure().then_some(Authorities::System);
        let stream =
            dial(&self.place.host, self.place.port, authorities.as_ref()).await.map_err(|e| broken(&e))?;
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|e| broken(&e))?;
        // The connection is driven beside the request and ends with this call.
        let mut driving = JoinSet::new();
        driving.spawn(connection);
        let request = self.request(pcm, is_plain).map_err(|e| broken(&e))?;
        let answer = sender.send_request(request).await.map_err(|e| broken(&e))?;
        let (head, body) = answer.into_parts();
        let body = to_bytes(Body::new(body), MAX_ANSWER).await.map_err(|e| broken(&e))?;
        Ok((head.status, body))
    }

    fn request(&self, pcm: &[u8], is_plain: bool) -> Result<Request<Body>, axum::http::Error> {
        let path = if self.place.path == "/" { "/v1/audio/transcriptions" } else { &self.place.path };
        let boundary = format!("diarized-{}", random_hex(16));
        let mut fields = vec![("model", self.model.as_deref().unwrap_or("whisper-1"))];
        fields.extend(self.language.as_deref().map(|language| ("language", language)));
        match is_plain {
            true => fields.push(("response_format", "json")),
            false => {
                fields.extend([("response_format", "verbose_json"), ("timestamp_granularities[]", "word")])
            }
        }
        let mut request = Request::post(path)
            .header(header::HOST, self.place.authority())
            .header(header::USER_AGENT, concat!("diarized/", env!("CARGO_PKG_VERSION")))
            .header(header::CONTENT_TYPE, format!("multipart/form-data; boundary={boundary}"));
        if let Some(value) = &self.authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        request.body(Body::from(form(&boundary, &fields, pcm)))
    }
}

fn accepted(status: StatusCode, body: Bytes) -> Result<Bytes, TalkError> {
    if status.is_success() {
        return Ok(body);
    }
    let text = String::from_utf8_lossy(&body);
    let text: String = text.chars().filter(|c| !c.is_control()).take(200).collect();
    Err(TalkError::Refused(format!("{status} {text}")))
}

/// A form with the fields and a WAV file of the audio.
fn form(boundary: &str, fields: &[(&str, &str)], pcm: &[u8]) -> Vec<u8> {
    let mut body = String::new();
    for (name, value) in fields {
        body.push_str(&format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
        ));
    }
    body.push_str(&format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"speech.wav\"\r\n\
         Content-Type: audio/wav\r\n\r\n"
    ));
    let mut body = body.into_bytes();
    body.extend_from_slice(&wav_head(pcm.len()));
    body.extend_from_slice(pcm);
    body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    body
}

/// The head of a WAV file of 16 kHz, mono, signed 16 bit.
fn wav_head(n_bytes: usize) -> Vec<u8> {
    let n_bytes = u32::try_from(n_bytes).unwrap_or(u32::MAX - 36);
    let mut head = Vec::with_capacity(44);
    head.extend_from_slice(b"RIFF");
    head.extend_from_slice(&(n_bytes + 36).to_le_bytes());
    head.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    head.extend_from_slice(&16_000u32.to_le_bytes());
    head.extend_from_slice(&32_000u32.to_le_bytes());
    head.extend_from_slice(b"\x02\0\x10\0data");
    head.extend_from_slice(&n_bytes.to_le_bytes());
    head
}

#[derive(Deserialize)]
struct Transcription {
    text: Option<String>,
    words: Option<Vec<Word>>,
    segments: Option<Vec<Segment>>,
}

#[derive(Deserialize)]
struct Word {
    word: String,
    start: f64,
    end: f64,
    probability: Option<f64>,
}

#[derive(Deserialize)]
struct Segment {
    text: String,
    start: f64,
    end: f64,
}

/// The words of an answer: with their times, else by the times of segments, else as text.
pub(super) fn read(bytes: &[u8]) -> Result<Option<Answer>, String> {
    let answer: Transcription = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let words = answer.words.unwrap_or_default().into_iter();
    let words: Vec<SentWord> = words.map(|w| word(w.start, w.end, &w.word, w.probability)).collect();
    if !words.is_empty() {
        return Ok(Some(Answer::timed(words, true)));
    }
    let segments = answer.segments.unwrap_or_default().into_iter();
    let segments: Vec<SentWord> = segments.map(|s| word(s.start, s.end, &s.text, None)).collect();
    if !segments.is_empty() {
        return Ok(Some(Answer::timed(segments, true)));
    }
    Ok(answer.text.map(|text| Answer::text(text, true)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_taken_where_there_are_some() {
        let read = |text: &str| read(text.as_bytes()).unwrap();
        let words = r#"{"text":"Hi Bob","words":[{"word":"Hi","start":0.1,"end":0.3},{"word":"Bob","start":0.3,"end":0.6}]}"#;
        let expected = vec![word(0.1, 0.3, "Hi", None), word(0.3, 0.6, "Bob", None)];
        assert_eq!(read(words), Some(Answer::timed(expected, true)));
        let segments =
            r#"{"text":"Hi Bob","words":null,"segments":[{"id":0,"text":" Hi Bob","start":0.0,"end":0.6}]}"#;
        assert_eq!(read(segments), Some(Answer::timed(vec![word(0.0, 0.6, " Hi Bob", None)], true)));
        assert_eq!(read(r#"{"text":"Hi"}"#), Some(Answer::text("Hi", true)));
        assert_eq!(read("{}"), None);
        assert!(super::read(b"<html>").is_err());
    }

    #[test]
    fn the_file_is_one_that_is_read_again() {
        let samples = [0i16, 1, -1, i16::MAX];
        let pcm: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        let wav = [wav_head(pcm.len()), pcm].concat();
        let mut file = hound::WavReader::new(wav.as_slice()).unwrap();
        assert_eq!((file.spec().sample_rate, file.spec().channels), (16_000, 1));
        assert_eq!(file.samples::<i16>().collect::<Result<Vec<_>, _>>().unwrap(), samples);
    }
}
