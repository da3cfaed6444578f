//! The clients against a real server whose diarizer is scripted.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use diarized_test_network::Proxy;

use super::address::Address;
use super::follow::{Follow, News};
use super::outgoing::Playback;
use super::publish::publish;
use super::view::View;
use crate::audio_file::AudioFile;
use crate::hub::HubParams;
use crate::protocol::ServerMessage;
use crate::protocol::server_message::{Body, EndReason};
use crate::server::Limits;
use crate::server::tests::{serve, serve_at, serve_with};
use crate::session::scripted::script;

pub(super) const TALK: [(f32, usize); 5] = [(0.1, 4), (0.0, 2), (0.2, 5), (0.3, 3), (0.1, 2)];

/// A wav file of the script.
pub(super) fn wav(folder: &Path) -> AudioFile {
    let path = folder.join("talk.wav");
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 16_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(&path, spec).unwrap();
    for sample in script(&TALK).chunks(2) {
        writer.write_sample(i16::from_le_bytes([sample[0], sample[1]])).unwrap();
    }
    writer.finalize().unwrap();
    AudioFile::open(&path).unwrap()
}

pub(super) fn address(addr: SocketAddr) -> Address {
    Address::parse(&addr.to_string()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_above_the_rates_of_the_wire_is_resampled_before_it_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("high.wav");
    let spec = hound::WavSpec {
        channels: 2,
        sample_rate: 96_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(&path, spec).unwrap();
    for n in 0..2 * 96_000 {
        // A tone of 1 kHz in both channels: the script's speaker 1.
        let phase = std::f32::consts::TAU * (n / 2) as f32 / 96.0;
        writer.write_sample((phase.sin() * 5_200.0) as i16).unwrap();
    }
    writer.finalize().unwrap();
    let server = serve().await;
    let (file, playback) = (AudioFile::open(&path).unwrap(), Playback { speed: f64::INFINITY });
    let summary = publish(&address(server.addr), Some("a"), file, playback, |_| {}).await.unwrap();
    assert_eq!((summary.sent_s, summary.ended.duration_s.0, summary.ended.speakers), (1.0, 1.0, 1));
    let format = server.hub.get("a").unwrap().format();
    assert_eq!((format.sample_rate, format.channels), (16_000, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_played_file_comes_back_labelled() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve().await;
    let (mut view, mut lines) = (View::new(false), Vec::new());
    let playback = Playback { speed: f64::INFINITY };
    let address = address(server.addr);
    let summary = publish(&address, Some("talk"), wav(folder.path()), playback, |news| {
        let News::Message(message, _) = news else { panic!("{news:?}") };
        view.take(&message, &mut lines);
    })
    .await
    .unwrap();
    assert_eq!((summary.sent_s, summary.ended.duration_s.0, summary.ended.speakers), (1.6, 1.6, 2));
    let session = server.hub.get("talk").unwrap();
    let Body::Snapshot(end) = session.channel().snapshot().body else { panic!("it is one") };
    assert_eq!(view.state("talk"), Some(&end.to_state().unwrap()));
    assert_eq!(lines.first().map(String::as_str), Some("session talk, model scripted"));
    assert!(lines.iter().any(|l| l == "0:00.0 – 0:00.4  S1         10 %"), "{lines:?}");
    assert!(
        lines.iter().any(|l| l.starts_with("revised: S3 → S1 (1 segment from 0:01.1), merge")),
        "{lines:?}"
    );
    assert_eq!(lines.last().map(String::as_str), Some("ended (closed): 0:01.6, 2 speakers"));
    assert_eq!(view.totals("talk"), ["S1           0:00.9   64 %", "S2           0:00.5   36 %"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_played_in_its_own_time() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve().await;
    let began = tokio::time::Instant::now();
    let playback = Playback { speed: 4.0 };
    publish(&address(server.addr), None, wav(folder.path()), playback, |_| {}).await.unwrap();
    // The last frame of 100 ms is due 1.5 s into the audio.
    assert!(began.elapsed() >= Duration::from_secs_f64(1.5 / 4.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_stream_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve_with(HubParams { max_sessions: 0, ..HubParams::default() }, Limits::default()).await;
    let playback = Playback { speed: f64::INFINITY };
    let address = address(server.addr);
    let error = publish(&address, None, wav(folder.path()), playback, |_| {}).await.unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("the server closed the stream with 4429: the limit of 0 running sessions"),
        "{error}"
    );
    server.shut_down().await;
    let error = publish(&address, None, wav(folder.path()), playback, |_| {}).await.unwrap_err();
    assert!(error.to_string().contains("nothing listens there; start `diarized serve`"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_played_over_a_network_that_breaks_gets_the_labels_of_one_that_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve().await;
    let play = async |addr, id: &'static str, speed| {
        let (mut seqs, mut n_back) = (Vec::new(), 0);
        let summary =
            publish(&address(addr), Some(id), wav(folder.path()), Playback { speed }, |news| match news {
                News::Message(message, _) => seqs.extend(message.seq),
                News::Back => n_back += 1,
                _ => {}
            })
            .await
            .unwrap();
        assert_eq!(summary.ended.duration_s.0, 1.6, "{id}");
        let Body::Snapshot(end) = server.hub.get(id).unwrap().channel().snapshot().body else { panic!() };
        assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>(), "{id}: no loss, no doubling");
        (end, n_back)
    };
    let (whole, _) = play(server.addr, "whole", f64::INFINITY).await;
    // The file is 102 400 bytes on the wire; the request takes some 250. Cuts fall into the request, into the resume,
    // into frames, and between them.
    let cuts = [
        ("a", vec![300, 30_000, 255, 25_000]),
        ("b", vec![6_900, 6_900, 6_900, 6_900]),
        ("c", vec![102_600]),
        ("d", vec![41_237, 17, 330, 450]),
    ];
    for (id, budgets) in cuts {
        let n = budgets.len();
        let network = Proxy::cutting(server.addr, budgets);
        let (end, n_back) = play(network.addr, id, f64::INFINITY).await;
        assert_eq!((&end, network.n_cut.load(Ordering::SeqCst)), (&whole, n), "{id}");
        assert!(n_back >= 1, "{id}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publisher_gives_up_when_nobody_waits_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { resume_grace: Duration::ZERO, ..Limits::default() };
    let server = serve_with(HubParams::default(), limits).await;
    let network = Proxy::cutting(server.addr, vec![30_000]);
    let playback = Playback { speed: f64::INFINITY };
    let error = publish(&address(network.addr), Some("a"), wav(folder.path()), playback, |_| {}).await;
    let error = error.unwrap_err().to_string();
    assert!(error.starts_with("the connection broke"), "{error}");
    let session = server.hub.get("a").unwrap();
    session.channel().wait_ended().await;
    assert_eq!(session.channel().ended(), Some(EndReason::Disconnected));
}

/// Events until the session has ended or the connection is lost.
async fn events(follow: &mut Follow) -> (Vec<ServerMessage>, News) {
    let mut all = Vec::new();
    loop {
        match follow.next().await {
            News::Message(message, _) => all.push(*message),
            News::Back => {}
            news => return (all, news),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_resumes_after_a_break_without_loss() {
    let server = serve().await;
    let network = Proxy::to(server.addr);
    let mut publisher = server.publisher("talk").await;
    publisher.audio(script(&TALK[..2])).await;
    let mut follow = Follow::connect(address(network.addr), "talk", Some(0)).await.unwrap();
    let News::Message(first, _) = follow.next().await else { panic!("the first event") };
    assert_eq!(first.seq, Some(1));
    network.cut();
    publisher.audio(script(&TALK[2..])).await;
    publisher.send(r#"{"type":"close"}"#).await;
    publisher.rest().await;
    let (mut seqs, mut n_lost) = (vec![1], 0);
    let closed = loop {
        let (all, news) = events(&mut follow).await;
        seqs.extend(all.iter().filter_map(|m| m.seq));
        match news {
            News::Lost { .. } => n_lost += 1,
            news => break news,
        }
    };
    assert!(n_lost >= 1, "it noticed");
    let last = server.hub.get("talk").unwrap().channel().last_seq();
    assert_eq!(seqs, (1..=last).collect::<Vec<_>>());
    assert_eq!(closed, News::Closed { code: 1000, reason: None });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_of_all_waits_for_the_server_to_come_back() {
    let server = serve().await;
    let addr = server.addr;
    let mut follow = Follow::connect(address(addr), "*", None).await.unwrap();
    server.shut_down().await;
    let (_, lost) = events(&mut follow).await;
    assert!(matches!(&lost, News::Lost { reason, .. } if reason == "the server shuts down"), "{lost:?}");
    let server = serve_at(&addr.to_string(), HubParams::default(), Limits::default()).await;
    let mut publisher = server.publisher("again").await;
    publisher.audio(script(&[(0.1, 3)])).await;
    loop {
        match follow.next().await {
            News::Message(message, _) => {
                assert_eq!(message.session.as_deref(), Some("again"));
                break;
            }
            News::Back | News::Lost { .. } => {}
            news => panic!("{news:?}"),
        }
    }
    publisher.send(r#"{"type":"close"}"#).await;
    publisher.rest().await;
    assert_eq!(server.hub.get("again").unwrap().channel().ended(), Some(EndReason::Closed));
    follow.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_not_there_ends_the_following() {
    let server = serve().await;
    let mut follow = Follow::connect(address(server.addr), "nobody", None).await.unwrap();
    let (_, closed) = events(&mut follow).await;
    let News::Closed { code: 4404, reason: Some(reason) } = closed else { panic!("{closed:?}") };
    assert!(reason.contains("\"nobody\""), "{reason}");
}
