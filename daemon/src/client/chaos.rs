//! The clients over failing networks: the labels are those of a working network.

use std::time::Duration;

use diarized_models::SessionState;
use diarized_test_network::{End, Fate, Proxy};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{RngSeed, TestRunner};

use super::follow::{Follow, News};
use super::outgoing::Playback;
use super::publish::publish;
use super::tests::{TALK, address, wav};
use crate::hub::HubParams;
use crate::protocol::ServerMessage;
use crate::protocol::server_message::{Body, EndReason, Ended};
use crate::server::Limits;
use crate::server::tests::{Running, replay, serve_with};
use crate::session::scripted::script;

/// Number of networks unless `PROPTEST_CASES` sets another; all at once, since each mostly waits.
const N_NETWORKS: u32 = 48;

/// What the request and the answers to it take: no client tries its first connection again.
const GREETING_UP: usize = 600;
const GREETING_DOWN: usize = 1200;

/// Fate of a connection after a number of bytes in each direction.
fn fate(up: usize, down: usize) -> impl Strategy<Value = Fate> {
    // The file is 102 400 bytes on the wire, its events are some 8000.
    let budgets = prop_oneof![
        3 => (up..60_000).prop_map(|up| (Some(up), None)),
        2 => (down..down + 6_000).prop_map(|down| (None, Some(down))),
        1 => (up..60_000, down..down + 6_000).prop_map(|(up, down)| (Some(up), Some(down))),
    ];
    let end = prop_oneof![
        3 => Just(End::Cut),
        1 => Just(End::Forgotten),
        2 => (0..700_u64).prop_map(|ms| End::Late(Duration::from_millis(ms))),
    ];
    let pace = prop_oneof![
        2 => Just((None, 0)),
        1 => (500..9_000_usize, 0..8_u64).prop_map(|(piece, ms)| (Some(piece), ms)),
    ];
    (budgets, end, pace).prop_map(|((up, down), end, (piece, ms))| Fate {
        up,
        down,
        end,
        piece,
        delay: Duration::from_millis(ms),
        lasts: None,
    })
}

/// The same networks with every run, or others with `PROPTEST_RNG_SEED`.
fn networks() -> Vec<Vec<Fate>> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = RngSeed::Fixed(number("PROPTEST_RNG_SEED").unwrap_or(1));
    let n = number("PROPTEST_CASES").map_or(N_NETWORKS, |n| n as u32);
    let mut runner = TestRunner::new(ProptestConfig { rng_seed: seed, ..ProptestConfig::default() });
    let all = (fate(GREETING_UP, GREETING_DOWN), prop::collection::vec(fate(0, 0), 0..4));
    let all = all.prop_map(|(first, rest)| [vec![first], rest].concat());
    (0..n).map(|_| all.new_tree(&mut runner).unwrap().current()).collect()
}

/// A server with room for all of them at once, on which each session has the time that its network takes.
async fn roomy() -> Running {
    let params = HubParams { max_sessions: 1000, max_ended: 1000, ..HubParams::default() };
    let limits = Limits { max_connections: 10_000, ..Limits::default() };
    serve_with(params, limits).await
}

/// Plays the talk, and gives the events as they came, how it ended, and how often the connection broke.
async fn play(network: &Proxy, id: &str, speed: f64) -> (Vec<ServerMessage>, Ended, usize) {
    let folder = tempfile::tempdir().unwrap();
    let (mut all, mut n_lost) = (Vec::new(), 0);
    let address = address(network.addr);
    let playing = publish(&address, Some(id), wav(folder.path()), Playback { speed }, |news| match news {
        News::Message(message, _) => all.push(*message),
        News::Lost { .. } => n_lost += 1,
        _ => {}
    });
    let summary = playing.await.unwrap_or_else(|error| panic!("{id}: {error}"));
    (all, summary.ended, n_lost)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_over_any_network_gets_the_labels_of_one_that_works() {
    let server = std::sync::Arc::new(roomy().await);
    let (whole, ..) = play(&Proxy::to(server.addr), "whole", f64::INFINITY).await;
    let whole = replay(&whole);
    assert!(whole.segments().len() > 3);
    let mut playing = tokio::task::JoinSet::new();
    for (idx, fates) in networks().into_iter().enumerate() {
        let (server, whole) = (std::sync::Arc::clone(&server), whole.clone());
        playing.spawn(async move {
            let network = Proxy::with(server.addr, fates.clone());
            // Some are faster than the server reads, some so slow that cuts fall between frames.
            let speed = [f64::INFINITY, 8.0, 3.0][idx % 3];
            let (all, ended, n_lost) = play(&network, &format!("n{idx}"), speed).await;
            // The events are gapless, or `replay` fails.
            assert_eq!(replay(&all), whole, "{fates:?}");
            assert_eq!((ended.duration_s.0, ended.reason), (1.6, EndReason::Closed), "{fates:?}");
            n_lost
        });
    }
    let mut n_lost = 0;
    while let Some(done) = playing.join_next().await {
        n_lost += done.unwrap();
    }
    assert!(n_lost >= 40, "the networks break: {n_lost} times");
}

/// Follows a session to its end and gives what its events make, and how often the connection broke.
async fn follow(network: &Proxy, id: &str) -> (SessionState, usize) {
    let mut follow = Follow::connect(address(network.addr), id, Some(0)).await.unwrap();
    let (mut all, mut n_lost) = (Vec::new(), 0);
    loop {
        match follow.next().await {
            News::Message(message, _) => all.push(*message),
            News::Lost { .. } => n_lost += 1,
            News::Closed { code, reason } => {
                assert_eq!((code, reason), (1000, None));
                let last = all.iter().rev().find(|message| message.seq.is_some()).unwrap();
                assert!(matches!(last.body, Body::Ended(_)), "{last:?}");
                return (replay(&all), n_lost);
            }
            News::Back | News::Unknown(_) => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_over_any_network_hears_every_event_once() {
    let server = std::sync::Arc::new(roomy().await);
    let mut publisher = server.publisher("talk").await;
    publisher.audio(script(&TALK[..2])).await;
    let mut following = tokio::task::JoinSet::new();
    for fates in networks() {
        let server = std::sync::Arc::clone(&server);
        following.spawn(async move {
            // The cut is in the messages of the server.
            let fates = fates.into_iter().map(|fate| Fate { up: None, down: fate.down.or(fate.up), ..fate });
            let network = Proxy::with(server.addr, fates);
            follow(&network, "talk").await
        });
    }
    for part in &TALK[2..] {
        publisher.audio(script(&[*part])).await;
        // The parts come one by one, as of a live source, so that some are cut in between.
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    publisher.send(r#"{"type":"close"}"#).await;
    let (all, _) = publisher.rest().await;
    let whole = replay(&all);
    let mut n_lost = 0;
    while let Some(done) = following.join_next().await {
        let (state, lost) = done.unwrap();
        assert_eq!(state, whole);
        n_lost += lost;
    }
    assert!(n_lost >= 10, "the networks break: {n_lost} times");
}
