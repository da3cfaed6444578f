//! Labels in a terminal: finished segments scroll, one line at the bottom shows the current speaker.
//!
//! Pure: messages in, lines out. The caller owns the terminal.

use std::collections::BTreeMap;

use diarized_models::events::{Event, Word};
use diarized_models::words::join;
use diarized_models::{SessionState, SpeakerId};

use crate::protocol::ServerMessage;
use crate::protocol::server_message::{Body, Segment, Stats};

/// Colours of speakers in order, as ANSI codes; the seventh begins again.
const COLOURS: [u8; 6] = [36, 33, 35, 32, 34, 31];

/// What a terminal shows of one or more sessions.
#[derive(Debug, Default)]
pub struct View {
    sessions: BTreeMap<String, Shown>,
    colour: bool,
}

/// What is known of one session.
#[derive(Debug, Default)]
struct Shown {
    state: SessionState,
    stats: Option<Stats>,
    at: f64,
    open: Option<Segment>,
    /// Whether the state can still be trusted; until the next snapshot it cannot when an event did not fit.
    is_broken: bool,
}

impl View {
    /// A view of nothing yet; with `colour` every speaker has one.
    #[must_use]
    pub fn new(colour: bool) -> Self {
        Self { colour, ..Self::default() }
    }

    /// The labels of a session so far.
    #[must_use]
    pub fn state(&self, session: &str) -> Option<&SessionState> {
        self.sessions.get(session).map(|shown| &shown.state)
    }

    /// Takes one message and appends the lines that it adds to the scroll.
    pub fn take(&mut self, message: &ServerMessage, lines: &mut Vec<String>) {
        let session = message.session.clone().unwrap_or_default();
        let is_new = !self.sessions.contains_key(&session);
        let several = self.sessions.len() + usize::from(is_new) > 1;
        let prefix = if several && !session.is_empty() { format!("{session}  ") } else { String::new() };
        let shown = self.sessions.entry(session.clone()).or_default();
        shown.at = message.at.map_or(shown.at, |at| at.0);
        let mut say = |line: String| lines.push(format!("{prefix}{line}"));
        match &message.body {
            Body::Started(started) if started.resumed => {}
            Body::Started(started) => {
                say(format!("session {session}, model {}", started.model));
            }
            Body::Snapshot(snapshot) => match snapshot.to_state() {
                Ok(state) => {
                    let (n, m) = (state.speakers().len(), state.segments().len());
                    let live = if snapshot.live { "running" } else { "ended" };
                    say(format!(
                        "session {session} ({live}): {}, {}",
                        count(n, "speaker"),
                        count(m, "segment")
                    ));
                    *shown = Shown { state, at: shown.at, stats: shown.stats, ..Shown::default() };
                }
                Err(error) => say(format!("! a snapshot cannot be read: {error}")),
            },
            Body::Stats(stats) => shown.stats = Some(*stats),
            Body::Ack(_) => {}
            Body::Lagged(lagged) => {
                say(format!("! {} missed, catching up", count(lagged.missed as usize, "event")))
            }
            Body::Title(title) => {
                let title = title.title.as_deref().unwrap_or("none");
                say(format!("title: {title}"));
            }
            Body::Note(note) => {
                let about = note.segment.map(|id| format!(" on segment {id}")).unwrap_or_default();
                say(format!("note {}{about}: {}", note.id, note.text.as_deref().unwrap_or("removed")));
            }
            Body::Correction(correction) => {
                let by = correction.by.as_deref().map(|by| format!(" by {by}")).unwrap_or_default();
                say(format!("correction {}: {}{by}", correction.id, correction.kind));
            }
            Body::Warning(warning) => say(format!("! {}", warning.reason)),
            Body::Error(error) => say(format!("! {}: {}", error.code, error.reason)),
            Body::Ended(ended) => {
                shown.open = None;
                let (duration, n) = (clock(ended.duration_s.0), ended.speakers);
                say(format!("ended ({}): {duration}, {}", ended.reason.as_str(), count(n, "speaker")));
            }
            body => {
                if let Some(line) = shown.apply(body, self.colour) {
                    say(line);
                }
            }
        }
    }

    /// One line a speaker of a session: how long it spoke, and its share of all speech.
    #[must_use]
    pub fn totals(&self, session: &str) -> Vec<String> {
        let Some(shown) = self.sessions.get(session) else { return Vec::new() };
        let mut totals = BTreeMap::<SpeakerId, f64>::new();
        for segment in shown.state.segments() {
            *totals.entry(segment.speaker).or_default() += segment.range.duration_s();
        }
        let all: f64 = totals.values().sum();
        let line = |(id, total): (&SpeakerId, &f64)| {
            let label = shown.label_of(&id.to_string(), self.colour);
            format!("{label}  {:>9}  {:>3.0} %", clock(*total), 100.0 * total / all.max(f64::MIN_POSITIVE))
        };
        totals.iter().map(line).collect()
    }

    /// The line at the bottom: who speaks now.
    #[must_use]
    pub fn live(&self) -> String {
        let several = self.sessions.len() > 1;
        let parts = self.sessions.iter().filter_map(|(session, shown)| {
            let live = shown.live(self.colour)?;
            Some(if several { format!("{session}: {live}") } else { live })
        });
        parts.collect::<Vec<_>>().join("   ")
    }
}

impl Shown {
    fn apply(&mut self, body: &Body, colour: bool) -> Option<String> {
        let event = body.to_event().ok()?;
        let divided = self.divided(&event);
        let words = self.new_words(&event);
        if !self.is_broken && self.state.apply(&event).is_err() {
            self.is_broken = true;
            return Some("! an event does not fit the events before it; waiting for a snapshot".to_owned());
        }
        match (body, event) {
            _ if divided.is_some() => divided,
            (Body::Words(_), _) => self.said(&words, colour),
            (Body::Segment(segment), _) if segment.is_final => {
                self.open = self.open.take().filter(|open| open.id != segment.id);
                let (start, end) = (clock(segment.start.0), clock(segment.end.0));
                let confidence = (segment.confidence.0 * 100.0).round();
                let overlap = if segment.overlap { "  overlap" } else { "" };
                let label = self.label_of(&segment.speaker, colour);
                Some(format!("{start} – {end}  {label}  {confidence:>3} %{overlap}"))
            }
            (Body::Segment(segment), _) => {
                self.open = Some(segment.clone());
                None
            }
            (Body::Speaker(speaker), Event::Speaker(_)) => {
                speaker.name.as_ref().map(|name| format!("{} is {name}", speaker.id))
            }
            (Body::SpeakerMerged(merged), _) => {
                Some(format!("{} was {} all along", merged.from, merged.into))
            }
            (Body::Revision(revision), Event::Revision { changes, .. }) => {
                let mut moves = BTreeMap::<(SpeakerId, SpeakerId), Vec<u64>>::new();
                for change in changes {
                    moves.entry((change.from, change.to)).or_default().push(change.segment.0);
                }
                let moves = moves.iter().map(|((from, to), ids)| {
                    let first = ids.iter().filter_map(|id| self.start_of(*id)).fold(f64::INFINITY, f64::min);
                    let since =
                        if first.is_finite() { format!(" from {}", clock(first)) } else { String::new() };
                    format!("{from} → {to} ({}{since})", count(ids.len(), "segment"))
                });
                let moves = moves.collect::<Vec<_>>().join(", ");
                Some(format!("revised: {moves}, {}", revision.reason.replace('_', " ")))
            }
            (Body::Gap(gap), _) => {
                let length = gap.end.0 - gap.start.0;
                Some(format!(
                    "{}  no audio for {length:.1} s ({})",
                    clock(gap.start.0),
                    gap.reason.replace('_', " ")
                ))
            }
            (Body::SegmentRemoved(removed), _) => {
                self.open = self.open.take().filter(|open| open.id != removed.id);
                None
            }
            _ => None,
        }
    }

    /// Reports a split of a final segment by `event`: two people were found in it.
    fn divided(&self, event: &Event) -> Option<String> {
        let Event::Segment(new) = event else { return None };
        let held = self.state.segment(new.id).filter(|held| held.is_final)?.range;
        let at = new.range.end();
        (at < held.end()).then(|| {
            let [start, end, at] = [held.start(), held.end(), at].map(|at| clock(at.seconds()));
            format!("divided: {start} – {end} at {at}")
        })
    }

    /// Words of an event that are final for the first time, in the order of their starts.
    fn new_words(&self, event: &Event) -> Vec<Word> {
        let Event::Words { words, .. } = event else { return Vec::new() };
        let is_new =
            |word: &&Word| word.is_final && !self.state.word(word.id).is_some_and(|held| held.is_final);
        let mut new: Vec<Word> = words.iter().filter(is_new).cloned().collect();
        new.sort_by_key(|word| (word.range.start(), word.id));
        new
    }

    /// `0:01.2  Ann (S1)  “hello there”`, several of them where the speaker changes.
    fn said(&self, words: &[Word], colour: bool) -> Option<String> {
        let speaker = |word: &Word| word.spoken_by.map(|by| by.speaker);
        let stretches = words.chunk_by(|a, b| speaker(a) == speaker(b)).map(|words| {
            let who = match speaker(&words[0]) {
                Some(id) => self.label_of(&id.to_string(), colour),
                None => format!("{:<8}", "?"),
            };
            let text = join(words.iter().map(|word| &*word.text));
            format!("{}  {who}  “{text}”", clock(words[0].range.start().seconds()))
        });
        let line = stretches.collect::<Vec<_>>().join("   ");
        (!line.is_empty()).then_some(line)
    }

    fn start_of(&self, id: u64) -> Option<f64> {
        let segment = self.state.segment(diarized_models::SegmentId(id))?;
        Some(segment.range.start().seconds())
    }

    /// The name and label of a speaker, in its colour.
    fn label_of(&self, label: &str, colour: bool) -> String {
        let id = label.parse::<SpeakerId>().ok();
        let name = id.and_then(|id| self.state.speaker(id)).and_then(|s| s.name.as_deref());
        let text = match name {
            Some(name) => format!("{name} ({label})"),
            None => label.to_owned(),
        };
        match id {
            Some(id) if colour => {
                let code = COLOURS[(id.0 as usize + COLOURS.len() - 1) % COLOURS.len()];
                format!("\x1b[{code}m{text:<8}\x1b[0m")
            }
            _ => format!("{text:<8}"),
        }
    }

    fn live(&self, colour: bool) -> Option<String> {
        let lag = self.stats.filter(|s| s.lag_s.0 >= 1.0);
        let lag = lag.map_or(String::new(), |s| format!("  {:.0} s behind", s.lag_s.0));
        let at = self.stats.map_or(self.at, |s| s.heard_s.0.max(self.at));
        let who = match &self.open {
            Some(open) => {
                let length = open.end.0 - open.start.0;
                let confidence = (open.confidence.0 * 100.0).round();
                let label = self.label_of(&open.speaker, colour);
                format!("▶ {label} {length:>5.1} s  {confidence:>3} %")
            }
            None if self.stats.is_some_and(|s| s.speech) => "▶ somebody".to_owned(),
            None if at > 0.0 => "· nobody".to_owned(),
            None => return None,
        };
        Some(format!("{}  {who}{lag}", clock(at)))
    }
}

/// `1 speaker`, `2 speakers`.
fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// `0:07.4`, `1:02:03.0`.
fn clock(seconds: f64) -> String {
    let tenths = (seconds * 10.0).round() as u64;
    let (s, tenth) = (tenths / 10, tenths % 10);
    let (h, m, s) = (s / 3600, s / 60 % 60, s % 60);
    if h > 0 { format!("{h}:{m:02}:{s:02}.{tenth}") } else { format!("{m}:{s:02}.{tenth}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(messages: &[&str]) -> (Vec<String>, String) {
        let (mut view, mut lines) = (View::new(false), Vec::new());
        for text in messages {
            view.take(&ServerMessage::parse(text).unwrap(), &mut lines);
        }
        (lines, view.live())
    }

    const SNAPSHOT: &str = r#"{"type":"snapshot","session":"a","seq":0,"at":0.0,"live":true,"source":"stream","speakers":[],"segments":[],"gaps":[]}"#;
    const SPEAKER: &str = r#"{"type":"speaker","session":"a","seq":1,"at":1.0,"id":"S1","first_s":0.5}"#;
    const OPEN: &str = r#"{"type":"segment","session":"a","seq":2,"at":2.0,"id":1,"start":0.5,"end":2.0,"speaker":"S1","confidence":0.8,"final":false}"#;
    const FINAL: &str = r#"{"type":"segment","session":"a","seq":3,"at":3.0,"id":1,"start":0.5,"end":2.5,"speaker":"S1","confidence":0.934,"final":true}"#;

    #[test]
    fn finished_segments_scroll_and_the_open_one_is_live() {
        let (lines, live) = show(&[SNAPSHOT, SPEAKER, OPEN]);
        assert_eq!(lines, ["session a (running): 0 speakers, 0 segments"]);
        assert_eq!(live, "0:02.0  ▶ S1         1.5 s   80 %");
        let (lines, live) = show(&[SNAPSHOT, SPEAKER, OPEN, FINAL]);
        assert_eq!(lines[1], "0:00.5 – 0:02.5  S1         93 %");
        assert_eq!(live, "0:03.0  · nobody");
    }

    #[test]
    fn names_revisions_and_gaps_are_told() {
        let (lines, _) = show(&[
            SNAPSHOT,
            SPEAKER,
            FINAL,
            r#"{"type":"speaker","session":"a","seq":4,"at":3.0,"id":"S2","name":"Ada","first_s":0.5}"#,
            r#"{"type":"revision","session":"a","seq":5,"at":3.0,"changes":[{"id":1,"from":"S1","to":"S2"}],"reason":"final_pass"}"#,
            r#"{"type":"speaker_merged","session":"a","seq":6,"at":3.0,"from":"S1","into":"S2"}"#,
            r#"{"type":"gap","session":"a","seq":7,"at":3725.5,"start":3723.0,"end":3725.5,"reason":"device_lost"}"#,
        ]);
        assert_eq!(
            lines[2..],
            [
                "S2 is Ada",
                "revised: S1 → S2 (1 segment from 0:00.5), final pass",
                "S1 was S2 all along",
                "1:02:03.0  no audio for 2.5 s (device lost)",
            ]
        );
    }

    #[test]
    fn a_segment_that_is_divided_is_told() {
        let shorter = r#"{"type":"segment","session":"a","seq":4,"at":9.0,"id":1,"start":0.5,"end":1.5,"speaker":"S1","confidence":0.934,"final":true}"#;
        let rest = r#"{"type":"segment","session":"a","seq":5,"at":9.0,"id":2,"start":1.5,"end":2.5,"speaker":"S1","confidence":0.934,"final":true}"#;
        let (lines, _) = show(&[SNAPSHOT, SPEAKER, FINAL, shorter, rest]);
        assert_eq!(lines[2..], ["divided: 0:00.5 – 0:02.5 at 0:01.5", "0:01.5 – 0:02.5  S1         93 %"]);
    }

    #[test]
    fn final_words_are_shown_once_with_their_speakers() {
        let words = |seq: u64, text: &str, is_final: bool| {
            format!(
                r#"{{"type":"words","session":"a","seq":{seq},"at":3.0,"words":[{{"id":1,"start":0.6,"end":0.9,"text":"{text}","final":{is_final},"speaker":"S1","segment":1,"speaker_confidence":0.9}},{{"id":2,"start":4.0,"end":4.4,"text":"you","final":{is_final}}}]}}"#
            )
        };
        let (partial, first, again) =
            (words(4, "hell", false), words(5, "hello", true), words(6, "hello", true));
        let (lines, _) = show(&[SNAPSHOT, SPEAKER, FINAL, &partial, &first, &again]);
        assert_eq!(lines[2..], ["0:00.6  S1        “hello”   0:04.0  ?         “you”"]);
    }

    #[test]
    fn several_sessions_are_told_apart() {
        let other = SNAPSHOT.replace("\"a\"", "\"b\"");
        let (lines, live) = show(&[SNAPSHOT, SPEAKER, OPEN, &other]);
        assert_eq!(lines[1], "b  session b (running): 0 speakers, 0 segments");
        assert_eq!(live, "a: 0:02.0  ▶ S1         1.5 s   80 %");
    }

    #[test]
    fn an_event_that_does_not_fit_is_said_once() {
        let stray = r#"{"type":"segment_removed","session":"a","seq":1,"at":1.0,"id":9}"#;
        let (lines, _) = show(&[SNAPSHOT, stray, stray, SPEAKER]);
        assert_eq!(lines.len(), 2, "{lines:?}");
    }
}
