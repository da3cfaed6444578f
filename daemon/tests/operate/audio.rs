//! Kept audio: listened to, refused, deleted, and what is left of it when the process is killed or the disk is full.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use diarized::audio_file::{MonoFile, Opening};
use diarized::protocol::ServerMessage;
use diarized::protocol::server_message::{Body, EndReason};
use diarized_dsp::ChannelSelect;

use super::common::{clean, run};
use super::disk::metric;
use super::server::{PATIENCE, Server};
use super::{replay, stream};

const RATE: usize = 16_000;

/// The store in a folder, and the folder of its audio.
fn places(folder: &Path) -> (String, PathBuf) {
    let store = folder.join("sessions.sqlite");
    (format!("storage.path={}", store.display()), folder.join("sessions.sqlite-audio"))
}

fn keeping(path: &str) -> Server {
    Server::start(&["--set", path, "--set", "storage.audio=opus"])
}

fn decoded(bytes: Vec<u8>) -> Vec<f32> {
    let file = Opening::default().memory("kept audio", bytes).unwrap();
    let mut mono = MonoFile::new(file, ChannelSelect::Mix).unwrap();
    let mut samples = Vec::new();
    while mono.read(&mut samples).unwrap() {}
    samples
}

/// Status, header and body of a request with further lines in its header.
fn raw_request(server: &Server, method: &str, path: &str, lines: &str) -> (u16, String, Vec<u8>) {
    let mut tcp = TcpStream::connect(server.addr).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    let host = server.addr;
    write!(tcp, "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{lines}\r\n").unwrap();
    let mut answer = Vec::new();
    tcp.read_to_end(&mut answer).unwrap();
    let n_head = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..n_head].to_vec()).unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head, answer[n_head + 4..].to_vec())
}

/// The audio of a session that has ended: the whole of it, at once.
fn audio_of(server: &Server, id: &str, at_least_s: usize) -> Vec<u8> {
    let (status, head, body) = raw_request(server, "GET", &format!("/v1/sessions/{id}/audio"), "");
    assert!(status == 200 && head.contains("audio/ogg"), "{head}");
    assert!(decoded(body.clone()).len() >= at_least_s * RATE, "{} bytes", body.len());
    body
}

#[test]
fn audio_is_kept_in_parts_refused_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let (path, audio) = places(folder.path());
    let server = keeping(&path);
    let (code, json, _) = run(&mut stream(&server.url, &["--speed", "max", "--session", "talk"]));
    assert_eq!(code, 0);
    let length_s = replay(&json).0.segments().map(|s| s.range.end().seconds()).fold(0.0, f64::max);
    let whole = audio_of(&server, "talk", length_s as usize);
    let (_, snapshot) = server.http("GET", "/v1/sessions/talk");
    assert!(snapshot.contains("\"audio_kept\":true"), "{snapshot}");

    let ask = |query: &str, lines: &str| {
        let (status, head, body) =
            raw_request(&server, "GET", &format!("/v1/sessions/talk/audio{query}"), lines);
        (status, head.to_lowercase(), body)
    };
    let (status, head, body) = ask("", "Range: bytes=100-299\r\n");
    assert_eq!((status, body.as_slice()), (206, &whole[100..300]));
    assert!(head.contains(&format!("content-range: bytes 100-299/{}", whole.len())), "{head}");
    let (status, head, _) = ask("", &format!("Range: bytes={}-\r\n", whole.len()));
    assert!(status == 416 && head.contains(&format!("content-range: bytes */{}", whole.len())), "{head}");
    assert_eq!(ask("", "Range: bytes=0-9\r\nIf-Range: \"x\"\r\n").0, 200);
    let (status, head, body) = raw_request(&server, "HEAD", "/v1/sessions/talk/audio", "");
    assert!(status == 200 && body.is_empty() && head.contains(&whole.len().to_string()), "{head}");
    let (status, _, part) = ask("?start=0&end=2.5", "");
    assert!(status == 200 && decoded(part).len().abs_diff(5 * RATE / 2) < 100);
    for (query, expected, said) in [
        ("?start=100000", 416, "ends at"),
        ("?start=1e9", 416, "ends at"),
        ("?start=2&end=2", 400, "must be after start"),
        ("?start=-1", 400, "must be after start"),
        ("?end=4000", 400, "at most 3600 s apart"),
        ("?start=NaN", 400, "not a number in range"),
        ("?start=3&end=2", 400, "must be after start"),
        ("?start=x", 400, "start"),
        ("?from=1", 400, "expected start, end"),
    ] {
        let (status, _, body) = ask(query, "");
        let body = String::from_utf8(body).unwrap();
        assert!(status == expected && body.contains(said), "{query}: {status} {body}");
    }

    // A client that refuses, and one that does not exist.
    let (code, ..) =
        run(&mut stream(&server.url, &["--speed", "max", "--session", "off", "--no-keep-audio"]));
    assert_eq!(code, 0);
    let (status, body) = server.http("GET", "/v1/sessions/off/audio");
    assert!(status == 404 && body.contains("no audio"), "{body}");
    assert!(!server.http("GET", "/v1/sessions/off").1.contains("audio_kept"));
    assert_eq!(server.http("GET", "/v1/sessions/nobody/audio").0, 404);
    assert_eq!(metric(&server, "diarized_storage_audio_bytes"), whole.len() as f64);

    // The audio goes with its session.
    let file = audio.join("talk.opus");
    assert!(file.exists());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(server.http("DELETE", "/v1/sessions/talk").0, 204);
    assert!(!file.exists());
    assert_eq!(server.http("GET", "/v1/sessions/talk/audio").0, 404);
}

#[test]
fn a_killed_server_loses_the_last_moments_of_audio_only() {
    let folder = tempfile::tempdir().unwrap();
    let (path, audio) = places(folder.path());
    let server = keeping(&path);
    let mut publisher = stream(&server.url, &["--speed", "1", "--session", "talk"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut heard: Vec<(Instant, f64)> = Vec::new();
    for line in BufReader::new(publisher.stdout.take().unwrap()).lines() {
        let message = ServerMessage::parse(&line.unwrap()).unwrap();
        heard.extend(message.at.map(|at| (Instant::now(), at.0)));
        if heard.last().is_some_and(|(_, at)| *at > 9.0) {
            break;
        }
    }
    server.signal("KILL");
    let killed_at = Instant::now();
    assert_eq!(server.wait(), None);
    publisher.kill().unwrap();
    publisher.wait().unwrap();

    let left = std::fs::read(audio.join("talk.opus")).unwrap();
    let server = keeping(&path);
    let (status, _, body) = raw_request(&server, "GET", "/v1/sessions/talk/audio", "");
    assert_eq!((status, body.len()), (200, left.len()));
    let kept_s = decoded(body).len() as f64 / RATE as f64;
    // Half a second by design; a busy machine may be late by more than that.
    let old_s = heard.iter().filter(|(at, _)| killed_at - *at > Duration::from_secs(3)).map(|(_, at)| *at);
    let old_s = old_s.fold(0.0, f64::max);
    assert!(old_s > 3.0 && kept_s >= old_s, "{kept_s} s of {old_s} s");
    // What has no session is not kept.
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    std::fs::write(audio.join("stranger.opus"), "x").unwrap();
    let server = keeping(&path);
    server.wait_for_log("audio of sessions that are not kept was deleted");
    assert!(!audio.join("stranger.opus").exists() && audio.join("talk.opus").exists());
}

#[test]
fn labels_go_on_when_there_is_no_room_for_audio() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _) = places(folder.path());
    // No file may grow above 100 kB: the store has room for labels, the audio for half a minute.
    let mut command = clean("sh");
    command.args(["-c", "ulimit -f 200; trap '' XFSZ; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_diarized")]);
    command.args(["serve", "--listen", "127.0.0.1:0", "--set", &path, "--set", "storage.audio=opus"]);
    let server = Server::run(command);
    let (code, json, stderr) = run(&mut stream(&server.url, &["--speed", "20", "--session", "talk"]));
    assert_eq!(code, 0, "{stderr}");
    let (state, ended) = replay(&json);
    assert!(state.segments().len() > 5 && ended == Some(EndReason::Closed));
    let warnings = json.lines().filter(|line| {
        matches!(ServerMessage::parse(line).unwrap().body, Body::Warning(warning) if warning.code == "audio_failed")
    });
    assert_eq!(warnings.count(), 1, "{}", server.log());
    server.wait_for_log("the audio of a session is not kept");
    assert!(metric(&server, "diarized_storage_audio_errors_total") >= 1.0);
    let (status, _, body) = raw_request(&server, "GET", "/v1/sessions/talk/audio", "");
    assert!(status == 200 && decoded(body).len() > 20 * RATE, "what was written before is there");
}

#[test]
fn a_session_whose_audio_cannot_be_deleted_stays() {
    let folder = tempfile::tempdir().unwrap();
    let (path, audio) = places(folder.path());
    let server = keeping(&path);
    let (code, ..) = run(&mut stream(&server.url, &["--speed", "max", "--session", "talk"]));
    assert_eq!(code, 0);
    audio_of(&server, "talk", 20);
    // A folder in its place: not even root deletes that as a file.
    let file = audio.join("talk.opus");
    std::fs::rename(&file, folder.path().join("aside")).unwrap();
    std::fs::create_dir(&file).unwrap();
    let (status, body) = server.http("DELETE", "/v1/sessions/talk");
    assert!(status == 500 && body.contains("cannot be deleted now, so nothing of it was"), "{status} {body}");
    server.wait_for_log("make the folder writable and delete it again");
    assert_eq!(server.http("GET", "/v1/sessions/talk.rttm").0, 200);

    std::fs::remove_dir(&file).unwrap();
    std::fs::rename(folder.path().join("aside"), &file).unwrap();
    assert_eq!(server.http("DELETE", "/v1/sessions/talk").0, 204);
    assert!(!file.exists());
    assert_eq!(server.http("GET", "/v1/sessions/talk").0, 404);
}
