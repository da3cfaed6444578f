//! Events that change labels, from `diarized label --events` or from a diarizer in this process.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use diarized_models::TimedEvent;
use diarized_models::events::{Event, RevisionReason};
use diarized_models::rttm::Nanos;
use diarized_models::scoring::Turn;
use serde_json::Value;

/// One line of `diarized label --events`, as far as labels go.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoredEvent {
    /// Audio known when it was emitted, in seconds.
    pub at_s: f64,
    /// What it changes.
    pub kind: Kind,
}

/// Start and end of a stretch of speech in seconds.
pub type Part = (f64, f64);

/// What an event does to the labels.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// A new segment or a new version of one.
    Segment {
        /// Its id.
        id: u64,
        /// The speech inside it, in order.
        speech: Vec<Part>,
        /// Speaker label.
        speaker: String,
    },
    /// A segment is withdrawn.
    Removed {
        /// Its id.
        id: u64,
    },
    /// Segments change speaker.
    Revision {
        /// (segment, new speaker).
        changes: Vec<(u64, String)>,
        /// Whether it is part of the last pass at the end of the stream.
        is_final_pass: bool,
    },
}

impl ScoredEvent {
    /// The event of a diarizer in this process. `None` if it changes no label.
    #[must_use]
    pub fn of(emitted: &TimedEvent) -> Option<Self> {
        let kind = match &emitted.event {
            Event::Segment(s) => Kind::Segment {
                id: s.id.0,
                speech: s.speech.iter().map(|part| (part.start().seconds(), part.end().seconds())).collect(),
                speaker: s.speaker.to_string(),
            },
            Event::SegmentRemoved { id } => Kind::Removed { id: id.0 },
            Event::Revision { changes, reason } => Kind::Revision {
                changes: changes.iter().map(|c| (c.segment.0, c.to.to_string())).collect(),
                is_final_pass: *reason == RevisionReason::FinalPass,
            },
            _ => return None,
        };
        Some(Self { at_s: emitted.at.seconds(), kind })
    }
}

/// Reads the lines of `diarized label --events`; lines about anything but labels are skipped.
///
/// # Errors
/// The first line that is not as the command writes it.
pub fn parse_events(text: &str) -> anyhow::Result<Vec<ScoredEvent>> {
    let mut events = Vec::new();
    for (idx, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let event = parse_event(line).with_context(|| format!("line {} of the events", idx + 1))?;
        events.extend(event);
    }
    if events.windows(2).any(|pair| pair[1].at_s < pair[0].at_s) {
        bail!("the events' `at` goes backwards");
    }
    Ok(events)
}

fn parse_event(line: &str) -> anyhow::Result<Option<ScoredEvent>> {
    let value: Value = serde_json::from_str(line)?;
    let number = |value: &Value, key: &str| value[key].as_f64().with_context(|| format!("no number `{key}`"));
    let id = |value: &Value| value["id"].as_u64().context("no `id`");
    let text = |value: &Value, key: &str| {
        value[key].as_str().map(str::to_owned).with_context(|| format!("no `{key}`"))
    };
    let kind = match value["type"].as_str().context("no `type`")? {
        "segment" => Kind::Segment {
            id: id(&value)?,
            speech: match value.get("speech") {
                Some(parts) => {
                    serde_json::from_value(parts.clone()).context("`speech` is no list of pairs")?
                }
                None => vec![(number(&value, "start")?, number(&value, "end")?)],
            },
            speaker: text(&value, "speaker")?,
        },
        "segment_removed" => Kind::Removed { id: id(&value)? },
        "revision" => {
            let changes = value["changes"].as_array().context("no `changes`")?;
            let change = |change: &Value| Ok((id(change)?, text(change, "to")?));
            Kind::Revision {
                changes: changes.iter().map(change).collect::<anyhow::Result<_>>()?,
                is_final_pass: value["reason"] == "final_pass",
            }
        }
        _ => return Ok(None),
    };
    Ok(Some(ScoredEvent { at_s: number(&value, "at")?, kind }))
}

/// Segments as they stand: id to (speech, speaker).
pub(super) type State = BTreeMap<u64, (Vec<Part>, String)>;

pub(super) fn apply(state: &mut State, kind: &Kind) {
    match kind {
        Kind::Segment { id, speech, speaker } => {
            state.insert(*id, (speech.clone(), speaker.clone()));
        }
        Kind::Removed { id } => {
            state.remove(id);
        }
        Kind::Revision { changes, .. } => {
            for (id, to) in changes {
                if let Some(held) = state.get_mut(id) {
                    held.1.clone_from(to);
                }
            }
        }
    }
}

/// The labels as they stand after these events.
pub(super) fn turns_after<'a>(events: impl Iterator<Item = &'a ScoredEvent>) -> Vec<Turn> {
    let mut state = State::new();
    events.for_each(|event| apply(&mut state, &event.kind));
    let turns = |(speech, speaker): &(Vec<Part>, String)| -> Vec<Turn> {
        let turn = |(start, end): &Part| {
            Turn::new(Nanos::from_seconds(*start), Nanos::from_seconds(*end), speaker.clone())
        };
        speech.iter().map(turn).collect()
    };
    state.values().flat_map(turns).collect()
}
