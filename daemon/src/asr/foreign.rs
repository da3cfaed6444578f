//! Answers of every kind from bytes of any kind, for tests with damaged ones.

use super::answer::{Answer, Recognition, single_words, split};

/// Reads bytes as the answers of every kind, for tests with damaged ones. Returns the number of words in them.
#[must_use]
pub fn read_foreign(bytes: &[u8]) -> usize {
    let answers = [super::vosk::read(bytes), super::deepgram::read(bytes), super::openai::read(bytes)];
    let mut decoder = crate::wyoming::Decoder::default();
    decoder.push(bytes);
    let messages = std::iter::from_fn(|| decoder.read().ok().flatten());
    let mut transcript = super::wyoming::Transcript::default();
    let wyoming = messages.filter_map(|message| transcript.take(&message).ok().flatten()).collect::<Vec<_>>();
    let n_words = |answer: &Answer| match &answer.text {
        Recognition::Timed(words) => single_words(words.clone()).len(),
        Recognition::Text(text) => split(text).len(),
    };
    answers.iter().filter_map(|answer| answer.as_ref().ok()?.as_ref()).chain(&wyoming).map(n_words).sum()
}
