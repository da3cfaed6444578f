//! Plain HTTP: list of sessions, snapshots and exports, health and metrics.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use axum::Json;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Extension, Path, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;

use super::fault::{failure, unreadable};
use super::shared::Shared;
use super::visitor::Visitor;
use crate::hub::ListedElsewhere;
use crate::output::{Labels, OutputFormat};
use crate::protocol::server_message::EndReason;
use crate::protocol::{AudioFormat, ErrorCode, Seconds};
use crate::session::{Session, Source};
use crate::storage::StoredSession;

/// StoredSession sessions in the list, the newest ones.
const MAX_LISTED: usize = 1000;

/// One session in the list.
#[derive(Debug, Serialize)]
struct SessionSummary {
    session: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    live: bool,
    connected: bool,
    /// The node where it runs, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    source: &'static str,
    began_unix_s: Seconds,
    duration_s: Seconds,
    seq: u64,
    speakers: usize,
    segments: usize,
    subscribers: usize,
    audio: AudioFormat,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    audio_kept: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<EndReason>,
}

impl SessionSummary {
    fn of(session: &Session, shared: &Shared) -> Self {
        let now = session.channel().now();
        let began = session.began().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            session: session.id().to_owned(),
            title: now.about.title.clone(),
            live: now.ended.is_none(),
            connected: now.ended.is_none()
                && (session.has_publisher() || session.channel().source() == Source::Microphone),
            node: shared.hub.elsewhere().map(|elsewhere| elsewhere.node().to_owned()),
            source: session.channel().source().as_str(),
            began_unix_s: crate::protocol::Decimal(began.as_secs_f64()),
            duration_s: now.at.into(),
            seq: now.seq,
            speakers: now.state.speakers().len(),
            segments: now.state.segments().len(),
            subscribers: shared.metrics.subscribers.of(session.id()),
            audio: session.format(),
            audio_kept: session.channel().keeps_audio(),
            reason: now.ended,
        }
    }
}

impl SessionSummary {
    fn of_kept(kept: StoredSession, shared: &Shared) -> Self {
        let recordings = shared.hub.storage().and_then(|storage| storage.recordings());
        let audio_kept = recordings.is_some_and(|recordings| recordings.holds(&kept.id));
        let began = kept.began.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            session: kept.id,
            title: kept.title,
            live: false,
            connected: false,
            node: shared.hub.elsewhere().map(|elsewhere| elsewhere.node().to_owned()),
            source: kept.source.as_str(),
            began_unix_s: crate::protocol::Decimal(began.as_secs_f64()),
            duration_s: diarized_dsp::SampleIndex(kept.at).into(),
            seq: kept.seq,
            speakers: kept.n_speakers,
            segments: kept.n_segments,
            subscribers: 0,
            audio: kept.format,
            audio_kept,
            reason: kept.reason,
        }
    }
}

impl SessionSummary {
    fn of_other_node(listed: ListedElsewhere, shared: &Shared) -> Self {
        let began = listed.began.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            live: listed.reason.is_none(),
            connected: listed.is_connected,
            node: Some(listed.node),
            title: listed.title,
            source: listed.source.as_str(),
            began_unix_s: crate::protocol::Decimal(began.as_secs_f64()),
            duration_s: listed.at.into(),
            seq: listed.seq,
            speakers: listed.n_speakers,
            segments: listed.n_segments,
            subscribers: shared.metrics.subscribers.of(&listed.id),
            audio: listed.format,
            audio_kept: false,
            reason: listed.reason,
            session: listed.id,
        }
    }
}

/// Ended sessions first, as far as they are of other nodes; an id that this node has, too, is its own.
fn of_other_nodes(shared: &Shared, own: &[SessionSummary]) -> (Vec<SessionSummary>, Vec<SessionSummary>) {
    let Some(elsewhere) = shared.hub.elsewhere() else { return (Vec::new(), Vec::new()) };
    let known: BTreeSet<&str> = own.iter().map(|summary| summary.session.as_str()).collect();
    let others = elsewhere.list().into_iter().filter(|listed| !known.contains(listed.id.as_str()));
    others.map(|listed| SessionSummary::of_other_node(listed, shared)).partition(|summary| !summary.live)
}

pub(super) fn unavailable(reason: &str) -> Response {
    failure(StatusCode::SERVICE_UNAVAILABLE, ErrorCode::TooManyConnections, reason)
}

pub(super) fn not_a_websocket(rejection: &WebSocketUpgradeRejection) -> Response {
    let reason = format!("this address speaks WebSocket: {rejection}");
    failure(StatusCode::UPGRADE_REQUIRED, ErrorCode::NotHere, reason)
}

pub(super) async fn not_found(uri: Uri) -> Response {
    let reason = format!("no route {}; see docs/protocol.md", uri.path());
    failure(StatusCode::NOT_FOUND, ErrorCode::NotFound, reason)
}

pub(super) async fn method_not_allowed(uri: Uri) -> Response {
    let reason = format!("{} does not support this method", uri.path());
    failure(StatusCode::METHOD_NOT_ALLOWED, ErrorCode::NotHere, reason)
}

pub(super) async fn health() -> &'static str {
    "ok\n"
}

pub(super) async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    match shared.hub.readiness() {
        Ok(()) => {
            let lines = ["ready".to_owned()].into_iter().chain(shared.hub.remarks());
            lines.map(|line| line + "\n").collect::<String>().into_response()
        }
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

pub(super) async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let page = shared.metrics.page(&shared.hub, shared.places.n_shed());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], page).into_response()
}

pub(super) async fn sessions(State(shared): State<Arc<Shared>>) -> Response {
    let kept = match shared.hub.kept(MAX_LISTED).await {
        Ok(kept) => kept,
        Err(error) => return unreadable(&error).into(),
    };
    // Oldest first, and what is in memory last: it is the newest.
    let mut all: Vec<_> = kept.into_iter().rev().map(|kept| SessionSummary::of_kept(kept, &shared)).collect();
    all.extend(shared.hub.sessions().iter().map(|session| SessionSummary::of(session, &shared)));
    let (ended, live) = of_other_nodes(&shared, &all);
    all.splice(0..0, ended);
    all.extend(live);
    let (version, model) = (env!("CARGO_PKG_VERSION"), shared.hub.model());
    let voices = shared.voices.get().is_some();
    let keeps_audio = shared.hub.storage().is_some_and(|storage| storage.keeps_audio_in().is_some());
    Json(serde_json::json!({
        "version": version, "model": model, "voices": voices, "keeps_audio": keeps_audio, "sessions": all
    }))
    .into_response()
}

/// What the tokens have used.
pub(super) async fn usage(State(shared): State<Arc<Shared>>) -> Response {
    match shared.hub.usage() {
        Some(usage) => Json(usage).into_response(),
        None => {
            let reason = "this server has no tokens (server.token_file), whose use it could count";
            failure(StatusCode::NOT_FOUND, ErrorCode::NotFound, reason)
        }
    }
}

/// A snapshot, or an export when the id carries an extension.
pub(super) async fn session(State(shared): State<Arc<Shared>>, Path(name): Path<String>) -> Response {
    let (id, extension) = match name.split_once('.') {
        Some((id, extension)) => (id, Some(extension)),
        None => (name.as_str(), None),
    };
    let session = match shared.hub.find(id).await {
        Ok(Some(session)) => session,
        Ok(None) => {
            let reason = format!("there is no session {id:?}; GET /v1/sessions lists them");
            return failure(StatusCode::NOT_FOUND, ErrorCode::NotFound, reason);
        }
        Err(error) => return unreadable(&error).into(),
    };
    let (format, content_type) = match extension {
        None | Some("json") => {
            let json = session.channel().snapshot_json().into_bytes();
            return ([(header::CONTENT_TYPE, "application/json")], json).into_response();
        }
        Some("rttm") => (OutputFormat::Rttm, "text/plain; charset=utf-8"),
        Some("srt") => (OutputFormat::Srt, "application/x-subrip; charset=utf-8"),
        Some("vtt") => (OutputFormat::Vtt, "text/vtt; charset=utf-8"),
        Some("txt") => {
            let now = session.channel().now();
            let labels = Labels { recording: id, state: &now.state, duration_s: now.at.seconds() };
            let transcript = labels.transcript();
            return ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], transcript).into_response();
        }
        Some(format @ ("md" | "csv")) => {
            let now = session.channel().now();
            let labels = Labels { recording: id, state: &now.state, duration_s: now.at.seconds() };
            let (title, notes) = (now.about.title.as_deref(), &now.about.notes);
            let (written, content_type) = match format {
                "md" => (labels.markdown(title, notes), "text/markdown; charset=utf-8"),
                _ => (labels.csv(notes), "text/csv; charset=utf-8"),
            };
            return ([(header::CONTENT_TYPE, content_type)], written).into_response();
        }
        Some(other) => {
            let reason =
                format!("no export is called {other:?}; there are csv, json, md, rttm, srt, txt and vtt");
            return failure(StatusCode::NOT_FOUND, ErrorCode::NotFound, reason);
        }
    };
    let now = session.channel().now();
    let labels = Labels { recording: id, state: &now.state, duration_s: now.at.seconds() };
    ([(header::CONTENT_TYPE, content_type)], labels.render(format)).into_response()
}

pub(super) async fn delete(
    State(shared): State<Arc<Shared>>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<String>,
) -> Response {
    match shared.hub.forget(&id).await {
        Ok(true) => {
            let (peer, token) = (visitor.peer(), visitor.token());
            tracing::info!(session = id, peer, token, "a session was ended or deleted");
            StatusCode::NO_CONTENT.into_response()
        }
        Ok(false) => {
            let reason = format!("there is no session {id:?}");
            failure(StatusCode::NOT_FOUND, ErrorCode::NotFound, reason)
        }
        Err(error) => unreadable(&error).into(),
    }
}
