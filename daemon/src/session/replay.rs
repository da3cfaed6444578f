//! Applying encoded events again, as a reader that keeps a session does.

use diarized_models::{Event, SessionState};

use super::about::About;
use crate::protocol::ServerMessage;
use crate::protocol::server_message::Body;

/// The highest numbers that were ever given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct LastIds {
    /// Highest label of a speaker.
    pub(crate) speaker: u32,
    /// Highest id of a segment.
    pub(crate) segment: u64,
}

impl LastIds {
    /// At least those of these labels.
    pub(crate) fn with(self, state: &SessionState) -> Self {
        let speaker = state.speakers().map(|info| info.id.0).max().unwrap_or(0);
        let segment = state.segments().map(|segment| segment.id.0).max().unwrap_or(0);
        Self { speaker: self.speaker.max(speaker), segment: self.segment.max(segment) }
    }
}

/// Applies one event of a session.
///
/// # Errors
/// What does not fit; nothing has changed then but what people wrote of the session.
pub(crate) fn apply(
    body: &Body,
    state: &mut SessionState,
    about: &mut About,
    last: &mut LastIds,
) -> Result<(), String> {
    about.apply(body);
    if About::takes(body) || matches!(body, Body::Ended(_) | Body::Warning(_)) {
        return Ok(());
    }
    let event = body.to_event().map_err(|error| error.to_string())?;
    state.apply(&event).map_err(|error| error.to_string())?;
    match &event {
        Event::Speaker(info) => last.speaker = last.speaker.max(info.id.0),
        Event::Segment(segment) => last.segment = last.segment.max(segment.id.0),
        _ => {}
    }
    Ok(())
}

/// The labels of an encoded snapshot, and what people wrote of the session.
///
/// # Errors
/// What makes no sense.
pub(crate) fn of_snapshot(json: &str) -> Result<(ServerMessage, SessionState, About), String> {
    let message = ServerMessage::parse(json).map_err(|error| error.to_string())?;
    let Body::Snapshot(snapshot) = &message.body else { return Err("it is no snapshot".to_owned()) };
    let state = snapshot.to_state().map_err(|error| error.to_string())?;
    let about = About::of(snapshot);
    Ok((message, state, about))
}
