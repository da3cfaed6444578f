//! Clients that break the protocol, vanish, flood or never read, beside one that does everything right and loses
//! nothing.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use diarized::protocol::server_message::{Body, EndReason};
use diarized::protocol::{ErrorCode, ServerMessage};
use diarized_models::SessionState;

use super::server::{PATIENCE, Server};
use super::wav::{f32s, s16, speech};
use super::{conversation, diarized, run};

/// Plays the example conversation into a session of this name.
fn play(folder: &Path, server: &Server, session: &str, speed: &str) -> Child {
    let url = format!("ws://{}", server.addr);
    let file = conversation();
    let file = file.to_str().unwrap();
    let args = ["stream", file, "--url", &url, "--session", session, "--speed", speed, "--json"];
    diarized(folder, &args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// The labels that a stream got, and how it ended.
fn labels(child: Child) -> (SessionState, EndReason) {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (mut state, mut seq, mut reason) = (SessionState::new(), 0, None);
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let message = ServerMessage::parse(line).unwrap();
        if let Some(got) = message.seq {
            assert_eq!(got, seq + 1, "no event is lost");
            seq = got;
        }
        match &message.body {
            Body::Ended(ended) => reason = Some(ended.reason),
            body => {
                if let Ok(event) = body.to_event() {
                    state.apply(&event).unwrap();
                }
            }
        }
    }
    (state, reason.unwrap())
}

/// The session as the server shows it, once it is no longer live.
fn ended(server: &Server, session: &str) -> String {
    let began = Instant::now();
    loop {
        let answer = server.get(&format!("/v1/sessions/{session}"));
        if answer.contains("\"live\":false") {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "{session} does not end: {answer}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn whatever_clients_do_the_server_lives_on_and_a_good_session_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(
        folder.path(),
        &["--set", "server.max_sessions=40", "--set", "server.resume_grace_s=1"],
    );
    let alone = labels(play(folder.path(), &server, "alone", "max"));
    assert!(alone.0.speakers().len() > 1);

    // Slow enough to outlast everything below on a busy machine.
    let good = play(folder.path(), &server, "good", "2");
    while !server.get("/v1/sessions/good").contains("\"live\":true") {
        std::thread::sleep(Duration::from_millis(20));
    }
    let deaf: Vec<_> = (0..5).map(|_| server.ws("/v1/events?session=good")).collect();
    break_the_protocol(&server);
    vanish_in_the_middle(&server);
    send_strange_audio(&server);
    speak_no_http(&server);
    come_all_at_once(&server);
    assert!(server.get("/v1/sessions/good").contains("\"live\":true"), "all of it was beside a live session");
    assert_eq!(labels(good), alone);
    drop(deaf);

    assert!(server.get("/healthz").starts_with("HTTP/1.1 200"));
    assert_eq!(labels(play(folder.path(), &server, "after", "max")), alone);
    let (code, log) = server.stop();
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("panicked") && !log.contains("ERROR"), "{log}");
}

fn break_the_protocol(server: &Server) {
    // Text where audio belongs and messages that nobody knows: reported, and the session goes on.
    let mut client = server.ws("/v1/stream?session=breaker");
    client.until("started");
    for (text, code) in [
        ("RIFF\u{24}\u{0}WAVEfmt ", ErrorCode::BadMessage),
        ("", ErrorCode::BadMessage),
        (r#"{"type":"stop"}"#, ErrorCode::UnknownType),
        (r#"{"type":"close","now":true}"#, ErrorCode::UnknownField),
        (r#"{"type":"gap","duration_s":1e300}"#, ErrorCode::BadMessage),
        (&"[".repeat(100_000), ErrorCode::BadMessage),
    ] {
        client.text(text);
        let error = client.error();
        assert_eq!((error.code, error.fatal), (code, false), "{text:.40}");
    }
    client.binary(s16(&speech(1)));
    client.binary(vec![0; 3]);
    let (all, code) = client.rest();
    let fatal = all.iter().find_map(|m| match &m.body {
        Body::Error(error) => Some((error.code, error.reason.clone())),
        _ => None,
    });
    let (error, reason) = fatal.unwrap();
    assert_eq!((error, code), (ErrorCode::BadFrame, Some(4400)));
    assert!(reason.contains("3 bytes is not a whole number of samples"), "{reason}");

    // Audio where text belongs.
    let mut client = server.ws("/v1/events?session=good");
    client.binary(vec![0; 100]);
    let error = client.error();
    assert_eq!((error.code, error.fatal), (ErrorCode::NotHere, true));
    assert_eq!(client.rest().1, Some(4400));

    for (path, code, words) in [
        ("/v1/stream?sample_rate=1", ErrorCode::BadAudioFormat, "between 8000 and 48000"),
        ("/v1/stream?sample_rate=10000000", ErrorCode::BadAudioFormat, "between 8000 and 48000"),
        ("/v1/stream?session=good", ErrorCode::Conflict, "good"),
        ("/v1/stream?expected_speakers=9&max_speakers=2", ErrorCode::BadMessage, "at most speakers.max (2)"),
        ("/v1/events?session=nobody", ErrorCode::NotFound, "nobody"),
    ] {
        let mut client = server.ws(path);
        let error = client.error();
        assert_eq!((error.code, error.fatal), (code, true), "{path}");
        assert!(error.reason.contains(words), "{path}: {}", error.reason);
        assert_eq!(client.rest().1, Some(code.close_code().as_u16()), "{path}");
    }
}

fn vanish_in_the_middle(server: &Server) {
    // A masked binary frame that announces 60 000 bytes and holds 1000.
    let frame = [&[0x82, 0xfe, 0xea, 0x60, 1, 2, 3, 4][..], &[0; 1000]].concat();
    let mut client = server.ws("/v1/stream?session=vanished");
    client.until("started");
    client.binary(s16(&speech(2)));
    client.0.get_mut().write_all(&frame).unwrap();
    drop(client);
    let snapshot = ended(server, "vanished");
    assert!(
        snapshot.contains("\"reason\":\"disconnected\"") && snapshot.contains("\"at\":2.0"),
        "{snapshot}"
    );

    // A text frame that is not UTF-8 can be answered; a frame of a kind that does not exist breaks the connection.
    let mut client = server.ws("/v1/stream?session=no-utf8");
    client.until("started");
    client.0.get_mut().write_all(&[0x81, 0x81, 0, 0, 0, 0, 0xff]).unwrap();
    let error = client.error();
    assert_eq!((error.code, error.reason.contains("UTF-8")), (ErrorCode::BadMessage, true));
    assert_eq!(client.rest().1, Some(4400));
    let mut client = server.ws("/v1/stream?session=no-kind");
    client.until("started");
    client.0.get_mut().write_all(&[0x83, 0x81, 0, 0, 0, 0, 1]).unwrap();
    drop(client.rest());
    assert!(ended(server, "no-kind").contains("\"reason\":\"disconnected\""));
}

fn send_strange_audio(server: &Server) {
    let loud: Vec<f32> = speech(3).iter().map(|s| (s * 100.0).clamp(-1.0, 1.0)).collect();
    let cases = [
        ("nan", f32s(&[f32::NAN; 32_000]), true),
        ("infinite", f32s(&[f32::NEG_INFINITY; 32_000]), true),
        ("beyond", f32s(&[f32::MAX; 32_000]), true),
        ("silent", f32s(&[0.0; 32_000]), false),
        ("clipped", f32s(&loud), false),
    ];
    for (session, bytes, warns) in cases {
        let mut client = server.ws(&format!("/v1/stream?encoding=pcm_f32le&session={session}"));
        bytes.chunks(6400).for_each(|frame| client.binary(frame));
        client.binary(vec![]);
        client.text(r#"{"type":"close"}"#);
        let (all, code) = client.rest();
        let n_warnings = all.iter().filter(|m| m.body.kind() == "warning").count();
        assert_eq!((n_warnings, code), (usize::from(warns), Some(1000)), "{session}");
        let heard_s = all.iter().find_map(|m| match &m.body {
            Body::Ended(ended) => Some(ended.duration_s.0),
            _ => None,
        });
        assert_eq!(heard_s, Some(bytes.len() as f64 / 64_000.0), "{session}");
    }
}

fn speak_no_http(server: &Server) {
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(2_000_000));
    let requests: [&[u8]; 5] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
        b"POST /v1/sessions HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        long.as_bytes(),
    ];
    for request in requests {
        let mut tcp = server.tcp();
        // The server may have hung up before all of it was sent.
        let _ = tcp.write_all(request);
        let _ = tcp.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = tcp.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer:.200}");
    }
    assert!(server.get("/v1/stream").starts_with("HTTP/1.1 426"));
}

fn come_all_at_once(server: &Server) {
    // A hundred that say nothing, sixty that follow, and sixty that want a session, of which thirty-nine fit.
    let silent: Vec<_> = (0..100).map(|_| server.tcp()).collect();
    let followers: Vec<_> = (0..60).map(|_| server.ws("/v1/events?session=good")).collect();
    let mut publishers: Vec<_> = (0..60).map(|_| server.ws("/v1/stream?sample_rate=16000")).collect();
    let mut n_refused = 0;
    publishers.retain_mut(|publisher| match publisher.next() {
        Ok(message) if message.body.kind() == "started" => true,
        Ok(ServerMessage { body: Body::Error(error), .. }) => {
            assert_eq!(error.code, ErrorCode::TooManySessions);
            assert!(error.reason.contains("server.max_sessions"), "{}", error.reason);
            n_refused += 1;
            false
        }
        other => panic!("{other:?}"),
    });
    assert_eq!((publishers.len(), n_refused), (39, 21));
    for mut follower in followers {
        assert_eq!(follower.next().unwrap().body.kind(), "snapshot");
    }
    for mut publisher in publishers {
        publisher.text(r#"{"type":"close"}"#);
        assert_eq!(publisher.rest().1, Some(1000));
    }
    drop(silent);
}

#[test]
fn what_keeps_a_server_from_serving_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let cases: [(&[&str], i32, &[&str]); 4] = [
        (&["serve", "--listen", &addr], 1, &["cannot listen on", "--listen"]),
        (&["serve", "--listen", "nowhere"], 78, &["server.listen", "IP:PORT"]),
        (&["serve", "--config", "absent.toml"], 66, &["absent.toml"]),
        (&["serve", "--set", "server.max_sesions=3"], 78, &["server.max_sesions", "server.max_sessions"]),
    ];
    for (args, expected, words) in cases {
        let (code, stdout, stderr) = run(&mut diarized(folder.path(), args));
        assert_eq!((code, &*stdout), (expected, ""), "{args:?}: {stderr}");
        words.iter().for_each(|words| assert!(stderr.contains(words), "{args:?}: {stderr} lacks {words:?}"));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_machine_without_a_sound_card_is_told_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    // ALSA that knows of no device.
    let silent = |args: &[&str]| run(diarized(folder.path(), args).env("ALSA_CONFIG_PATH", "/dev/null"));
    let (code, stdout, stderr) = silent(&["devices"]);
    assert_eq!((code, &*stderr), (0, ""), "the sound system's own warnings are kept off");
    assert_eq!(stdout, "no capture device: connect a microphone, or start PulseAudio or PipeWire\n");
    for device in ["default", "hw:7"] {
        let (code, stdout, stderr) = silent(&["serve", "--listen", "127.0.0.1:0", "--microphone", device]);
        assert_eq!((code, &*stdout), (1, ""), "{stderr}");
        assert!(stderr.contains("capture device") && stderr.contains(device), "{stderr}");
        assert!(!stderr.contains("ALSA lib"), "{stderr}");
    }
}
