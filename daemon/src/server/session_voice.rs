//! The voice of a speaker of a session, for enrolment: from the kept audio, or from the memory of the session.

use std::sync::Arc;

use axum::http::StatusCode;
use diarized_dsp::{ChannelSelect, SAMPLE_RATE_HZ};
use diarized_models::voiceprint::{Clip, ClipRules};
use diarized_models::{Embedder, SpeakerId};

use super::fault::Fault;
use super::shared::Shared;
use super::voices::Voices;
use crate::audio_file::{MonoFile, Opening};
use crate::protocol::ErrorCode;
use crate::recording::{Recordings, cut};
use crate::session::Session;
use crate::voices::{best_moments, clip_of, clip_of_samples};

/// The voice of `speaker`, who is in the session. Kept audio counts first: labels that a person has corrected count there, and
/// a second voice in them is noticed.
///
/// # Errors
/// There is no audio and no voice, too little of it, or two people speak in it.
pub(super) async fn voice_of(
    shared: &Shared,
    voices: &Arc<Voices>,
    session: &Arc<Session>,
    speaker: SpeakerId,
) -> Result<Clip, Fault> {
    if let Some(clip) = kept_voice(shared, voices, session, speaker).await? {
        return Ok(clip);
    }
    if let Some(node) = session.elsewhere() {
        let reason = format!(
            "session {:?} is of node {node:?} of the cluster, and its voices are there: enrol from it at that node",
            session.id()
        );
        return Err(Fault(StatusCode::CONFLICT, ErrorCode::Refused, reason));
    }
    if session.is_archived() {
        let reason = format!(
            "session {:?} is kept as labels, without voices, and no audio of {speaker} that is long enough is kept \
             (storage.audio): enrol from the session while its server runs and still has its voices, or from audio",
            session.id()
        );
        return Err(Fault(StatusCode::CONFLICT, ErrorCode::Refused, reason));
    }
    Ok(clip_of(&speaker.to_string(), session.voice_of(speaker).await)?)
}

/// The voice in the kept audio; none where no audio is kept, or less than an enrolment needs.
async fn kept_voice(
    shared: &Shared,
    voices: &Arc<Voices>,
    session: &Arc<Session>,
    speaker: SpeakerId,
) -> Result<Option<Clip>, Fault> {
    let storage = shared.hub.storage().and_then(|storage| storage.recordings());
    let Some(recordings) = storage.filter(|_| session.channel().keeps_audio()).cloned() else {
        return Ok(None);
    };
    let session = Arc::clone(session);
    let work = move |embedder: &Embedder| clip_of_kept(embedder, &recordings, &session, speaker);
    voices.analyse(work).await
}

fn clip_of_kept(
    embedder: &Embedder,
    recordings: &Recordings,
    session: &Session,
    speaker: SpeakerId,
) -> Result<Option<Clip>, Fault> {
    let rules = ClipRules::default();
    let (moments, snr_db) = best_moments(&session.channel().now().state, speaker);
    let mut samples = Vec::new();
    for moment in moments {
        let (start_s, end_s) = (moment.start().seconds(), moment.end().seconds());
        // What is not written yet, or was lost, is left out.
        let Ok(Some(file)) = recordings.read(session.id()) else { return Ok(None) };
        let Ok(part) = cut(file, start_s, Some(end_s)) else { continue };
        let opened = Opening::default().memory("kept audio", part.bytes);
        let Ok(mut file) = opened.and_then(|file| MonoFile::new(file, ChannelSelect::Mix)) else { continue };
        while file.read(&mut samples).unwrap_or(false) {}
    }
    if (samples.len() as f32) < rules.min_speech_s * SAMPLE_RATE_HZ as f32 {
        return Ok(None);
    }
    let name = format!("the kept audio of {speaker} in session {:?}", session.id());
    let clip = clip_of_samples(embedder, &name, &samples, &rules, |_| {})?;
    // There are no pauses in it to measure noise in.
    Ok(Some(Clip { snr_db: clip.snr_db.or(snr_db), ..clip }))
}
