//! The plain HTTP side.

use super::*;
use crate::session::scripted::script;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_can_be_listed_read_ended_and_forgotten() {
    let server = serve().await;
    let mut publisher = server.speaking("a").await;
    let (status, body) = server.http("GET", "/v1/sessions").await;
    let list: serde_json::Value = serde_json::from_str(&body).unwrap();
    let listed = &list["sessions"][0];
    assert_eq!((status, listed["session"].as_str(), listed["live"].as_bool()), (200, Some("a"), Some(true)));
    assert_eq!((listed["speakers"].as_u64(), listed["source"].as_str()), (Some(1), Some("stream")));
    let began_ago_s =
        std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64() - listed["began_unix_s"].as_f64().unwrap();
    assert!((0.0..60.0).contains(&began_ago_s), "{began_ago_s}");
    for path in ["/v1/sessions/a", "/v1/sessions/a.json"] {
        let (status, body) = server.http("GET", path).await;
        let snapshot = ServerMessage::parse(&body).unwrap();
        assert!(status == 200 && matches!(snapshot.body, Body::Snapshot(_)), "{path}: {body}");
    }
    publisher.audio(script(&[(0.0, 1)])).await;
    publisher.until("segment").await;
    let exports = [
        ("rttm", "SPEAKER a 1 0.000 0.300 <NA> <NA> S1"),
        ("srt", "00:00:00,000 --> 00:00:00,300"),
        ("vtt", "WEBVTT"),
    ];
    for (extension, text) in exports {
        let (status, body) = server.http("GET", &format!("/v1/sessions/a.{extension}")).await;
        assert!(status == 200 && body.contains(text), "{extension}: {body}");
    }
    let (status, body) = server.http("GET", "/v1/sessions/a.doc").await;
    assert!(status == 404 && body.contains("rttm, srt, txt and vtt"), "{body}");
    assert_eq!(server.http("DELETE", "/v1/sessions/a").await.0, 204);
    let (all, code) = publisher.rest().await;
    assert_eq!((ended(&all).unwrap().reason, code), (EndReason::Deleted, Some(1000)));
    assert_eq!(server.http("GET", "/v1/sessions/a").await.0, 200);
    assert_eq!(server.http("DELETE", "/v1/sessions/a").await.0, 204);
    assert_eq!(server.http("DELETE", "/v1/sessions/a").await.0, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_and_metrics_answer() {
    let server = serve().await;
    let _publisher = server.publisher("a").await;
    assert_eq!(server.http("GET", "/healthz").await, (200, "ok\n".to_owned()));
    assert_eq!(server.http("GET", "/readyz").await, (200, "ready\n".to_owned()));
    let (status, page) = server.http("GET", "/metrics").await;
    assert!(status == 200 && page.contains("\ndiarized_sessions 1\n"), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_is_served_once_and_kept_in_bounds() {
    let server = serve().await;
    let (status, page) = server.http("GET", "/").await;
    assert!(status == 200 && page.starts_with("<!doctype html>"), "{page}");
    assert!(
        !page.contains("<style") && !page.contains("onclick") && !page.contains("//"),
        "nothing inline or foreign"
    );
    let get = |path: &str, more: &str| {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{more}\r\n", server.addr);
        let addr = server.addr;
        tokio::task::spawn_blocking(move || {
            let mut tcp = std::net::TcpStream::connect(addr).unwrap();
            tcp.write_all(request.as_bytes()).unwrap();
            let mut answer = String::new();
            tcp.read_to_string(&mut answer).unwrap();
            answer
        })
    };
    let answer = get("/page/client/session.js", "").await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    for line in [
        "HTTP/1.1 200",
        "content-type: text/javascript; charset=utf-8",
        "cache-control: no-cache",
        "content-security-policy: default-src 'none'; script-src 'self'",
        "x-content-type-options: nosniff",
        "referrer-policy: no-referrer",
        "frame-ancestors 'none'",
    ] {
        assert!(head.contains(line), "{line} in {head}");
    }
    assert!(body.contains("export class SessionModel"));
    let etag = head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
    let again = get("/page/client/session.js", &format!("If-None-Match: {etag}\r\n")).await.unwrap();
    assert!(again.starts_with("HTTP/1.1 304") && again.ends_with("\r\n\r\n"), "{again}");
    for path in ["/page/", "/page/package.json", "/page/../Cargo.toml", "/page/client/index.d.ts"] {
        let (status, body) = server.http("GET", path).await;
        assert!(status == 404 && body.contains("not_found"), "{path}: {status} {body}");
    }
    // What is no page is kept in bounds, too.
    let list = get("/v1/sessions", "").await.unwrap();
    assert!(
        list.contains("nosniff") && list.contains("\"version\":") && list.contains("\"model\":"),
        "{list}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_is_said_in_the_words_of_the_protocol() {
    let server = serve().await;
    let cases = [
        ("GET", "/v2/stream", 404, ErrorCode::NotFound),
        ("GET", "/v1/sessions/nobody", 404, ErrorCode::NotFound),
        ("GET", "/v1/stream", 426, ErrorCode::NotHere),
        ("GET", "/v1/events?session=a", 426, ErrorCode::NotHere),
        ("POST", "/v1/sessions", 405, ErrorCode::NotHere),
    ];
    for (method, path, expected, code) in cases {
        let (status, body) = server.http(method, path).await;
        assert_eq!(status, expected, "{path}");
        let message = ServerMessage::parse(&body).unwrap();
        assert_eq!(error(&[message]).code, code, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_count_what_happens_and_readiness_says_what_is_not_well() {
    let server = serve().await;
    let mut publisher = server.publisher("a").await;
    publisher.audio(script(&[(0.1, 4), (0.3, 2), (0.0, 1)])).await;
    publisher.audio(vec![0; 3]).await;
    let (all, _) = publisher.rest().await;
    assert_eq!(error(&all).code, ErrorCode::BadFrame);
    let (_, page) = server.http("GET", "/metrics").await;
    let of = |name: &str| {
        let line = page.lines().find_map(|line| line.strip_prefix(&format!("diarized_{name} ")));
        line.unwrap_or_else(|| panic!("{name} is not in {page}")).parse::<f64>().unwrap()
    };
    assert_eq!((of("errors_total{code=\"bad_frame\"}"), of("errors_total{code=\"internal\"}")), (1.0, 0.0));
    let n_segments = all.iter().filter(|m| m.body.kind() == "segment").count() as f64;
    assert_eq!(
        (of("events_total{type=\"segment\"}"), of("events_total{type=\"revision\"}")),
        (n_segments, 1.0)
    );
    assert!(of("lag_seconds_count") >= 1.0 && of("audio_heard_seconds_total") > 0.6);
    assert_eq!((of("ready"), of("sessions"), of("sessions_ended")), (1.0, 0.0, 1.0));
    // A device that comes and goes.
    let is_away = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let seen = Arc::clone(&is_away);
    server.hub.check(move || match seen.load(std::sync::atomic::Ordering::SeqCst) {
        true => Err("the capture device is away".to_owned()),
        false => Ok(()),
    });
    assert_eq!(server.http("GET", "/readyz").await, (503, "the capture device is away\n".to_owned()));
    assert!(server.http("GET", "/metrics").await.1.contains("\ndiarized_ready 0\n"));
    is_away.store(false, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(server.http("GET", "/readyz").await.0, 200);
}
