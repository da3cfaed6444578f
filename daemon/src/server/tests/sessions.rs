//! Publishers and subscribers that keep to the protocol.

use super::*;
use crate::protocol::{Latency, SessionOptions, SpeakerHints};
use crate::session::scripted::script;

const CONVERSATION: [(f32, usize); 7] =
    [(0.1, 8), (0.0, 3), (0.2, 6), (0.3, 5), (0.0, 2), (0.1, 4), (0.5, 9)];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_labelled_from_start_to_end() {
    let server = serve().await;
    let mut ws = server.ws("/v1/stream").await;
    ws.send(r#"{"type":"start","session":"a","audio":{"encoding":"pcm_s16le","sample_rate":16000}}"#).await;
    let started = ws.next().await;
    let Body::Started(body) = &started.body else { panic!("{started:?}") };
    assert_eq!((body.model.as_str(), body.audio.channels, started.seq), ("scripted", 1, None));
    assert_eq!(body.token.len(), 32);

    ws.audio(script(&[(0.1, 15)])).await;
    ws.send(r#"{"type":"finalize"}"#).await;
    let mut all = Vec::new();
    loop {
        all.push(ws.next().await);
        if let Body::Ack(ack) = &all.last().unwrap().body
            && ack.finalized
        {
            assert_eq!(ack.received_s.0, 1.5);
            break;
        }
    }
    assert!(replay(&all).segments().all(|s| s.is_final), "final segments come before the answer");
    assert!(all.iter().any(|m| matches!(&m.body, Body::Ack(ack) if !ack.finalized)));

    ws.send(r#"{"type":"rename","speaker":"S1","name":"Ada"}"#).await;
    let renamed = ws.next().await;
    assert!(matches!(&renamed.body, Body::Speaker(s) if s.name.as_deref() == Some("Ada")), "{renamed:?}");
    all.push(renamed);
    ws.send(r#"{"type":"keep_alive"}"#).await;
    ws.send(r#"{"type":"gap","duration_s":0.25}"#).await;
    ws.audio(script(&[(0.2, 3)])).await;
    ws.send(r#"{"type":"close"}"#).await;
    let (rest, code) = ws.rest().await;
    all.extend(rest);
    assert_eq!(code, Some(1000));
    let last = all.iter().rfind(|m| m.seq.is_some()).unwrap();
    let Body::Ended(ended) = &last.body else { panic!("{last:?}") };
    assert_eq!((ended.duration_s.0, ended.speakers, ended.reason), (2.05, 2, EndReason::Closed));
    assert_eq!(replay(&all).segments().len(), 2);
    assert!(all.iter().any(|m| matches!(&m.body, Body::Gap(g) if g.reason == "declared")));
    assert_eq!(server.shut_down().await, DrainReport::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_declared_format_is_heard_at_its_own_rate() {
    let server = serve().await;
    // µ-law bytes 0xa0 and 0x20 are ± 0.24 of full scale or so: speaker 2.
    let tone: Vec<u8> = (0..8000 * 2).map(|n| if n / 4 % 2 == 0 { 0xa2 } else { 0x22 }).collect();
    let cases: [(&str, Vec<u8>); 3] = [
        ("encoding=mulaw&sample_rate=8000&channels=2&channel=1", tone),
        ("encoding=pcm_f32le&sample_rate=48000", [0.0_f32; 48_000].map(f32::to_le_bytes).concat()),
        ("sample_rate=44100&channels=2", vec![0; 44_100 * 4]),
    ];
    for (query, audio) in cases {
        let mut ws = server.ws(&format!("/v1/stream?{query}")).await;
        for part in audio.chunks(8000) {
            ws.audio(part.to_vec()).await;
        }
        ws.send(r#"{"type":"close"}"#).await;
        let (all, code) = ws.rest().await;
        assert_eq!(code, Some(1000), "{query}");
        assert_eq!(ended(&all).unwrap().duration_s.0, 1.0, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whenever_somebody_joins_everybody_holds_the_same_in_the_end() {
    let server = serve().await;
    let mut publisher = server.publisher("a").await;
    let mut subscribers =
        vec![server.ws("/v1/events?session=a").await, server.ws("/v1/events?session=*").await];
    let audio = script(&CONVERSATION);
    for part in audio.chunks(3001 * 2) {
        publisher.audio(part.to_vec()).await;
        subscribers.push(server.ws("/v1/events?session=a").await);
    }
    subscribers.push(server.ws("/v1/events?session=a&since=0").await);
    publisher.send(r#"{"type":"close"}"#).await;
    let (own, code) = publisher.rest().await;
    assert_eq!(code, Some(1000));
    let (status, body) = server.http("GET", "/v1/sessions/a").await;
    assert_eq!(status, 200);
    let end = ServerMessage::parse(&body).unwrap();
    let state = replay(std::slice::from_ref(&end));
    assert_eq!(replay(&own), state);
    // The one that follows all sessions is closed by the shutdown, the others by the session's end.
    let last = subscribers.remove(1);
    subscribers.push(server.ws("/v1/events?session=a").await);
    for subscriber in subscribers {
        let (all, code) = subscriber.rest().await;
        assert_eq!(code, Some(1000));
        assert_eq!(replay(&all), state);
        assert_eq!(all.iter().filter_map(|m| m.seq).max(), end.seq);
    }
    server.hub.shut_down();
    let (all, code) = last.rest().await;
    assert_eq!((replay(&all), code), (state, Some(1001)));
    assert_eq!(error(&all).code, ErrorCode::ShuttingDown);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_resumes_where_it_was() {
    let server = serve().await;
    let mut publisher = server.publisher("a").await;
    let first = server.ws("/v1/events?session=a&since=0").await;
    publisher.audio(script(&CONVERSATION)).await;
    publisher.send(r#"{"type":"close"}"#).await;
    publisher.rest().await;
    let (mut all, _) = first.rest().await;
    all.retain(|m| m.seq.is_some());
    for since in [1, 5, all.len() - 1, all.len()] {
        let (resumed, code) = server.ws(&format!("/v1/events?session=a&since={since}")).await.rest().await;
        let resumed: Vec<_> = resumed.into_iter().filter(|m| m.seq.is_some()).collect();
        assert_eq!((resumed.as_slice(), code), (&all[since..], Some(1000)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_may_correct_and_leave() {
    let server = serve().await;
    let mut publisher = server.speaking("a").await;
    let mut subscriber = server.ws("/v1/events?session=a").await;
    subscriber.until("snapshot").await;
    subscriber.send(r#"{"type":"rename","speaker":"S1","name":"Ada"}"#).await;
    for ws in [&mut publisher, &mut subscriber] {
        let all = ws.until("speaker").await;
        assert!(matches!(&all.last().unwrap().body, Body::Speaker(s) if s.name.as_deref() == Some("Ada")));
    }
    subscriber.send(r#"{"type":"close"}"#).await;
    assert_eq!(subscriber.rest().await.1, Some(1000));
    publisher.send(r#"{"type":"close"}"#).await;
    assert_eq!(publisher.rest().await.1, Some(1000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_that_vanishes_mid_frame_leaves_a_finished_session() {
    let limits = Limits { resume_grace: Duration::ZERO, ..Limits::default() };
    let server = serve_with(HubParams::default(), limits).await;
    let mut publisher = server.publisher("a").await;
    let subscriber = server.ws("/v1/events?session=a").await;
    publisher.audio(script(&[(0.1, 5)])).await;
    publisher.until("segment").await;
    // The head of a masked binary frame of 1000 bytes, 3 of its bytes, and then nothing.
    let tcp = publisher.socket.into_inner();
    let MaybeTlsStream::Plain(tcp) = tcp else { panic!("no TLS here") };
    let mut tcp = tcp.into_std().unwrap();
    tcp.set_nonblocking(false).unwrap();
    tcp.write_all(&[0x82, 0xfe, 0x03, 0xe8, 1, 2, 3, 4, 5, 6, 7]).unwrap();
    drop(tcp);
    let (all, code) = subscriber.rest().await;
    assert_eq!(code, Some(1000));
    let ended = ended(&all).unwrap();
    assert_eq!((ended.reason, ended.duration_s.0), (EndReason::Disconnected, 0.5));
    let state = replay(&all);
    assert!(state.segments().len() == 1 && state.segments().all(|s| s.is_final));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_says_the_final_segments_first() {
    let server = serve().await;
    let mut publisher = server.publisher("a").await;
    publisher.audio(script(&[(0.1, 5)])).await;
    publisher.until("segment").await;
    let subscriber = server.ws("/v1/events?session=a").await;
    let waiting = server.ws("/v1/stream").await;
    server.hub.shut_down();
    for ws in [publisher, subscriber] {
        let (all, code) = ws.rest().await;
        assert_eq!(code, Some(1001));
        assert_eq!(error(&all).code, ErrorCode::ShuttingDown);
        assert_eq!(ended(&all).unwrap().reason, EndReason::Shutdown);
        assert!(all.iter().any(|m| matches!(&m.body, Body::Segment(s) if s.is_final)));
    }
    let (all, code) = waiting.rest().await;
    assert_eq!((error(&all).code, code), (ErrorCode::ShuttingDown, Some(1001)));
    let drained = timeout(PATIENCE, server.task).await.unwrap().unwrap();
    assert_eq!(drained, DrainReport::default());
    assert!(std::net::TcpStream::connect(server.addr).is_err(), "nothing listens any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_that_cannot_be_orderly_ends_with_the_grace_period() {
    let limits = Limits { grace: Duration::from_millis(50), ..Limits::default() };
    let server = serve_with(HubParams::default(), limits).await;
    let mut publisher = server.publisher("stuck").await;
    server.gate.shut();
    publisher.audio(script(&[(0.1, 5)])).await;
    let session = server.hub.get("stuck").unwrap();
    while session.input().received_s() < 0.5 {
        tokio::task::yield_now().await;
    }
    server.hub.shut_down();
    let drained = timeout(PATIENCE, server.task).await.unwrap().unwrap();
    assert_eq!(drained.sessions, ["stuck"]);
    assert_eq!(drained.n_connections, 1);
    server.gate.open();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_client_wants_reaches_its_diarizer_only() {
    let server = serve().await;
    let options = || *server.factory.options.lock();
    let mut ws = server.ws("/v1/stream").await;
    ws.send(r#"{"type":"start","speakers":{"expected":3,"max":4},"latency":"low"}"#).await;
    assert_eq!(ws.next().await.body.kind(), "started");
    let speakers = SpeakerHints { expected: Some(3), max: Some(4) };
    assert_eq!(
        options(),
        SessionOptions { speakers, latency: Some(Latency::Low), ..SessionOptions::default() }
    );
    let mut ws = server.ws("/v1/stream?max_speakers=2&latency=high").await;
    assert_eq!(ws.next().await.body.kind(), "started");
    let speakers = SpeakerHints { expected: None, max: Some(2) };
    assert_eq!(
        options(),
        SessionOptions { speakers, latency: Some(Latency::High), ..SessionOptions::default() }
    );
    server.publisher("a").await;
    assert_eq!(options(), SessionOptions::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_has_the_title_that_its_publisher_or_a_subscriber_gives() {
    let server = serve().await;
    let mut publisher = server.ws("/v1/stream").await;
    publisher.send(r#"{"type":"start","session":"a","title":" Weekly <b>3</b> "}"#).await;
    publisher.until("started").await;
    let message = publisher.next().await;
    assert!(
        matches!(&message.body, Body::Title(t) if t.title.as_deref() == Some("Weekly <b>3</b>")),
        "{message:?}"
    );
    assert_eq!(message.seq, Some(1));
    let mut subscriber = server.ws("/v1/events?session=a").await;
    let Body::Snapshot(snapshot) = subscriber.next().await.body else { panic!("no snapshot") };
    assert_eq!(snapshot.title.as_deref(), Some("Weekly <b>3</b>"));
    subscriber.send(r#"{"type":"title","title":"Monthly"}"#).await;
    for ws in [&mut publisher, &mut subscriber] {
        let message = ws.next().await;
        assert!(
            matches!(&message.body, Body::Title(t) if t.title.as_deref() == Some("Monthly")),
            "{message:?}"
        );
    }
    let (_, listed) = server.http("GET", "/v1/sessions").await;
    assert!(listed.contains(r#""title":"Monthly""#), "{listed}");
    let long = format!(r#"{{"type":"title","title":"{}"}}"#, "x".repeat(10_000));
    subscriber.send(&long).await;
    let error = error(&subscriber.until("error").await).clone();
    assert_eq!((error.code, error.fatal), (ErrorCode::BadMessage, false));
    assert!(error.reason.contains("`title` has at most 200 characters"), "{}", error.reason);
    subscriber.send(r#"{"type":"title","title":" "}"#).await;
    let message = subscriber.until("title").await.pop().unwrap();
    assert!(matches!(&message.body, Body::Title(t) if t.title.is_none()), "{message:?}");
    let mut bad = server.ws("/v1/stream?title=a%0Ab").await;
    let Body::Error(error) = bad.next().await.body else { panic!("no error") };
    assert!(error.fatal && error.reason.contains("U+000A"), "{error:?}");
}
