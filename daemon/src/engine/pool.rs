//! The inference pool: named threads that embed the windows of all sessions, earliest deadline first.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use diarized_models::{EmbedError, EmbedRequest, Embedder, Embedding, WorkId};

use super::queue::DeadlineQueue;
use crate::metrics::{Count, Histogram};
use crate::session::InferenceStats;

/// Limit of queued windows; the submitter of a further one waits.
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
    /// How long after its time a thread took it.
    pub late: Duration,
}

/// A window and where its answer goes.
#[derive(Debug)]
struct Job {
    request: EmbedRequest,
    answers: Sender<Answer>,
}

/// What pool and threads share.
#[derive(Debug)]
struct Shared {
    queue: DeadlineQueue<Job>,
    seconds: Histogram,
    failed: Count,
}

/// Threads that share one voice model. Dropping the pool ends the threads after what is queued.
#[derive(Debug)]
pub struct InferencePool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl InferencePool {
    /// Starts `n_threads` threads named `NAME-0`, …; 0 takes one a core.
    ///
    /// # Errors
    /// The operating system gave no thread.
    pub fn new(name: &str, embedder: Arc<Embedder>, n_threads: usize) -> std::io::Result<Self> {
        Self::with(name, move |request| embedder.embed(&request.features, request.n_frames), n_threads)
    }

    /// The same, for whatever makes an embedding of a window.
    fn with(
        name: &str,
        embed: impl Fn(&EmbedRequest) -> Result<Embedding, EmbedError> + Send + Sync + 'static,
        n_threads: usize,
    ) -> std::io::Result<Self> {
        let n_threads = crate::threads::n_threads(n_threads);
        let (seconds, failed) = (Histogram::new(INFERENCE_BOUNDS_S), Count::default());
        let shared = Arc::new(Shared { queue: DeadlineQueue::new(QUEUE), seconds, failed });
        let embed = Arc::new(embed);
        // Made first, so that threads that did start end when a later one does not.
        let mut pool = Self { shared, threads: Vec::new() };
        for idx in 0..n_threads {
            let (shared, embed) = (Arc::clone(&pool.shared), Arc::clone(&embed));
            let thread = std::thread::Builder::new().name(format!("{name}-{idx}"));
            pool.threads.push(thread.spawn(move || work(&*embed, &shared))?);
        }
        Ok(pool)
    }

    /// How the threads are doing.
    #[must_use]
    pub fn stats(&self) -> InferenceStats {
        InferenceStats {
            seconds: self.shared.seconds.read(),
            failed: self.shared.failed.get(),
            waiting: self.shared.queue.len(),
            threads: self.threads.len(),
            alive: self.threads.iter().filter(|thread| !thread.is_finished()).count(),
            overloaded: self.shared.queue.is_overloaded(),
        }
    }

    /// Hands in a window that is due at a time; waits while the queue is full.
    ///
    /// `answers` must have room for every window that is out, or a thread of the pool waits for its reader.
    pub fn submit(&self, due: Instant, request: EmbedRequest, answers: &Sender<Answer>) {
        self.shared.queue.push(due, Job { request, answers: answers.clone() });
    }

    /// The same without waiting: gives the window back if the queue is full.
    pub fn try_submit(
        &self,
        due: Instant,
        request: EmbedRequest,
        answers: &Sender<Answer>,
    ) -> Option<EmbedRequest> {
        self.shared.queue.try_push(due, Job { request, answers: answers.clone() }).map(|job| job.request)
    }
}

impl Drop for InferencePool {
    fn drop(&mut self) {
        self.shared.queue.close();
        for thread in self.threads.drain(..) {
            let name = thread.thread().name().unwrap_or_default().to_owned();
            if thread.join().is_err() {
                tracing::error!(thread = name, "an inference thread panicked outside its guard");
            }
        }
    }
}

fn work(embed: &impl Fn(&EmbedRequest) -> Result<Embedding, EmbedError>, shared: &Shared) {
    while let Some((Job { request, answers }, late)) = shared.queue.pop() {
        let began = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| embed(&request))).unwrap_or_else(|_| {
            tracing::error!(n_frames = request.n_frames, "the network panicked on a window");
            Err(EmbedError::Inference("the network panicked".to_owned()))
        });
        let busy = began.elapsed();
        shared.seconds.observe(busy.as_secs_f64());
        shared.failed.add(u64::from(result.is_err()));
        // A session that has ended meanwhile needs no answer.
        let _ = answers.send(Answer { id: request.id, result, busy, late });
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::bounded;
    use diarized_dsp::{SampleIndex, SampleRange};

    use super::*;

    fn window(id: u64) -> EmbedRequest {
        let range = SampleRange::new(SampleIndex(0), SampleIndex(24_000));
        EmbedRequest { id: WorkId(id), range, features: Vec::new(), n_frames: 150 }
    }

    fn slow(_: &EmbedRequest) -> Result<Embedding, EmbedError> {
        std::thread::sleep(Duration::from_millis(20));
        Err(EmbedError::Inference("a test".to_owned()))
    }

    #[test]
    fn a_flood_that_is_due_later_does_not_hold_up_what_is_due_now() {
        let pool = InferencePool::with("slow", slow, 1).unwrap();
        let (to_flood, flood) = bounded(32);
        let (to_live, live) = bounded(1);
        let now = Instant::now();
        for n in 0..32 {
            pool.submit(now + Duration::from_secs(n), window(n), &to_flood);
        }
        pool.submit(now, window(99), &to_live);
        assert_eq!(live.recv().unwrap().id, WorkId(99));
        // The one that was under way, and the one that was due at the same time and came first.
        assert!(flood.len() <= 3, "{} of the flood went first", flood.len());
        assert!(!pool.stats().overloaded);
        drop(pool);
        assert_eq!(flood.len(), 32, "what is queued is dealt with before the threads end");
    }

    #[test]
    fn a_network_that_panics_loses_one_window() {
        let panics = |request: &EmbedRequest| {
            assert_ne!(request.id, WorkId(0), "as told");
            slow(request)
        };
        let pool = InferencePool::with("panics", panics, 1).unwrap();
        let (to_us, answers) = bounded(2);
        pool.submit(Instant::now(), window(0), &to_us);
        pool.submit(Instant::now(), window(1), &to_us);
        let texts: Vec<_> = answers.iter().take(2).map(|a| a.result.unwrap_err().to_string()).collect();
        assert_eq!(texts, ["inference failed: the network panicked", "inference failed: a test"]);
        let stats = pool.stats();
        assert_eq!((stats.failed, stats.seconds.count, stats.alive, stats.threads), (2, 2, 1, 1));
    }
}
