//! Corrections over plain HTTP.

use super::*;

/// Status and body of one request with a JSON body.
pub(super) async fn post(server: &Running, path: &str, body: &str) -> (u16, String) {
    let addr = server.addr;
    server
        .request(format!(
            "POST {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_correction_over_http_reaches_every_subscriber() {
    let server = serve().await;
    let mut publisher = server.speaking("a").await;
    let mut subscriber = server.ws("/v1/events?session=a").await;
    subscriber.until("snapshot").await;
    let answer = post(&server, "/v1/sessions/a/rename", r#"{"speaker": "S1", "name": "Ada"}"#).await;
    assert_eq!(answer, (204, String::new()));
    for ws in [&mut publisher, &mut subscriber] {
        loop {
            if let Body::Speaker(speaker) = ws.next().await.body
                && speaker.name.is_some()
            {
                assert_eq!((speaker.id.as_str(), speaker.name.as_deref()), ("S1", Some("Ada")));
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_correction_that_cannot_be_made_says_why() {
    let server = serve().await;
    let mut publisher = server.speaking("a").await;
    for (path, body, status, code) in [
        ("b/rename", r#"{"speaker": "S1", "name": "Ada"}"#, 404, "not_found"),
        ("a/paint", "{}", 404, "not_found"),
        ("a/close", "{}", 404, "not_found"),
        ("a/rename", r#"{"speaker": "S9", "name": "Ada"}"#, 404, "unknown_speaker"),
        ("a/rename", r#"{"speaker": "nine", "name": "Ada"}"#, 400, "bad_message"),
        ("a/rename", r#"{"speaker": "S1"}"#, 400, "bad_message"),
        ("a/rename", r#"{"speaker": "S1", "name": "Ada", "colour": 1}"#, 400, "unknown_field"),
        ("a/rename", "[]", 400, "bad_message"),
        ("a/rename", "Ada", 400, "bad_message"),
        ("a/rename", "", 400, "bad_message"),
        ("a/undo", "", 409, "refused"),
        ("a/merge", r#"{"from": "S1", "into": "S2"}"#, 404, "unknown_speaker"),
        ("a/merge", r#"{"from": "S1", "into": "S1"}"#, 409, "refused"),
        ("a/reassign", r#"{"segment": 9, "speaker": "S1"}"#, 404, "unknown_segment"),
        ("a/reassign", r#"{"segment": 1, "speaker": "S1"}"#, 409, "refused"),
        ("a/split", r#"{"speaker": "S1", "segments": [1]}"#, 409, "refused"),
    ] {
        let (got, answer) = post(&server, &format!("/v1/sessions/{path}"), body).await;
        let error = ServerMessage::parse(&answer).unwrap_or_else(|e| panic!("{path}: {e}: {answer}"));
        let Body::Error(error) = error.body else { panic!("{path}: {answer}") };
        assert_eq!((got, error.code.as_str()), (status, code), "{path} {body}: {}", error.reason);
    }
    publisher.send(r#"{"type": "close"}"#).await;
    publisher.rest().await;
    // Without voices the server says so, wherever one asks.
    for path in ["/v1/speakers", "/v1/identify", "/v1/verify?speaker=x"] {
        let (status, answer) = post(&server, path, "x").await;
        assert!(status == 404 && answer.contains("voices_off"), "{path}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_corrections_is_refused_and_the_session_goes_on() {
    let server = serve().await;
    let mut publisher = server.speaking("a").await;
    let mut other = server.ws("/v1/events?session=a").await;
    other.until("snapshot").await;
    for n in 0..90 {
        other.send(&format!(r#"{{"type":"rename","speaker":"S1","name":"Ada {n}"}}"#)).await;
    }
    let (mut made, mut refused) = (0, 0);
    while made + refused < 90 {
        match other.next().await.body {
            Body::Speaker(_) => made += 1,
            Body::Error(error) if error.code == ErrorCode::Refused && !error.fatal => refused += 1,
            _ => {}
        }
    }
    // Some more are earned while they come.
    assert!((15..=30).contains(&refused), "{refused}");
    let body = r#"{"speaker": "S1", "name": "Ada"}"#;
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(post(&server, "/v1/sessions/a/rename", body).await.0);
    }
    assert!(statuses.contains(&429), "{statuses:?}");
    // Another session has its own share.
    let _b = server.speaking("b").await;
    assert_eq!(post(&server, "/v1/sessions/b/rename", body).await.0, 204);
    publisher.send(r#"{"type":"close"}"#).await;
    assert_eq!(publisher.rest().await.1, Some(1000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_cannot_be_made_of_gaps() {
    let server = serve().await;
    let mut publisher = server.publisher("a").await;
    for _ in 0..150 {
        publisher.send(r#"{"type":"gap","duration_s":0.5}"#).await;
    }
    publisher.send(r#"{"type":"close"}"#).await;
    let (all, _) = publisher.rest().await;
    assert_eq!(ended(&all).unwrap().duration_s.0, 75.0);
    let (_, snapshot) = server.http("GET", "/v1/sessions/a").await;
    let state = replay(&[ServerMessage::parse(&snapshot).unwrap()]);
    assert_eq!(state.gaps().len(), 1, "{snapshot}");
    assert_eq!(replay(&all), state, "followers merge them too");
}
