//! The service of VoicePersonification that transcribes, by the configured speech recogniser.

use std::sync::Arc;

use diarized_dsp::{FRAME_SAMPLES, SampleIndex};
use diarized_models::diarizer::{FrameActivity, activity};
use diarized_models::{DiarizerParams, Segmenter};
use tonic::{Request, Response, Status};

use super::clips::{Clip, samples};
use super::messages::voicepersonification as vp;
use super::messages::voicepersonification::AudioRequest;
use crate::asr::Transcriber;
use crate::audio_file::Opening;
use crate::server::analyses::Analyses;
use crate::server::fault::Fault;
use crate::server::upload::Upload;
use crate::session::AudioPiece;

/// Frames of a piece for the recogniser: 100 ms.
const PIECE_FRAMES: usize = 10;

/// The service.
#[derive(Debug)]
pub(super) struct Transcriptions {
    pub(super) analyses: Analyses,
    pub(super) params: DiarizerParams,
    pub(super) transcriber: Option<Arc<Transcriber>>,
}

impl Transcriptions {
    /// The words of a clip.
    pub(super) async fn transcribe(
        self: Arc<Self>,
        request: Request<AudioRequest>,
    ) -> Result<Response<vp::TranscriptionResponse>, Status> {
        let transcriber = self.transcriber.clone().ok_or_else(|| {
            let reason = "no speech recogniser is configured on this server: set asr.kind and asr.url";
            Status::unimplemented(reason)
        })?;
        let Clip { filename, name, upload } = Clip::of(request)?;
        let params = self.params.clone();
        let work = move |upload: &Upload, opening: Opening| {
            let samples = samples(&name, upload, &opening)?;
            let segmenter = Segmenter::builtin().map_err(unusable)?;
            Ok(pieces(&samples, &activity(&params, &segmenter, &samples)))
        };
        let pieces = self.analyses.of_clip(upload, work).await?;
        let passages = transcriber.transcribe(pieces).await;
        let passages = passages.map_err(|error| {
            tracing::warn!(%error, "a clip could not be transcribed");
            Status::unavailable(error.to_string())
        })?;
        let text = passages.iter().map(|passage| passage.text.as_str()).collect::<Vec<_>>().join(" ");
        let segments = passages.into_iter().map(|passage| vp::TranscriptSegment {
            start: passage.start_s as f32,
            end: passage.end_s as f32,
            text: passage.text,
        });
        let transcription = vp::TranscriptionResult {
            text,
            segments: segments.collect(),
            language: transcriber.language().unwrap_or_default().to_owned(),
        };
        Ok(Response::new(vp::TranscriptionResponse { filename, transcription: Some(transcription) }))
    }
}

fn unusable(error: impl std::fmt::Display) -> Fault {
    let status = axum::http::StatusCode::INTERNAL_SERVER_ERROR;
    Fault(status, crate::protocol::ErrorCode::Internal, error.to_string())
}

/// The audio in pieces as a session hands them out.
fn pieces(samples: &[f32], frames: &[FrameActivity]) -> Vec<AudioPiece> {
    let n_samples = PIECE_FRAMES * FRAME_SAMPLES;
    let piece = |(n, part): (usize, &[f32])| {
        let last = frames.get(n * PIECE_FRAMES..).and_then(|rest| rest.iter().take(PIECE_FRAMES).next_back());
        AudioPiece::of(SampleIndex((n * n_samples) as u64), part, last.is_some_and(|frame| frame.is_speech))
    };
    samples.chunks(n_samples).enumerate().map(piece).collect()
}
