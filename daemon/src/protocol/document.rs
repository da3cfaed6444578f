//! Holds `docs/protocol.md` and the code together.

use std::collections::BTreeSet;

use serde_json::Value;

use super::audio::Encoding;
use super::client_message::ClientMessage;
use super::codes::{CloseCode, ErrorCode};
use super::server_message::EndReason;
use super::server_message::{Body, ServerMessage};

const DOCUMENT: &str = include_str!("../../../docs/protocol.md");

/// The lines of the fenced blocks that open with `fence`.
fn examples(fence: &str) -> Vec<&'static str> {
    let mut lines = Vec::new();
    let mut inside = false;
    for line in DOCUMENT.lines() {
        match line.strip_prefix("```") {
            Some(info) => inside = info == fence,
            None if inside => lines.push(line),
            None => {}
        }
    }
    assert!(!lines.is_empty(), "the document has examples");
    lines
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

#[test]
fn every_client_message_is_shown_and_every_example_is_one() {
    let mut shown = BTreeSet::new();
    for line in examples("json client") {
        let message = ClientMessage::parse(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert_eq!(json(&message.to_json()), json(line));
        shown.insert(message.kind());
    }
    assert_eq!(shown, ClientMessage::TYPES.iter().copied().collect());
}

#[test]
fn every_server_message_is_shown_and_every_example_is_one() {
    let mut shown = BTreeSet::new();
    for line in examples("json server") {
        let message = ServerMessage::parse(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert_eq!(json(&message.to_json()), json(line), "an example has a field that the code has not");
        shown.insert(message.body.kind());
    }
    assert_eq!(shown, Body::TYPES.iter().copied().collect());
}

#[test]
fn examples_number_what_has_a_number() {
    let of_the_connection = ["started", "ack", "stats", "lagged", "error"];
    for line in examples("json server") {
        let message = ServerMessage::parse(line).unwrap();
        let has_number = !of_the_connection.contains(&message.body.kind());
        assert_eq!((message.seq.is_some(), message.at.is_some()), (has_number, has_number), "{line}");
    }
}

#[test]
fn every_label_that_an_example_shows_can_be_applied() {
    for line in examples("json server") {
        match ServerMessage::parse(line).unwrap().body {
            Body::Snapshot(snapshot) => drop(snapshot.to_state().unwrap()),
            Body::Started(_)
            | Body::Ack(_)
            | Body::Stats(_)
            | Body::Lagged(_)
            | Body::Warning(_)
            | Body::Title(_)
            | Body::Note(_)
            | Body::Correction(_)
            | Body::Error(_)
            | Body::Ended(_) => {}
            body => drop(body.to_event().unwrap()),
        }
    }
}

#[test]
fn every_word_and_every_close_code_is_explained() {
    let explains = |word: &str| assert!(DOCUMENT.contains(&format!("`{word}`")), "`{word}` is not explained");
    ErrorCode::ALL.iter().for_each(|code| explains(code.as_str()));
    EndReason::ALL.iter().for_each(|reason| explains(reason.as_str()));
    Encoding::ALL.iter().for_each(|encoding| explains(encoding.as_str()));
    for &code in CloseCode::ALL {
        let row = DOCUMENT.lines().find(|line| line.starts_with(&format!("| {} |", code.as_u16())));
        let row = row.unwrap_or_else(|| panic!("{} has no row", code.as_u16()));
        for error in ErrorCode::ALL.iter().filter(|e| e.close_code() == code) {
            assert_eq!(row.contains(&format!("`{error}`")), !error.never_closes(), "{error} in: {row}");
        }
    }
    let rows = DOCUMENT.lines().filter(|l| l.starts_with("| 1") || l.starts_with("| 4")).count();
    assert_eq!(rows, CloseCode::ALL.len(), "no row without a code");
}
