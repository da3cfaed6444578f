//! One request: its body, its signature, and what the answer means.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::body::{Body, Bytes};
use bytestring::ByteString;
use diarized_config::Endpoint;
use hmac::{Hmac, KeyInit as _, Mac as _};
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use sha2::Sha256;
use tokio::task::JoinSet;

use crate::client::{Authorities, dial};

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The events were taken.
    Accepted,
    /// They never will be.
    Refused(String),
    /// It is worth another try.
    Later(String),
}

/// The events of one request.
#[derive(Debug)]
pub(super) struct Delivery {
    /// The same for every attempt, so that a receiver recognises a repetition.
    id: String,
    body: Bytes,
    n_events: usize,
}

impl Delivery {
    pub(super) fn new(id: String, events: &[ByteString], missed: u64) -> Self {
        let events_json = events.iter().map(|e| &**e).collect::<Vec<_>>().join(",");
        let missed = if missed > 0 { format!(",\"missed\":{missed}") } else { String::new() };
        let body = format!("{{\"delivery\":\"{id}\",\"events\":[{events_json}]{missed}}}");
        Self { id, body: body.into(), n_events: events.len() }
    }

    pub(super) fn n_events(&self) -> usize {
        self.n_events
    }

    /// Sends it once.
    pub(super) async fn send(
        &self,
        url: &Endpoint,
        authorities: Option<&Authorities>,
        secret: Option<&str>,
        limit: Duration,
    ) -> Answer {
        match tokio::time::timeout(limit, self.try_send(url, authorities, secret)).await {
            Ok(Ok(status)) => meaning(status),
            Ok(Err(reason)) => Answer::Later(reason),
            Err(_) => {
                Answer::Later(format!("no answer within {} s (webhook.timeout_s)", limit.as_secs_f64()))
            }
        }
    }

    async fn try_send(
        &self,
        url: &Endpoint,
        authorities: Option<&Authorities>,
        secret: Option<&str>,
    ) -> Result<StatusCode, String> {
        let stream = dial(&url.host, url.port, authorities).await.map_err(|e| e.to_string())?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
        let request = self.request(url, secret).map_err(|e| e.to_string())?;
        // The connection is driven beside the request and ends with this call: the body of the answer is not read.
        let mut driving = JoinSet::new();
        driving.spawn(connection);
        sender.send_request(request).await.map(|answer| answer.status()).map_err(|e| e.to_string())
    }

    fn request(&self, url: &Endpoint, secret: Option<&str>) -> Result<Request<Body>, hyper::http::Error> {
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut request = Request::post(&url.path)
            .header(header::HOST, url.authority())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, concat!("diarized/", env!("CARGO_PKG_VERSION")))
            .header("X-Diarized-Delivery", &self.id);
        if let Some(secret) = secret {
            request = request.header("X-Diarized-Signature", signature(secret, now_s, &self.body));
        }
        request.body(Body::from(self.body.clone()))
    }
}

/// `t=SECONDS,v1=HEX`: HMAC-SHA-256 of `SECONDS.BODY`, so that an old request cannot be replayed as a new one.
fn signature(secret: &str, now_s: u64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key of any length is one");
    mac.update(format!("{now_s}.").as_bytes());
    mac.update(body);
    format!("t={now_s},v1={}", hex::encode(mac.finalize().into_bytes()))
}

/// A request that timed out, came too early or too often, or met a fault of the server is worth another try.
fn meaning(status: StatusCode) -> Answer {
    match status.as_u16() {
        200..300 => Answer::Accepted,
        408 | 425 | 429 | 500.. => Answer::Later(format!("it answers {status}")),
        _ => Answer::Refused(format!("it answers {status}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_other_implementations() {
        // printf '1700000000.{}' | openssl dgst -sha256 -hmac secret
        let expected = "t=1700000000,v1=b8569b78799ff9e3cbff0fc2d63a33a2b57f3282abd07c37ae5e8e7d79a5f163";
        let got = signature("secret", 1_700_000_000, b"{}");
        assert_eq!(got, expected);
    }

    #[test]
    fn a_body_is_json_with_the_events_as_they_were() {
        let events = [ByteString::from("{\"a\":1}"), ByteString::from("{\"b\":2}")];
        let body =
            |missed| String::from_utf8(Delivery::new("d".to_owned(), &events, missed).body.to_vec()).unwrap();
        assert_eq!(body(0), r#"{"delivery":"d","events":[{"a":1},{"b":2}]}"#);
        assert_eq!(body(3), r#"{"delivery":"d","events":[{"a":1},{"b":2}],"missed":3}"#);
    }

    #[test]
    fn faults_that_pass_are_tried_again() {
        let of = |code| meaning(StatusCode::from_u16(code).unwrap());
        assert_eq!(of(204), Answer::Accepted);
        for code in [408, 429, 500, 503] {
            assert!(matches!(of(code), Answer::Later(_)), "{code}");
        }
        for code in [301, 400, 401, 404, 410] {
            assert!(matches!(of(code), Answer::Refused(_)), "{code}");
        }
    }
}
