//! Access control of every request: origin, token, scope.

use std::sync::Arc;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{FromRequestParts as _, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::fault::failure;
use super::shared::Shared;
use super::visitor::{Visitor, peer_of};
use crate::access::{Denied, Identity, Scope, shorten};
use crate::protocol::ErrorCode;

/// What the subprotocol that carries a browser's token begins with.
const BEARER_SUBPROTOCOL: &str = "bearer.";

/// Accepts a request with its [`Identity`], or answers with the reason of the refusal.
pub(super) async fn guard(State(shared): State<Arc<Shared>>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let Some(needed) = needed_scope(request.method(), path) else {
        return answer(&shared, request, next).await;
    };
    // Subscribed before the check, so that a revocation just after it reaches the open connection.
    let reloaded = shared.access.reloaded();
    let host = text(request.headers(), header::HOST);
    match identify(&shared, request.headers(), host, needed) {
        Ok(identity) => {
            // A WebSocket keeps the place that this takes; a plain request gives it back when it is answered.
            let visitor = match Visitor::let_in(identity, reloaded, &request) {
                Ok(visitor) => visitor,
                Err(full) => {
                    let reason = full.to_string();
                    let status = StatusCode::SERVICE_UNAVAILABLE;
                    return turn_away(shared, request, status, ErrorCode::TooManyConnections, reason).await;
                }
            };
            request.extensions_mut().insert(visitor.clone());
            answer(&shared, request, next).await
        }
        Err(denied) => {
            shared.metrics.denied.add(1);
            let peer = peer_of(&request);
            if let Some(left_out) = shared.refusals.line(&peer) {
                tracing::info!(path = shorten(path), peer, %denied, left_out, "a request was turned away");
            }
            let (status, code) = match denied {
                Denied::NoToken | Denied::UnknownToken => (StatusCode::UNAUTHORIZED, ErrorCode::Unauthorised),
                _ => (StatusCode::FORBIDDEN, ErrorCode::Forbidden),
            };
            turn_away(shared, request, status, code, denied.to_string()).await
        }
    }
}

/// Answers a request that was let in, in the time that there is. A WebSocket is answered when it is open.
async fn answer(shared: &Shared, request: Request, next: Next) -> Response {
    let limit = shared.limits.request;
    tokio::time::timeout(limit, next.run(request)).await.unwrap_or_else(|_| {
        let reason =
            format!("the request took longer than {} s (server.request_timeout_s)", limit.as_secs_f64());
        failure(StatusCode::REQUEST_TIMEOUT, ErrorCode::Idle, reason)
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
    } else if is_below("/v1/stream") || path == "/v1/listen" {
        Some(Scope::Publish)
    } else if is_below("/v1/events") || (is_below("/v1/sessions") && is_read) {
        Some(Scope::Subscribe)
    } else if is_below("/v1/sessions") && matches!(*method, Method::POST | Method::PATCH | Method::PUT) {
        Some(Scope::Publish)
    } else if ["/v1/speakers", "/v1/verify", "/v1/identify"].into_iter().any(is_below) {
        Some(Scope::Voices)
    } else {
        // A new route is closed until it has a scope.
        Some(Scope::Admin)
    }
}

/// Who sends a request with these headers, which calls the server `host`, if the sender may do what is needed.
pub(super) fn identify(
    shared: &Shared,
    headers: &HeaderMap,
    host: Option<&str>,
    needed: Scope,
) -> Result<Identity, Denied> {
    shared.access.admit(text(headers, header::ORIGIN), host)?;
    let identity = shared.access.identify(token_of(headers))?;
    if identity.may(needed) {
        Ok(identity)
    } else {
        Err(Denied::Scope { name: identity.name().to_owned(), needed })
    }
}

/// The value of a header.
fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).map(|value| value.to_str().unwrap_or("?"))
}

/// The token that a request shows: in `Authorization`, or, where a browser cannot set that, as a subprotocol.
fn token_of(headers: &HeaderMap) -> Option<&str> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        // `Token` is Deepgram's word for it.
        let is_known = ["bearer", "token"].into_iter().any(|known| scheme.eq_ignore_ascii_case(known));
        return is_known.then(|| token.trim());
    }
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).into_iter();
    let offered = offered.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let offered: Vec<&str> = offered.map(str::trim).collect();
    let ours = offered.iter().find_map(|protocol| protocol.strip_prefix(BEARER_SUBPROTOCOL));
    // Deepgram's clients in browsers offer a word, and the token behind it.
    let behind_word =
        || offered.iter().skip_while(|protocol| !["token", "bearer"].contains(protocol)).nth(1).copied();
    ours.or_else(behind_word)
}

/// Plain HTTP gets a status; a WebSocket is opened and closed, since browsers show a page nothing of a refused one.
async fn turn_away(
    shared: Arc<Shared>,
    request: Request,
    status: StatusCode,
    code: ErrorCode,
    reason: String,
) -> Response {
    let stranger = Visitor::stranger(&shared.access, &request);
    let (mut parts, _) = request.into_parts();
    // Deepgram's clients look at the status, too.
    let is_ours = parts.uri.path() != "/v1/listen";
    if is_ours && let Ok(upgrade) = WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        let refuse = async move |mut connection: super::connection::Connection| {
            // The peer is gone.
            let _ = connection.send_fatal(None, code, reason).await;
            connection.linger().await;
        };
        return super::connection::accept(shared, upgrade, stranger, refuse);
    }
    let mut response = failure(status, code, reason);
    if status == StatusCode::UNAUTHORIZED {
        let challenge = header::HeaderValue::from_static("Bearer realm=\"diarized\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    response.into_response()
}

#[cfg(test)]
mod tests {
    use axum::extract::Extension;

    use super::super::{Limits, Server};
    use super::*;
    use crate::access::{Access, Tokens};
    use crate::hub::Hub;
    use crate::session::scripted::ScriptedFactory;

    #[test]
    fn every_address_below_v1_needs_a_scope() {
        let cases = [
            (Method::GET, "/", None),
            (Method::GET, "/healthz", None),
            (Method::GET, "/readyz", None),
            (Method::GET, "/metrics", Some(Scope::Metrics)),
            (Method::GET, "/v1/stream", Some(Scope::Publish)),
            (Method::GET, "/v1/listen", Some(Scope::Publish)),
            (Method::GET, "/v1/events", Some(Scope::Subscribe)),
            (Method::GET, "/v1/sessions/a.rttm", Some(Scope::Subscribe)),
            (Method::DELETE, "/v1/sessions/a", Some(Scope::Admin)),
            (Method::PATCH, "/v1/sessions/a/speakers/S1", Some(Scope::Publish)),
            (Method::GET, "/v1/speakers", Some(Scope::Voices)),
            (Method::POST, "/v1/identify", Some(Scope::Voices)),
            (Method::GET, "/v1/streams", Some(Scope::Admin)),
            (Method::GET, "/v1/usage", Some(Scope::Admin)),
            (Method::GET, "/v1", Some(Scope::Admin)),
        ];
        for (method, path, scope) in cases {
            assert_eq!(needed_scope(&method, path), scope, "{method} {path}");
        }
    }

    #[tokio::test]
    async fn a_token_that_is_revoked_right_after_the_check_is_noticed() {
        use hyper::service::Service as _;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        let mut file = Tokens::default();
        let token = file.add("ada", [Scope::Publish].into_iter().collect()).unwrap();
        file.save(&path).unwrap();
        let access = Arc::new(Access::with_tokens(path.clone(), Default::default()).unwrap());
        let hub = Hub::new(Default::default(), Arc::new(ScriptedFactory::default()));
        let server = Server::new(hub, Limits::default(), Arc::clone(&access), None);
        // Later handlers, such as the upgrade to a WebSocket, do not receive the token.
        let revoke = async move |Extension(visitor): Extension<Visitor>| {
            let mut file = Tokens::load(&path).unwrap();
            assert!(file.revoke("ada"));
            file.save(&path).unwrap();
            access.reload().unwrap();
            let is_good = access.is_still_good(&visitor.identity);
            format!("{} {is_good}", visitor.reloaded.has_changed().unwrap())
        };
        let guard = axum::middleware::from_fn_with_state(Arc::clone(&server.shared), guard);
        let router = axum::Router::new().route("/v1/stream", axum::routing::get(revoke)).layer(guard);
        let request = Request::builder()
            .uri("/v1/stream")
            .header(header::HOST, "127.0.0.1")
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .body(axum::body::Body::empty())
            .unwrap();
        let response = hyper_util::service::TowerToHyperService::new(router).call(request).await.unwrap();
        let body = axum::body::to_bytes(response.into_body(), 100).await.unwrap();
        assert_eq!(body, "true false");
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
