//! Greedy decoding: start token, then start, end and speaker of each segment, then end token.

use super::card::SegmentationError;
use super::network::{Network, Thought};
use crate::embedding::Embedding;

/// A segment in tokens.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TokenSegment {
    /// Of `n_timestamps` parts of a chunk.
    pub(super) start: usize,
    pub(super) end: usize,
    /// Counted from 0.
    pub(super) speaker: usize,
    /// What the decoder had in mind where it emitted the speaker.
    pub(super) embedding: Embedding,
}

/// The sentence of a chunk. It ends at the end token, at any other token that is no time, or where positions end.
pub(super) fn sentence(network: &Network, features: &[f32]) -> Result<Vec<TokenSegment>, SegmentationError> {
    let heard = network.hear(features)?;
    let n_timestamps = network.shape.n_timestamps;
    let (mut past, mut position) = (Vec::new(), 0);
    let mut think = |token: usize| {
        let thought = network.think(&heard, token, position, &mut past);
        position += 1;
        thought
    };
    let mut segments = Vec::new();
    // The start token follows the times.
    let mut last = n_timestamps;
    let mut n_tokens = 1;
    while n_tokens + 3 <= network.shape.n_text_ctx {
        let Some(start) = time(&think(last)?, n_timestamps) else { break };
        let Some(end) = time(&think(start)?, n_timestamps) else { break };
        let thought = think(end)?;
        let speaker = largest(&thought.speakers);
        segments.push(TokenSegment { start, end, speaker, embedding: Embedding::from_raw(&thought.state)? });
        // Speakers follow the times, the start token and the end token.
        last = n_timestamps + 2 + speaker;
        n_tokens += 3;
    }
    Ok(segments)
}

fn time(thought: &Thought, n_timestamps: usize) -> Option<usize> {
    Some(largest(&thought.times)).filter(|&token| token < n_timestamps)
}

/// Index of the largest value, the first of equal ones.
fn largest(values: &[f32]) -> usize {
    let mut best = 0;
    for (idx, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = idx;
        }
    }
    best
}
