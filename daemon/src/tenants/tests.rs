use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use diarized_models::events::GapReason;

use super::*;
use crate::access::{Access, Origins, Scope, Scopes, Tokens};
use crate::hub::{Hub, HubParams, OpenError};
use crate::protocol::server_message::EndReason;
use crate::protocol::{AudioFormat, SessionOptions};
use crate::session::scripted::ScriptedFactory;
use crate::session::{Cursor, EngineFactory, Session, Source};
use crate::storage::{Storage, StorageParams};

/// A hub with the tokens `ada`, who has limits, and `bob`, who has none.
struct Bench {
    hub: Arc<Hub>,
    access: Arc<Access>,
    tenants: Arc<Tenants>,
    now: SystemTime,
    path: PathBuf,
    _folder: Option<tempfile::TempDir>,
}

fn bench(max_sessions: Option<u32>, audio_s_a_day: Option<u32>) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens");
    write(&path, max_sessions, audio_s_a_day);
    let access = Arc::new(Access::with_tokens(path.clone(), Origins::default()).unwrap());
    Bench { _folder: Some(folder), ..counting(&access, None, path) }
}

/// A process that counts for these tokens.
fn counting(access: &Arc<Access>, storage: Option<Arc<Storage>>, path: PathBuf) -> Bench {
    let factory: Arc<dyn EngineFactory> = Arc::new(ScriptedFactory::default());
    let hub = Hub::keeping(HubParams::default(), factory, storage.clone());
    let tenants = Arc::new(Tenants::new(access, storage));
    tenants.read_kept();
    hub.set_tenants(&tenants);
    let counting = Arc::clone(&tenants);
    hub.on_open(move |session| counting.meter(session));
    Bench { hub, access: Arc::clone(access), tenants, now: SystemTime::now(), path, _folder: None }
}

fn write(path: &std::path::Path, max_sessions: Option<u32>, audio_s_a_day: Option<u32>) {
    let mut tokens = Tokens::default();
    for name in ["ada", "bob"] {
        tokens.add(name, Scopes::from_iter([Scope::Publish])).unwrap();
    }
    tokens.limit("ada", |limits| {
        (limits.max_sessions, limits.audio_s_a_day) = (max_sessions, audio_s_a_day);
    });
    tokens.save(path).unwrap();
}

impl Bench {
    async fn open(&self, owner: &str) -> Result<Arc<Session>, OpenError> {
        self.hub.open_for(owner, None, AudioFormat::default(), SessionOptions::default()).await
    }

    async fn refusal(&self, owner: &str) -> OverLimit {
        match self.open(owner).await {
            Err(OpenError::OverLimit(over)) => over,
            other => panic!("{other:?}"),
        }
    }

    /// Sends `seconds` of silence, then counts.
    async fn send(&self, session: &Session, seconds: usize) {
        for _ in 0..seconds {
            session.input().push_bytes(vec![0; 32_000].into()).await.unwrap();
        }
        self.tenants.look(self.now);
    }

    fn used_s(&self, token: &str) -> f64 {
        self.hub.usage().unwrap().tokens.iter().find(|one| one.token == token).unwrap().audio_s.0
    }
}

/// The codes of the warnings of a session, after its end where it has ended.
async fn warnings(session: &Session) -> Vec<String> {
    if session.end_reason().is_some() {
        session.channel().wait_ended().await;
    }
    let events = Cursor::stored(session.channel(), 0, 0).read_events(1000).events;
    let messages = events.iter().map(|event| serde_json::from_str::<serde_json::Value>(event).unwrap());
    messages.filter_map(|message| message["code"].as_str().map(str::to_owned)).collect()
}

#[tokio::test]
async fn a_token_opens_as_many_sessions_as_it_may() {
    let bench = bench(Some(2), None);
    let first = bench.open("ada").await.unwrap();
    let _held = first.acquire_publisher_slot().await;
    let second = bench.open("ada").await.unwrap();
    let held = second.acquire_publisher_slot().await;
    let over = bench.refusal("ada").await;
    assert_eq!(over, OverLimit::Sessions { token: "ada".to_owned(), running: 2, max: 2 });
    // Other tokens are not concerned.
    bench.open("bob").await.unwrap();
    bench.hub.open(Some("microphone-2026-01-02"), Source::Microphone, AudioFormat::default()).unwrap();
    bench.hub.open_for("", None, AudioFormat::default(), SessionOptions::default()).await.unwrap();

    // One of its own that waits for its publisher gives way.
    let vacated = held.release();
    let waiting = Arc::clone(&second);
    tokio::spawn(async move { waiting.await_return(vacated, Duration::from_secs(60)).await });
    while second.waiting_since().is_none() {
        tokio::task::yield_now().await;
    }
    let third = bench.open("ada").await.unwrap();
    assert_eq!(second.end_reason(), Some(EndReason::Disconnected));
    let _held = third.acquire_publisher_slot().await;
    bench.refusal("ada").await;
    first.finish(EndReason::Closed);
    bench.open("ada").await.unwrap();
    let ada = &bench.hub.usage().unwrap().tokens[0];
    assert_eq!((ada.token.as_str(), ada.sessions, ada.max_sessions), ("ada", 2, Some(2)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_openings_at_once_one_is_taken() {
    let bench = Arc::new(bench(Some(1), None));
    for _ in 0..20 {
        let both = [(); 2].map(|()| {
            let bench = Arc::clone(&bench);
            tokio::spawn(async move { bench.open("ada").await })
        });
        let mut opened = Vec::new();
        for one in both {
            opened.extend(one.await.unwrap().ok());
        }
        assert_eq!(opened.len(), 1);
        opened[0].finish(EndReason::Closed);
    }
}

#[tokio::test]
async fn a_day_of_audio_ends_with_a_warning_and_the_next_begins_anew() {
    let mut bench = bench(None, Some(20));
    let (one, two) = (bench.open("ada").await.unwrap(), bench.open("ada").await.unwrap());
    let other = bench.open("bob").await.unwrap();
    bench.send(&one, 10).await;
    one.input().push_gap(16_000 * 3600, GapReason::Declared).await.unwrap();
    bench.send(&two, 7).await;
    bench.send(&other, 30).await;
    assert_eq!((bench.used_s("ada"), bench.used_s("bob")), (17.0, 30.0), "a gap is no audio");
    assert_eq!(warnings(&one).await, [""; 0]);
    for _ in 0..3 {
        bench.send(&two, 0).await;
    }
    bench.send(&two, 1).await;
    assert_eq!(warnings(&one).await, ["quota_near"], "once");
    assert!(one.end_reason().is_none());
    let late = bench.open("ada").await.unwrap();
    bench.send(&late, 2).await;
    for session in [&one, &two, &late] {
        assert_eq!(session.end_reason(), Some(EndReason::QuotaExceeded));
        assert_eq!(warnings(session).await.last().unwrap(), "quota_exceeded");
        assert_eq!(session.channel().ended(), Some(EndReason::QuotaExceeded));
    }
    // What came before the end is all there.
    assert_eq!(two.channel().now().at.seconds(), 8.0);
    assert!(other.end_reason().is_none());
    let over = bench.refusal("ada").await;
    let reason = over.to_string();
    assert!(
        reason.contains("\"ada\"") && reason.contains("20 s") && reason.contains("T00:00:00Z"),
        "{reason}"
    );
    assert!((1..=86_400).contains(&over.retry_after_s()));

    bench.now += Duration::from_secs(86_400);
    bench.tenants.look(bench.now);
    let next = bench.open("ada").await.unwrap();
    bench.send(&next, 1).await;
    assert!(next.end_reason().is_none());
}

#[tokio::test]
async fn limits_follow_the_file() {
    let bench = bench(Some(1), Some(5));
    let session = bench.open("ada").await.unwrap();
    let _held = session.acquire_publisher_slot().await;
    bench.refusal("ada").await;
    write(&bench.path, Some(2), Some(1000));
    bench.access.reload().unwrap();
    bench.send(&session, 10).await;
    assert!(session.end_reason().is_none(), "the new limit counts");
    bench.open("ada").await.unwrap();
    write(&bench.path, None, Some(3));
    bench.access.reload().unwrap();
    bench.send(&session, 0).await;
    assert_eq!(session.end_reason(), Some(EndReason::QuotaExceeded));
}

#[tokio::test]
async fn what_was_used_is_known_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens");
    write(&path, None, Some(15));
    let access = Arc::new(Access::with_tokens(path.clone(), Origins::default()).unwrap());
    let store = || Storage::open(StorageParams::at(folder.path().join("a.sqlite"))).unwrap();
    for n in 1..=2 {
        let storage = store();
        let bench = counting(&access, Some(Arc::clone(&storage)), path.clone());
        let session = bench.open("ada").await.unwrap();
        bench.send(&session, 6).await;
        bench.tenants.close();
        assert_eq!(bench.used_s("ada"), 6.0 * f64::from(n));
        session.finish(EndReason::Closed);
        session.channel().wait_ended().await;
        storage.close();
    }
    let storage = store();
    let bench = counting(&access, Some(Arc::clone(&storage)), path);
    let session = bench.open("ada").await.unwrap();
    bench.send(&session, 3).await;
    assert_eq!(session.end_reason(), Some(EndReason::QuotaExceeded));
    storage.close();
}
