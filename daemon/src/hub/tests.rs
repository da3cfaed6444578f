use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use diarized_models::SessionState;
use diarized_models::events::GapReason;
use proptest::prelude::*;

use super::*;
use crate::protocol::server_message::{Body, EndReason};
use crate::protocol::{AudioFormat, ServerMessage};
use crate::session::scripted::{ScriptedFactory, script};
use crate::session::{Command, Correction, CorrectionError, Cursor, EngineFactory, JournalParams};
use crate::session::{ReadStatus, Session, Source};

fn hub(params: HubParams) -> (Arc<Hub>, Arc<ScriptedFactory>) {
    let factory = Arc::new(ScriptedFactory::default());
    (Hub::new(params, Arc::clone(&factory) as Arc<dyn EngineFactory>), factory)
}

fn open(hub: &Hub, id: &str) -> Arc<Session> {
    hub.open(Some(id), Source::Stream, AudioFormat::default()).unwrap()
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

/// What a subscriber knows: built from nothing but the messages it was sent.
#[derive(Debug, Default)]
struct Follower {
    state: SessionState,
    seq: Option<u64>,
    n_events: usize,
    n_missed: u64,
    n_snapshots: usize,
    ended: Option<EndReason>,
}

impl Follower {
    fn take(&mut self, json: &ByteString) {
        let message = ServerMessage::parse(json).unwrap();
        if let Body::Snapshot(snapshot) = &message.body {
            self.state = snapshot.to_state().unwrap();
            self.seq = message.seq;
            self.ended = snapshot.reason;
            self.n_snapshots += 1;
            return;
        }
        match &message.body {
            Body::Lagged(lagged) => self.n_missed += lagged.missed,
            Body::Stats(_) => {}
            body => {
                assert_eq!(message.seq, Some(self.seq.unwrap_or(0) + 1), "no loss, no doubling");
                self.seq = message.seq;
                self.n_events += 1;
                match body {
                    Body::Ended(ended) => self.ended = Some(ended.reason),
                    Body::Warning(_) => {}
                    body => self.state.apply(&body.to_event().unwrap()).unwrap(),
                }
            }
        }
    }

    fn read(&mut self, cursor: &mut Cursor, max: usize) -> ReadStatus {
        let mut out = Vec::new();
        let delivery = cursor.read(max, &mut out);
        out.iter().for_each(|json| self.take(json));
        delivery
    }

    fn read_to_the_end(&mut self, cursor: &mut Cursor) {
        run(async {
            loop {
                match self.read(cursor, 7) {
                    ReadStatus::More => {}
                    ReadStatus::UpToDate => cursor.changed().await,
                    ReadStatus::Ended(_) | ReadStatus::HandedOver => break,
                }
            }
        });
    }
}

/// The state as it comes through the wire, whose times are milliseconds.
fn on_the_wire(session: &Session) -> SessionState {
    match session.channel().snapshot().body {
        Body::Snapshot(snapshot) => snapshot.to_state().unwrap(),
        other => panic!("{other:?}"),
    }
}

const CONVERSATION: [(f32, usize); 9] =
    [(0.1, 8), (0.0, 3), (0.2, 6), (0.3, 5), (0.0, 2), (0.1, 4), (0.5, 9), (0.3, 2), (0.0, 1)];

#[test]
fn a_session_says_what_it_heard_and_ends() {
    let (hub, _) = hub(HubParams::default());
    let session = open(&hub, "a");
    run(session.input().push_bytes(script(&CONVERSATION).into())).unwrap();
    session.finish(EndReason::Closed);
    let (mut follower, mut cursor) = (Follower::default(), Cursor::since(session.channel(), 0));
    follower.read_to_the_end(&mut cursor);
    assert_eq!((follower.n_snapshots, follower.n_missed), (0, 0));
    assert_eq!(follower.ended, Some(EndReason::Closed));
    assert_eq!(follower.state, on_the_wire(&session));
    assert_eq!(follower.state.segments().len(), 6);
    assert!(follower.state.segments().all(|s| s.is_final));
    session.join();
}

#[test]
fn two_sessions_do_not_mix() {
    let (hub, _) = hub(HubParams::default());
    let (a, b) = (open(&hub, "a"), open(&hub, "b"));
    for tenths in [3, 4] {
        run(a.input().push_bytes(script(&[(0.1, tenths)]).into())).unwrap();
        run(b.input().push_bytes(script(&[(0.2, tenths), (0.4, 1)]).into())).unwrap();
    }
    for session in [&a, &b] {
        session.finish(EndReason::Closed);
        run(session.channel().wait_ended());
    }
    let speakers = |s: &Session| {
        s.channel().now().state.speakers().map(|i| i.id.to_string()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!((speakers(&a), speakers(&b)), ("S1".to_owned(), "S2 S4".to_owned()));
}

#[test]
fn finalize_and_corrections_answer_after_their_events() {
    let (hub, _) = hub(HubParams::default());
    let session = open(&hub, "a");
    let command = |command| run(async { session.input().command(command).await.unwrap().await.unwrap() });
    run(session.input().push_bytes(script(&[(0.1, 5)]).into())).unwrap();
    assert_eq!(command(Command::Finalize), Ok(()));
    assert!(session.channel().now().state.segments().all(|s| s.is_final));
    let speaker = diarized_models::SpeakerId(1);
    let rename = Correction::Rename { speaker, name: "Ada".to_owned() };
    let correct = |correction| command(Command::Correct { correction, by: None });
    assert_eq!(correct(rename), Ok(()));
    let now = session.channel().now();
    assert_eq!(now.state.speaker(speaker).unwrap().name.as_deref(), Some("Ada"));
    let stranger = diarized_models::SpeakerId(7);
    let rename = Correction::Rename { speaker: stranger, name: String::new() };
    assert_eq!(correct(rename), Err(CorrectionError::UnknownSpeaker(stranger)));
}

#[test]
fn gaps_keep_the_clock_true_at_any_rate() {
    let (hub, _) = hub(HubParams::default());
    let format = AudioFormat { sample_rate: 44_100, ..AudioFormat::default() };
    let session = hub.open(None, Source::Microphone, format).unwrap();
    for _ in 0..50 {
        session.input().push_interleaved(&[0.0; 441]).unwrap();
        session.input().gap(7, GapReason::Overrun).unwrap();
    }
    session.finish(EndReason::SourceEnded);
    run(session.channel().wait_ended());
    let now = session.channel().now();
    let n = 50 * (441 + 7) * 16_000_u64;
    assert_eq!(now.at.0, (n + 22_050) / 44_100);
    assert!(session.channel().stats().unwrap().dropped_s.0 > 0.0);
}

#[test]
fn a_panic_ends_its_own_session_only() {
    let (hub, _) = hub(HubParams::default());
    let (bad, good) = (open(&hub, "bad"), open(&hub, "good"));
    run(bad.input().push_bytes(script(&[(0.1, 2), (0.9, 1)]).into())).unwrap();
    run(bad.channel().wait_ended());
    assert_eq!(bad.channel().ended(), Some(EndReason::Failed));
    bad.join();
    assert!(run(bad.input().push_bytes(Bytes::from_static(&[0, 0]))).is_err());
    run(good.input().push_bytes(script(&[(0.1, 2)]).into())).unwrap();
    good.finish(EndReason::Closed);
    run(good.channel().wait_ended());
    assert_eq!(good.channel().ended(), Some(EndReason::Closed));
}

#[test]
fn a_session_that_nobody_holds_ends() {
    let (hub, _) = hub(HubParams { max_ended: 0, ..HubParams::default() });
    let channel = Arc::clone(open(&hub, "a").channel());
    // The hub still holds it; forgetting the hub forgets the session.
    drop(hub);
    run(channel.wait_ended());
    assert_eq!(channel.ended(), Some(EndReason::Disconnected));
}

#[test]
fn an_id_is_not_reused_when_its_session_has_left_the_memory() {
    let (hub, _) = hub(HubParams { max_ended: 0, ..HubParams::default() });
    let ids: Vec<_> = (0..4)
        .map(|_| {
            let session = open(&hub, "a");
            session.finish(EndReason::Closed);
            run(session.channel().wait_ended());
            session.id().to_owned()
        })
        .collect();
    assert_eq!(ids, ["a", "a-2", "a-3", "a-4"]);
    assert!(hub.get("a").is_none() && hub.knows_id("a") && !hub.knows_id("b"));
    // What a client deletes is free again; what nobody can delete any more is not.
    assert!(run(hub.forget("a-4")).unwrap() && !run(hub.forget("a-2")).unwrap());
    assert_eq!([open(&hub, "a-4").id(), open(&hub, "a").id()], ["a-4", "a-5"]);
}

#[test]
fn ids_are_unique_among_the_living() {
    let (hub, _) = hub(HubParams { max_sessions: 2, max_ended: 1, ..HubParams::default() });
    let first = open(&hub, "a");
    let again = hub.open(Some("a"), Source::Stream, AudioFormat::default());
    assert!(matches!(again, Err(OpenError::Conflict { .. })));
    let _second = open(&hub, "b");
    let third = hub.open(None, Source::Stream, AudioFormat::default());
    assert!(matches!(third, Err(OpenError::TooMany { max: 2 })));
    first.finish(EndReason::Closed);
    run(first.channel().wait_ended());
    let next = open(&hub, "a");
    assert_eq!((next.id(), first.id()), ("a-2", "a"));
    assert!(Arc::ptr_eq(&hub.get("a").unwrap(), &first), "who spoke first stays who spoke first");
    assert_eq!(hub.sessions().len(), 3);
    assert_eq!((hub.stats().opened, hub.stats().refused), (3, 2));
}

#[test]
fn the_oldest_ended_sessions_are_forgotten() {
    let (hub, _) = hub(HubParams { max_ended: 2, ..HubParams::default() });
    for id in ["a", "b", "c", "d"] {
        let session = open(&hub, id);
        session.finish(EndReason::Closed);
        run(session.channel().wait_ended());
    }
    let _live = open(&hub, "e");
    let ids: Vec<_> = hub.sessions().iter().map(|s| s.id().to_owned()).collect();
    assert_eq!(ids, ["c", "d", "e"]);
    assert_eq!(hub.stats().events, 4, "the events of forgotten sessions still count");
}

#[test]
fn ended_sessions_with_large_journals_are_forgotten_earlier() {
    let talk = |max_ended_bytes: usize| {
        let (hub, _) = hub(HubParams { max_ended_bytes, ..HubParams::default() });
        for id in ["a", "b", "c"] {
            let session = open(&hub, id);
            run(session.input().push_bytes(script(&CONVERSATION).into())).unwrap();
            session.finish(EndReason::Closed);
            run(session.channel().wait_ended());
        }
        let live = open(&hub, "d");
        let ids: Vec<_> = hub.sessions().iter().map(|s| s.id().to_owned()).collect();
        let bytes = hub.get("c").unwrap().channel().journal_bytes();
        drop(live);
        (ids.join(" "), bytes)
    };
    let (all, of_one) = talk(usize::MAX);
    assert_eq!(all, "a b c d");
    assert_eq!(talk(3 * of_one).0, "a b c d");
    assert_eq!(talk(2 * of_one + of_one / 2).0, "b c d");
    assert_eq!(talk(0).0, "c d", "the newest stays whatever its size");
}

#[test]
fn a_reader_that_fell_behind_is_told_and_gets_a_snapshot() {
    let journal = JournalParams { max_events: 10, ..JournalParams::default() };
    let (hub, _) = hub(HubParams { journal, ..HubParams::default() });
    let session = open(&hub, "a");
    let (mut slow, mut cursor) = (Follower::default(), Cursor::from_now(session.channel()));
    slow.read(&mut cursor, 1);
    run(session.input().push_bytes(script(&CONVERSATION).into())).unwrap();
    session.finish(EndReason::Closed);
    run(session.channel().wait_ended());
    slow.read_to_the_end(&mut cursor);
    assert_eq!(slow.n_snapshots, 2);
    assert_eq!(slow.n_missed, session.channel().last_seq());
    assert_eq!(slow.state, on_the_wire(&session));
    // A resume past the journal is reported; one inside it is not.
    let last = session.channel().last_seq();
    for (since, missed, events) in [(last - 3, 0, 3), (2, last - 2, 0), (last + 5, 0, 0)] {
        let mut resumed = Follower { seq: Some(since), ..Follower::default() };
        let mut out = Vec::new();
        Cursor::since(session.channel(), since).read(64, &mut out);
        if events > 0 {
            assert_eq!(out.iter().filter(|j| !j.contains("\"stats\"")).count(), events);
            continue;
        }
        out.iter().for_each(|json| resumed.take(json));
        assert_eq!((resumed.n_missed, resumed.n_snapshots), (missed, 1));
        assert_eq!(resumed.state, on_the_wire(&session));
    }
}

#[test]
fn a_snapshot_is_encoded_once_for_all_who_ask_at_one_moment() {
    let (hub, _) = hub(HubParams::default());
    let session = open(&hub, "a");
    run(session.input().push_bytes(script(&CONVERSATION).into())).unwrap();
    session.finish(EndReason::Closed);
    run(session.channel().wait_ended());
    let read = || {
        let mut out = Vec::new();
        Cursor::from_now(session.channel()).read(8, &mut out);
        out.remove(0)
    };
    let (first, second) = (read(), read());
    assert!(first.contains("\"snapshot\""));
    assert_eq!(first.as_ptr(), second.as_ptr(), "the same bytes");
    assert_eq!(session.channel().snapshot_json(), session.channel().snapshot().to_json());
}

#[test]
fn whoever_follows_all_misses_no_session() {
    let (hub, _) = hub(HubParams::default());
    let early = open(&hub, "early");
    let mut follow = FollowAll::new(&hub);
    // This one opens and ends between two reads.
    let short = open(&hub, "short");
    run(short.input().push_bytes(script(&[(0.1, 3)]).into())).unwrap();
    for session in [&early, &short] {
        session.finish(EndReason::Closed);
        run(session.channel().wait_ended());
    }
    let mut out = Vec::new();
    while follow.read(4, &mut out) == ReadStatus::More {}
    let ended: Vec<_> = out
        .iter()
        .map(|json| ServerMessage::parse(json).unwrap())
        .filter(|m| match &m.body {
            Body::Ended(_) => true,
            Body::Snapshot(snapshot) => !snapshot.live,
            _ => false,
        })
        .filter_map(|m| m.session)
        .collect();
    assert_eq!(ended, ["early", "short"]);
}

#[test]
fn shutting_down_ends_every_session_and_opens_none() {
    let (hub, factory) = hub(HubParams::default());
    let session = open(&hub, "a");
    factory.gate.shut();
    run(session.input().push_bytes(script(&[(0.1, 5)]).into())).unwrap();
    hub.shut_down();
    let refused = hub.open(None, Source::Stream, AudioFormat::default());
    assert!(matches!(refused, Err(OpenError::ShuttingDown)));
    factory.gate.open();
    run(hub.drained());
    assert_eq!(session.channel().ended(), Some(EndReason::Shutdown));
    let now = session.channel().now();
    assert!(now.state.segments().len() == 1 && now.state.segments().all(|s| s.is_final));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// However the audio is cut, wherever somebody joins, however little is read at a time: everybody ends with
    /// the state that the session ends with.
    #[test]
    fn snapshot_and_events_give_the_final_state(
        parts in prop::collection::vec((0u8..6, 1usize..6), 1..14),
        cuts in prop::collection::vec(1usize..4000, 1..20),
        joins in prop::collection::vec(0usize..20, 1..6),
        max in 1usize..20,
        max_events in 1usize..60,
    ) {
        let journal = JournalParams { max_events, ..JournalParams::default() };
        let (hub, _) = hub(HubParams { journal, ..HubParams::default() });
        let session = open(&hub, "a");
        let parts: Vec<_> = parts.iter().map(|&(level, n)| (f32::from(level) / 10.0, n)).collect();
        let audio = Bytes::from(script(&parts));
        let mut followers = Vec::new();
        let mut rest = audio;
        for (idx, &cut) in cuts.iter().enumerate() {
            for _ in joins.iter().filter(|&&join| join == idx) {
                followers.push((Follower::default(), Cursor::from_now(session.channel())));
            }
            let last = idx + 1 == cuts.len();
            let piece = rest.split_to(if last { rest.len() } else { (2 * cut).min(rest.len()) });
            run(session.input().push_bytes(piece)).unwrap();
            for (follower, cursor) in &mut followers {
                follower.read(cursor, max);
            }
        }
        session.finish(EndReason::Closed);
        run(session.channel().wait_ended());
        followers.push((Follower::default(), Cursor::from_now(session.channel())));
        followers.push((Follower::default(), Cursor::since(session.channel(), 0)));
        let end = on_the_wire(&session);
        for (mut follower, mut cursor) in followers {
            follower.read_to_the_end(&mut cursor);
            prop_assert_eq!(&follower.state, &end);
            prop_assert_eq!(follower.seq, Some(session.channel().last_seq()));
            prop_assert_eq!(follower.ended, Some(EndReason::Closed));
        }
    }

    #[test]
    fn events_do_not_depend_on_how_the_audio_is_cut(
        parts in prop::collection::vec((0u8..6, 1usize..6), 1..10),
        cuts in prop::collection::vec(1usize..9000, 0..12),
    ) {
        let parts: Vec<_> = parts.iter().map(|&(level, n)| (f32::from(level) / 10.0, n)).collect();
        let emitted = |cuts: &[usize]| {
            let (hub, _) = hub(HubParams::default());
            let session = open(&hub, "a");
            let mut rest = Bytes::from(script(&parts));
            for &cut in cuts {
                let piece = rest.split_to((2 * cut).min(rest.len()));
                run(session.input().push_bytes(piece)).unwrap();
            }
            run(session.input().push_bytes(rest)).unwrap();
            session.finish(EndReason::Closed);
            run(session.channel().wait_ended());
            let mut out = Vec::new();
            let mut cursor = Cursor::since(session.channel(), 0);
            while cursor.read(64, &mut out) == ReadStatus::More {}
            out.retain(|json| !json.contains("\"stats\""));
            out
        };
        prop_assert_eq!(emitted(&cuts), emitted(&[]));
    }
}
