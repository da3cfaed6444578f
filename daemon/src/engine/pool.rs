//! The inference pool: a few named threads that embed the windows of all sessions, first come, first served.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::metrics::{Count, Histogram};
use crate::session::InferenceStats;
use crossbeam_channel::{Receiver, Sender, bounded};
use diarized_models::{EmbedError, EmbedRequest, Embedder, Embedding, WorkId};

/// Windows that may wait for a thread; whoever hands in a further one waits.
const QUEUE: usize = 256;

/// Bounds of the time that one window takes, in seconds.
const INFERENCE_BOUNDS_S: &[f64] = &[0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0];

/// What became of one window.
#[derive(Debug)]
pub struct Answer {
    /// The request's id.
    pub id: WorkId,
    /// The embedding, or why there is none.
    pub result: Result<Embedding, EmbedError>,
    /// Time that a thread spent on it.
    pub busy: Duration,
}

/// A window and where its answer goes.
struct Job {
    request: EmbedRequest,
    answers: Sender<Answer>,
}

/// What the threads count.
#[derive(Debug)]
struct Counted {
    seconds: Histogram,
    failed: Count,
}

/// Threads that share one voice model. Dropping the pool ends the threads after what is queued.
#[derive(Debug)]
pub struct InferencePool {
    embedder: Arc<Embedder>,
    jobs: Option<Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
    counted: Arc<Counted>,
}

impl InferencePool {
    /// Starts `n_threads` threads named `inference-0`, …; 0 takes one a core.
    ///
    /// # Errors
    /// The operating system gave no thread.
    pub fn new(embedder: Arc<Embedder>, n_threads: usize) -> std::io::Result<Self> {
        let n_threads = match n_threads {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            n => n,
        };
        let (jobs, queue) = bounded(QUEUE);
        let counted =
            Arc::new(Counted { seconds: Histogram::new(INFERENCE_BOUNDS_S), failed: Count::default() });
        let threads = (0..n_threads)
            .map(|idx| {
                let (embedder, queue, counted) = (Arc::clone(&embedder), queue.clone(), Arc::clone(&counted));
                std::thread::Builder::new()
                    .name(format!("inference-{idx}"))
                    .spawn(move || work(&embedder, &queue, &counted))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { embedder, jobs: Some(jobs), threads, counted })
    }

    /// How the threads are doing.
    #[must_use]
    pub fn stats(&self) -> InferenceStats {
        InferenceStats {
            seconds: self.counted.seconds.read(),
            failed: self.counted.failed.get(),
            waiting: self.jobs.as_ref().map_or(0, Sender::len),
            threads: self.threads.len(),
            alive: self.threads.iter().filter(|thread| !thread.is_finished()).count(),
        }
    }

    /// The voice model.
    #[must_use]
    pub fn embedder(&self) -> &Arc<Embedder> {
        &self.embedder
    }

    /// Hands in a window; waits while the queue is full.
    ///
    /// `answers` must have room for every window that is out, or a thread of the pool waits for whoever reads it.
    pub fn submit(&self, request: EmbedRequest, answers: &Sender<Answer>) {
        if let Some(jobs) = &self.jobs {
            // The threads hold the other end for as long as the pool lives.
            let _ = jobs.send(Job { request, answers: answers.clone() });
        }
    }
}

impl Drop for InferencePool {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            let name = thread.thread().name().unwrap_or_default().to_owned();
            if thread.join().is_err() {
                tracing::error!(thread = name, "an inference thread panicked outside its guard");
            }
        }
    }
}

fn work(embedder: &Embedder, queue: &Receiver<Job>, counted: &Counted) {
    for Job { request, answers } in queue {
        let began = Instant::now();
        let embed = || embedder.embed(&request.features, request.n_frames);
        let result = catch_unwind(AssertUnwindSafe(embed)).unwrap_or_else(|_| {
            tracing::error!(n_frames = request.n_frames, "the network panicked on a window");
            Err(EmbedError::Inference("the network panicked".to_owned()))
        });
        let busy = began.elapsed();
        counted.seconds.observe(busy.as_secs_f64());
        counted.failed.add(u64::from(result.is_err()));
        // A session that has ended meanwhile needs no answer.
        let _ = answers.send(Answer { id: request.id, result, busy });
    }
}
