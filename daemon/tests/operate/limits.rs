//! Limits of tokens, as who runs one daemon and who streams to it meet them.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use super::common::{diarized, run, until};
use super::guarded::{add, add_limited, http_as};
use super::server::Server;
use super::{replay, stream};

fn path_of(folder: &Path, name: &str) -> String {
    folder.join(name).to_str().unwrap().to_owned()
}

/// Changes tokens and gives exit code, output and errors.
fn token(args: &[&str], file: &str) -> (i32, String, String) {
    run(diarized(&["token"]).args(args).args(["--file", file]))
}

/// What is known of a token.
fn usage(server: &Server, admin: &str, token: &str) -> Value {
    let (status, body) = http_as(server, admin, "GET", "/v1/usage", "");
    assert_eq!(status, 200, "{body}");
    let usage: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(usage["ends"].as_str().unwrap().len(), "2026-11-30T00:00:00Z".len(), "{body}");
    usage["tokens"].as_array().unwrap().iter().find(|one| one["token"] == token).unwrap().clone()
}

/// Plays the example with this token as fast as it is taken; exit code, messages and errors.
fn play(server: &Server, token: &str, id: &str) -> (i32, String, String) {
    run(stream(&server.url, &["--session", id, "--speed", "max"]).env("DIARIZED_TOKEN", token))
}

fn metric(server: &Server, admin: &str, name: &str) -> String {
    let (_, page) = http_as(server, admin, "GET", "/metrics", "");
    let line = page.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{page}"));
    line.split_once(' ').unwrap().1.to_owned()
}

#[test]
fn limits_are_checked_where_they_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let file = path_of(folder.path(), "tokens");
    for (limit, value) in [
        ("--max-sessions", "0"),
        ("--max-sessions", "-1"),
        ("--audio-s-a-day", "0"),
        ("--audio-s-a-day", "1.5"),
    ] {
        let (code, _, errors) = token(&["add", "ann", "--scope", "publish", limit, value], &file);
        assert!(code == 2 && errors.contains("must be a whole number from 1 to"), "{errors}");
    }
    assert!(!Path::new(&file).exists());
    add_limited(&file, "ann", "publish", &["--max-sessions", "2"]);
    let (code, _, errors) = token(&["limit", "eve", "--max-sessions", "1"], &file);
    assert!(code == 66 && errors.contains("there is no token \"eve\""), "{errors}");
    assert_eq!(token(&["limit", "ann"], &file).0, 2, "what shall change is said");
    assert_eq!(token(&["limit", "ann", "--audio-s-a-day", "3600"], &file).0, 0);
    assert!(token(&["list"], &file).1.trim_end().ends_with("max_sessions=2 audio_s_a_day=3600"));
    assert_eq!(token(&["limit", "ann", "--max-sessions", "none"], &file).0, 0);
    let list = token(&["list"], &file).1;
    assert!(list.trim_end().ends_with(" audio_s_a_day=3600") && !list.contains("max_sessions"), "{list}");

    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("audio_s_a_day=3600", "audio_s_a_day=-3600")).unwrap();
    let (code, _, errors) = token(&["list"], &file);
    assert!(code == 1 && errors.contains("audio_s_a_day (\"-3600\") must be a whole number"), "{errors}");
    let set = format!("server.token_file={file}");
    let (code, _, errors) = run(&mut diarized(&["serve", "--listen", "127.0.0.1:0", "--set", &set]));
    assert!(code == 78 && errors.contains("tokens:3") && errors.contains("audio_s_a_day"), "{errors}");
}

#[test]
fn a_day_of_audio_ends_sessions_in_good_order_and_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let file = path_of(folder.path(), "tokens");
    // The example conversation has more than 60 s.
    let ann = add_limited(&file, "ann", "publish,subscribe", &["--audio-s-a-day", "40"]);
    let admin = add(&file, "root", "admin");
    let (tokens, store) = (format!("server.token_file={file}"), path_of(folder.path(), "kept.sqlite"));
    let args = ["--set", &tokens, "--set", &format!("storage.path={store}")];
    let server = Server::start(&args);
    assert_eq!(http_as(&server, &ann, "GET", "/v1/usage", "").0, 403);
    let (code, heard, errors) = play(&server, &ann, "first");
    assert_eq!(code, 1);
    assert!(errors.contains("quota_exceeded"), "{errors}");
    let (state, reason) = replay(&heard);
    assert_eq!(reason.unwrap().as_str(), "quota_exceeded");
    assert!(state.segments().len() > 2, "its labels are kept");
    assert!(heard.contains("\"quota_exceeded\"") && heard.contains("its limit audio_s_a_day"), "{heard}");
    let (status, snapshot) = http_as(&server, &ann, "GET", "/v1/sessions/first", "");
    assert!(status == 200 && snapshot.contains("\"reason\":\"quota_exceeded\""), "{snapshot}");
    let at = serde_json::from_str::<Value>(&snapshot).unwrap()["at"].as_f64().unwrap();
    let used = usage(&server, &admin, "ann");
    assert!(
        at >= 40.0 && (used["audio_s"].as_f64().unwrap() - at).abs() < 0.3,
        "{used} {at}: all that was taken is labelled"
    );
    assert_eq!((&used["audio_s_a_day"], &used["sessions"]), (&40.into(), &0.into()));

    // The client does not try again, now or after a restart.
    let mut running = Some(server);
    for _ in 0..2 {
        let server = running.take().unwrap_or_else(|| Server::start(&args));
        let (code, heard, errors) = play(&server, &ann, "second");
        assert!(code == 1 && heard.contains("\"quota_exceeded\""), "{code} {heard} {errors}");
        assert!(
            errors.contains("the token \"ann\" has used its 40 s of audio") && errors.contains("T00:00:00Z"),
            "{errors}"
        );
        assert!(!errors.contains("trying again"), "{errors}");
        assert_eq!(metric(&server, &admin, "diarized_quota_refused_total"), "1");
        let now = usage(&server, &admin, "ann")["audio_s"].as_f64().unwrap();
        assert!((now - at).abs() < 0.3, "{now} {at}: a frame at the end may be counted and not labelled");
        server.signal("TERM");
        assert_eq!(server.wait(), Some(0));
    }
    let server = Server::start(&args);
    assert_eq!(token(&["limit", "ann", "--audio-s-a-day", "none"], &file).0, 0);
    server.signal("HUP");
    until("the new limit", || usage(&server, &admin, "ann")["audio_s_a_day"].is_null().then_some(()));
    assert_eq!(play(&server, &ann, "third").0, 0);
}

#[test]
fn sessions_at_once_are_counted_for_every_protocol() {
    let folder = tempfile::tempdir().unwrap();
    let file = path_of(folder.path(), "tokens");
    let ann = add_limited(&file, "ann", "publish", &["--max-sessions", "1"]);
    let admin = add(&file, "root", "admin");
    let server = Server::start(&["--set", &format!("server.token_file={file}")]);
    // Deepgram's protocol opens a session with the upgrade, and refuses it there.
    let listen = |key: &str| {
        let mut tcp = TcpStream::connect(server.addr).unwrap();
        let query = "encoding=linear16&sample_rate=16000";
        let request = format!(
            "GET /v1/listen?{query} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\nAuthorization: Token {ann}\r\n\r\n",
            server.addr
        );
        tcp.write_all(request.as_bytes()).unwrap();
        let mut answer = vec![0; 4096];
        let n = tcp.read(&mut answer).unwrap();
        (tcp, String::from_utf8_lossy(&answer[..n]).into_owned())
    };
    let (held, answer) = listen("dGhlIHNhbXBsZSBub25jZQ==");
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    let (_, answer) = listen("dGhlIHNhbXBsZSBub25jZQ==");
    assert!(
        answer.starts_with("HTTP/1.1 429") && answer.to_lowercase().contains("retry-after: 60"),
        "{answer}"
    );
    assert!(answer.contains("its limit max_sessions"), "{answer}");
    let (code, _, errors) = play(&server, &ann, "second");
    assert!(code == 1 && errors.contains("runs 1 sessions of 1 (its limit max_sessions)"), "{errors}");
    assert_eq!(usage(&server, &admin, "ann")["sessions"], 1);
    drop(held);
    until("its end", || (usage(&server, &admin, "ann")["sessions"] == 0).then_some(()));
    assert_eq!(play(&server, &ann, "third").0, 0);
    assert_eq!(metric(&server, &admin, "diarized_quota_refused_total"), "2");
}

#[test]
fn a_session_counts_for_who_opened_it_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let file = path_of(folder.path(), "tokens");
    let ann = add_limited(&file, "ann", "publish", &["--max-sessions", "1"]);
    let admin = add(&file, "root", "admin");
    let (tokens, store) = (format!("server.token_file={file}"), path_of(folder.path(), "kept.sqlite"));
    let args = ["--set", &tokens, "--set", &format!("storage.path={store}")];
    let server = Server::start(&args);
    let mut streaming = stream(&server.url, &["--session", "long"]);
    let mut client =
        streaming.env("DIARIZED_TOKEN", &ann).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until("its session", || (usage(&server, &admin, "ann")["sessions"] == 1).then_some(()));
    until("its row", || {
        http_as(&server, &admin, "GET", "/v1/sessions", "").1.contains("\"segments\":1").then_some(())
    });
    // The client goes first: nobody takes the session up again.
    client.kill().unwrap();
    client.wait().unwrap();
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    let server = Server::start(&args);
    assert_eq!(usage(&server, &admin, "ann")["sessions"], 1, "it waits for its publisher");
    assert!(usage(&server, &admin, "ann")["audio_s"].as_f64().unwrap() > 1.0);
    let (code, _, errors) = play(&server, &ann, "next");
    assert_eq!(code, 0, "it gives way to the next one of its token: {errors}");
}
