//! Sources with the real ffmpeg: a file, a pipe, HTTP, UDP, an RTSP server where there is one; interruptions and faults.

mod common;

use std::io::{BufReader, Read as _, Write as _};
use std::net::{TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use diarized::protocol::ServerMessage;
use diarized::protocol::server_message::{Body, Snapshot};

use common::{address_of_ready, conversation, diarized, request, run};

/// Longer than anything here takes on a busy machine: what waits this long hangs.
const PATIENCE: Duration = Duration::from_secs(90);

/// A process that is killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Server {
    _process: Running,
    addr: String,
}

impl Server {
    fn start(sources: &[String], settings: &[&str]) -> Self {
        let mut args = vec!["serve", "--listen", "127.0.0.1:0"];
        sources.iter().for_each(|source| args.extend(["--source", source]));
        settings.iter().for_each(|setting| args.extend(["--set", setting]));
        let mut child = diarized(&args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let addr = address_of_ready(BufReader::new(child.stdout.take().unwrap()));
        Self { _process: Running(child), addr }
    }

    fn snapshot(&self, session: &str) -> Option<Snapshot> {
        let (status, body) = request(&self.addr, "GET", &format!("/v1/sessions/{session}"), "");
        if status != 200 {
            return None;
        }
        match ServerMessage::parse(&body).unwrap().body {
            Body::Snapshot(snapshot) => Some(snapshot),
            other => panic!("{other:?}"),
        }
    }

    /// Waits until `look` accepts the session.
    fn until(&self, session: &str, look: impl Fn(&Snapshot) -> bool) -> Snapshot {
        let began = Instant::now();
        loop {
            if let Some(snapshot) = self.snapshot(session).filter(&look) {
                return snapshot;
            }
            assert!(began.elapsed() < PATIENCE, "{session}: {:?}", self.snapshot(session));
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

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

#[test]
fn a_stream_that_breaks_off_goes_on_behind_a_gap() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let wav = encoded(folder.path(), "talk.wav", "5");
    // A radio station that breaks off after each five seconds of audio.
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
    let server = Server::start(&[format!("radio=http://{address}/live")], &[]);
    let heard = server
        .until("radio", |s| !s.gaps.is_empty() && s.segments.iter().any(|seg| seg.start > s.gaps[0].end));
    assert_eq!(heard.gaps[0].reason, "disconnected");
    assert!((3.0..8.0).contains(&heard.gaps[0].start.0), "{:?}", heard.gaps);
    assert!(heard.live);
}

#[test]
fn audio_over_udp_is_labelled() {
    if !has_ffmpeg() {
        return;
    }
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("udp://127.0.0.1:{port}");
    let server = Server::start(&[format!("udp={url}")], &[]);
    let mut sender = Command::new("ffmpeg");
    sender.args(["-loglevel", "error", "-re", "-i", conversation().to_str().unwrap(), "-t", "25"]);
    sender.args(["-c:a", "mp2", "-ar", "48000", "-f", "mpegts", &format!("{url}?pkt_size=1316")]);
    let _sender = Running(sender.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    server.until("udp", |s| s.segments.len() >= 2);
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
    let (code, _, stderr) = run(&mut diarized(&["serve", "--source", "rtsp://a"]));
    assert_ne!(code, 0);
    assert!(stderr.contains("NAME=URL"), "{stderr}");
}

/// An RTSP server of GStreamer: port, file, and the coder with its packets.
const RTSP_SERVER: &str = r#"
import sys
import gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer
Gst.init(None)
port, path, coder = sys.argv[1:]
server = GstRtspServer.RTSPServer(service=port, address="127.0.0.1")
factory = GstRtspServer.RTSPMediaFactory(shared=True)
factory.set_launch(f"( filesrc location={path} ! decodebin ! audioconvert ! audioresample ! {coder} name=pay0 )")
server.get_mount_points().add_factory("/talk", factory)
server.attach(None)
print("ready", flush=True)
GLib.MainLoop().run()
"#;

/// Starts it; nothing where it is not installed.
fn rtsp(port: u16, coder: &str) -> Option<Running> {
    let port = port.to_string();
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", RTSP_SERVER, &port, conversation().to_str().unwrap(), coder]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().ok()?;
    let mut running = Running(child);
    let mut line = String::new();
    std::io::BufRead::read_line(&mut BufReader::new(running.0.stdout.take()?), &mut line).ok()?;
    (line.trim() == "ready").then_some(running)
}

#[test]
fn a_camera_that_comes_back_with_another_coder_goes_on() {
    if !has_ffmpeg() {
        return;
    }
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let Some(camera) = rtsp(port, "alawenc ! rtppcmapay pt=8") else {
        println!(
            "not run: RTSP, because its server is not installed (apt-get install gir1.2-gst-rtsp-server-1.0)"
        );
        return;
    };
    let server = Server::start(&[format!("door=rtsp://127.0.0.1:{port}/talk")], &[]);
    server.until("door", |s| !s.segments.is_empty());
    drop(camera);
    let _camera = rtsp(port, "audio/x-raw,rate=48000 ! opusenc ! rtpopuspay pt=97").unwrap();
    let heard = server
        .until("door", |s| !s.gaps.is_empty() && s.segments.iter().any(|seg| seg.start > s.gaps[0].end));
    assert_eq!((heard.gaps.len(), heard.gaps[0].reason.as_str(), heard.live), (1, "disconnected", true));
}
