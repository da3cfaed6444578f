//! The messages that the broker shall have: topics and payloads, as a function of the sessions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Instant, UNIX_EPOCH};

use diarized_dsp::SampleIndex;
use diarized_models::SessionState;
use serde::Serialize;

use super::link::Message;
use super::names::Names;
use crate::hub::{Hub, MICROPHONE_SESSION};
use crate::outgoing::speaking::{LiveClock, speaking_at};
use crate::protocol::{Decimal, Seconds};
use crate::session::{Session, Source};

/// Rooms at most: beyond it, the room whose session ended and began first is withdrawn.
pub(super) const MAX_ROOMS: usize = 500;
/// Speakers of a room that are listed.
const MAX_SPEAKERS: usize = 200;
/// Characters of the names of those who speak now: Home Assistant's states have 255 at most.
const MAX_WHO_CHARS: usize = 250;
/// State of a room in which nobody speaks.
const NOBODY: &str = "nobody";

/// Who speaks now.
#[derive(Debug, Serialize)]
struct Speaking<'a> {
    session: &'a str,
    live: bool,
    who: String,
    speakers: Vec<Speaker<'a>>,
}

/// A speaker of a session.
#[derive(Debug, Serialize)]
struct Speaker<'a> {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    voice: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    probability: Option<Decimal>,
    first_s: Seconds,
}

/// Beginning and end of a session.
#[derive(Debug, Serialize)]
struct About<'a> {
    session: &'a str,
    live: bool,
    began_unix_s: Seconds,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_s: Option<Seconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

/// A room: the newest session of its name.
#[derive(Debug)]
struct Room {
    session: Arc<Session>,
    clock: LiveClock,
    /// Number of the last event that its messages show.
    seq: u64,
    /// Whether the session has ended and its messages say so; they do not change any more.
    is_done: bool,
}

/// Which rooms are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    All,
    /// Those with new events.
    Changed,
}

/// All messages, by topic.
#[derive(Debug)]
pub(super) struct Board {
    names: Names,
    rooms: BTreeMap<String, Room>,
    messages: BTreeMap<String, String>,
    /// Number of the next session that was not looked at.
    next_number: u64,
    max_rooms: usize,
    is_full: bool,
}

impl Board {
    pub(super) fn new(names: Names, max_rooms: usize) -> Self {
        Self {
            names,
            rooms: BTreeMap::new(),
            messages: BTreeMap::new(),
            next_number: 0,
            max_rooms,
            is_full: false,
        }
    }

    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    /// What the broker shall have now.
    pub(super) fn messages(&self) -> &BTreeMap<String, String> {
        &self.messages
    }

    /// Takes in new sessions, and looks at the rooms.
    pub(super) fn update(&mut self, hub: &Hub, now: Instant, look: Look) {
        for session in hub.sessions() {
            if session.number() >= self.next_number {
                self.next_number = session.number() + 1;
                // An old session that is corrected takes no room from the one that runs.
                if !session.is_back() {
                    self.enter(hub, session, now);
                }
            }
        }
        let is_due = |room: &Room| {
            !room.is_done && (look == Look::All || room.session.channel().last_seq() != room.seq)
        };
        let names: Vec<String> =
            self.rooms.iter().filter(|(_, room)| is_due(room)).map(|(name, _)| name.clone()).collect();
        for name in names {
            self.show(&name, now);
        }
    }

    /// Gives a session its room.
    fn enter(&mut self, hub: &Hub, session: Arc<Session>, now: Instant) {
        let name = room_of(hub, &session);
        if !self.rooms.contains_key(&name) && self.rooms.len() >= self.max_rooms {
            let done = self.rooms.iter().filter(|(_, room)| room.is_done);
            let oldest = done.min_by_key(|(_, room)| room.session.number()).map(|(name, _)| name.clone());
            let Some(oldest) = oldest else {
                if !std::mem::replace(&mut self.is_full, true) {
                    tracing::warn!(room = name, max = self.max_rooms, "too many rooms for the MQTT broker");
                }
                return;
            };
            self.withdraw(&oldest);
        }
        if !is_made(&name) {
            self.messages.extend(self.names.sensor(&name));
        }
        self.rooms.insert(name, Room { session, clock: LiveClock::new(now), seq: 0, is_done: false });
    }

    /// Writes the messages of a room.
    fn show(&mut self, name: &str, now: Instant) {
        let Some(room) = self.rooms.get_mut(name) else { return };
        let channel = room.session.channel();
        let (moment, stats) = (channel.now(), channel.stats());
        let is_live = moment.ended.is_none();
        (room.seq, room.is_done) = (moment.seq, !is_live);
        if !is_live && is_made(name) {
            // Nobody waits for a room whose name was made for one session.
            self.withdraw(name);
            return;
        }
        let heard = stats.map_or(moment.at, |stats| moment.at.max(SampleIndex::from(stats.heard_s)));
        let position = room.clock.position(heard, now);
        let id = room.session.id().to_owned();
        let began = room.session.began().duration_since(UNIX_EPOCH).unwrap_or_default();
        let about = About {
            session: &id,
            live: is_live,
            began_unix_s: Decimal(began.as_secs_f64()),
            duration_s: moment.ended.map(|_| moment.at.into()),
            reason: moment.ended.map(|reason| reason.as_str()),
        };
        let speaking = is_live.then_some(position);
        self.set(name, "session", &about);
        self.set(name, "speaking", &speaking_of(&id, &moment.state, speaking));
        let speakers: Vec<Speaker> =
            moment.state.speakers().take(MAX_SPEAKERS).map(|s| speaker_of(&moment.state, s.id)).collect();
        self.set(name, "speakers", &speakers);
    }

    /// Removes a room and all its messages.
    fn withdraw(&mut self, name: &str) {
        self.rooms.remove(name);
        for what in ["speaking", "speakers", "session"] {
            self.messages.remove(&self.names.of(name, what));
        }
        if let Some((topic, _)) = self.names.sensor(name) {
            self.messages.remove(&topic);
        }
    }

    fn set(&mut self, room: &str, what: &str, payload: &impl Serialize) {
        let payload = serde_json::to_string(payload).expect("texts and finite numbers have a JSON form");
        self.messages.insert(self.names.of(room, what), payload);
    }

    /// What a message of an earlier process that the broker has kept is to be replaced by, if it is wrong now.
    pub(super) fn corrected(&self, kept: &Message) -> Option<Message> {
        if kept.payload.is_empty() || self.messages.contains_key(&kept.topic) {
            return None;
        }
        let rest = kept.topic.strip_prefix(&self.names.topic)?.strip_prefix('/')?;
        let (room, what) = rest.split_once('/')?;
        if is_made(room) {
            return Some(Message { topic: kept.topic.clone(), payload: String::new() });
        }
        let mut value: serde_json::Value = serde_json::from_str(&kept.payload).ok()?;
        if !["speaking", "session"].contains(&what) || value.get("live") != Some(&true.into()) {
            return None;
        }
        value["live"] = false.into();
        if what == "speaking" {
            value["who"] = NOBODY.into();
            value["speakers"] = serde_json::json!([]);
        } else {
            value["reason"] = "interrupted".into();
        }
        Some(Message { topic: kept.topic.clone(), payload: value.to_string() })
    }
}

/// The message about who speaks at `position`; nobody does without one.
fn speaking_of<'a>(session: &'a str, state: &'a SessionState, position: Option<SampleIndex>) -> Speaking<'a> {
    let segments = position.map_or_else(Vec::new, |position| speaking_at(state, position));
    let speakers: Vec<Speaker> = segments.iter().map(|s| speaker_of(state, s.speaker)).collect();
    let names = speakers.iter().map(|s| s.name.unwrap_or(&s.id)).collect::<Vec<_>>().join(", ");
    let who = if names.is_empty() { NOBODY.to_owned() } else { names.chars().take(MAX_WHO_CHARS).collect() };
    Speaking { session, live: position.is_some(), who, speakers }
}

fn speaker_of(state: &SessionState, id: diarized_models::SpeakerId) -> Speaker<'_> {
    let info = state.speaker(id);
    let voice = info.and_then(|info| info.voice.as_ref());
    Speaker {
        id: id.to_string(),
        name: info.and_then(|info| info.name.as_deref()),
        voice: voice.map(|voice| &*voice.id),
        probability: voice.map(|voice| Decimal(f64::from(voice.probability))),
        first_s: info.map_or(Decimal(0.0), |info| info.first.into()),
    }
}

/// The room of a session: its id, without the number that an id gets whose name an earlier session has. All sessions of
/// the server's microphone are one room.
fn room_of(hub: &Hub, session: &Session) -> String {
    let id = session.id();
    if session.channel().source() == Source::Microphone {
        return MICROPHONE_SESSION.to_owned();
    }
    let Some((base, number)) = id.rsplit_once('-') else { return id.to_owned() };
    let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    if is_number && !base.is_empty() && hub.knows_id(base) { base.to_owned() } else { id.to_owned() }
}

/// Whether the server made this id for a session without a name.
fn is_made(id: &str) -> bool {
    id.len() == 17 && id.starts_with('s') && id[1..].bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::HubParams;
    use crate::protocol::AudioFormat;
    use crate::protocol::server_message::EndReason;
    use crate::session::scripted::ScriptedFactory;

    #[test]
    fn the_oldest_ended_room_makes_room_for_a_new_one() {
        let hub = Hub::new(HubParams::default(), Arc::new(ScriptedFactory::default()));
        let discovery = Some("ha".to_owned());
        let names = Names { client_id: "d".to_owned(), topic: "t".to_owned(), discovery };
        let mut board = Board::new(names, 2);
        let update = |board: &mut Board| {
            board.update(&hub, Instant::now(), Look::All);
            let rooms =
                board.messages().keys().filter_map(|t| t.strip_prefix("t/")?.strip_suffix("/session"));
            rooms.map(str::to_owned).collect::<Vec<_>>()
        };
        let open = |id| hub.open(id, Source::Stream, AudioFormat::default()).unwrap();
        let end = |session: &Session| {
            session.finish(EndReason::Closed);
            session.join();
        };
        let (a, b) = (open(Some("a")), open(Some("b")));
        assert_eq!(update(&mut board), ["a", "b"]);
        open(Some("left-out"));
        assert_eq!(update(&mut board), ["a", "b"], "nobody who is there is withdrawn");
        end(&b);
        update(&mut board);
        open(Some("c"));
        assert_eq!(update(&mut board), ["a", "c"]);
        assert!(!board.messages().contains_key("ha/sensor/d_b/config"));
        // A second session of a room is the same room; one without a name is gone with its end.
        end(&a);
        let again = open(Some("a"));
        assert_eq!((again.id(), update(&mut board)), ("a-2", vec!["a".to_owned(), "c".to_owned()]));
        end(&again);
        update(&mut board);
        let made = open(None);
        assert_eq!(update(&mut board).len(), 2);
        assert!(board.messages().contains_key(&format!("t/{}/speaking", made.id())));
        assert!(!board.messages().keys().any(|topic| topic.starts_with("ha/") && topic.contains(made.id())));
        end(&made);
        assert_eq!(update(&mut board), ["c"]);
    }

    #[test]
    fn a_room_stays_one_when_its_first_session_has_left_the_memory() {
        let params = HubParams { max_ended: 1, ..HubParams::default() };
        let hub = Hub::new(params, Arc::new(ScriptedFactory::default()));
        for expected in ["a", "a-2", "a-3", "a-4"] {
            let session = hub.open(Some("a"), Source::Stream, AudioFormat::default()).unwrap();
            assert_eq!((session.id(), room_of(&hub, &session)), (expected, "a".to_owned()));
            session.finish(EndReason::Closed);
            session.join();
        }
        assert!(hub.get("a").is_none());
        let other = hub.open(Some("b-7"), Source::Stream, AudioFormat::default()).unwrap();
        assert_eq!(room_of(&hub, &other), "b-7");
    }
}
