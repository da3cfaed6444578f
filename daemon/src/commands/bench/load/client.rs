//! One live client: sends audio in real time and measures the arrival of labels.

use std::sync::Arc;
use std::time::Duration;

use diarized_dsp::SAMPLE_RATE_HZ;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::client::Request;

use super::super::first_label::FirstLabels;
use crate::protocol::ServerMessage;
use crate::protocol::server_message::Body;

/// Audio in one binary frame, in samples: 50 ms, as a telephone or a browser sends it.
const FRAME: usize = 800;
/// How long a server that is behind may take for the rest after the audio.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a client is to do.
pub(super) struct Client {
    /// Where to send, and what is shown there.
    pub(super) request: Request,
    /// The recording, looped.
    pub(super) round: Arc<Vec<i16>>,
    /// Where in the recording this client begins.
    pub(super) offset: usize,
    /// How long this client waits before it begins.
    pub(super) delay: Duration,
    /// Labels of what was spoken before this count for nothing.
    pub(super) measure_from: Instant,
    /// When to stop.
    pub(super) until: Instant,
}

/// Results of clients.
#[derive(Debug, Default)]
pub(super) struct Received {
    pub(super) onset_to_label_s: Vec<f64>,
    pub(super) lag_s: Vec<f64>,
    pub(super) server_lag_s_max: f64,
    /// One line for each client that failed.
    pub(super) faults: Vec<String>,
}

impl Received {
    /// Adds the results of another client.
    pub(super) fn add(&mut self, other: Self) {
        self.onset_to_label_s.extend(other.onset_to_label_s);
        self.lag_s.extend(other.lag_s);
        self.server_lag_s_max = self.server_lag_s_max.max(other.server_lag_s_max);
        self.faults.extend(other.faults);
    }
}

impl Client {
    /// Streams until the end and returns the results; they include a fault.
    pub(super) async fn run(self) -> Received {
        let mut received = Received::default();
        if let Err(fault) = self.stream(&mut received).await {
            received.faults.push(fault);
        }
        received
    }

    async fn stream(&self, received: &mut Received) -> Result<(), String> {
        tokio::time::sleep(self.delay).await;
        let opening = tokio_tungstenite::connect_async(self.request.clone());
        let (socket, _) = opening.await.map_err(|e| e.to_string())?;
        let (mut sink, mut stream) = socket.split();
        let began = Instant::now();
        let send = async {
            let mut n_sent = 0;
            let mut at = self.offset;
            while Instant::now() < self.until {
                // A frame is sent when its last sample has been spoken.
                n_sent += FRAME;
                sleep_until(began + spoken(n_sent)).await;
                let mut bytes = Vec::with_capacity(2 * FRAME);
                for _ in 0..FRAME {
                    bytes.extend(self.round[at % self.round.len()].to_le_bytes());
                    at += 1;
                }
                sink.send(Message::Binary(bytes.into())).await.map_err(|e| e.to_string())?;
            }
            sink.send(Message::text(r#"{"type":"close"}"#)).await.map_err(|e| e.to_string())
        };
        let receive = async {
            let mut labels = FirstLabels::default();
            loop {
                let message = match stream.next().await {
                    Some(Ok(Message::Text(text))) => {
                        ServerMessage::parse(&text).map_err(|e| e.to_string())?
                    }
                    Some(Ok(Message::Close(_))) | None => {
                        return Err("the server closed the stream".to_owned());
                    }
                    Some(Ok(_)) => continue,
                    Some(Err(error)) => return Err(error.to_string()),
                };
                match &message.body {
                    Body::Error(error) => return Err(error.reason.clone()),
                    Body::Ended(_) => return Ok(()),
                    _ => self.take(&message, began, &mut labels, received),
                }
            }
        };
        let rest = (self.until + PATIENCE).saturating_duration_since(Instant::now());
        // A failing server sends the reason.
        let both = async {
            tokio::pin!(receive);
            tokio::select! {
                received = &mut receive => received,
                sent = send => match sent {
                    Ok(()) => receive.await,
                    Err(fault) => receive.await.and(Err(fault)),
                },
            }
        };
        timeout(rest, both).await.unwrap_or_else(|_| Err("the server does not keep up".to_owned()))
    }
}

impl Client {
    /// Counts the lag and the labels of a message, by a stream that began at `began`.
    fn take(
        &self,
        message: &ServerMessage,
        began: Instant,
        labels: &mut FirstLabels,
        received: &mut Received,
    ) {
        if let Body::Stats(stats) = &message.body {
            received.server_lag_s_max = received.server_lag_s_max.max(stats.lag_s.0);
            return;
        }
        let Ok(event) = message.body.to_event() else { return };
        let (Some(first), Some(at)) = (labels.take(&event), message.at) else { return };
        let onset = began + Duration::from_secs_f64(first.start.seconds());
        if onset < self.measure_from {
            return;
        }
        let needed = began + Duration::from_secs_f64(at.0);
        let now = Instant::now();
        if first.is_onset {
            received.onset_to_label_s.push((now - onset).as_secs_f64());
        }
        received.lag_s.push(now.saturating_duration_since(needed).as_secs_f64());
    }
}

/// Duration of a number of samples.
fn spoken(n_samples: usize) -> Duration {
    Duration::from_secs_f64(n_samples as f64 / f64::from(SAMPLE_RATE_HZ))
}
