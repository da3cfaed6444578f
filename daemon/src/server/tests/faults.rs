//! Clients that do not keep to the protocol: each receives the fault, and others notice nothing.

use super::*;
use crate::protocol::CloseCode;
use crate::session::scripted::script;

/// What a client sends.
enum Send<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
}
use Send::{Binary, Text};

/// Path, what is sent there, and the fault with a part of its text.
const FATAL: &[(&str, &[Send], ErrorCode, &str)] = &[
    ("/v1/stream", &[Binary(&[0, 0])], ErrorCode::NotStarted, "audio came before `start`"),
    ("/v1/stream", &[Text(r#"{"type":"finalize"}"#)], ErrorCode::NotStarted, "`finalize`"),
    ("/v1/stream", &[Text("hello")], ErrorCode::BadMessage, "not JSON"),
    ("/v1/stream", &[Text(r#"{"type":"begin"}"#)], ErrorCode::UnknownType, "`begin`"),
    ("/v1/stream", &[Text(r#"{"type":"start","rate":1}"#)], ErrorCode::UnknownField, "`rate`"),
    (
        "/v1/stream",
        &[Text(r#"{"type":"start","audio":{"sample_rate":"16000"}}"#)],
        ErrorCode::BadMessage,
        "invalid type: string",
    ),
    (
        "/v1/stream",
        &[Text(r#"{"type":"start","audio":{"sample_rate":1}}"#)],
        ErrorCode::BadAudioFormat,
        "sample_rate (1) must be between 8000 and 48000",
    ),
    ("/v1/stream?sample_rate=10000000", &[], ErrorCode::BadAudioFormat, "10000000"),
    ("/v1/stream?channels=9", &[], ErrorCode::BadAudioFormat, "channels (9)"),
    ("/v1/stream?encoding=opus", &[], ErrorCode::BadAudioFormat, "pcm_s16le, pcm_f32le, mulaw"),
    ("/v1/stream?sample_rate=fast", &[], ErrorCode::BadMessage, "\"fast\""),
    ("/v1/stream?rate=8000", &[], ErrorCode::UnknownField, "`rate`"),
    ("/v1/stream?session=a.b", &[], ErrorCode::BadMessage, "\"a.b\""),
    ("/v1/stream?max_speakers=0", &[], ErrorCode::BadMessage, "speakers.max (0) must be between 1 and 1000"),
    ("/v1/stream?expected_speakers=few", &[], ErrorCode::BadMessage, "\"few\""),
    ("/v1/stream?latency=none", &[], ErrorCode::BadMessage, "must be one of low, normal, high"),
    (
        "/v1/stream",
        &[Text(r#"{"type":"start","speakers":{"expected":5,"max":4}}"#)],
        ErrorCode::BadMessage,
        "speakers.expected (5) must be at most speakers.max (4)",
    ),
    ("/v1/stream?session=live", &[], ErrorCode::Conflict, "\"live\""),
    (
        "/v1/stream",
        &[Text(r#"{"type":"start"}"#), Binary(&[0; 7])],
        ErrorCode::BadFrame,
        "7 bytes is not a whole number of samples",
    ),
    (
        "/v1/stream",
        &[
            Text(r#"{"type":"start"}"#),
            Binary(br#"{"type":"keep_alive"} "#),
            Binary(br#"{"type":"keep_alive"}"#),
        ],
        ErrorCode::BadFrame,
        "it holds a JSON object: send messages as text frames",
    ),
    ("/v1/events?session=nobody", &[], ErrorCode::NotFound, "\"nobody\""),
    ("/v1/events", &[], ErrorCode::BadMessage, "which session?"),
    ("/v1/events?session=live&from=3", &[], ErrorCode::UnknownField, "`from`"),
    ("/v1/events?session=*&since=3", &[], ErrorCode::BadMessage, "one session"),
    ("/v1/events?session=live", &[Binary(&[0])], ErrorCode::NotHere, "/v1/stream"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fatal_faults_are_named_before_the_close() {
    let server = serve().await;
    let _live = server.publisher("live").await;
    for (path, sends, code, text) in FATAL {
        let mut ws = server.ws(path).await;
        for send in *sends {
            match send {
                Text(text) => ws.send(text).await,
                Binary(bytes) => ws.audio(bytes.to_vec()).await,
            }
        }
        let (all, close) = ws.rest().await;
        let error = error(&all);
        assert_eq!((error.code, error.fatal), (*code, true), "{path}: {error:?}");
        assert!(error.reason.contains(text), "{path}: {:?}", error.reason);
        assert_eq!(close, Some(code.close_code().as_u16()), "{path}");
    }
    assert_eq!(server.hub.stats().live, 1, "the live session lives on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_outlives_messages_it_cannot_read() {
    let server = serve().await;
    let mut ws = server.publisher("a").await;
    let cases = [
        ("RIFF....WAVE", ErrorCode::BadMessage),
        (r#"{"type":"stop"}"#, ErrorCode::UnknownType),
        (r#"{"type":"close","now":true}"#, ErrorCode::UnknownField),
        (r#"{"type":"start"}"#, ErrorCode::AlreadyStarted),
        (r#"{"type":"rename","speaker":"Ada","name":"x"}"#, ErrorCode::BadMessage),
        (r#"{"type":"rename","speaker":"S9","name":"x"}"#, ErrorCode::UnknownSpeaker),
        (r#"{"type":"merge","from":"S1","into":"S2"}"#, ErrorCode::UnknownSpeaker),
        (r#"{"type":"undo"}"#, ErrorCode::Refused),
        (r#"{"type":"gap","duration_s":-1}"#, ErrorCode::BadMessage),
        (r#"{"type":"gap","duration_s":1e300}"#, ErrorCode::BadMessage),
    ];
    for (text, code) in cases {
        ws.send(text).await;
        let all = ws.until("error").await;
        assert_eq!((error(&all).code, error(&all).fatal), (code, false), "{text}");
        assert_eq!(all.last().unwrap().session.as_deref(), Some("a"));
    }
    ws.audio(script(&[(0.1, 3)])).await;
    ws.send(r#"{"type":"close"}"#).await;
    let (all, code) = ws.rest().await;
    assert_eq!((ended(&all).unwrap().duration_s.0, code), (0.3, Some(1000)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_frame_ends_the_session_with_what_was_heard() {
    let server = serve().await;
    let mut ws = server.publisher("a").await;
    let subscriber = server.ws("/v1/events?session=a").await;
    ws.audio(script(&[(0.1, 5)])).await;
    ws.audio(vec![0; 3]).await;
    let (all, code) = ws.rest().await;
    assert_eq!((error(&all).code, code), (ErrorCode::BadFrame, Some(4400)));
    assert_eq!(ended(&all).unwrap().reason, EndReason::BadRequest);
    assert!(replay(&all).segments().all(|s| s.is_final));
    let (seen, code) = subscriber.rest().await;
    assert_eq!((replay(&seen), code), (replay(&all), Some(1000)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_above_the_limit_is_refused() {
    let limits = Limits { max_message_bytes: 10_000, ..Limits::default() };
    let server = serve_with(HubParams::default(), limits).await;
    // Frames that are here before they are refused, that are not, and that never come whole.
    for n_bytes in [10_002, 200_000, 20_000_000] {
        let mut ws = server.publisher(&format!("a{n_bytes}")).await;
        // More than the buffers of both ends hold is only sent because the server goes on to read.
        ws.socket.send(Message::Binary(vec![0; n_bytes].into())).await.unwrap();
        let (all, code) = ws.rest().await;
        assert_eq!((error(&all).code, code), (ErrorCode::FrameTooLarge, Some(4413)), "{n_bytes}");
        assert!(error(&all).reason.contains("above 10000 bytes"), "{:?}", error(&all).reason);
        assert_eq!(ended(&all).unwrap().reason, EndReason::BadRequest);
        for path in ["/v1/stream", "/v1/events?session=*"] {
            let mut other = server.ws(path).await;
            other.socket.send(Message::Binary(vec![0; n_bytes].into())).await.unwrap();
            let (all, code) = other.rest().await;
            assert_eq!(code, Some(4413), "{n_bytes} on {path}");
            assert!(error(&all).reason.contains("above 10000 bytes"), "{:?}", error(&all).reason);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_publisher_is_idle_and_a_living_one_is_not() {
    let limits = Limits { idle: Duration::from_millis(400), ..Limits::default() };
    let server = serve_with(HubParams::default(), limits).await;
    let mut silent = server.publisher("silent").await;
    silent.audio(script(&[(0.1, 2)])).await;
    let never = server.ws("/v1/stream").await;
    let mut alive = server.publisher("alive").await;
    let keep_alive = async {
        let mut every = tokio::time::interval(Duration::from_millis(50));
        loop {
            every.tick().await;
            alive.send(r#"{"type":"keep_alive"}"#).await;
        }
    };
    let ((all, code), (early, early_code)) = tokio::select! {
        all = async { tokio::join!(silent.rest(), never.rest()) } => all,
        () = keep_alive => unreachable!("it never ends"),
    };
    assert_eq!((error(&all).code, code), (ErrorCode::Idle, Some(4408)));
    assert_eq!(ended(&all).unwrap().reason, EndReason::Idle);
    assert_eq!((error(&early).code, early_code), (ErrorCode::Idle, Some(4408)));
    alive.send(r#"{"type":"close"}"#).await;
    assert_eq!(alive.rest().await.1, Some(1000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_answers_no_ping_is_gone() {
    let ping = Duration::from_millis(100);
    let limits = Limits { ping, resume_grace: Duration::ZERO, ..Limits::default() };
    let server = serve_with(HubParams::default(), limits).await;
    // This client never reads, so it never answers a ping; the other one does.
    let deaf = server.publisher("deaf").await;
    let hearing = server.publisher("hearing").await;
    let session = server.hub.get("deaf").unwrap();
    let waited = timeout(PATIENCE, session.channel().wait_ended());
    let rest = tokio::spawn(hearing.rest());
    waited.await.unwrap();
    assert_eq!(session.channel().ended(), Some(EndReason::Disconnected));
    assert_eq!(server.hub.get("hearing").unwrap().channel().ended(), None);
    drop(deaf);
    server.shut_down().await;
    assert_eq!(rest.await.unwrap().1, Some(1001));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_is_an_error_of_one_session() {
    let server = serve().await;
    let (mut bad, mut good) = (server.publisher("bad").await, server.publisher("good").await);
    let subscriber = server.ws("/v1/events?session=bad").await;
    bad.audio(script(&[(0.1, 2), (0.9, 1)])).await;
    for ws in [bad, subscriber] {
        let (all, code) = ws.rest().await;
        assert_eq!((error(&all).code, error(&all).fatal, code), (ErrorCode::Internal, true, Some(4500)));
        assert_eq!(ended(&all).unwrap().reason, EndReason::Failed);
    }
    good.audio(script(&[(0.1, 2)])).await;
    good.send(r#"{"type":"close"}"#).await;
    assert_eq!(good.rest().await.1, Some(CloseCode::Done.as_u16()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nan_samples_are_warned_of_once() {
    let server = serve().await;
    let mut ws = server.ws("/v1/stream?encoding=pcm_f32le").await;
    for _ in 0..3 {
        ws.audio([f32::NAN; 1600].map(f32::to_le_bytes).concat()).await;
    }
    ws.send(r#"{"type":"close"}"#).await;
    let (all, code) = ws.rest().await;
    let warnings: Vec<_> = all.iter().filter(|m| m.body.kind() == "warning").collect();
    assert_eq!((warnings.len(), code), (1, Some(1000)));
    assert_eq!(ended(&all).unwrap().duration_s.0, 0.3);
    replay(&all);
}
