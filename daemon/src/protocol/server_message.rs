//! Text messages of the server: one envelope, one struct per type.

use serde::de::Error as _;
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::audio::AudioFormat;
use super::codes::ErrorCode;
pub use super::corrections::{Correctable, Corrected, Note};
use super::decimal::{Decimal, Seconds};
pub use super::end_reason::EndReason;
use super::kinds::kinds;
use super::words::{Word, Words};

/// The session is open; the publisher's first message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Started {
    /// Secret of the publisher: with it a later connection takes the session up again.
    pub token: String,
    /// Name of the voice model in use.
    pub model: String,
    /// Version of the server.
    pub version: String,
    /// What the server takes the binary frames to hold.
    pub audio: AudioFormat,
    /// How long the session waits for its publisher when the connection breaks.
    pub resume_grace_s: Seconds,
    /// Whether the audio of the session is kept.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub audio_kept: bool,
    /// Whether this connection resumes a session of an earlier one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resumed: bool,
    /// Audio that the session holds, gaps included, rounded down; in the answer to a resume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received_s: Option<Seconds>,
    /// The same, exact: samples of each channel at the declared rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received_samples: Option<u64>,
}

/// The labels as they stand, with everything up to and including `seq`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Snapshot {
    /// Whether events may still follow.
    pub live: bool,
    /// Where the audio comes from: `stream` or `microphone`.
    pub source: String,
    /// Why the session ended, once it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<EndReason>,
    /// Whether audio of the session is kept, and can be listened to.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub audio_kept: bool,
    /// What people call the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The correction that `undo` would take back now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<Correctable>,
    /// The correction that `redo` would make again now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redo: Option<Correctable>,
    /// Notes by id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Note>,
    /// Speakers by id.
    pub speakers: Vec<Speaker>,
    /// Segments by id.
    pub segments: Vec<Segment>,
    /// Stretches without audio, in order.
    pub gaps: Vec<Gap>,
    /// Recognised words by id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<Word>,
}

/// A new segment, or a new version of the segment with this id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    /// Stable identity within the session.
    pub id: u64,
    /// Where the speech begins.
    pub start: Seconds,
    /// Where it ends, so far.
    pub end: Seconds,
    /// The speech inside it: starts and ends in order. Missing where it has no pause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speech: Option<Vec<(Seconds, Seconds)>>,
    /// Label of the speaker.
    pub speaker: String,
    /// Name of the speaker at the time of the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Probability that the label is right, 0 to 1.
    pub confidence: Decimal,
    /// Whether only a revision or a correction still changes it.
    #[serde(rename = "final")]
    pub is_final: bool,
    /// Whether another speaker is believed to speak inside it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub overlap: bool,
    /// Signal-to-noise ratio in dB, where it could be measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snr_db: Option<Decimal>,
    /// Clarity in dB, early against late reflections at 50 ms, where it could be measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub c50_db: Option<Decimal>,
}

/// A segment is withdrawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentRemoved {
    /// The segment that is no more.
    pub id: u64,
}

/// One segment's change of speaker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The segment.
    pub id: u64,
    /// Its speaker before.
    pub from: String,
    /// Its speaker now.
    pub to: String,
}

/// A change of published labels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// At least one.
    pub changes: Vec<Change>,
    /// Why: `merge`, `split`, `reassign`, `final_pass` or `correction`.
    pub reason: String,
}

/// A new speaker, or a change of a speaker's name or data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Speaker {
    /// Label within the session.
    pub id: String,
    /// A name that a person or a voiceprint gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Id of the known voice that the name is of; the same in all sessions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voice: Option<String>,
    /// Probability that it is that voice; 1 if a user named the speaker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<Decimal>,
    /// Start of the first speech.
    pub first_s: Seconds,
    /// Length of all segments, in snapshots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_s: Option<Seconds>,
}

/// Two speakers are one person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpeakerMerged {
    /// The label that is no more.
    pub from: String,
    /// The label that stays.
    pub into: String,
}

/// The stream holds no audio here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gap {
    /// Where it begins.
    pub start: Seconds,
    /// Where it ends.
    pub end: Seconds,
    /// Why: `overrun`, `device_lost`, `declared` or `disconnected`.
    pub reason: String,
}

/// The session has another title.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Title {
    /// The title; none where it was taken away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
}

/// How much audio of this connection the server holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ack {
    /// Audio received since the start of the stream.
    pub received_s: Seconds,
    /// Whether this answers `finalize`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub finalized: bool,
}

/// How the session is doing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// Audio received and not yet processed.
    pub lag_s: Seconds,
    /// Processing time for each second of audio, since the stats before.
    pub rtf: Decimal,
    /// Audio lost before it reached the session, such as by an overrun of the device.
    pub dropped_s: Seconds,
    /// Audio processed.
    pub heard_s: Seconds,
    /// Level of the last audio, in dB below full scale.
    pub level_dbfs: Decimal,
    /// Whether speech is detected now.
    pub speech: bool,
    /// Windows left out so far because the machine was too slow for all its sessions.
    #[serde(default)]
    pub skipped_windows: u64,
}

/// Events were skipped because this subscriber was too slow; a `snapshot` that makes up for them follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lagged {
    /// Events skipped.
    pub missed: u64,
}

/// Something is not as it should be, and the session goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// Word for the kind of trouble.
    pub code: String,
    /// Sentence for a person.
    pub reason: String,
}

/// Something failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// Word for the kind of failure.
    pub code: ErrorCode,
    /// Sentence for a person.
    pub reason: String,
    /// Whether the connection closes after this.
    pub fatal: bool,
}

/// The last event of a session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// Length of the stream.
    pub duration_s: Seconds,
    /// Number of speakers.
    pub speakers: usize,
    /// Why it ended.
    pub reason: EndReason,
}

kinds! {
    /// Body of the message, by its type.
    #[non_exhaustive]
    Body:

    /// The session is open.
    Started(Started), "started";
    /// The labels as they stand.
    Snapshot(Snapshot), "snapshot";
    /// A new or changed segment.
    Segment(Segment), "segment";
    /// A segment is withdrawn.
    SegmentRemoved(SegmentRemoved), "segment_removed";
    /// Labels are changed.
    Revision(Revision), "revision";
    /// A new or changed speaker.
    Speaker(Speaker), "speaker";
    /// Two speakers are one.
    SpeakerMerged(SpeakerMerged), "speaker_merged";
    /// New, changed and withdrawn words.
    Words(Words), "words";
    /// No audio here.
    Gap(Gap), "gap";
    /// Another title.
    Title(Title), "title";
    /// A new, changed or removed note.
    Note(Note), "note";
    /// A correction was made, undone or made again.
    Correction(Corrected), "correction";
    /// How much audio the server holds.
    Ack(Ack), "ack";
    /// How the session is doing.
    Stats(Stats), "stats";
    /// Events were skipped.
    Lagged(Lagged), "lagged";
    /// Something is not as it should be.
    Warning(Warning), "warning";
    /// Something failed.
    Error(Error), "error";
    /// The end.
    Ended(Ended), "ended";
}

impl Serialize for Body {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.serialize_fields(serializer)
    }
}

/// One message of the server.
///
/// Events of a session carry `seq` (1, 2, … without a gap) and `at`; a snapshot carries the `seq` that it holds
/// everything up to; what concerns only the connection (`started`, `ack`, `stats`, `lagged`, `error`) carries
/// neither.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerMessage {
    /// The session it is about; absent only in an error that comes before there is one.
    pub session: Option<String>,
    /// Number of the event.
    pub seq: Option<u64>,
    /// Length of the audio processed at the time of the message.
    pub at: Option<Seconds>,
    /// Its body.
    pub body: Body,
}

impl Serialize for ServerMessage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        /// Writes the fields of the body into the map of the envelope.
        struct Flat<'a>(&'a Body);
        impl Flat<'_> {
            fn write<M: serde::ser::SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
                let value = serde_json::to_value(self.0).map_err(serde::ser::Error::custom)?;
                for (key, value) in value.as_object().into_iter().flatten() {
                    map.serialize_entry(key, value)?;
                }
                Ok(())
            }
        }
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", self.body.kind())?;
        if let Some(session) = &self.session {
            map.serialize_entry("session", session)?;
        }
        if let Some(seq) = &self.seq {
            map.serialize_entry("seq", seq)?;
        }
        if let Some(at) = &self.at {
            map.serialize_entry("at", at)?;
        }
        Flat(&self.body).write(&mut map)?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for ServerMessage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Wire {
            r#type: String,
            session: Option<String>,
            seq: Option<u64>,
            at: Option<Seconds>,
            #[serde(flatten)]
            body: serde_json::Map<String, Value>,
        }
        let wire = Wire::deserialize(deserializer)?;
        let body = Body::from_value(&wire.r#type, Value::Object(wire.body))
            .ok_or_else(|| D::Error::unknown_variant(&wire.r#type, Body::TYPES))?
            .map_err(|e| D::Error::custom(format_args!("`{}`: {e}", wire.r#type)))?;
        Ok(Self { session: wire.session, seq: wire.seq, at: wire.at, body })
    }
}

impl ServerMessage {
    /// A message that concerns only the connection.
    #[must_use]
    pub fn to_connection(session: Option<&str>, body: impl Into<Body>) -> Self {
        Self { session: session.map(str::to_owned), seq: None, at: None, body: body.into() }
    }

    /// The message as a text frame.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("text keys and finite numbers always serialise")
    }

    /// Reads one text frame; fields that this version does not know are passed over.
    ///
    /// # Errors
    /// If the text is not JSON, its `type` is unknown to this version, or a field is missing or of another type.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}
