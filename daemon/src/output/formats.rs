//! Formats of labels: RTTM and JSON lines here, the longer ones in their own files.

use diarized_dsp::{SampleIndex, SampleRange};
use diarized_models::Segment;
use diarized_models::events::SegmentId;
use diarized_models::rttm::SpeakerTurn;
use serde::Serialize;

use super::labels::{Labels, rounded};
use super::{subtitles, table};

/// How labels are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum OutputFormat {
    /// NIST's Rich Transcription Time Marked format, one line for each stretch of speech between pauses: what scoring tools read.
    Rttm,
    /// One JSON object a segment and line: file, id, start, end, speech, speaker, name, confidence, overlap, `snr_db`, `c50_db`.
    Json,
    /// SubRip subtitles, one cue a turn.
    Srt,
    /// WebVTT subtitles, one cue a turn in a voice span.
    Vtt,
    /// A table to read.
    Table,
}

impl OutputFormat {
    /// What a file of the format is called after the dot.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Rttm => "rttm",
            Self::Json => "json",
            Self::Srt => "srt",
            Self::Vtt => "vtt",
            Self::Table => "txt",
        }
    }
}

impl Labels<'_> {
    /// The labels as text in `format`, complete with its header and with a line feed at the end; times in seconds
    /// from the start of the audio. Segments without length are left out.
    #[must_use]
    pub fn render(&self, format: OutputFormat) -> String {
        match format {
            OutputFormat::Rttm => self.rttm(),
            OutputFormat::Json => self.json_lines(),
            OutputFormat::Srt => subtitles::srt(self),
            OutputFormat::Vtt => subtitles::vtt(self),
            OutputFormat::Table => table::table(self),
        }
    }

    fn rttm(&self) -> String {
        let line = |segment: &Segment, part: &SampleRange| {
            let turn = SpeakerTurn {
                recording: self.recording.to_owned(),
                channel: "1".to_owned(),
                start: part.start().into(),
                duration: SampleIndex(part.len()).into(),
                speaker: self.speaker(segment.speaker),
                confidence: Some(rounded(segment.confidence, 4)),
            };
            format!("{turn}\n")
        };
        let lines =
            |segment: &&Segment| segment.speech.iter().map(|part| line(segment, part)).collect::<String>();
        self.segments().iter().map(lines).collect()
    }

    fn json_lines(&self) -> String {
        let line = |segment: &&Segment| {
            let line = SegmentLine {
                file: self.recording,
                id: segment.id,
                start: segment.range.start().seconds(),
                end: segment.range.end().seconds(),
                speech: (segment.speech != [segment.range]).then(|| speech_s(segment)),
                speaker: segment.speaker.to_string(),
                name: self.name(segment.speaker),
                confidence: rounded(segment.confidence, 4),
                overlap: segment.overlap,
                snr_db: segment.snr_db.map(|snr_db| rounded(snr_db, 1)),
                c50_db: segment.c50_db.map(|c50_db| rounded(c50_db, 1)),
            };
            serde_json::to_string(&line).expect("a struct of numbers and texts has a JSON form") + "\n"
        };
        self.segments().iter().map(line).collect()
    }
}

/// One segment as a line of JSON.
#[derive(Debug, Serialize)]
struct SegmentLine<'a> {
    file: &'a str,
    #[serde(serialize_with = "segment_number")]
    id: SegmentId,
    start: f64,
    end: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    speech: Option<Vec<(f64, f64)>>,
    speaker: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    confidence: f32,
    #[serde(skip_serializing_if = "is_false")]
    overlap: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    snr_db: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    c50_db: Option<f32>,
}

/// Starts and ends of a segment's speech in seconds.
fn speech_s(segment: &Segment) -> Vec<(f64, f64)> {
    segment.speech.iter().map(|part| (part.start().seconds(), part.end().seconds())).collect()
}

fn segment_number<S: serde::Serializer>(id: &SegmentId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(id.0)
}

fn is_false(value: &bool) -> bool {
    !value
}
