//! The doorkeeper before every request: origin, token, scope.

use std::sync::Arc;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{FromRequestParts as _, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::{Shared, http};
use crate::access::{Denied, Identity, Scope};
use crate::protocol::ErrorCode;

/// The subprotocol that the server speaks; a browser offers it together with its token.
pub(super) const SUBPROTOCOL: &str = "diarized.v1";
/// What the subprotocol that carries a browser's token begins with.
const BEARER_SUBPROTOCOL: &str = "bearer.";

/// Lets a request pass, with its [`Identity`], or says why not.
pub(super) async fn guard(State(shared): State<Arc<Shared>>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let Some(needed) = needed_scope(request.method(), path) else {
        return answer(&shared, request, next).await;
    };
    match identify(&shared, request.headers(), needed) {
        Ok(identity) => {
            request.extensions_mut().insert(identity);
            answer(&shared, request, next).await
        }
        Err(denied) => {
            shared.metrics.denied.add(1);
            tracing::info!(path, %denied, "a request was turned away");
            turn_away(shared, request, &denied).await
        }
    }
}

/// Answers a request that was let in, in the time that there is. A WebSocket is answered when it is open.
async fn answer(shared: &Shared, request: Request, next: Next) -> Response {
    let limit = shared.limits.request;
    tokio::time::timeout(limit, next.run(request)).await.unwrap_or_else(|_| {
        let reason =
            format!("the request took longer than {} s (server.request_timeout_s)", limit.as_secs_f64());
        http::failure(StatusCode::REQUEST_TIMEOUT, ErrorCode::Idle, reason)
    })
}

/// The scope that a request needs; none for pages that hold nothing and for the health checks.
fn needed_scope(method: &Method, path: &str) -> Option<Scope> {
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    let is_below =
        |folder: &str| path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if path == "/metrics" {
        Some(Scope::Metrics)
    } else if !path.starts_with("/v1") {
        None
    } else if is_below("/v1/stream") {
        Some(Scope::Publish)
    } else if is_below("/v1/events") || (is_below("/v1/sessions") && is_read) {
        Some(Scope::Subscribe)
    } else if is_below("/v1/sessions") && matches!(*method, Method::POST | Method::PATCH | Method::PUT) {
        Some(Scope::Publish)
    } else if ["/v1/speakers", "/v1/verify", "/v1/identify"].into_iter().any(is_below) {
        Some(Scope::Voices)
    } else {
        // Whatever is new here is closed until somebody has thought of it.
        Some(Scope::Admin)
    }
}

fn identify(shared: &Shared, headers: &HeaderMap, needed: Scope) -> Result<Identity, Denied> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    shared.access.admit(text(header::ORIGIN), text(header::HOST))?;
    let identity = shared.access.identify(token_of(headers))?;
    if identity.may(needed) {
        Ok(identity)
    } else {
        Err(Denied::Scope { name: identity.name().to_owned(), needed })
    }
}

/// The token that a request shows: in `Authorization`, or, where a browser cannot set that, as a subprotocol.
fn token_of(headers: &HeaderMap) -> Option<&str> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        return scheme.eq_ignore_ascii_case("bearer").then(|| token.trim());
    }
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).into_iter();
    offered
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .find_map(|protocol| protocol.trim().strip_prefix(BEARER_SUBPROTOCOL))
}

/// Plain HTTP gets a status; a WebSocket is opened and closed, since browsers show a page nothing of a refused one.
async fn turn_away(shared: Arc<Shared>, request: Request, denied: &Denied) -> Response {
    let (status, code) = match denied {
        Denied::NoToken | Denied::UnknownToken => (StatusCode::UNAUTHORIZED, ErrorCode::Unauthorised),
        _ => (StatusCode::FORBIDDEN, ErrorCode::Forbidden),
    };
    let reason = denied.to_string();
    let (mut parts, _) = request.into_parts();
    if let Ok(upgrade) = WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        let told = async move |mut connection: super::connection::Connection| {
            // Over: the peer is gone.
            let _ = connection.fail(None, code, reason).await;
            connection.linger().await;
        };
        return super::connection::accept(shared, upgrade, Identity::anyone(), told);
    }
    let mut response = http::failure(status, code, reason);
    if status == StatusCode::UNAUTHORIZED {
        let challenge = header::HeaderValue::from_static("Bearer realm=\"diarized\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    response.into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_below_v1_needs_a_scope() {
        let cases = [
            (Method::GET, "/", None),
            (Method::GET, "/healthz", None),
            (Method::GET, "/readyz", None),
            (Method::GET, "/metrics", Some(Scope::Metrics)),
            (Method::GET, "/v1/stream", Some(Scope::Publish)),
            (Method::GET, "/v1/events", Some(Scope::Subscribe)),
            (Method::GET, "/v1/sessions/a.rttm", Some(Scope::Subscribe)),
            (Method::DELETE, "/v1/sessions/a", Some(Scope::Admin)),
            (Method::PATCH, "/v1/sessions/a/speakers/S1", Some(Scope::Publish)),
            (Method::GET, "/v1/speakers", Some(Scope::Voices)),
            (Method::POST, "/v1/identify", Some(Scope::Voices)),
            (Method::GET, "/v1/streams", Some(Scope::Admin)),
            (Method::GET, "/v1", Some(Scope::Admin)),
        ];
        for (method, path, scope) in cases {
            assert_eq!(needed_scope(&method, path), scope, "{method} {path}");
        }
    }

    #[test]
    fn a_token_comes_in_a_header_or_as_a_subprotocol() {
        let of = |name: header::HeaderName, value: &'static str| {
            let headers = HeaderMap::from_iter([(name, header::HeaderValue::from_static(value))]);
            token_of(&headers).map(str::to_owned)
        };
        assert_eq!(of(header::AUTHORIZATION, "Bearer dz_1").as_deref(), Some("dz_1"));
        assert_eq!(of(header::AUTHORIZATION, "bearer  dz_1 ").as_deref(), Some("dz_1"));
        assert_eq!(of(header::AUTHORIZATION, "Basic dz_1"), None);
        assert_eq!(of(header::SEC_WEBSOCKET_PROTOCOL, "diarized.v1, bearer.dz_1").as_deref(), Some("dz_1"));
        assert_eq!(of(header::SEC_WEBSOCKET_PROTOCOL, "diarized.v1"), None);
    }
}
