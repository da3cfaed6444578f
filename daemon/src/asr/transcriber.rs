//! Transcribes a whole recording with the configured recogniser, beside the sessions.

use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc};

use diarized_config::AsrConfig;

use super::clock::Clock;
use super::cutter::{Cut, Cutter};
use super::driver::placed;
use super::recogniser::{Answers, Recogniser, TalkError};
use super::service::{AsrError, recogniser};
use crate::session::AudioPiece;

/// Recordings that are transcribed at once; a further one waits.
const MAX_AT_ONCE: usize = 2;
/// Pieces of audio, and answers, on their way.
const QUEUE: usize = 16;

/// Words that the recogniser gave together.
#[derive(Debug, Clone, PartialEq)]
pub struct Passage {
    /// Where they begin, in seconds from the start of the recording.
    pub start_s: f64,
    /// Where they end.
    pub end_s: f64,
    /// The words.
    pub text: String,
}

/// Why a recording has no transcript.
#[derive(Debug, thiserror::Error)]
#[error("the speech recogniser (asr.url) fails: {reason}")]
pub struct TranscriptError {
    reason: String,
}

impl From<TalkError> for TranscriptError {
    fn from(error: TalkError) -> Self {
        Self { reason: error.to_string() }
    }
}

/// The recogniser, for recordings.
pub struct Transcriber {
    recogniser: Box<dyn Recogniser>,
    language: Option<String>,
    places: Semaphore,
}

impl std::fmt::Debug for Transcriber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transcriber").field("language", &self.language).finish_non_exhaustive()
    }
}

impl Transcriber {
    /// The configured recogniser, if there is one.
    ///
    /// # Errors
    /// [`AsrError`]: a file that the configuration names.
    pub fn new(config: &AsrConfig) -> Result<Option<Self>, AsrError> {
        let language = config.language.clone();
        let places = Semaphore::new(MAX_AT_ONCE);
        Ok(recogniser(config)?.map(|recogniser| Self { recogniser, language, places }))
    }

    /// The configured language.
    #[must_use]
    pub fn language(&self) -> Option<&str> {
        self.language.as_deref()
    }

    /// The words of a recording, in its order: a passage for each final answer. Waits for the recogniser, and for other
    /// recordings.
    ///
    /// # Errors
    /// [`TranscriptError`]: one stretch of speech failed.
    pub async fn transcribe(&self, pieces: Vec<AudioPiece>) -> Result<Vec<Passage>, TranscriptError> {
        let _place = self.places.acquire().await.expect("the semaphore is never closed");
        let mut passages = Vec::new();
        for stretch in self.stretches(pieces) {
            passages.extend(self.talk(stretch).await?);
        }
        Ok(passages)
    }

    /// What belongs to one conversation each.
    fn stretches(&self, pieces: Vec<AudioPiece>) -> Vec<Vec<AudioPiece>> {
        if !self.recogniser.takes_utterances() {
            return if pieces.is_empty() { Vec::new() } else { vec![pieces] };
        }
        let (mut cutter, mut stretches) = (Cutter::default(), Vec::<Vec<AudioPiece>>::new());
        for cut in pieces.into_iter().flat_map(|piece| cutter.take(piece)) {
            match cut {
                Cut::Begin => stretches.push(Vec::new()),
                Cut::Audio(piece) => {
                    stretches.last_mut().into_iter().for_each(|last| last.push(piece.clone()))
                }
                Cut::End => {}
            }
        }
        stretches
    }

    async fn talk(&self, stretch: Vec<AudioPiece>) -> Result<Vec<Passage>, TranscriptError> {
        let (feed, audio) = mpsc::channel(QUEUE);
        let (give, mut answers) = mpsc::channel(QUEUE);
        let clock = Mutex::new(Clock::default());
        let talking = self.recogniser.talk(audio, Answers::new(0, give));
        let feeding = async {
            for piece in stretch {
                clock.lock().sent(&piece);
                if feed.send(piece.pcm).await.is_err() {
                    // The conversation has ended, which it reports itself.
                    break;
                }
            }
            drop(feed);
        };
        let reading = async {
            let mut passages = Vec::new();
            while let Some((_, answer)) = answers.recv().await {
                let (words, _) = placed(&mut clock.lock(), answer.text, answer.is_final);
                let (Some(first), Some(last)) = (words.first(), words.last()) else { continue };
                if answer.is_final {
                    let text = words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ");
                    passages.push(Passage { start_s: first.start, end_s: last.end, text });
                }
            }
            passages
        };
        let (talked, (), passages) = tokio::join!(talking, feeding, reading);
        talked?;
        Ok(passages)
    }
}
