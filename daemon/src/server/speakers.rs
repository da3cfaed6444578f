//! `/v1/speakers`, `/v1/verify`, `/v1/identify`: enrolled people, over plain HTTP.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::extract::{Extension, Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use diarized_models::SpeakerId;
use diarized_models::calibration::sigmoid;
use diarized_models::voiceprint::ClipRules;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::fault::Fault;
use super::session_voice::voice_of;
use super::shared::Shared;
use super::shared::session_of;
use super::upload::{MAX_CLIP_KEY, Upload, declared_length};
use super::visitor::Visitor;
use super::voices::Voices;
use crate::access::Scope;
use crate::protocol::lenient::{read_body, read_number};
use crate::protocol::{Decimal, ErrorCode};
use crate::session::Correction;
use crate::voices::{Registry, StoreError, Voice};

fn bad_request(reason: impl ToString) -> Fault {
    Fault(StatusCode::BAD_REQUEST, ErrorCode::BadMessage, reason.to_string())
}

fn voices_of(shared: &Shared) -> Result<&Arc<Voices>, Fault> {
    let reason = "this server knows no voices; start it with voices.enabled = true";
    shared.voices.get().ok_or_else(|| Fault(StatusCode::NOT_FOUND, ErrorCode::VoicesOff, reason.to_owned()))
}

/// Who asks for a change, in the audit trail.
fn actor_of(visitor: &Visitor) -> String {
    visitor.author().map_or_else(|| "http".to_owned(), |token| format!("http {token}"))
}

/// The body of a request about voices.
async fn body_of(shared: &Shared, headers: &HeaderMap, body: Body) -> Result<Upload, Fault> {
    let declared = declared_length(headers);
    shared.uploads.read(declared, body, shared.limits.max_clip_bytes, MAX_CLIP_KEY).await
}

/// A person as the wire shows them: no embedding ever leaves over HTTP.
#[derive(Debug, Serialize)]
struct VoiceSummary {
    id: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    consent: Option<String>,
    recordings: usize,
    speech_s: Decimal,
    /// Whether any recording is of the model in use.
    recognisable: bool,
    created_unix_s: i64,
    changed_unix_s: i64,
}

impl VoiceSummary {
    fn of(voice: Voice, registry: &Registry) -> Self {
        let recognisable = registry.gallery().voices().iter().any(|known| *known.id == *voice.id);
        let speech_s: f32 = voice.recordings.iter().map(|r| r.content.speech_s).sum();
        Self {
            id: voice.id,
            name: voice.name,
            consent: voice.consent,
            recordings: voice.recordings.len(),
            speech_s: Decimal(f64::from(speech_s)),
            recognisable,
            created_unix_s: voice.created_unix_s,
            changed_unix_s: voice.changed_unix_s,
        }
    }
}

fn answer(outcome: Result<Response, Fault>) -> Response {
    outcome.unwrap_or_else(Response::from)
}

pub(super) async fn list(State(shared): State<Arc<Shared>>) -> Response {
    let work = async {
        let all = voices_of(&shared)?
            .run(|voices| {
                let stored = match voices.registry.with_store(|store| store.voices()) {
                    Err(StoreError::Absent { .. }) => Vec::new(),
                    other => other?,
                };
                Ok(stored
                    .into_iter()
                    .map(|voice| VoiceSummary::of(voice, &voices.registry))
                    .collect::<Vec<_>>())
            })
            .await?;
        Ok(Json(json!({ "speakers": all })).into_response())
    };
    answer(work.await)
}

pub(super) async fn show(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Response {
    let work = async {
        let shown = voices_of(&shared)?
            .run(move |voices| {
                let voice = voices.registry.with_store(|store| store.find(&id))?;
                Ok(VoiceSummary::of(voice, &voices.registry))
            })
            .await?;
        Ok(Json(shown).into_response())
    };
    answer(work.await)
}

/// An enrolment from a session.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FromSession {
    name: String,
    session: String,
    speaker: String,
    #[serde(default)]
    consent: Option<String>,
    #[serde(default)]
    force: bool,
}

/// The query of an enrolment from audio.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FromAudio {
    name: Option<String>,
    consent: Option<String>,
    #[serde(default)]
    force: bool,
}

/// Enrols from the body: audio, or JSON that names a speaker of a session.
pub(super) async fn enrol(
    State(shared): State<Arc<Shared>>,
    Extension(visitor): Extension<Visitor>,
    query: Result<Query<FromAudio>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let work = async {
        let voices = voices_of(&shared)?;
        let body = body_of(&shared, &headers, body).await?;
        let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let enrolment = if kind.starts_with("application/json") {
            let asked = read_body(&body.bytes).map_err(bad_request)?;
            enrol_speaker(&shared, voices, &visitor, asked).await?
        } else {
            let Query(query) = query.map_err(|rejection| bad_request(rejection.body_text()))?;
            let reason = "who is it? use /v1/speakers?name=NAME with audio as the body";
            let name = query.name.ok_or_else(|| bad_request(reason))?;
            let clip = voices.clip(body, ClipRules::default()).await?;
            let (consent, force, actor) = (query.consent, query.force, actor_of(&visitor));
            voices
                .run(move |voices| {
                    let clips = [("a clip over HTTP".to_owned(), clip)];
                    Ok(voices.registry.enrol(&name, consent.as_deref(), &clips, force, &actor)?)
                })
                .await?
        };
        let status = if enrolment.is_new { StatusCode::CREATED } else { StatusCode::OK };
        Ok((status, Json(VoiceSummary::of(enrolment.voice, &voices.registry))).into_response())
    };
    answer(work.await)
}

async fn enrol_speaker(
    shared: &Shared,
    voices: &Arc<Voices>,
    visitor: &Visitor,
    asked: FromSession,
) -> Result<crate::voices::Enrolment, Fault> {
    // Who may not read a session learns neither whether it is there nor whose voices are in it.
    visitor
        .identity
        .must(Scope::Subscribe)
        .map_err(|denied| Fault(StatusCode::FORBIDDEN, ErrorCode::Forbidden, denied.to_string()))?;
    let session = session_of(shared, &asked.session).await?;
    let speaker: SpeakerId = asked.speaker.parse().map_err(bad_request)?;
    if session.channel().now().state.speaker(speaker).is_none() {
        let reason = format!("there is no speaker {speaker} in session {:?}", asked.session);
        return Err(Fault(StatusCode::NOT_FOUND, ErrorCode::UnknownSpeaker, reason));
    }
    let clip = voice_of(shared, voices, &session, speaker).await?;
    let FromSession { name, consent, force, .. } = asked;
    let (source, actor) = (format!("session {} {speaker}", session.id()), actor_of(visitor));
    let enrolment = voices
        .run(move |voices| {
            Ok(voices.registry.enrol(&name, consent.as_deref(), &[(source, clip)], force, &actor)?)
        })
        .await?;
    // The user has named the speaker, so the session does not guess. Naming is
    // for those who may correct the session.
    if !visitor.identity.may(Scope::Publish) {
        return Ok(enrolment);
    }
    let correction =
        Correction::Voice { speaker, voice: enrolment.voice.id.clone(), name: enrolment.voice.name.clone() };
    if let Err(refusal) = shared.hub.correct(&session, correction, visitor.author()).await {
        tracing::info!(session = session.id(), %refusal, "an enrolled speaker is not named in its session");
    }
    Ok(enrolment)
}

/// What may be changed of a person.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Edit {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    consent: Option<String>,
}

pub(super) async fn edit(
    State(shared): State<Arc<Shared>>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let work = async {
        let voices = voices_of(&shared)?;
        let body = body.map_err(|rejection| bad_request(rejection.body_text()))?;
        let Edit { name, consent } = read_body(&body).map_err(bad_request)?;
        if name.is_none() && consent.is_none() {
            return Err(bad_request("nothing to change: give name or consent"));
        }
        let actor = actor_of(&visitor);
        let shown = voices
            .run(move |voices| {
                let edit = |store: &mut crate::voices::Store| {
                    store.edit(&id, name.as_deref(), consent.as_deref(), &actor)
                };
                let voice = voices.registry.with_store(edit)?;
                Ok(VoiceSummary::of(voice, &voices.registry))
            })
            .await?;
        Ok(Json(shown).into_response())
    };
    answer(work.await)
}

pub(super) async fn delete(
    State(shared): State<Arc<Shared>>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<String>,
) -> Response {
    let work = async {
        let actor = actor_of(&visitor);
        let delete = move |voices: &Voices| {
            Ok(voices.registry.with_store(|store| store.delete(&id, &actor).map(drop))?)
        };
        voices_of(&shared)?.run(delete).await?;
        Ok(StatusCode::NO_CONTENT.into_response())
    };
    answer(work.await)
}

/// What a clip is compared with: a known person, or the rest of the body.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Against {
    speaker: Option<String>,
    first_bytes: Option<String>,
}

pub(super) async fn verify(
    State(shared): State<Arc<Shared>>,
    query: Result<Query<Against>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let work = async {
        let voices = voices_of(&shared)?;
        let body = body_of(&shared, &headers, body).await?;
        let Query(against) = query.map_err(|rejection| bad_request(rejection.body_text()))?;
        let rules = ClipRules::for_comparison();
        let calibrations = voices.embedder.card().print_calibrations.clone();
        let first_bytes = against.first_bytes.map(|text| {
            read_number::<usize>(&text)
                .ok_or_else(|| bad_request(format!("first_bytes ({text:?}) is no whole number")))
        });
        let (cosine, enrol_s, test_s) = match (against.speaker, first_bytes.transpose()?) {
            (Some(name), None) => {
                let id = voices.run(move |v| Ok(v.registry.with_store(|s| s.find(&name))?.id)).await?;
                let gallery = voices.registry.gallery();
                let known = gallery.voices().iter().find(|known| *known.id == *id).ok_or_else(|| {
                    let reason = "this voice was enrolled with another model; enrol it again".to_owned();
                    Fault(StatusCode::CONFLICT, ErrorCode::UnknownVoice, reason)
                })?;
                let clip = voices.clip(body, rules).await?;
                (known.print.centre().cosine(&clip.embedding), known.print.seconds(), clip.speech_s)
            }
            (None, Some(first)) if (1..body.bytes.len()).contains(&first) => {
                let a = voices.clip(body.slice(..first), rules).await?;
                let b = voices.clip(body.slice(first..), rules).await?;
                let (longer, shorter) = (a.speech_s.max(b.speech_s), a.speech_s.min(b.speech_s));
                (a.embedding.cosine(&b.embedding), longer, shorter)
            }
            (None, Some(first)) => {
                let n = body.bytes.len();
                return Err(bad_request(format!("first_bytes ({first}) must be above 0 and below {n}")));
            }
            _ => {
                return Err(bad_request(
                    "compare with whom? use speaker=ID for one clip, or first_bytes=N for two clips, one behind \
                     the other",
                ));
            }
        };
        let llr = calibrations.llr(cosine, enrol_s, test_s);
        let number = |value: f32| Decimal(f64::from(value));
        Ok(Json(json!({
            "same": llr >= 0.0,
            "probability": number(sigmoid(llr)),
            "llr": number(llr),
            "cosine": number(cosine),
        }))
        .into_response())
    };
    answer(work.await)
}

pub(super) async fn identify(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Body) -> Response {
    let work = async {
        let voices = voices_of(&shared)?;
        let body = body_of(&shared, &headers, body).await?;
        let clip = voices.clip(body, ClipRules::for_identification()).await?;
        voices.run(|voices| Ok(voices.registry.refresh()?)).await?;
        let (gallery, ranking) = voices.registry.identify(&clip);
        let number = |value: f32| Decimal(f64::from(value));
        let candidates: Vec<_> = ranking
            .candidates
            .iter()
            .take(10)
            .map(|c| {
                let voice = &gallery.voices()[c.voice_idx];
                json!({"id": *voice.id, "name": *voice.name, "probability": number(c.probability),
                       "llr": number(c.llr), "cosine": number(c.cosine)})
            })
            .collect();
        let named = ranking.accepted().map(|c| &gallery.voices()[c.voice_idx]);
        Ok(Json(json!({
            "voice": named.map(|v| &*v.id),
            "name": named.map(|v| &*v.name),
            "stranger": number(ranking.stranger),
            "speech_s": number(clip.speech_s),
            "candidates": candidates,
        }))
        .into_response())
    };
    answer(work.await)
}
