//! Many clients, slow clients and fast ones.

use super::*;
use crate::session::JournalParams;
use crate::session::scripted::script;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_connections_at_once_get_their_own_labels() {
    const N: usize = 100;
    let params = HubParams { max_sessions: N, ..HubParams::default() };
    let server = Arc::new(serve_with(params, Limits::default()).await);
    let mut clients = tokio::task::JoinSet::new();
    for n in 0..N {
        let server = Arc::clone(&server);
        clients.spawn(async move {
            let mut publisher = server.publisher(&format!("p{n}")).await;
            let subscriber = server.ws(&format!("/v1/events?session=p{n}")).await;
            // Every session has a length and a speaker of its own.
            let (speaker, tenths) = (1 + n % 5, 1 + n % 17);
            publisher.audio(script(&[(speaker as f32 / 10.0, tenths)])).await;
            publisher.send(r#"{"type":"close"}"#).await;
            let ((own, own_code), (seen, code)) = tokio::join!(publisher.rest(), subscriber.rest());
            assert_eq!((own_code, code), (Some(1000), Some(1000)));
            assert_eq!(ended(&own).unwrap().duration_s.0, tenths as f64 / 10.0);
            let state = replay(&seen);
            assert_eq!(replay(&own), state);
            let label = if speaker == 3 { 1 } else { speaker };
            assert!(state.segments().all(|s| s.speaker.0 as usize == label));
            assert!(seen.iter().all(|m| m.session.as_deref() == Some(&format!("p{n}"))));
        });
    }
    while let Some(done) = clients.join_next().await {
        done.unwrap();
    }
    assert_eq!(server.hub.stats().opened, N as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_that_never_reads_delays_nobody() {
    // Sixteen of the names below: one who reads stays within it on a busy machine, one who does not falls out.
    let journal = JournalParams { max_events: 1000, max_bytes: 8 << 20 };
    let params = HubParams { journal, ..HubParams::default() };
    let server = serve_with(params, Limits::default()).await;
    let mut publisher = server.publisher("a").await;
    publisher.audio(script(&[(0.1, 1)])).await;
    let slow = server.ws("/v1/events?session=a").await;
    let other = tokio::spawn(server.ws("/v1/events?session=a").await.rest());
    // Each name is half a megabyte, so that no socket buffer takes what the slow one does not read.
    let name = "x".repeat(500_000);
    for n in 0..60 {
        publisher.send(&format!(r#"{{"type":"rename","speaker":"S1","name":"{n}{name}"}}"#)).await;
        publisher.until("speaker").await;
    }
    publisher.send(r#"{"type":"close"}"#).await;
    let (_, code) = publisher.rest().await;
    assert_eq!(code, Some(1000));
    let (all, code) = other.await.unwrap();
    assert_eq!((ended(&all).is_some(), code), (true, Some(1000)));
    // Now it reads: it gets the number of missed events, and holds what everybody holds.
    let (late, code) = slow.rest().await;
    assert_eq!(code, Some(1000));
    let missed: u64 = late
        .iter()
        .map(|m| match &m.body {
            Body::Lagged(lagged) => lagged.missed,
            _ => 0,
        })
        .sum();
    assert!(missed > 0, "thirty megabytes did not fit");
    assert!(server.hub.stats().missed >= missed);
    let last = late.iter().rposition(|m| m.body.kind() == "lagged").unwrap();
    assert_eq!(late[last + 1].body.kind(), "snapshot");
    assert_eq!(replay(&late[last + 1..]), replay(&all));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_blocks_writes_for_too_long_is_cut_off() {
    let limits = Limits { write: Duration::from_millis(100), ..Limits::default() };
    let server = serve_with(HubParams::default(), limits).await;
    let mut publisher = server.publisher("a").await;
    publisher.audio(script(&[(0.1, 1)])).await;
    let mut deaf = server.ws("/v1/events?session=a").await;
    deaf.until("snapshot").await;
    let name = "x".repeat(900_000);
    let mut cut_off = false;
    for n in 0..200 {
        publisher.send(&format!(r#"{{"type":"rename","speaker":"S1","name":"{n}{name}"}}"#)).await;
        publisher.until("speaker").await;
        let (_, page) = server.http("GET", "/metrics").await;
        cut_off = page.contains("diarized_subscribers 0\n");
        if cut_off {
            break;
        }
    }
    assert!(cut_off);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_behind_stops_reading_its_socket_and_loses_nothing() {
    let server = serve().await;
    let mut publisher = server.publisher("a").await;
    let session = server.hub.get("a").unwrap();
    server.gate.shut();
    let sender = tokio::spawn(async move {
        for _ in 0..600 {
            publisher.audio(script(&[(0.1, 1)])).await;
        }
        publisher.send(r#"{"type":"close"}"#).await;
        publisher.rest().await
    });
    while session.input().received_s() < 4.0 {
        tokio::task::yield_now().await;
    }
    // The queue holds five seconds, and one frame is in the hands of the session's thread.
    for _ in 0..1000 {
        assert!(session.input().received_s() < 5.5);
        tokio::task::yield_now().await;
    }
    server.gate.open();
    let (all, code) = timeout(PATIENCE, sender).await.unwrap().unwrap();
    assert_eq!((ended(&all).unwrap().duration_s.0, code), (60.0, Some(1000)));
    let acks: Vec<_> = all
        .iter()
        .filter_map(|m| match &m.body {
            Body::Ack(ack) => Some(ack.received_s.0),
            _ => None,
        })
        .collect();
    assert!(acks.windows(2).all(|w| w[1] - w[0] <= 1.0 + 1e-9), "an ack for every second: {acks:?}");
    assert!(*acks.last().unwrap() > 59.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_and_subscribers_are_limited() {
    let params = HubParams { max_sessions: 1, ..HubParams::default() };
    let server = serve_with(params, Limits { max_subscribers: 1, ..Limits::default() }).await;
    let mut publisher = server.publisher("a").await;
    let (all, code) = server.ws("/v1/stream?session=b").await.rest().await;
    assert_eq!((error(&all).code, code), (ErrorCode::TooManySessions, Some(4429)));
    let mut first = server.ws("/v1/events?session=a").await;
    first.until("snapshot").await;
    let (all, code) = server.ws("/v1/events?session=a").await.rest().await;
    assert_eq!((error(&all).code, code), (ErrorCode::TooManySubscribers, Some(4429)));
    publisher.send(r#"{"type":"close"}"#).await;
    assert_eq!(publisher.rest().await.1, Some(1000));
    assert_eq!(first.rest().await.1, Some(1000));
    server.publisher("b").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_that_is_too_slow_takes_no_more_sessions_and_keeps_those_it_has() {
    let server = serve().await;
    let mut running = server.publisher("a").await;
    server.factory.overloaded.store(true, std::sync::atomic::Ordering::SeqCst);
    let (all, code) = server.ws("/v1/stream?session=b").await.rest().await;
    assert_eq!((error(&all).code, code), (ErrorCode::Overloaded, Some(4429)));
    assert!(server.http("GET", "/metrics").await.1.contains("\ndiarized_overloaded 1\n"));
    running.audio(script(&[(0.1, 3)])).await;
    running.send(r#"{"type":"close"}"#).await;
    assert_eq!(running.rest().await.1, Some(1000));
    server.factory.overloaded.store(false, std::sync::atomic::Ordering::SeqCst);
    server.publisher("b").await;
}
