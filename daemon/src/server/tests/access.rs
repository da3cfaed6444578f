//! Tokens, origins and limits on real sockets.

use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue, header};

use super::*;
use crate::access::{AllowedOrigin, Origins, Scope, Scopes, Tokens};
use crate::session::scripted::script;

/// A server that asks for tokens, its file, and one token of each scope.
struct Guarded {
    server: Running,
    access: Arc<Access>,
    folder: tempfile::TempDir,
    tokens: Vec<(Scope, String)>,
}

async fn guarded() -> Guarded {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens");
    let mut file = Tokens::default();
    let tokens = Scope::ALL
        .iter()
        .map(|&scope| (scope, file.add(scope.as_str(), Scopes::from_iter([scope])).unwrap()))
        .collect();
    file.save(&path).unwrap();
    let origins = Origins::new(vec![AllowedOrigin::parse("https://meetings.example").unwrap()]);
    let access = Arc::new(Access::with_tokens(path, origins).unwrap());
    let server = serve_guarded(Arc::clone(&access), Limits::default()).await;
    Guarded { server, access, folder, tokens }
}

impl Guarded {
    fn token(&self, scope: Scope) -> &str {
        &self.tokens.iter().find(|(s, _)| *s == scope).unwrap().1
    }
}

impl Running {
    pub(super) async fn ws_with(&self, path: &str, headers: &[(HeaderName, &str)]) -> Ws {
        let mut request = format!("ws://{}{path}", self.addr).into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(name, HeaderValue::from_str(value).unwrap());
        }
        let (socket, response) = tokio_tungstenite::connect_async(request).await.unwrap();
        let selected = response.headers().get(header::SEC_WEBSOCKET_PROTOCOL).map(HeaderValue::as_bytes);
        assert!(selected.is_none_or(|s| s == b"diarized.v1"), "a token is never sent back");
        Ws { socket }
    }

    /// Status and body of a request with this `Authorization`.
    async fn http_with(&self, method: &str, path: &str, authorization: &str) -> (u16, String) {
        self.request(format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{authorization}\r\n",
            self.addr
        ))
        .await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_address_asks_for_its_scope_and_for_no_other() {
    let guarded = guarded().await;
    let server = &guarded.server;
    let cases = [
        ("GET", "/v1/sessions", Scope::Subscribe, 200),
        ("GET", "/v1/sessions/nobody.rttm", Scope::Subscribe, 404),
        ("DELETE", "/v1/sessions/nobody", Scope::Admin, 404),
        ("GET", "/metrics", Scope::Metrics, 200),
        ("GET", "/v1/nothing", Scope::Admin, 404),
    ];
    for (method, path, needed, expected) in cases {
        let (status, body) = server.http_with(method, path, "").await;
        let unauthorised = ServerMessage::parse(&body).unwrap();
        assert_eq!((status, error(&[unauthorised]).code), (401, ErrorCode::Unauthorised), "{path}");
        let (status, _) = server.http_with(method, path, "Authorization: Bearer dz_guess\r\n").await;
        assert_eq!(status, 401, "{path}");
        for (scope, token) in &guarded.tokens {
            let (status, body) =
                server.http_with(method, path, &format!("Authorization: Bearer {token}\r\n")).await;
            let is_allowed = *scope == needed || *scope == Scope::Admin;
            assert_eq!(
                status,
                if is_allowed { expected } else { 403 },
                "{path} with {}: {body}",
                scope.as_str()
            );
        }
    }
    for path in ["/healthz", "/readyz", "/"] {
        assert_eq!(server.http_with("GET", path, "").await.0, 200, "{path}");
    }
    let answer =
        server.raw("GET /v1/sessions HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").await;
    assert!(answer.to_lowercase().contains("\r\nwww-authenticate: bearer"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_without_the_right_token_is_told_before_the_close() {
    let guarded = guarded().await;
    let server = &guarded.server;
    let none: &[(HeaderName, &str)] = &[];
    for path in ["/v1/stream", "/v1/stream?sample_rate=16000", "/v1/events?session=*"] {
        let (all, code) = server.ws_with(path, none).await.rest().await;
        assert_eq!((error(&all).code, code), (ErrorCode::Unauthorised, Some(4401)), "{path}");
        let bearer = format!("Bearer {}", guarded.token(Scope::Metrics));
        let (all, code) = server.ws_with(path, &[(header::AUTHORIZATION, &bearer)]).await.rest().await;
        assert_eq!((error(&all).code, code), (ErrorCode::Forbidden, Some(4403)), "{path}");
    }
    assert_eq!(server.hub.stats().opened, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_sends_a_browser_listens_and_only_publishers_correct() {
    let guarded = guarded().await;
    let server = &guarded.server;
    let bearer = format!("Bearer {}", guarded.token(Scope::Publish));
    let mut publisher = server.ws_with("/v1/stream?session=a", &[(header::AUTHORIZATION, &bearer)]).await;
    publisher.until("started").await;
    publisher.audio(script(&[(0.1, 3)])).await;
    publisher.until("segment").await;
    let protocols = format!("diarized.v1, bearer.{}", guarded.token(Scope::Subscribe));
    let page =
        [(header::SEC_WEBSOCKET_PROTOCOL, protocols.as_str()), (header::ORIGIN, "https://meetings.example")];
    let mut browser = server.ws_with("/v1/events?session=a", &page).await;
    browser.until("snapshot").await;
    browser.send(r#"{"type":"rename","speaker":"S1","name":"Ada"}"#).await;
    let all = browser.until("error").await;
    assert_eq!((error(&all).code, error(&all).fatal), (ErrorCode::Forbidden, false));
    let admin = format!("Bearer {}", guarded.token(Scope::Admin));
    let mut other = server.ws_with("/v1/events?session=a", &[(header::AUTHORIZATION, &admin)]).await;
    other.until("snapshot").await;
    other.send(r#"{"type":"rename","speaker":"S1","name":"Ada"}"#).await;
    browser.until("speaker").await;
    publisher.send(r#"{"type":"close"}"#).await;
    assert_eq!(publisher.rest().await.1, Some(1000));
    assert_eq!(browser.rest().await.1, Some(1000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_token_ends_its_connections_and_leaves_the_session_to_others() {
    let guarded = guarded().await;
    let server = &guarded.server;
    let bearer = format!("Bearer {}", guarded.token(Scope::Publish));
    let admin = format!("Bearer {}", guarded.token(Scope::Admin));
    let mut publisher = server.ws_with("/v1/stream?session=a", &[(header::AUTHORIZATION, &bearer)]).await;
    let Body::Started(started) = publisher.next().await.body else { panic!("the first message") };
    let mut admins = server.ws_with("/v1/events?session=a", &[(header::AUTHORIZATION, &admin)]).await;
    admins.until("snapshot").await;
    let path = guarded.folder.path().join("tokens");
    let mut file = Tokens::load(&path).unwrap();
    assert!(file.revoke("publish"));
    file.save(&path).unwrap();
    guarded.access.reload().unwrap();
    let (all, code) = publisher.rest().await;
    assert_eq!((error(&all).code, code), (ErrorCode::Unauthorised, Some(4401)));
    let query = format!("/v1/stream?resume=a&token={}", started.token);
    let (all, code) = server.ws_with(&query, &[(header::AUTHORIZATION, &bearer)]).await.rest().await;
    assert_eq!((error(&all).code, code), (ErrorCode::Unauthorised, Some(4401)));
    let mut again = server.ws_with(&query, &[(header::AUTHORIZATION, &admin)]).await;
    again.until("started").await;
    again.send(r#"{"type":"close"}"#).await;
    assert_eq!((again.rest().await.1, admins.rest().await.1), (Some(1000), Some(1000)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_another_site_cannot_use_a_server_without_tokens() {
    let server = serve().await;
    let own = format!("http://{}", server.addr);
    let mut ws = server.ws_with("/v1/events?session=*", &[(header::ORIGIN, own.as_str())]).await;
    ws.send(r#"{"type":"close"}"#).await;
    assert_eq!(ws.rest().await.1, Some(1000));
    let foreign = [(header::ORIGIN, "https://evil.example")];
    let (all, code) = server.ws_with("/v1/stream?sample_rate=16000", &foreign).await.rest().await;
    assert_eq!((error(&all).code, code), (ErrorCode::Forbidden, Some(4403)));
    assert!(error(&all).reason.contains("server.allowed_origins"), "{all:?}");
    let (status, body) =
        server.http_with("DELETE", "/v1/sessions/a", "Origin: https://evil.example\r\n").await;
    assert!(status == 403 && body.contains("\"forbidden\""), "{body}");
    // DNS rebinding: to the browser it is the page's own site.
    let rebound = "GET /v1/sessions HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    let answer = server.raw(rebound).await;
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("evil.example"), "{answer}");
    let (_, page) = server.http("GET", "/metrics").await;
    assert!(page.contains("\ndiarized_requests_denied_total 3\n"), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_messages_is_stopped_and_audio_is_not() {
    let limits = Limits { max_messages_per_s: 10, ..Limits::default() };
    let server = serve_with(HubParams::default(), limits).await;
    let mut good = server.publisher("good").await;
    for _ in 0..300 {
        good.audio(script(&[(0.1, 1)])).await;
    }
    let mut bad = server.publisher("bad").await;
    for _ in 0..100 {
        // The server may be gone already.
        let _ = bad.socket.send(Message::text(r#"{"type":"keep_alive"}"#)).await;
    }
    let (all, code) = bad.rest().await;
    assert_eq!((error(&all).code, code), (ErrorCode::TooManyMessages, Some(4429)));
    assert_eq!(ended(&all).unwrap().reason, EndReason::BadRequest);
    good.send(r#"{"type":"close"}"#).await;
    let (all, code) = good.rest().await;
    assert_eq!((ended(&all).unwrap().duration_s.0, code), (30.0, Some(1000)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_tiny_frames_is_read_later_and_loses_nothing() {
    let limits = Limits { max_frames_per_s: 200, ..Limits::default() };
    let server = serve_with(HubParams::default(), limits).await;
    let began = std::time::Instant::now();
    let mut flood = server.publisher("flood").await;
    // Four hundred may come at once, the rest at two hundred a second; pings count like audio.
    for n in 0..700 {
        match n % 7 {
            6 => flood.socket.send(Message::Ping(vec![0].into())).await.unwrap(),
            _ => flood.audio(vec![0; 2]).await,
        }
    }
    let mut other = server.publisher("other").await;
    other.audio(script(&[(0.1, 3)])).await;
    other.send(r#"{"type":"close"}"#).await;
    assert_eq!(other.rest().await.1, Some(1000));
    assert!(server.hub.get("flood").unwrap().input().n_received() < 600, "nobody else waits");
    flood.send(r#"{"type":"close"}"#).await;
    let (all, code) = flood.rest().await;
    assert_eq!((ended(&all).unwrap().duration_s.0, code), (0.038, Some(1000)));
    assert!(began.elapsed() > Duration::from_millis(1400), "{:?}", began.elapsed());
    let (_, page) = server.http("GET", "/metrics").await;
    let held = page.lines().find_map(|l| l.strip_prefix("diarized_frames_held_total ")).unwrap();
    assert!(held.parse::<f64>().unwrap() >= 10.0, "{held}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_have_a_time_and_a_size() {
    let limits = Limits { header: Duration::from_millis(200), max_header_bytes: 8192, ..Limits::default() };
    let server = serve_with(HubParams::default(), limits).await;
    let began = std::time::Instant::now();
    // A request that never ends, and a connection on which nothing comes at all.
    for head in ["GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ", ""] {
        let answer = server.raw(head).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    }
    assert!(began.elapsed() < Duration::from_secs(10));
    let long = format!("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long: {}\r\n\r\n", "x".repeat(20_000));
    let answer = server.raw(&long).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    let many = format!("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n{}\r\n", "A: b\r\n".repeat(200));
    assert!(server.raw(&many).await.starts_with("HTTP/1.1 431"));
    assert_eq!(server.http("GET", "/healthz").await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_beyond_the_limit_are_told_so() {
    for (max_connections, max_connections_per_address, key) in
        [(2, 100, "(server.max_connections)"), (100, 2, "(server.max_connections_per_address)")]
    {
        let limits = Limits { max_connections, max_connections_per_address, ..Limits::default() };
        let server = serve_with(HubParams::default(), limits).await;
        let first = server.publisher("a").await;
        let _second = server.publisher("b").await;
        let (all, code) = server.ws("/v1/events?session=*").await.rest().await;
        assert_eq!((error(&all).code, code), (ErrorCode::TooManyConnections, Some(4429)));
        assert!(error(&all).reason.contains(key), "{all:?}");
        let (status, body) = server.http("GET", "/v1/sessions").await;
        assert!(status == 503 && body.contains(key), "{body}");
        assert_eq!(server.http("GET", "/healthz").await.0, 200);
        drop(first);
        let began = std::time::Instant::now();
        while server.http("GET", "/v1/sessions").await.0 != 200 {
            assert!(began.elapsed() < PATIENCE);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_that_say_nothing_keep_nobody_out() {
    let limits = Limits { max_connections: 200, header: PATIENCE, ..Limits::default() };
    let server = serve_with(HubParams::default(), limits).await;
    let mut publisher = server.speaking("a").await;
    let mut idle = Vec::new();
    for n in 0..530 {
        let mut tcp = TcpStream::connect(server.addr).await.unwrap();
        // Some say nothing, some begin a request, some have had an answer.
        let words: &[u8] = match n % 3 {
            0 => b"",
            1 => b"GET /v1/events HTTP/1.1\r\nHost: 127",
            _ => b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        };
        // One that was shed already does not take it.
        let _ = tokio::io::AsyncWriteExt::write_all(&mut tcp, words).await;
        idle.push(tcp);
    }
    let began = std::time::Instant::now();
    for _ in 0..10 {
        assert_eq!(server.http("GET", "/healthz").await.0, 200);
        assert_eq!(server.http("GET", "/v1/sessions").await.0, 200);
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    // Who is in stays in, however long.
    publisher.audio(script(&[(0.2, 3)])).await;
    let mut other = server.publisher("b").await;
    other.send(r#"{"type":"close"}"#).await;
    assert_eq!(other.rest().await.1, Some(1000));
    publisher.send(r#"{"type":"close"}"#).await;
    assert_eq!(publisher.rest().await.1, Some(1000));
    let (_, page) = server.http("GET", "/metrics").await;
    let shed = page.lines().find_map(|l| l.strip_prefix("diarized_connections_shed_total ")).unwrap();
    assert!((400.0..=560.0).contains(&shed.parse::<f64>().unwrap()), "{shed}");
    drop(idle);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_publishes_takes_nobodys_id_and_deletes_nothing() {
    let guarded = guarded().await;
    let server = &guarded.server;
    let bearer = |scope| format!("Bearer {}", guarded.token(scope));
    let publish = [(header::AUTHORIZATION, &*bearer(Scope::Publish))];
    let query = "/v1/stream?session=meeting";
    let mut first = server.ws_with(query, &publish).await;
    first.audio(script(&[(0.1, 5)])).await;
    first.until("segment").await;
    let (all, code) = server.ws_with(query, &publish).await.rest().await;
    assert_eq!((error(&all).code, code), (ErrorCode::Conflict, Some(4409)));
    first.send(r#"{"type":"close"}"#).await;
    first.rest().await;
    let read = format!("Authorization: {}\r\n", bearer(Scope::Subscribe));
    let (_, before) = server.http_with("GET", "/v1/sessions/meeting", &read).await;
    for n in 2..5 {
        let mut again = server.ws_with(query, &publish).await;
        assert_eq!(again.next().await.session.as_deref(), Some(&*format!("meeting-{n}")));
        again.send(r#"{"type":"close"}"#).await;
        assert_eq!(again.rest().await.1, Some(1000));
    }
    assert_eq!(server.http_with("GET", "/v1/sessions/meeting", &read).await.1, before);
    for scope in [Scope::Publish, Scope::Subscribe, Scope::Voices, Scope::Metrics] {
        let header = format!("Authorization: {}\r\n", bearer(scope));
        assert_eq!(server.http_with("DELETE", "/v1/sessions/meeting", &header).await.0, 403, "{scope:?}");
    }
    let admin = format!("Authorization: {}\r\n", bearer(Scope::Admin));
    assert_eq!(server.http_with("DELETE", "/v1/sessions/meeting", &admin).await.0, 204);
    let mut freed = server.ws_with(query, &publish).await;
    assert_eq!(freed.next().await.session.as_deref(), Some("meeting"));
}
