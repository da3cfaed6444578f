//! A storm of corrections: an own session whose labels are changed as often as the server takes it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::wire::Wire;

/// How long a storm blows.
const STORM: Duration = Duration::from_secs(30);
/// Longest time until the server takes the session of a storm.
const OPENED_WITHIN: Duration = Duration::from_secs(20);
/// Longest wait for labels that can be corrected.
const LABELS_WITHIN: Duration = Duration::from_secs(20);
/// Between two messages of a storm that the server takes all of.
const BELOW_THE_LIMIT: Duration = Duration::from_millis(12);
/// Characters of a note.
const NOTE_CHARS: usize = 1900;

/// Corrections of all storms by kind, `refused` among them.
pub(super) type Corrections = Mutex<BTreeMap<String, usize>>;

/// The labels of the session, as its messages give them.
#[derive(Debug, Default)]
struct Labels {
    speaker_of: BTreeMap<u64, String>,
}

impl Labels {
    fn take(&mut self, message: &Value) {
        match message["type"].as_str() {
            Some("segment") => {
                if let (Some(id), Some(speaker)) = (message["id"].as_u64(), message["speaker"].as_str()) {
                    self.speaker_of.insert(id, speaker.to_owned());
                }
            }
            Some("segment_removed") => {
                message["id"].as_u64().map(|id| self.speaker_of.remove(&id));
            }
            Some("revision") => {
                for change in message["changes"].as_array().into_iter().flatten() {
                    if let (Some(id), Some(to)) = (change["id"].as_u64(), change["to"].as_str()) {
                        self.speaker_of.insert(id, to.to_owned());
                    }
                }
            }
            _ => {}
        }
    }

    /// The speaker of most segments, and these.
    fn largest(&self) -> Option<(&str, Vec<u64>)> {
        let of = |speaker: &str| {
            self.speaker_of.iter().filter(|(_, s)| *s == speaker).map(|(id, _)| *id).collect::<Vec<_>>()
        };
        self.speaker_of.values().map(|speaker| (speaker.as_str(), of(speaker))).max_by_key(|(_, s)| s.len())
    }

    /// The `nth` correction; all of them are of what is there.
    fn correction(&self, nth: usize) -> Option<Value> {
        let (speaker, segments) = self.largest()?;
        let another = self.speaker_of.values().find(|other| *other != speaker);
        let first = *segments.first()?;
        let half = &segments[..segments.len().div_ceil(2)];
        Some(match (nth % 8, another) {
            (0 | 4, _) if segments.len() > 1 => {
                json!({"type": "split", "speaker": speaker, "segments": half})
            }
            (1 | 5, Some(from)) => json!({"type": "merge", "from": from, "into": speaker}),
            (2, Some(other)) => json!({"type": "reassign", "segment": first, "speaker": other}),
            (3, _) => json!({"type": "note", "segment": first, "text": "x".repeat(NOTE_CHARS)}),
            (6, _) => json!({"type": "undo"}),
            (7, _) => json!({"type": "redo"}),
            _ => json!({"type": "rename", "speaker": speaker, "name": format!("n{nth}")}),
        })
    }
}

/// A session of this id, asked for until the server takes it: it takes none while it is behind.
async fn opened(
    wire: &Wire,
    token: Option<&str>,
    id: &str,
    made: &Corrections,
) -> anyhow::Result<WebSocketStream<TcpStream>> {
    let path = format!("/v1/stream?sample_rate=16000&session={id}");
    loop {
        let mut socket = wire.ws(token, &path).await?;
        let first =
            socket.next().await.transpose()?.ok_or_else(|| anyhow::anyhow!("nothing was answered"))?;
        let first: Value = serde_json::from_str(first.to_text()?)?;
        if first["type"] == "started" {
            return Ok(socket);
        }
        let code = first["code"].as_str().unwrap_or("?");
        *made.lock().entry(format!("not opened ({code})")).or_default() += 1;
        sleep(Duration::from_secs(1)).await;
    }
}

/// Sends speech to a session `id` and corrects its labels, within the limit of messages or beyond it.
///
/// # Errors
/// The server refuses the session, ends it, or gives no labels.
pub(super) async fn storm(
    wire: &Wire,
    token: Option<&str>,
    id: &str,
    speech: &[u8],
    is_within_limit: bool,
    made: &Arc<Corrections>,
) -> anyhow::Result<()> {
    let (mut send, mut receive) = timeout(OPENED_WITHIN, opened(wire, token, id, made)).await??.split();
    let labels = Arc::new(Mutex::new(Labels::default()));
    let (seen, counted) = (Arc::clone(&labels), Arc::clone(made));
    let reader = tokio::spawn(async move {
        while let Some(Ok(message)) = receive.next().await {
            let Message::Text(text) = message else { continue };
            let Ok(message) = serde_json::from_str::<Value>(&text) else { continue };
            seen.lock().take(&message);
            let kind = match message["type"].as_str() {
                Some("correction") => message["kind"].as_str().unwrap_or("?"),
                Some("error") => "refused",
                _ => continue,
            };
            *counted.lock().entry(kind.to_owned()).or_default() += 1;
        }
    });
    let storming = async {
        for block in speech.chunks(32_000) {
            send.send(Message::Binary(block.to_vec().into())).await?;
        }
        send.send(Message::text(r#"{"type":"finalize"}"#)).await?;
        let has_labels = async {
            while labels.lock().largest().is_none() {
                sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(LABELS_WITHIN, has_labels).await?;
        let over = Instant::now() + STORM;
        for nth in 0.. {
            let correction = labels.lock().correction(nth);
            if let Some(correction) = correction {
                send.send(Message::text(correction.to_string())).await?;
            }
            if is_within_limit {
                sleep(BELOW_THE_LIMIT).await;
            }
            if Instant::now() >= over {
                break;
            }
        }
        anyhow::Ok(())
    };
    let outcome = storming.await;
    if is_within_limit && outcome.is_ok() {
        send.send(Message::text(r#"{"type":"close"}"#)).await?;
        let _ = timeout(LABELS_WITHIN, reader).await;
    } else {
        reader.abort();
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corrections_follow_the_labels() {
        let mut labels = Labels::default();
        assert_eq!(labels.correction(0), None);
        for (id, speaker) in [(1, "S1"), (2, "S1"), (3, "S1"), (4, "S2")] {
            labels.take(&json!({"type": "segment", "id": id, "speaker": speaker}));
        }
        let split = json!({"type": "split", "speaker": "S1", "segments": [1, 2]});
        assert_eq!(labels.correction(0), Some(split));
        assert_eq!(labels.correction(1), Some(json!({"type": "merge", "from": "S2", "into": "S1"})));
        labels.take(&json!({"type": "revision", "changes": [{"id": 4, "from": "S2", "to": "S1"}]}));
        labels.take(&json!({"type": "segment_removed", "id": 1}));
        assert_eq!(labels.largest(), Some(("S1", vec![2, 3, 4])));
        assert_eq!(labels.correction(1).unwrap()["type"], "rename", "nobody is left to be merged");
    }
}
