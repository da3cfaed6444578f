//! Two hundred clients at once, of which half misbehave: the other half notices nothing, and nothing is left behind.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::session::scripted::script;

/// Pairs of a publisher and a subscriber that do everything right.
const N_PAIRS: usize = 50;
/// Clients that do something wrong, a tenth of them each thing.
const N_BAD: usize = 100;

/// What a bad client gets to see in the end, if it looks.
type Seen = Option<(Vec<ServerMessage>, Option<u16>)>;

/// One way to misbehave.
async fn misbehave(server: &Running, n: usize) -> Seen {
    match n % 10 {
        0 | 1 | 6 | 9 => strange(server, n).await,
        _ => publish_badly(server, n).await,
    }
}

/// No publisher at all.
async fn strange(server: &Running, n: usize) -> Seen {
    match n % 10 {
        // A request that never ends.
        0 => {
            let mut tcp = TcpStream::connect(server.addr).await.unwrap();
            tcp.write_all(b"GET /v1/stream HTTP/1.1\r\nHost: 127").await.unwrap();
            let mut answer = Vec::new();
            let _ = tcp.read_to_end(&mut answer).await;
            assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 408"));
            None
        }
        // No HTTP at all.
        1 => {
            let mut tcp = TcpStream::connect(server.addr).await.unwrap();
            tcp.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await.unwrap();
            let mut answer = Vec::new();
            let _ = tcp.read_to_end(&mut answer).await;
            None
        }
        // A subscriber that never reads.
        6 => {
            let ws = server.ws(&format!("/v1/events?session=good{}", n % N_PAIRS)).await;
            tokio::time::sleep(Duration::from_secs(2)).await;
            drop(ws);
            None
        }
        // Corrections of what is not there, audio where none belongs.
        _ => {
            let mut ws = server.ws(&format!("/v1/events?session=good{}", n % N_PAIRS)).await;
            ws.send(r#"{"type":"merge","from":"S9","into":"S8"}"#).await;
            ws.send("[[[[").await;
            ws.audio(vec![0; 2]).await;
            Some(ws.rest().await)
        }
    }
}

/// A publisher that breaks the protocol.
async fn publish_badly(server: &Running, n: usize) -> Seen {
    let id = format!("bad{n}");
    match n % 10 {
        // Half a sample.
        2 => {
            let mut ws = server.publisher(&id).await;
            ws.audio(vec![0; 3]).await;
            Some(ws.rest().await)
        }
        // A message that is too large.
        3 => {
            let mut ws = server.publisher(&id).await;
            let _ = ws.socket.send(Message::Binary(vec![0; 100_000].into())).await;
            Some(ws.rest().await)
        }
        // A flood of text.
        4 => {
            let mut ws = server.publisher(&id).await;
            for _ in 0..200 {
                let _ = ws.socket.send(Message::text(r#"{"type":"keep_alive"}"#)).await;
            }
            Some(ws.rest().await)
        }
        // A flood of tiny frames and pings, and gone in the middle of a frame.
        5 => {
            let mut ws = server.publisher(&id).await;
            for n in 0..2000 {
                let frame = if n % 2 == 0 {
                    Message::Binary(vec![0; 2].into())
                } else {
                    Message::Ping(vec![].into())
                };
                if ws.socket.send(frame).await.is_err() {
                    break;
                }
            }
            let MaybeTlsStream::Plain(tcp) = ws.socket.get_mut() else { panic!("it is plain") };
            let _ = tcp.write_all(&[0x82, 0xfe, 0xea, 0x60, 1, 2, 3, 4, 5]).await;
            None
        }
        // A thief of a session.
        7 => {
            let query = format!("resume=good{}&token=0123456789abcdef", n % N_PAIRS);
            Some(server.ws(&format!("/v1/stream?{query}")).await.rest().await)
        }
        // A publisher that says nothing more.
        _ => Some(server.publisher(&id).await.rest().await),
    }
}

/// What each way to misbehave is answered with.
fn answer(n: usize) -> Option<(ErrorCode, u16)> {
    match n % 10 {
        2 => Some((ErrorCode::BadFrame, 4400)),
        3 => Some((ErrorCode::FrameTooLarge, 4413)),
        4 => Some((ErrorCode::TooManyMessages, 4429)),
        7 => Some((ErrorCode::Unauthorised, 4401)),
        8 => Some((ErrorCode::Idle, 4408)),
        9 => Some((ErrorCode::NotHere, 4400)),
        _ => None,
    }
}

/// A publisher in real time and its subscriber; both hear all of it.
async fn behave(server: &Running, n: usize) {
    let id = format!("good{n}");
    let mut publisher = server.publisher(&id).await;
    let subscriber = server.ws(&format!("/v1/events?session={id}")).await;
    // Every session has a length and a speaker of its own.
    let (speaker, tenths) = (1 + n % 5, 8 + n % 17);
    let audio = script(&[(speaker as f32 / 10.0, tenths)]);
    for frame in audio.chunks(3200) {
        publisher.audio(frame.to_vec()).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    publisher.send(r#"{"type":"close"}"#).await;
    let ((own, own_code), (seen, code)) = tokio::join!(publisher.rest(), subscriber.rest());
    assert_eq!((own_code, code), (Some(1000), Some(1000)), "{id}");
    assert_eq!(ended(&own).unwrap().duration_s.0, tenths as f64 / 10.0, "{id}");
    let state = replay(&seen);
    assert_eq!(replay(&own), state, "{id}");
    // The script's speaker 3 proves to be speaker 1.
    let label = if speaker == 3 { 1 } else { speaker };
    assert!(state.segments().len() > 0 && state.segments().all(|s| s.speaker.0 as usize == label), "{id}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_hundred_clients_half_misbehave_and_the_others_notice_nothing() {
    let params = HubParams { max_sessions: 2 * N_BAD, ..HubParams::default() };
    let limits = Limits {
        max_message_bytes: 10_000,
        max_messages_per_s: 50,
        max_frames_per_s: 500,
        header: Duration::from_millis(500),
        idle: Duration::from_secs(3),
        resume_grace: Duration::from_millis(300),
        write: Duration::from_secs(1),
        ..Limits::default()
    };
    let server = Arc::new(serve_with(params, limits).await);
    let mut clients = tokio::task::JoinSet::new();
    for n in 0..N_PAIRS {
        let server = Arc::clone(&server);
        clients.spawn(async move { behave(&server, n).await });
    }
    while server.hub.stats().opened < N_PAIRS as u64 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for n in 0..N_BAD {
        let server = Arc::clone(&server);
        clients.spawn(async move {
            let seen = misbehave(&server, n).await;
            if let Some((code, close)) = answer(n) {
                let (all, got) = seen.unwrap();
                let fatal = all.iter().rev().find_map(|m| match &m.body {
                    Body::Error(error) if error.fatal => Some(error.code),
                    _ => None,
                });
                assert_eq!((fatal, got), (Some(code), Some(close)), "kind {}: {all:#?}", n % 10);
            }
        });
    }
    while let Some(done) = clients.join_next().await {
        done.unwrap();
    }
    // Nothing is left behind: no connection, no session, no subscriber.
    let empty = ["diarized_connections 0", "diarized_sessions 0", "diarized_subscribers 0"];
    let began = std::time::Instant::now();
    loop {
        let (_, page) = server.http("GET", "/metrics").await;
        if empty.iter().all(|line| page.contains(&format!("\n{line}\n"))) {
            assert!(page.contains("\ndiarized_errors_total{code=\"internal\"} 0\n"), "{page}");
            break;
        }
        assert!(began.elapsed() < PATIENCE, "{page}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    server.publisher("after").await;
}
