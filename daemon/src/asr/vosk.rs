//! vosk-server's WebSocket: <https://github.com/alphacep/vosk-server>.

use serde::Deserialize;

use super::answer::{Answer, word};
use super::websocket::{Dialect, Last};

/// The messages of a server at `path`.
pub(super) fn dialect(path: &str) -> Dialect {
    Dialect {
        path: path.to_owned(),
        authorization: None,
        hello: Some(r#"{"config": {"sample_rate": 16000, "words": true}}"#.to_owned()),
        keep_alive: None,
        end: r#"{"eof" : 1}"#,
        read,
        last: Last::EachAnswered,
    }
}

#[derive(Deserialize)]
struct Message {
    partial: Option<String>,
    text: Option<String>,
    #[serde(default)]
    result: Vec<Word>,
    #[serde(default)]
    alternatives: Vec<Alternative>,
}

#[derive(Deserialize)]
struct Alternative {
    text: String,
    #[serde(default)]
    result: Vec<Word>,
}

#[derive(Deserialize)]
struct Word {
    word: String,
    start: f64,
    end: f64,
    conf: Option<f64>,
}

/// The answer in a message; nothing if it has none.
pub(super) fn read(bytes: &[u8]) -> Result<Option<Answer>, String> {
    let message: Message = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if let Some(partial) = message.partial {
        return Ok(Some(Answer::text(partial, false)));
    }
    let (text, result) = match message.alternatives.into_iter().next() {
        Some(best) => (Some(best.text), best.result),
        None => (message.text, message.result),
    };
    let words: Vec<_> = result.into_iter().map(|w| word(w.start, w.end, &w.word, w.conf)).collect();
    Ok(match text {
        _ if !words.is_empty() => Some(Answer::timed(words, true)),
        Some(text) => Some(Answer::text(text, true)),
        None => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_the_server_are_read() {
        let read = |text: &str| read(text.as_bytes()).unwrap();
        assert_eq!(read(r#"{"partial" : "one two"}"#), Some(Answer::text("one two", false)));
        let result = r#"{"result":[{"conf":1.0,"start":0.84,"end":1.11,"word":"one"}],"spk":[0.5],"spk_frames":182,"text":"one"}"#;
        assert_eq!(read(result), Some(Answer::timed(vec![word(0.84, 1.11, "one", Some(1.0))], true)));
        let best = r#"{"alternatives":[{"confidence":210.0,"result":[{"start":0.1,"end":0.2,"word":"a"}],"text":"a"},{"text":"b"}]}"#;
        assert_eq!(read(best), Some(Answer::timed(vec![word(0.1, 0.2, "a", None)], true)));
        assert_eq!(read(r#"{"text": ""}"#), Some(Answer::text("", true)));
        assert_eq!(read(r#"{"text": "no times"}"#), Some(Answer::text("no times", true)));
        assert_eq!(read("{}"), None);
        assert!(super::read(b"[]").is_err() && super::read(b"hello").is_err());
    }
}
