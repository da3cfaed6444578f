//! Sources with the real ffmpeg: a file, a pipe, standard input, HTTP, UDP, devices of a PulseAudio server, an RTSP server where
//! there is one; interruptions and faults.

#[path = "../common/mod.rs"]
mod common;
mod devices;
mod interruptions;
#[path = "../microphone/pulse.rs"]
mod pulse;
mod restart;
mod server;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{conversation, diarized, request, run};
use server::Server;

fn has_ffmpeg() -> bool {
    let ran = Command::new("ffmpeg").arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let is_there = ran.is_ok_and(|status| status.success());
    if !is_there {
        println!("not run: sources, because ffmpeg is not installed");
    }
    is_there
}

/// The first seconds of the conversation as a file of another kind.
fn encoded(folder: &Path, name: &str, seconds: &str) -> String {
    let path = folder.join(name).display().to_string();
    let status = Command::new("ffmpeg")
        .args([
            "-loglevel",
            "error",
            "-i",
            conversation().to_str().unwrap(),
            "-t",
            seconds,
            "-ar",
            "44100",
            &path,
        ])
        .status()
        .unwrap();
    assert!(status.success());
    path
}

#[test]
fn a_file_a_pipe_and_raw_audio_are_labelled_to_their_end() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = encoded(folder.path(), "talk.mp3", "6");
    let wav = encoded(folder.path(), "talk.wav", "6");
    let pipe = folder.path().join("pipe").display().to_string();
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let raw = folder.path().join("talk.pcm").display().to_string();
    let samples = common::speech(Some(6));
    let bytes: Vec<u8> = samples.iter().flat_map(|s| ((s * 32_767.0) as i16).to_le_bytes()).collect();
    std::fs::write(&raw, bytes).unwrap();
    let sources = [format!("file={file}"), format!("pipe={pipe}"), format!("raw=pcm:{raw}")];
    let server = Server::start(&sources, &[]);
    let writer = std::thread::spawn(move || {
        let mut out = std::fs::OpenOptions::new().write(true).open(pipe).unwrap();
        out.write_all(&std::fs::read(wav).unwrap()).unwrap();
    });
    for session in ["file", "pipe", "raw"] {
        let ended = server.until(session, |s| !s.live);
        let end = ended.segments.iter().map(|segment| segment.end.0).fold(0.0, f64::max);
        assert!(ended.segments.len() <= 3 && (4.0..6.5).contains(&end), "{session}: {:?}", ended.segments);
    }
    writer.join().unwrap();
    assert_eq!(request(&server.addr, "GET", "/readyz", "").0, 200, "what has ended is well");
}

/// Address of a radio station that breaks off after each five seconds of audio.
fn radio(folder: &Path) -> String {
    let wav = encoded(folder, "radio.wav", "5");
    let radio = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = radio.local_addr().unwrap();
    std::thread::spawn(move || {
        for tcp in radio.incoming() {
            let Ok(mut tcp) = tcp else { return };
            let _ = tcp.read(&mut [0; 4096]);
            let _ = tcp.write_all(b"HTTP/1.0 200 OK\r\nContent-Type: audio/wav\r\n\r\n");
            for block in std::fs::read(&wav).unwrap().chunks(44_100) {
                if tcp.write_all(block).is_err() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(500));
            }
            std::thread::sleep(Duration::from_secs(1));
        }
    });
    format!("http://{address}/live")
}

#[test]
fn a_stream_that_breaks_off_goes_on_behind_a_gap() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&[format!("radio={}", radio(folder.path()))], &[]);
    let heard = server
        .until("radio", |s| !s.gaps.is_empty() && s.segments.iter().any(|seg| seg.start > s.gaps[0].end));
    assert_eq!(heard.gaps[0].reason, "disconnected");
    assert!((3.0..8.0).contains(&heard.gaps[0].start.0), "{:?}", heard.gaps);
    assert!(heard.live);
}

/// Address of a folder that is served over HTTP.
fn web(folder: &Path) -> String {
    let web = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, folder) = (web.local_addr().unwrap(), folder.to_owned());
    std::thread::spawn(move || {
        for tcp in web.incoming() {
            let Ok(mut tcp) = tcp else { return };
            let mut head = [0; 4096];
            let n = tcp.read(&mut head).unwrap_or_default();
            let head = String::from_utf8_lossy(&head[..n]).into_owned();
            let name = head.split(' ').nth(1).unwrap_or_default().trim_start_matches('/');
            let body = std::fs::read(folder.join(name)).unwrap_or_default();
            let head = format!("HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            let _ = tcp.write_all(&[head.as_bytes(), &body].concat());
        }
    });
    format!("http://{address}")
}

#[test]
fn a_recording_behind_a_url_is_labelled_once() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    encoded(folder.path(), "list.m3u8", "6");
    encoded(folder.path(), "talk.mp3", "6");
    let (web, file) = (web(folder.path()), folder.path().join("talk.mp3"));
    let sources = [
        format!("hls={web}/list.m3u8"),
        format!("mp3={web}/talk.mp3"),
        format!("file=file://{}", file.display()),
    ];
    let server = Server::start(&sources, &[]);
    for session in ["hls", "mp3", "file"] {
        let ended = server.until(session, |s| !s.live);
        let end = ended.segments.iter().map(|segment| segment.end.0).fold(0.0, f64::max);
        assert!(ended.segments.len() <= 3 && (4.0..6.5).contains(&end), "{session}: {:?}", ended.segments);
    }
}

#[test]
fn standard_input_is_a_source_with_and_without_a_header() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let samples = common::speech(Some(6));
    let raw: Vec<u8> = samples.iter().flat_map(|s| ((s * 32_767.0) as i16).to_le_bytes()).collect();
    let wav = std::fs::read(encoded(folder.path(), "talk.wav", "6")).unwrap();
    // Without a name the address gives it.
    for (source, bytes) in [("-", wav), ("pcm:-", raw)] {
        let (server, mut stdin) = Server::with_stdin(&[source.to_owned()]);
        let writer = std::thread::spawn(move || stdin.write_all(&bytes));
        let ended = server.until("stdin", |s| !s.live);
        let end = ended.segments.iter().map(|segment| segment.end.0).fold(0.0, f64::max);
        assert!((4.0..6.5).contains(&end), "{source}: {:?}", ended.segments);
        writer.join().unwrap().unwrap();
    }
}

#[test]
fn faults_are_reported_at_the_start() {
    let (code, _, stderr) = run(&mut diarized(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--source",
        "a=rtsp://127.0.0.1:9/",
        "--set",
        "sources.ffmpeg=/nowhere/ffmpeg",
    ]));
    assert_ne!(code, 0);
    assert!(stderr.contains("/nowhere/ffmpeg") && stderr.contains("sources.ffmpeg"), "{stderr}");
    let (code, _, stderr) = run(&mut diarized(&["serve", "--source", "a=-x"]));
    assert_ne!(code, 0);
    assert!(stderr.contains("NAME=URL"), "{stderr}");
}
