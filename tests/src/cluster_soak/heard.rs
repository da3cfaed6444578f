//! What one client received of a session: held against what it must be.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use diarized::protocol::ServerMessage;
use diarized::protocol::server_message::{Body, EndReason};
use diarized_models::SessionState;

/// Events of one session, each expected once and in order.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// What the events make.
    pub(super) state: SessionState,
    /// Number of the last event.
    pub(super) seq: u64,
    /// The text of each event, as a number.
    texts: BTreeMap<u64, u64>,
    pub(super) ended: Option<EndReason>,
    pub(super) faults: Faults,
    /// Events that a snapshot took back: a node that died had shown them to its own clients only.
    pub(super) withdrawn: Vec<u64>,
    /// Warnings by their code.
    pub(super) warnings: BTreeMap<String, usize>,
}

/// What was wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    /// Events that never came.
    pub n_lost: u64,
    /// Events that came twice, or as another text at another client.
    pub n_doubled: u64,
    /// In words, of all kinds.
    pub lines: Vec<String>,
}

impl Heard {
    /// Takes a message as it came.
    pub(super) fn take(&mut self, message: &ServerMessage, text: &str) {
        match (&message.body, message.seq) {
            (Body::Snapshot(snapshot), Some(seq)) => {
                if seq > self.seq {
                    self.faults.n_lost += seq - self.seq;
                    let line = format!("a snapshot with event {seq} came after event {}", self.seq);
                    self.faults.lines.push(line);
                }
                self.withdrawn.extend(self.texts.split_off(&(seq + 1)).into_keys());
                self.seq = seq;
                match snapshot.to_state() {
                    Ok(state) => self.state = state,
                    Err(error) => self.faults.lines.push(format!("a snapshot does not fit: {error}")),
                }
            }
            (body, Some(seq)) => self.event(body, seq, text),
            (Body::Error(error), None) if error.fatal => {
                count(&mut self.warnings, error.code.as_str());
            }
            _ => {}
        }
    }

    fn event(&mut self, body: &Body, seq: u64, text: &str) {
        if seq <= self.seq {
            self.faults.n_doubled += 1;
            return self.faults.lines.push(format!("event {seq} came after event {}", self.seq));
        }
        if seq > self.seq + 1 {
            self.faults.n_lost += seq - self.seq - 1;
            self.faults.lines.push(format!("event {seq} came after event {}", self.seq));
        }
        self.seq = seq;
        self.texts.insert(seq, number_of(text));
        match body {
            Body::Ended(ended) => self.ended = Some(ended.reason),
            Body::Warning(warning) => count(&mut self.warnings, &warning.code),
            _ => {}
        }
        if let Ok(event) = body.to_event()
            && let Err(error) = self.state.apply(&event)
        {
            self.faults.lines.push(format!("event {seq} does not fit: {error}"));
        }
    }

    /// Counts the events that are another text here than there.
    pub(super) fn differing(&self, other: &Self) -> u64 {
        let differs = |(seq, text): &(&u64, &u64)| other.texts.get(seq).is_some_and(|there| there != *text);
        self.texts.iter().filter(differs).count() as u64
    }
}

fn count(counts: &mut BTreeMap<String, usize>, code: &str) {
    *counts.entry(code.to_owned()).or_default() += 1;
}

fn number_of(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(heard: &mut Heard, text: &str) {
        heard.take(&ServerMessage::parse(text).unwrap(), text);
    }

    fn warning(seq: u64, reason: &str) -> String {
        format!(r#"{{"type":"warning","session":"a","seq":{seq},"at":1.0,"code":"w","reason":"{reason}"}}"#)
    }

    const SNAPSHOT: &str = r#"{"type":"snapshot","session":"a","seq":2,"source":"stream","at":1.0,"live":true,"gaps":[],"speakers":[],"segments":[]}"#;

    #[test]
    fn every_event_is_expected_once() {
        let heard = |numbers: &[u64]| {
            let mut heard = Heard::default();
            numbers.iter().for_each(|seq| take(&mut heard, &warning(*seq, "r")));
            (heard.faults.n_lost, heard.faults.n_doubled)
        };
        assert_eq!(heard(&[1, 2, 3]), (0, 0));
        assert_eq!(heard(&[1, 2, 5, 6]), (2, 0));
        assert_eq!(heard(&[1, 2, 2, 1, 3]), (0, 2));
    }

    #[test]
    fn one_number_is_one_text_everywhere() {
        let [mut one, mut other] = [Heard::default(), Heard::default()];
        for (heard, reason) in [(&mut one, "r"), (&mut other, "another")] {
            take(heard, &warning(1, "r"));
            take(heard, &warning(2, reason));
        }
        assert_eq!((one.differing(&other), one.differing(&one)), (1, 0));
    }

    #[test]
    fn a_snapshot_takes_events_back_and_one_that_jumps_has_lost_some() {
        let heard = |n_events: u64| {
            let mut heard = Heard::default();
            (1..=n_events).for_each(|seq| take(&mut heard, &warning(seq, "r")));
            take(&mut heard, SNAPSHOT);
            (heard.seq, heard.withdrawn, heard.faults.n_lost)
        };
        assert_eq!(heard(4), (2, vec![3, 4], 0));
        assert_eq!(heard(2), (2, vec![], 0));
        assert_eq!(heard(1), (2, vec![], 1));
    }
}
