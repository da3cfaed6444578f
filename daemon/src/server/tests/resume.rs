//! Publishers whose connections break, and who come back.

use diarized_test_network::Proxy;

use super::*;
use crate::protocol::server_message::Started;
use crate::session::scripted::script;

const TALK: [(f32, usize); 7] = [(0.1, 4), (0.0, 2), (0.2, 5), (0.3, 3), (0.0, 1), (0.1, 2), (0.4, 3)];

/// A publisher's secret and its open socket.
async fn publisher(server: &Running, id: &str) -> (Ws, Started) {
    let mut ws = server.ws(&format!("/v1/stream?session={id}")).await;
    let started = started(&ws.next().await);
    (ws, started)
}

fn started(message: &ServerMessage) -> Started {
    let Body::Started(started) = &message.body else { panic!("{message:?}") };
    started.clone()
}

impl Running {
    /// A connection that takes the session up, and what it was greeted with.
    async fn resume(&self, id: &str, token: &str, rest: &str) -> (Ws, Started) {
        let mut ws = self.ws("/v1/stream").await;
        ws.send(&format!(r#"{{"type":"start","resume":{{"session":"{id}","token":"{token}"{rest}}}}}"#))
            .await;
        let started = started(&ws.next().await);
        assert!(started.resumed);
        (ws, started)
    }
}

/// What the session holds when everything was sent without a break.
async fn uncut() -> (SessionState, u64) {
    let server = serve().await;
    let mut publisher = server.publisher("whole").await;
    publisher.audio(script(&TALK)).await;
    publisher.send(r#"{"type":"close"}"#).await;
    let (all, code) = publisher.rest().await;
    assert_eq!(code, Some(1000));
    (replay(&all), all.iter().rev().find_map(|m| m.seq).unwrap())
}

/// Waits until the session has this many samples.
async fn until_received(server: &Running, id: &str, n_samples: u64) {
    let session = server.hub.get(id).unwrap();
    timeout(PATIENCE, async {
        while session.input().n_received() < n_samples {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_cut_after_any_message_goes_on_as_if_it_had_not_been() {
    let (whole, last_seq) = uncut().await;
    let server = serve().await;
    let audio = script(&TALK);
    // Frames of odd lengths, so that cuts fall anywhere within the tenths of the script.
    let frames: Vec<_> = audio.chunks(2 * 4321).collect();
    for n_before in 0..=frames.len() {
        let id = format!("cut{n_before}");
        let (mut ws, first) = publisher(&server, &id).await;
        for frame in &frames[..n_before] {
            ws.audio(frame.to_vec()).await;
        }
        let n_sent: usize = frames[..n_before].iter().map(|f| f.len() / 2).sum();
        until_received(&server, &id, n_sent as u64).await;
        // Some of the events so far are read, some are not.
        let mut all = Vec::new();
        while all.iter().filter(|m: &&ServerMessage| m.seq.is_some()).count() < n_before / 2 {
            all.push(ws.next().await);
        }
        drop(ws);
        let since = all.iter().filter_map(|m| m.seq).max().unwrap_or(0);
        let (mut ws, again) = server.resume(&id, &first.token, &format!(r#","since":{since}"#)).await;
        assert_eq!((again.received_samples, &again.token), (Some(n_sent as u64), &first.token));
        for frame in &frames[n_before..] {
            ws.audio(frame.to_vec()).await;
        }
        ws.send(r#"{"type":"close"}"#).await;
        let (rest, code) = ws.rest().await;
        all.extend(rest);
        assert_eq!((replay(&all), code), (whole.clone(), Some(1000)), "cut after {n_before} frames");
        assert_eq!(all.iter().rev().find_map(|m| m.seq), Some(last_seq));
    }
    let (_, page) = server.http("GET", "/metrics").await;
    assert!(page.contains(&format!("\ndiarized_streams_resumed_total {}\n", frames.len() + 1)), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_twice_is_cut_off_and_what_is_missing_is_a_gap() {
    let (whole, _) = uncut().await;
    let server = serve().await;
    let audio = script(&TALK);
    let (mut ws, first) = publisher(&server, "a").await;
    ws.audio(audio[..2 * 10_007].to_vec()).await;
    until_received(&server, "a", 10_007).await;
    drop(ws);
    // It sends everything from the 5000th sample on again, in frames that do not end where the session stands.
    let (mut ws, again) = server.resume("a", &first.token, r#","received_s":0.3125,"since":0"#).await;
    assert_eq!((again.received_s.unwrap().0, again.received_samples), (0.625, Some(10_007)));
    for frame in audio[2 * 5000..].chunks(2 * 3001) {
        ws.audio(frame.to_vec()).await;
    }
    ws.send(r#"{"type":"close"}"#).await;
    let (all, code) = ws.rest().await;
    assert_eq!((replay(&all), code), (whole, Some(1000)));

    let (mut ws, first) = publisher(&server, "b").await;
    ws.audio(script(&[(0.1, 5)])).await;
    until_received(&server, "b", 8000).await;
    drop(ws);
    let (mut ws, again) = server.resume("b", &first.token, r#","received_s":0.8,"since":0"#).await;
    assert_eq!(again.received_samples, Some(12_800));
    ws.audio(script(&[(0.2, 2)])).await;
    ws.send(r#"{"type":"close"}"#).await;
    let (all, _) = ws.rest().await;
    let Some(Body::Gap(gap)) = all.iter().map(|m| &m.body).find(|b| b.kind() == "gap") else {
        panic!("{all:?}")
    };
    assert_eq!((gap.start.0, gap.end.0, gap.reason.as_str()), (0.5, 0.8, "disconnected"));
    assert_eq!(ended(&all).unwrap().duration_s.0, 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_declared_gap_that_is_sent_twice_counts_once() {
    let server = serve().await;
    let (mut ws, first) = publisher(&server, "a").await;
    ws.audio(script(&[(0.1, 2)])).await;
    ws.send(r#"{"type":"gap","duration_s":0.5}"#).await;
    until_received(&server, "a", 11_200).await;
    drop(ws);
    let (mut ws, _) = server.resume("a", &first.token, r#","received_s":0.1,"since":0"#).await;
    ws.audio(script(&[(0.1, 1)])).await;
    ws.send(r#"{"type":"gap","duration_s":0.5}"#).await;
    ws.audio(script(&[(0.2, 3)])).await;
    ws.send(r#"{"type":"close"}"#).await;
    let (all, _) = ws.rest().await;
    assert_eq!(ended(&all).unwrap().duration_s.0, 1.0);
    assert_eq!(all.iter().filter(|m| m.body.kind() == "gap").count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_right_token_takes_a_session_up() {
    let server = serve().await;
    let (mut ws, first) = publisher(&server, "a").await;
    let subscriber = server.ws("/v1/events?session=a").await;
    ws.audio(script(&[(0.1, 2)])).await;
    let token = &first.token;
    let cases = [
        ("resume=a&token=0123".to_owned(), ErrorCode::Unauthorised, "`started`"),
        (format!("resume=b&token={token}"), ErrorCode::NotFound, "\"b\""),
        (format!("resume=a&token={token}&sample_rate=8000"), ErrorCode::BadAudioFormat, "sample_rate 8000"),
        (format!("resume=a&token={token}&received_s=-1"), ErrorCode::BadMessage, "(-1)"),
        (format!("resume=a&token={token}&received_s=NaN"), ErrorCode::BadMessage, "(NaN)"),
        (format!("resume=a&token={token}&received_s=90000"), ErrorCode::BadMessage, "more than a day"),
        (format!("resume=a&token={token}&session=c"), ErrorCode::BadMessage, "`resume` names"),
        ("resume=a".to_owned(), ErrorCode::BadMessage, "go together"),
        ("since=3".to_owned(), ErrorCode::BadMessage, "go together"),
    ];
    for (query, code, text) in cases {
        let (all, close) = server.ws(&format!("/v1/stream?{query}")).await.rest().await;
        assert_eq!((error(&all).code, close), (code, Some(code.close_code().as_u16())), "{query}");
        assert!(error(&all).reason.contains(text), "{query}: {:?}", error(&all).reason);
    }
    // The publisher noticed nothing of all this.
    ws.audio(script(&[(0.1, 2)])).await;
    ws.send(r#"{"type":"close"}"#).await;
    let (all, code) = ws.rest().await;
    assert_eq!((ended(&all).unwrap().duration_s.0, code), (0.4, Some(1000)));
    assert_eq!(replay(&subscriber.rest().await.0), replay(&all));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_connection_with_the_token_wins_and_the_old_one_is_told() {
    let server = serve().await;
    let (mut old, first) = publisher(&server, "a").await;
    let subscriber = server.ws("/v1/events?session=a").await;
    old.audio(script(&[(0.1, 5)])).await;
    until_received(&server, "a", 8000).await;
    let (mut new, again) = server.resume("a", &first.token, "").await;
    assert_eq!(again.received_samples, Some(8000));
    let (all, code) = old.rest().await;
    assert_eq!((error(&all).code, error(&all).fatal, code), (ErrorCode::Superseded, true, Some(4409)));
    assert_eq!(new.next().await.body.kind(), "snapshot", "without `since`");
    new.audio(script(&[(0.2, 5)])).await;
    new.send(r#"{"type":"close"}"#).await;
    let (_, code) = new.rest().await;
    assert_eq!(code, Some(1000));
    let (all, _) = subscriber.rest().await;
    let end = ended(&all).unwrap();
    assert_eq!((end.duration_s.0, end.reason, replay(&all).segments().len()), (1.0, EndReason::Closed, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_nobody_knows_is_dead_does_not_stand_in_the_way() {
    let server = serve().await;
    let network = Proxy::to(server.addr);
    let (socket, _) =
        tokio_tungstenite::connect_async(format!("ws://{}/v1/stream?session=a", network.addr)).await.unwrap();
    let mut dead = Ws { socket };
    let first = started(&dead.next().await);
    dead.audio(script(&[(0.1, 3)])).await;
    until_received(&server, "a", 4800).await;
    network.freeze();
    dead.audio(script(&[(0.1, 1)])).await;
    let (mut ws, again) = server.resume("a", &first.token, r#","since":0"#).await;
    assert_eq!(again.received_samples, Some(4800));
    ws.audio(script(&[(0.1, 1)])).await;
    ws.send(r#"{"type":"close"}"#).await;
    let (all, code) = ws.rest().await;
    assert_eq!((ended(&all).unwrap().duration_s.0, code), (0.4, Some(1000)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_that_waits_for_room_is_not_queued_when_another_connection_comes() {
    let server = serve().await;
    let (mut old, first) = publisher(&server, "a").await;
    server.gate.shut();
    // More than the queue holds: the last frames wait in the old connection's hands and in its socket.
    for _ in 0..8 {
        old.audio(script(&[(0.1, 10)])).await;
    }
    let session = server.hub.get("a").unwrap();
    let mut settled = 0;
    while settled < 50 {
        let before = session.input().n_received();
        tokio::time::sleep(Duration::from_millis(2)).await;
        settled = if before == session.input().n_received() && before > 0 { settled + 1 } else { 0 };
    }
    let (mut new, again) = server.resume("a", &first.token, r#","since":0"#).await;
    let n_received = again.received_samples.unwrap();
    assert!(n_received < 8 * 16_000, "{n_received}");
    server.gate.open();
    new.audio(script(&[(0.1, 80)])[2 * n_received as usize..].to_vec()).await;
    new.send(r#"{"type":"close"}"#).await;
    let (all, code) = new.rest().await;
    assert_eq!((ended(&all).unwrap().duration_s.0, code), (8.0, Some(1000)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_waits_for_its_publisher_and_no_longer() {
    let limits = Limits { resume_grace: Duration::from_millis(600), ..Limits::default() };
    let server = serve_with(HubParams::default(), limits).await;
    let (ws, first) = publisher(&server, "a").await;
    assert_eq!(first.resume_grace_s.0, 0.6);
    drop(ws);
    let session = server.hub.get("a").unwrap();
    let began = tokio::time::Instant::now();
    // Each return begins the time again.
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let (ws, _) = server.resume("a", &first.token, "").await;
        drop(ws);
    }
    assert_eq!(session.channel().ended(), None);
    timeout(PATIENCE, session.channel().wait_ended()).await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(1400));
    assert_eq!(session.channel().ended(), Some(EndReason::Disconnected));
    // Who comes too late hears how it ended.
    let (ws, _) = server.resume("a", &first.token, r#","since":0"#).await;
    let (all, code) = ws.rest().await;
    assert_eq!((ended(&all).unwrap().reason, code), (EndReason::Disconnected, Some(1000)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_lost_the_last_words_gets_them_by_resuming() {
    let server = serve().await;
    let (mut ws, first) = publisher(&server, "a").await;
    ws.audio(script(&TALK)).await;
    ws.send(r#"{"type":"close"}"#).await;
    // It reads none of what the end brings.
    let session = server.hub.get("a").unwrap();
    timeout(PATIENCE, session.channel().wait_ended()).await.unwrap();
    drop(ws);
    let (ws, _) = server.resume("a", &first.token, r#","since":2"#).await;
    let (all, code) = ws.rest().await;
    let seqs: Vec<_> = all.iter().filter_map(|m| m.seq).collect();
    assert_eq!(seqs, (3..=session.channel().last_seq()).collect::<Vec<_>>());
    assert_eq!((ended(&all).unwrap().reason, code), (EndReason::Closed, Some(1000)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_waits_for_its_publisher_ends_with_the_server() {
    let server = serve().await;
    let (mut ws, _) = publisher(&server, "a").await;
    ws.audio(script(&[(0.1, 3)])).await;
    until_received(&server, "a", 4800).await;
    drop(ws);
    let session = server.hub.get("a").unwrap();
    let (_, list) = server.http("GET", "/v1/sessions").await;
    assert!(list.contains(r#""live":true"#), "{list}");
    assert_eq!(server.shut_down().await, DrainReport::default());
    assert_eq!(session.channel().ended(), Some(EndReason::Shutdown));
    assert!(session.channel().now().state.segments().all(|s| s.is_final));
}
