//! The messages of `proto/diarized/v1/diarizer.proto`.

use axum::body::Bytes;

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Audio {
    #[prost(oneof = "Content", tags = "1, 2, 3, 4, 5, 6")]
    pub(crate) content: Option<Content>,
}

/// What a message of type `Audio` holds.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum Content {
    /// Opens the session, or takes one up again.
    #[prost(message, tag = "1")]
    Start(Start),
    /// Raw samples without a header, whole samples of every channel; 20 to 100 ms are a good size.
    #[prost(bytes = "bytes", tag = "2")]
    Pcm(Bytes),
    /// Seconds of audio that are missing here.
    #[prost(double, tag = "3")]
    GapS(f64),
    /// Settles what is pending; answered by an ack.
    #[prost(message, tag = "4")]
    Finalize(Finalize),
    /// Keeps a session without audio.
    #[prost(message, tag = "5")]
    KeepAlive(KeepAlive),
    /// Any other message of a client, in the JSON of docs/protocol.md: a correction, words.
    #[prost(string, tag = "6")]
    Message(String),
}

/// What is left out, or empty, has the default of docs/protocol.md.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Start {
    #[prost(string, tag = "1")]
    pub(crate) session: String,
    #[prost(string, tag = "2")]
    pub(crate) title: String,
    #[prost(message, optional, tag = "3")]
    pub(crate) audio: Option<Format>,
    #[prost(uint32, optional, tag = "4")]
    pub(crate) expected_speakers: Option<u32>,
    #[prost(uint32, optional, tag = "5")]
    pub(crate) max_speakers: Option<u32>,
    /// low, normal or high
    #[prost(string, tag = "6")]
    pub(crate) latency: String,
    #[prost(bool, optional, tag = "7")]
    pub(crate) keep_audio: Option<bool>,
    #[prost(bool, optional, tag = "8")]
    pub(crate) asr: Option<bool>,
    #[prost(message, optional, tag = "9")]
    pub(crate) resume: Option<Resume>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Format {
    /// pcm_s16le, pcm_f32le or mulaw
    #[prost(string, tag = "1")]
    pub(crate) encoding: String,
    #[prost(uint32, tag = "2")]
    pub(crate) sample_rate: u32,
    #[prost(uint32, tag = "3")]
    pub(crate) channels: u32,
    #[prost(uint32, optional, tag = "4")]
    pub(crate) channel: Option<u32>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Resume {
    #[prost(string, tag = "1")]
    pub(crate) session: String,
    #[prost(string, tag = "2")]
    pub(crate) token: String,
    #[prost(double, optional, tag = "3")]
    pub(crate) received_s: Option<f64>,
    #[prost(uint64, optional, tag = "4")]
    pub(crate) since: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct Finalize {}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct KeepAlive {}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Event {
    #[prost(string, tag = "1")]
    pub(crate) session: String,
    /// Number of the event; none in messages of the connection.
    #[prost(uint64, optional, tag = "2")]
    pub(crate) seq: Option<u64>,
    /// Audio processed when it was emitted.
    #[prost(double, optional, tag = "3")]
    pub(crate) at: Option<f64>,
    #[prost(oneof = "Body", tags = "4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21")]
    pub(crate) body: Option<Body>,
}

/// What a message of type `Event` holds.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum Body {
    #[prost(message, tag = "4")]
    Started(Started),
    #[prost(message, tag = "5")]
    Snapshot(Snapshot),
    #[prost(message, tag = "6")]
    Segment(Segment),
    #[prost(message, tag = "7")]
    SegmentRemoved(SegmentRemoved),
    #[prost(message, tag = "8")]
    Revision(Revision),
    #[prost(message, tag = "9")]
    Speaker(Speaker),
    #[prost(message, tag = "10")]
    SpeakerMerged(SpeakerMerged),
    #[prost(message, tag = "11")]
    Words(Words),
    #[prost(message, tag = "12")]
    Gap(Gap),
    #[prost(message, tag = "13")]
    Title(Title),
    #[prost(message, tag = "14")]
    Note(Note),
    #[prost(message, tag = "15")]
    Correction(Correction),
    #[prost(message, tag = "16")]
    Ack(Ack),
    #[prost(message, tag = "17")]
    Stats(Stats),
    #[prost(message, tag = "18")]
    Lagged(Lagged),
    #[prost(message, tag = "19")]
    Warning(Warning),
    /// After which the session goes on; any other error is the status of the call.
    #[prost(message, tag = "20")]
    Error(Error),
    #[prost(message, tag = "21")]
    Ended(Ended),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Started {
    #[prost(string, tag = "1")]
    pub(crate) token: String,
    #[prost(string, tag = "2")]
    pub(crate) model: String,
    #[prost(string, tag = "3")]
    pub(crate) version: String,
    #[prost(message, optional, tag = "4")]
    pub(crate) audio: Option<Format>,
    #[prost(double, tag = "5")]
    pub(crate) resume_grace_s: f64,
    #[prost(bool, tag = "6")]
    pub(crate) audio_kept: bool,
    #[prost(bool, tag = "7")]
    pub(crate) resumed: bool,
    #[prost(double, optional, tag = "8")]
    pub(crate) received_s: Option<f64>,
    #[prost(uint64, optional, tag = "9")]
    pub(crate) received_samples: Option<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Snapshot {
    #[prost(bool, tag = "1")]
    pub(crate) live: bool,
    #[prost(string, tag = "2")]
    pub(crate) source: String,
    #[prost(string, tag = "3")]
    pub(crate) reason: String,
    #[prost(bool, tag = "4")]
    pub(crate) audio_kept: bool,
    #[prost(string, tag = "5")]
    pub(crate) title: String,
    #[prost(message, optional, tag = "6")]
    pub(crate) undo: Option<Correctable>,
    #[prost(message, optional, tag = "7")]
    pub(crate) redo: Option<Correctable>,
    #[prost(message, repeated, tag = "8")]
    pub(crate) notes: Vec<Note>,
    #[prost(message, repeated, tag = "9")]
    pub(crate) speakers: Vec<Speaker>,
    #[prost(message, repeated, tag = "10")]
    pub(crate) segments: Vec<Segment>,
    #[prost(message, repeated, tag = "11")]
    pub(crate) gaps: Vec<Gap>,
    #[prost(message, repeated, tag = "12")]
    pub(crate) words: Vec<Word>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Segment {
    #[prost(uint64, tag = "1")]
    pub(crate) id: u64,
    #[prost(double, tag = "2")]
    pub(crate) start: f64,
    #[prost(double, tag = "3")]
    pub(crate) end: f64,
    /// Empty where the whole segment is speech.
    #[prost(message, repeated, tag = "4")]
    pub(crate) speech: Vec<Span>,
    #[prost(string, tag = "5")]
    pub(crate) speaker: String,
    #[prost(string, tag = "6")]
    pub(crate) name: String,
    #[prost(double, tag = "7")]
    pub(crate) confidence: f64,
    #[prost(bool, tag = "8")]
    pub(crate) r#final: bool,
    #[prost(bool, tag = "9")]
    pub(crate) overlap: bool,
    #[prost(double, optional, tag = "10")]
    pub(crate) snr_db: Option<f64>,
    #[prost(double, optional, tag = "11")]
    pub(crate) c50_db: Option<f64>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct Span {
    #[prost(double, tag = "1")]
    pub(crate) start: f64,
    #[prost(double, tag = "2")]
    pub(crate) end: f64,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct SegmentRemoved {
    #[prost(uint64, tag = "1")]
    pub(crate) id: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Revision {
    #[prost(message, repeated, tag = "1")]
    pub(crate) changes: Vec<Change>,
    #[prost(string, tag = "2")]
    pub(crate) reason: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Change {
    #[prost(uint64, tag = "1")]
    pub(crate) id: u64,
    #[prost(string, tag = "2")]
    pub(crate) from: String,
    #[prost(string, tag = "3")]
    pub(crate) to: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Speaker {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(string, tag = "2")]
    pub(crate) name: String,
    #[prost(string, tag = "3")]
    pub(crate) voice: String,
    #[prost(double, optional, tag = "4")]
    pub(crate) probability: Option<f64>,
    #[prost(double, tag = "5")]
    pub(crate) first_s: f64,
    #[prost(double, optional, tag = "6")]
    pub(crate) total_s: Option<f64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SpeakerMerged {
    #[prost(string, tag = "1")]
    pub(crate) from: String,
    #[prost(string, tag = "2")]
    pub(crate) into: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Words {
    #[prost(message, repeated, tag = "1")]
    pub(crate) words: Vec<Word>,
    #[prost(uint64, repeated, tag = "2")]
    pub(crate) removed: Vec<u64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Word {
    #[prost(uint64, tag = "1")]
    pub(crate) id: u64,
    #[prost(double, tag = "2")]
    pub(crate) start: f64,
    #[prost(double, tag = "3")]
    pub(crate) end: f64,
    #[prost(string, tag = "4")]
    pub(crate) text: String,
    #[prost(double, optional, tag = "5")]
    pub(crate) confidence: Option<f64>,
    #[prost(bool, tag = "6")]
    pub(crate) r#final: bool,
    #[prost(string, tag = "7")]
    pub(crate) speaker: String,
    #[prost(uint64, optional, tag = "8")]
    pub(crate) segment: Option<u64>,
    #[prost(double, optional, tag = "9")]
    pub(crate) speaker_confidence: Option<f64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Gap {
    #[prost(double, tag = "1")]
    pub(crate) start: f64,
    #[prost(double, tag = "2")]
    pub(crate) end: f64,
    #[prost(string, tag = "3")]
    pub(crate) reason: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Title {
    /// Empty where it was taken away.
    #[prost(string, tag = "1")]
    pub(crate) title: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Note {
    #[prost(uint64, tag = "1")]
    pub(crate) id: u64,
    #[prost(uint64, optional, tag = "2")]
    pub(crate) segment: Option<u64>,
    /// Empty where it is removed.
    #[prost(string, tag = "3")]
    pub(crate) text: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Correctable {
    #[prost(uint64, tag = "1")]
    pub(crate) id: u64,
    #[prost(string, tag = "2")]
    pub(crate) kind: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Correction {
    #[prost(uint64, tag = "1")]
    pub(crate) id: u64,
    #[prost(string, tag = "2")]
    pub(crate) kind: String,
    #[prost(uint64, optional, tag = "3")]
    pub(crate) of: Option<u64>,
    #[prost(string, tag = "4")]
    pub(crate) by: String,
    #[prost(double, tag = "5")]
    pub(crate) unix_s: f64,
    #[prost(message, optional, tag = "6")]
    pub(crate) undo: Option<Correctable>,
    #[prost(message, optional, tag = "7")]
    pub(crate) redo: Option<Correctable>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct Ack {
    #[prost(double, tag = "1")]
    pub(crate) received_s: f64,
    #[prost(bool, tag = "2")]
    pub(crate) finalized: bool,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct Stats {
    #[prost(double, tag = "1")]
    pub(crate) lag_s: f64,
    #[prost(double, tag = "2")]
    pub(crate) rtf: f64,
    #[prost(double, tag = "3")]
    pub(crate) dropped_s: f64,
    #[prost(double, tag = "4")]
    pub(crate) heard_s: f64,
    #[prost(double, tag = "5")]
    pub(crate) level_dbfs: f64,
    #[prost(bool, tag = "6")]
    pub(crate) speech: bool,
    #[prost(uint64, tag = "7")]
    pub(crate) skipped_windows: u64,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct Lagged {
    #[prost(uint64, tag = "1")]
    pub(crate) missed: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Warning {
    #[prost(string, tag = "1")]
    pub(crate) code: String,
    #[prost(string, tag = "2")]
    pub(crate) reason: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Error {
    #[prost(string, tag = "1")]
    pub(crate) code: String,
    #[prost(string, tag = "2")]
    pub(crate) reason: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Ended {
    #[prost(double, tag = "1")]
    pub(crate) duration_s: f64,
    #[prost(uint32, tag = "2")]
    pub(crate) speakers: u32,
    #[prost(string, tag = "3")]
    pub(crate) reason: String,
}
