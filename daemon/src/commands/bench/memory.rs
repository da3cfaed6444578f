//! Memory of the process: with its model, for each further session, and along a long stream.

use std::sync::atomic::{AtomicBool, Ordering};

use diarized_dsp::SAMPLE_RATE_HZ;
use diarized_models::{Diarizer, Embedding, ModelCard};
use serde::Serialize;

use super::audio::{BLOCK, BenchAudio};
use super::machine::{Memory, memory_of};
use super::progress::Progress;

/// Resident memory at a position of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Point {
    /// Seconds of audio.
    pub(super) at_s: f64,
    /// Bytes; 0 if the system does not report it.
    pub(super) resident_bytes: u64,
}

/// Memory use; `None` and zeros if the system does not report it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Figures {
    /// The process before the model was loaded.
    pub(super) before_model_bytes: Option<u64>,
    /// The process with its model, warm, before any audio.
    pub(super) base_bytes: Option<u64>,
    pub(super) sessions: SessionFigures,
    pub(super) stream: StreamFigures,
}

/// Diarizers held side by side.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct SessionFigures {
    pub(super) n: usize,
    /// Audio processed by each.
    pub(super) audio_s: f64,
    /// Bytes that each of the second half of them takes in the mean; `None` as well if it was interrupted.
    pub(super) each_bytes: Option<u64>,
}

/// Memory along one stream.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct StreamFigures {
    /// In the order of the stream, the first before it.
    pub(super) points: Vec<Point>,
    /// Slope of the line of least squares through the second half of the points, in bytes an hour of audio.
    pub(super) growth_bytes_per_hour: f64,
}

impl StreamFigures {
    pub(super) fn of(points: Vec<Point>) -> Self {
        let growth_bytes_per_hour = slope(&points[points.len() / 2..]) * 3600.0;
        Self { points, growth_bytes_per_hour }
    }
}

/// Bytes a second of the line of least squares; 0 for fewer than three points.
fn slope(points: &[Point]) -> f64 {
    if points.len() < 3 {
        return 0.0;
    }
    let n = points.len() as f64;
    let mean = |value: fn(&Point) -> f64| points.iter().map(value).sum::<f64>() / n;
    let (mean_x, mean_y) = (mean(|p| p.at_s), mean(|p| p.resident_bytes as f64));
    let (mut along, mut square) = (0.0, 0.0);
    for point in points {
        let x = point.at_s - mean_x;
        along += x * (point.resident_bytes as f64 - mean_y);
        square += x * x;
    }
    if square > 0.0 { along / square } else { 0.0 }
}

/// Embeddings in the order in which they were asked for. All memory is taken at once and touched, so that filling it
/// does not look like growth.
#[derive(Debug)]
pub(super) struct Answers {
    values: Vec<f32>,
    dim: usize,
    n: usize,
}

impl Answers {
    /// Room for `n_max` embeddings of `dim` values.
    pub(super) fn new(n_max: usize, dim: usize) -> Self {
        Self { values: vec![1.0; n_max * dim], dim, n: 0 }
    }

    /// Takes one; what does not fit is left out.
    pub(super) fn push(&mut self, embedding: &Embedding) {
        let room = self.values.chunks_exact_mut(self.dim).nth(self.n);
        if let Some(room) = room.filter(|room| room.len() == embedding.dim()) {
            room.copy_from_slice(embedding.as_slice());
            self.n += 1;
        }
    }

    fn get(&self, idx: usize) -> Option<Embedding> {
        let values = self.values.chunks_exact(self.dim).take(self.n).nth(idx)?;
        Embedding::from_raw(values).ok()
    }
}

/// A stream with known embeddings, so that further diarizers can process it without the network.
pub(super) struct Replay {
    /// Kept while the others are measured: what it gave back would be taken for theirs.
    first: Diarizer,
    card: ModelCard,
    answers: Answers,
    n_samples: u64,
    stream: StreamFigures,
}

impl Replay {
    /// `answers` are those of the first `n_samples` of the stream.
    pub(super) fn new(
        first: Diarizer,
        card: ModelCard,
        answers: Answers,
        n_samples: u64,
        points: Vec<Point>,
    ) -> Self {
        Self { first, card, answers, n_samples, stream: StreamFigures::of(points) }
    }

    /// Memory along the stream.
    pub(super) fn stream_memory(&self) -> &StreamFigures {
        &self.stream
    }

    /// Runs `n` diarizers on the stream side by side and measures the memory of each in the second half of them.
    ///
    /// # Errors
    /// The diarizer refuses what it asked for.
    pub(super) fn hold_sessions(
        &self,
        n: usize,
        audio: &BenchAudio,
        progress: &Progress,
        stop: &AtomicBool,
    ) -> anyhow::Result<SessionFigures> {
        let params = self.first.params();
        let _ballast = fill_holes();
        // What the first ones free in passing is used again by the rest, so the rest is counted.
        let n_uncounted = n / 2;
        let mut before = memory_of("self");
        let mut held = Vec::new();
        let mut block = Vec::new();
        progress.begin("memory of a session", n as u64);
        for n_done in 0..n {
            if n_done == n_uncounted {
                before = memory_of("self");
            }
            let mut diarizer = Diarizer::new(params.clone(), &self.card);
            let (mut at, mut n_answers) = (0, 0);
            while at < self.n_samples && !stop.load(Ordering::Relaxed) {
                let n_samples = BLOCK.min((self.n_samples - at) as usize);
                audio.block(at, n_samples, &mut block);
                diarizer.push(&block)?;
                while let Some(request) = diarizer.poll_work() {
                    // A window that the network refused has no answer here either; the next one will do.
                    let Some(answer) = self.answers.get(n_answers) else { break };
                    n_answers += 1;
                    diarizer.provide(request.id, Ok(answer))?;
                }
                while diarizer.poll_event().is_some() {}
                at += n_samples as u64;
            }
            held.push(diarizer);
            progress.at(n_done as u64 + 1);
        }
        let after = memory_of("self");
        let is_whole = !stop.load(Ordering::Relaxed);
        let each = before.zip(after).filter(|_| is_whole).map(|(before, after)| {
            after.resident_bytes.saturating_sub(before.resident_bytes) / (n - n_uncounted).max(1) as u64
        });
        let audio_s = self.n_samples as f64 / f64::from(SAMPLE_RATE_HZ);
        Ok(SessionFigures { n: held.len(), audio_s, each_bytes: each })
    }
}

/// Takes the memory that was freed and kept by the allocator, until the process grows: what is taken after this is
/// seen as growth.
fn fill_holes() -> Vec<Vec<u8>> {
    const PIECE: usize = 4096;
    const GROWTH_BYTES: u64 = 2 << 20;
    const MAX_PIECES: usize = (256 << 20) / PIECE;
    let mut ballast = Vec::new();
    let Some(before) = memory_of("self") else { return ballast };
    while ballast.len() < MAX_PIECES {
        ballast.extend((0..64).map(|_| vec![1; PIECE]));
        let has_grown = |now: &Memory| now.resident_bytes > before.resident_bytes + GROWTH_BYTES;
        if memory_of("self").as_ref().is_none_or(has_grown) {
            break;
        }
    }
    ballast
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_back_in_their_order() {
        let mut answers = Answers::new(2, 2);
        for values in [[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]] {
            answers.push(&Embedding::from_raw(&values).unwrap());
        }
        let second = answers.get(1).map(|e| e.as_slice().to_vec());
        assert_eq!((answers.n, second, answers.get(2)), (2, Some(vec![0.0, 1.0]), None));
    }

    #[test]
    fn growth_is_told_from_the_second_half() {
        let point = |at_s: f64, resident_bytes| Point { at_s, resident_bytes };
        let flat = [point(0.0, 0), point(1.0, 900), point(2.0, 1000), point(3.0, 1000), point(4.0, 1000)];
        assert_eq!(StreamFigures::of(flat.to_vec()).growth_bytes_per_hour, 0.0);
        let grows = (0..10).map(|n| point(f64::from(n), u64::from(n as u32) * 10)).collect();
        assert!((StreamFigures::of(grows).growth_bytes_per_hour - 36_000.0).abs() < 1e-6);
        assert_eq!(StreamFigures::of(vec![point(0.0, 7)]).growth_bytes_per_hour, 0.0);
    }
}
