//! Messages of the server, as events of a gRPC stream.

use super::messages::diarized as grpc;
use super::messages::diarized::Body;
use crate::protocol::server_message as wire;
use crate::protocol::{AudioFormat, Decimal, ServerMessage, words};

impl From<ServerMessage> for grpc::Event {
    fn from(message: ServerMessage) -> Self {
        let ServerMessage { session, seq, at, body } = message;
        Self { session: session.unwrap_or_default(), seq, at: at.map(number), body: Some(body.into()) }
    }
}

impl From<wire::Body> for Body {
    fn from(body: wire::Body) -> Self {
        match body {
            wire::Body::Started(it) => Self::Started(it.into()),
            wire::Body::Snapshot(it) => Self::Snapshot(it.into()),
            wire::Body::Segment(it) => Self::Segment(it.into()),
            wire::Body::SegmentRemoved(it) => Self::SegmentRemoved(grpc::SegmentRemoved { id: it.id }),
            wire::Body::Revision(it) => Self::Revision(it.into()),
            wire::Body::Speaker(it) => Self::Speaker(it.into()),
            wire::Body::SpeakerMerged(it) => {
                Self::SpeakerMerged(grpc::SpeakerMerged { from: it.from, into: it.into })
            }
            wire::Body::Words(it) => Self::Words(grpc::Words { words: all(it.words), removed: it.removed }),
            wire::Body::Gap(it) => Self::Gap(it.into()),
            wire::Body::Title(it) => Self::Title(grpc::Title { title: it.title.unwrap_or_default() }),
            wire::Body::Note(it) => Self::Note(it.into()),
            wire::Body::Correction(it) => Self::Correction(it.into()),
            wire::Body::Ack(it) => {
                Self::Ack(grpc::Ack { received_s: number(it.received_s), finalized: it.finalized })
            }
            wire::Body::Stats(it) => Self::Stats(it.into()),
            wire::Body::Lagged(it) => Self::Lagged(grpc::Lagged { missed: it.missed }),
            wire::Body::Warning(it) => Self::Warning(grpc::Warning { code: it.code, reason: it.reason }),
            wire::Body::Error(it) => {
                Self::Error(grpc::Error { code: it.code.as_str().to_owned(), reason: it.reason })
            }
            wire::Body::Ended(it) => Self::Ended(grpc::Ended {
                duration_s: number(it.duration_s),
                speakers: u32::try_from(it.speakers).unwrap_or(u32::MAX),
                reason: it.reason.as_str().to_owned(),
            }),
        }
    }
}

/// A number with the decimals that the protocol carries.
fn number(decimal: Decimal) -> f64 {
    decimal.0
}

fn all<T: Into<U>, U>(items: Vec<T>) -> Vec<U> {
    items.into_iter().map(Into::into).collect()
}

impl From<wire::Started> for grpc::Started {
    fn from(it: wire::Started) -> Self {
        Self {
            token: it.token,
            model: it.model,
            version: it.version,
            audio: Some(it.audio.into()),
            resume_grace_s: number(it.resume_grace_s),
            audio_kept: it.audio_kept,
            resumed: it.resumed,
            received_s: it.received_s.map(number),
            received_samples: it.received_samples,
        }
    }
}

impl From<AudioFormat> for grpc::Format {
    fn from(it: AudioFormat) -> Self {
        Self {
            encoding: it.encoding.as_str().to_owned(),
            sample_rate: it.sample_rate,
            channels: it.channels.into(),
            channel: it.channel.map(Into::into),
        }
    }
}

impl From<wire::Snapshot> for grpc::Snapshot {
    fn from(it: wire::Snapshot) -> Self {
        Self {
            live: it.live,
            source: it.source,
            reason: it.reason.map(|reason| reason.as_str().to_owned()).unwrap_or_default(),
            audio_kept: it.audio_kept,
            title: it.title.unwrap_or_default(),
            undo: it.undo.map(Into::into),
            redo: it.redo.map(Into::into),
            notes: all(it.notes),
            speakers: all(it.speakers),
            segments: all(it.segments),
            gaps: all(it.gaps),
            words: all(it.words),
        }
    }
}

impl From<wire::Segment> for grpc::Segment {
    fn from(it: wire::Segment) -> Self {
        let speech = it.speech.unwrap_or_default().into_iter();
        Self {
            id: it.id,
            start: number(it.start),
            end: number(it.end),
            speech: speech
                .map(|(start, end)| grpc::Span { start: number(start), end: number(end) })
                .collect(),
            speaker: it.speaker,
            name: it.name.unwrap_or_default(),
            confidence: number(it.confidence),
            r#final: it.is_final,
            overlap: it.overlap,
            snr_db: it.snr_db.map(number),
            c50_db: it.c50_db.map(number),
        }
    }
}

impl From<wire::Revision> for grpc::Revision {
    fn from(it: wire::Revision) -> Self {
        let change = |it: wire::Change| grpc::Change { id: it.id, from: it.from, to: it.to };
        Self { changes: it.changes.into_iter().map(change).collect(), reason: it.reason }
    }
}

impl From<wire::Speaker> for grpc::Speaker {
    fn from(it: wire::Speaker) -> Self {
        Self {
            id: it.id,
            name: it.name.unwrap_or_default(),
            voice: it.voice.unwrap_or_default(),
            probability: it.probability.map(number),
            first_s: number(it.first_s),
            total_s: it.total_s.map(number),
        }
    }
}

impl From<words::Word> for grpc::Word {
    fn from(it: words::Word) -> Self {
        Self {
            id: it.id,
            start: number(it.start),
            end: number(it.end),
            text: it.text,
            confidence: it.confidence.map(number),
            r#final: it.is_final,
            speaker: it.speaker.unwrap_or_default(),
            segment: it.segment,
            speaker_confidence: it.speaker_confidence.map(number),
        }
    }
}

impl From<wire::Gap> for grpc::Gap {
    fn from(it: wire::Gap) -> Self {
        Self { start: number(it.start), end: number(it.end), reason: it.reason }
    }
}

impl From<wire::Note> for grpc::Note {
    fn from(it: wire::Note) -> Self {
        Self { id: it.id, segment: it.segment, text: it.text.unwrap_or_default() }
    }
}

impl From<wire::Correctable> for grpc::Correctable {
    fn from(it: wire::Correctable) -> Self {
        Self { id: it.id, kind: it.kind }
    }
}

impl From<wire::Corrected> for grpc::Correction {
    fn from(it: wire::Corrected) -> Self {
        Self {
            id: it.id,
            kind: it.kind,
            of: it.of,
            by: it.by.unwrap_or_default(),
            unix_s: number(it.unix_s),
            undo: it.undo.map(Into::into),
            redo: it.redo.map(Into::into),
        }
    }
}

impl From<wire::Stats> for grpc::Stats {
    fn from(it: wire::Stats) -> Self {
        Self {
            lag_s: number(it.lag_s),
            rtf: number(it.rtf),
            dropped_s: number(it.dropped_s),
            heard_s: number(it.heard_s),
            level_dbfs: number(it.level_dbfs),
            speech: it.speech,
            skipped_windows: it.skipped_windows,
        }
    }
}
