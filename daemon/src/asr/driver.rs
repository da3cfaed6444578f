//! One session and the recogniser: decides what it gets, and places its answers on the session's clock.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::answer::{Answer, Recognition, single_words, split};
use super::clock::Clock;
use super::counts::AsrCounts;
use super::cutter::{Cut, Cutter};
use super::recogniser::{Answers, Recogniser, TalkError};
use crate::client::Backoff;
use crate::hub::Hub;
use crate::metrics::Share;
use crate::protocol::words::{MAX_WORDS_SENT, SendWords, SentWord};
use crate::rate::Rate;
use crate::session::{AudioPiece, Listener, Recognised, Session};

/// Conversations of a session at a time: one that is sent, and those whose answer is awaited.
const MAX_TALKS: usize = 3;
/// Pieces of audio on their way to one conversation.
const FEED: usize = 8;
/// Answers on their way to the session.
const ANSWERS: usize = 16;
/// Longest wait between two attempts to connect.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// While the recogniser is away: how often the end of the session is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Interval of provisional words: people do not read faster.
const PROVISIONAL_EVERY: Duration = Duration::from_millis(250);
/// Words that are taken in a second, and at once.
const MAX_WORDS_PER_S: u32 = 500;
const WORDS_AT_ONCE: u32 = 20_000;

/// What all sessions share.
pub(super) struct Shared {
    pub(super) recogniser: Box<dyn Recogniser>,
    pub(super) url: String,
    pub(super) limit: Duration,
    pub(super) counts: Arc<AsrCounts>,
    /// The last conversation broke, and none has brought an answer since.
    pub(super) is_away: AtomicBool,
    /// Takes words that come after the end of their session.
    pub(super) hub: Weak<Hub>,
}

/// One conversation.
struct Talk {
    /// Until its audio is complete.
    feed: Option<mpsc::Sender<Bytes>>,
    clock: Clock,
    is_connected: Arc<AtomicBool>,
    task: AbortHandle,
}

/// What has been reported to the followers of the session, each once.
#[derive(Default)]
struct Reported {
    is_away: bool,
    is_slow: bool,
    is_wrong: bool,
}

type Ended = (u64, Result<(), TalkError>);

/// The recogniser's side of one session.
pub(super) struct Driver {
    shared: Arc<Shared>,
    session: Arc<Session>,
    listener: Listener,
    cutter: Option<Cutter>,
    cuts: VecDeque<Cut>,
    talks: BTreeMap<u64, Talk>,
    n_talks: u64,
    /// The conversation that gets audio.
    open: Option<u64>,
    tasks: JoinSet<Ended>,
    give: mpsc::Sender<(u64, Answer)>,
    answers: mpsc::Receiver<(u64, Answer)>,
    backoff: Backoff,
    /// No connection is tried before.
    not_before: Instant,
    /// The audio that is to be sent waits since then.
    waits_since: Option<Instant>,
    rate: Rate,
    has_provisional: bool,
    provisional_at: Instant,
    reported: Reported,
    is_over: bool,
}

impl Driver {
    pub(super) fn new(shared: Arc<Shared>, session: Arc<Session>, listener: Listener) -> Self {
        let (give, answers) = mpsc::channel(ANSWERS);
        let now = Instant::now();
        Self {
            cutter: shared.recogniser.takes_utterances().then(Cutter::default),
            shared,
            session,
            listener,
            cuts: VecDeque::new(),
            talks: BTreeMap::new(),
            n_talks: 0,
            open: None,
            tasks: JoinSet::new(),
            give,
            answers,
            backoff: Backoff::up_to(LONGEST_WAIT),
            not_before: now,
            waits_since: None,
            rate: Rate::new(MAX_WORDS_PER_S, WORDS_AT_ONCE),
            has_provisional: false,
            provisional_at: now,
            reported: Reported::default(),
            is_over: false,
        }
    }

    /// Works to the end of the session.
    pub(super) async fn run(mut self) {
        let mut share = Share::default();
        loop {
            self.count_lost();
            share.set(&self.shared.counts.samples_waiting, self.listener.n_waiting());
            self.cut();
            let is_done = self.is_over && self.cuts.is_empty() && self.tasks.is_empty();
            if is_done || self.is_hopeless() {
                break;
            }
            let feed = self.open.and_then(|id| self.talks.get(&id)?.feed.clone());
            let feed = feed.filter(|_| !self.cuts.is_empty());
            let reads = self.cuts.is_empty() && !self.is_over && !self.rests();
            let wake = self.wake();
            tokio::select! {
                Some((id, answer)) = self.answers.recv() => self.answered(id, answer).await,
                Some(ended) = self.tasks.join_next() => {
                    if let Ok((id, outcome)) = ended {
                        self.ended(id, outcome).await;
                    }
                }
                permit = async { feed.as_ref()?.reserve().await.ok() }, if feed.is_some() => {
                    if let (Some(permit), Some(Cut::Audio(piece))) = (permit, self.cuts.pop_front()) {
                        permit.send(piece.pcm.clone());
                        self.sent(&piece);
                    } else {
                        // The conversation has ended, which its task reports.
                        self.open = None;
                    }
                }
                piece = self.listener.next(), if reads => match piece {
                    Some(piece) => self.take(piece),
                    None => self.end(),
                },
                () = sleep_until(wake) => self.wait_is_over(),
            }
        }
        while let Ok((id, answer)) = self.answers.try_recv() {
            self.answered(id, answer).await;
        }
        self.shared.counts.samples_dropped.add(self.listener.n_waiting());
        share.set(&self.shared.counts.samples_waiting, 0);
    }

    /// Whether audio stays in its queue until a connection is tried again.
    fn rests(&self) -> bool {
        self.open.is_none() && Instant::now() < self.not_before
    }

    /// Whether the session has ended and the recogniser is away: the end waits for nothing.
    fn is_hopeless(&self) -> bool {
        let is_away = self.shared.is_away.load(Ordering::Relaxed);
        is_away && self.open.is_none() && self.tasks.is_empty() && self.listener.is_ended()
    }

    /// When something is to be done without an occasion.
    fn wake(&self) -> Instant {
        let is_away = self.shared.is_away.load(Ordering::Relaxed);
        let far = Instant::now() + if is_away { LOOK_EVERY } else { Duration::from_secs(3600) };
        let blocked = self.waits_since.map_or(far, |since| since + self.shared.limit);
        if self.rests() { blocked.min(self.not_before) } else { blocked }
    }

    /// The recogniser takes no audio for too long: its conversation is given up.
    fn wait_is_over(&mut self) {
        let is_blocked = self.waits_since.is_some_and(|since| since.elapsed() >= self.shared.limit);
        if let Some(id) = self.open.take_if(|_| is_blocked) {
            self.give_up(id);
            self.failed(&TalkError::Timeout("take audio"));
        }
    }

    /// A piece of the session's audio.
    fn take(&mut self, piece: AudioPiece) {
        match &mut self.cutter {
            Some(cutter) => self.cuts.extend(cutter.take(piece)),
            None => self.cuts.push_back(Cut::Audio(piece)),
        }
    }

    /// The session's audio is complete. A recogniser that is away holds up nothing.
    fn end(&mut self) {
        self.is_over = true;
        self.close_open();
        let is_away = self.shared.is_away.load(Ordering::Relaxed);
        let gone = |talk: &Talk| is_away || !talk.is_connected.load(Ordering::Relaxed);
        if self.cutter.is_some() && !is_away {
            return;
        }
        let ids: Vec<u64> = self.talks.iter().filter(|(_, talk)| gone(talk)).map(|(id, _)| *id).collect();
        ids.into_iter().for_each(|id| self.give_up(id));
    }

    /// Does what needs no wait, up to audio that is to be sent.
    fn cut(&mut self) {
        while let Some(cut) = self.cuts.front() {
            match cut {
                // What waits here leaves later audio in its queue, which drops the oldest.
                Cut::Begin if self.talks.len() >= MAX_TALKS || self.rests() => return,
                Cut::Begin => self.begin(),
                Cut::End => self.close_open(),
                Cut::Audio(_) if self.open.is_some() => {
                    self.waits_since.get_or_insert_with(Instant::now);
                    return;
                }
                Cut::Audio(_) if self.cutter.is_none() => {
                    if self.rests() {
                        return;
                    }
                    self.begin();
                    continue;
                }
                // The rest of a stretch whose conversation broke.
                Cut::Audio(piece) => self.shared.counts.samples_dropped.add(piece.n_samples()),
            }
            self.cuts.pop_front();
        }
    }

    fn begin(&mut self) {
        self.n_talks += 1;
        let id = self.n_talks;
        let (feed, audio) = mpsc::channel(FEED);
        let answers = Answers::new(id, self.give.clone());
        let is_connected = answers.flag();
        let shared = Arc::clone(&self.shared);
        let task = self.tasks.spawn(async move { (id, shared.recogniser.talk(audio, answers).await) });
        let talk = Talk { feed: Some(feed), clock: Clock::default(), is_connected, task };
        self.talks.insert(id, talk);
        self.open = Some(id);
    }

    fn close_open(&mut self) {
        self.waits_since = None;
        if let Some(talk) = self.open.take().and_then(|id| self.talks.get_mut(&id)) {
            talk.feed = None;
        }
    }

    fn give_up(&mut self, id: u64) {
        if let Some(talk) = self.talks.remove(&id) {
            talk.task.abort();
        }
    }

    fn sent(&mut self, piece: &AudioPiece) {
        self.waits_since = None;
        self.shared.counts.samples_sent.add(piece.n_samples());
        if let Some(talk) = self.open.and_then(|id| self.talks.get_mut(&id)) {
            talk.clock.sent(piece);
        }
    }

    async fn ended(&mut self, id: u64, outcome: Result<(), TalkError>) {
        while let Ok((id, answer)) = self.answers.try_recv() {
            self.answered(id, answer).await;
        }
        let Some(talk) = self.talks.remove(&id) else { return };
        if self.open == Some(id) {
            self.open = None;
            self.waits_since = None;
        }
        let outcome = match outcome {
            Ok(()) if talk.feed.is_some() => {
                Err(TalkError::Connection("it ended the conversation".to_owned()))
            }
            outcome => outcome,
        };
        if let Err(error) = outcome {
            self.withdraw().await;
            self.failed(&error);
        }
    }

    fn failed(&mut self, error: &TalkError) {
        self.not_before = Instant::now() + self.backoff.next();
        self.shared.counts.failures.add(1);
        let url = &self.shared.url;
        if !self.shared.is_away.swap(true, Ordering::Relaxed) {
            tracing::warn!(url, %error, "the speech recogniser fails; it is tried again and again");
        }
        if !std::mem::replace(&mut self.reported.is_away, true) {
            let reason = format!("the speech recogniser (asr.url) fails: {error}; words are missing");
            self.session.warn("recogniser_failed", &reason);
        }
    }

    /// Audio that waited for too long was dropped.
    fn count_lost(&mut self) {
        let n_lost = self.listener.take_lost();
        if n_lost > 0 {
            self.shared.counts.samples_dropped.add(n_lost);
            self.report_slow();
        }
    }

    fn report_slow(&mut self) {
        if !std::mem::replace(&mut self.reported.is_slow, true) {
            let reason =
                "the speech recogniser is too slow: it misses audio (asr.queue_s), and words are missing";
            self.session.warn("recogniser_slow", reason);
        }
    }

    async fn answered(&mut self, id: u64, answer: Answer) {
        if self.shared.is_away.swap(false, Ordering::Relaxed) {
            tracing::info!(url = self.shared.url, "the speech recogniser answers again");
        }
        self.backoff.reset();
        let Some(talk) = self.talks.get_mut(&id) else { return };
        let now = Instant::now();
        if !answer.is_final {
            if now < self.provisional_at {
                return;
            }
            self.provisional_at = now + PROVISIONAL_EVERY;
        }
        let (words, n_wrong) = placed(&mut talk.clock, answer.text, answer.is_final);
        if n_wrong > 0 {
            self.drop_words(n_wrong, "their times or texts cannot be used");
        }
        if !words.is_empty() && !self.rate.takes(now, words.len() as u32) {
            self.drop_words(words.len() as u64, "too many come in a second");
            return;
        }
        self.shared.counts.words.add(words.len() as u64);
        self.emit(words, answer.is_final).await;
    }

    fn drop_words(&mut self, n: u64, why: &str) {
        self.shared.counts.words_dropped.add(n);
        if !std::mem::replace(&mut self.reported.is_wrong, true) {
            let reason = format!("words of the speech recogniser are dropped: {why}");
            self.session.warn("recogniser_wrong", &reason);
        }
    }

    async fn emit(&mut self, words: Vec<SentWord>, is_final: bool) {
        if words.is_empty() {
            // Nothing new; what was provisional is withdrawn.
            return self.withdraw().await;
        }
        for part in words.chunks(MAX_WORDS_SENT) {
            // Each was checked by itself.
            let part = SendWords { words: part.to_vec(), is_final };
            if let Ok(words) = part.checked() {
                self.give(Recognised { words, is_final }).await;
            }
        }
        self.has_provisional = !is_final;
    }

    async fn withdraw(&mut self) {
        if std::mem::take(&mut self.has_provisional) {
            self.give(Recognised { words: Vec::new(), is_final: false }).await;
        }
    }

    /// Gives words to the session. After its end final words are added to the ended session, an empty message withdraws
    /// provisional ones, and new provisional ones are dropped.
    async fn give(&self, recognised: Recognised) {
        let Err(late) = self.listener.recognised(recognised).await else { return };
        if (late.is_final || late.words.is_empty())
            && let Some(hub) = self.shared.hub.upgrade()
            && let Err(error) = hub.add_words_ended(&self.session, &late.words, late.is_final).await
        {
            tracing::info!(session = self.session.id(), %error, "words came too late for their session");
        }
    }
}

/// The words of an answer on the session's clock, and the number of those that cannot be used.
pub(super) fn placed(clock: &mut Clock, text: Recognition, is_final: bool) -> (Vec<SentWord>, u64) {
    let is_usable =
        |word: &SentWord| SendWords { words: vec![word.clone()], is_final: true }.checked().is_ok();
    // What is final by times leaves later audio to the next words: a slow recogniser has not looked at it.
    let mut final_to = None;
    let (words, n_wrong) = match text {
        Recognition::Timed(words) => {
            let n_before = words.len();
            final_to = words.iter().map(|word| word.end).filter(|end| end.is_finite()).reduce(f64::max);
            let kept: Vec<SentWord> = words
                .into_iter()
                .filter_map(|word| {
                    let (start, end) = clock.word(word.start, word.end)?;
                    Some(SentWord { start, end, ..word })
                })
                .collect();
            let n_wrong = n_before - kept.len();
            (single_words(kept), n_wrong)
        }
        Recognition::Text(text) => {
            let words = split(&text);
            let times = clock.spread(&words);
            // Provisional words without audio yet are not counted as lost.
            let n_wrong = if is_final { words.len() - times.len() } else { 0 };
            let word = |((start, end), text)| SentWord { start, end, text, confidence: None };
            (times.into_iter().zip(words).map(word).collect(), n_wrong)
        }
    };
    if is_final {
        clock.is_final_to(final_to);
    }
    let n_before = words.len();
    let words: Vec<SentWord> = words.into_iter().filter(is_usable).collect();
    let n_wrong = n_wrong + n_before - words.len();
    (words, n_wrong as u64)
}
