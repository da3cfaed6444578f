//! Live sources that go away and come back, and the process that goes away with its children.

use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use diarized::protocol::ServerMessage;
use diarized::protocol::server_message::Body;
use tokio_tungstenite::tungstenite::{self, Message};

use crate::common::conversation;
use crate::has_ffmpeg;
use crate::server::{PATIENCE, Running, Server};

/// How far the clock of a session is behind that of the machine, up to a constant: both at the next `stats`.
fn behind_s(server: &Server, session: &str, began: Instant) -> f64 {
    let url = format!("ws://{}/v1/events?session={session}", server.addr);
    let tcp = TcpStream::connect(&server.addr).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    let (mut socket, _) = tungstenite::client(url, tcp).unwrap();
    let mut n_stats = 0;
    loop {
        if let Message::Text(text) = socket.read().unwrap()
            && let Body::Stats(stats) = ServerMessage::parse(&text).unwrap().body
        {
            n_stats += 1;
            // The first one may be from before.
            if n_stats == 2 {
                return began.elapsed().as_secs_f64() - stats.heard_s.0 - stats.lag_s.0;
            }
        }
    }
}

/// Sends the conversation as MPEG-TS.
fn sender(url: &str) -> Running {
    let mut sender = Command::new("ffmpeg");
    sender.args(["-loglevel", "error", "-re", "-i", conversation().to_str().unwrap()]);
    sender.args(["-c:a", "mp2", "-ar", "48000", "-f", "mpegts", &format!("{url}?pkt_size=1316")]);
    Running(sender.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

fn free_udp() -> String {
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    format!("udp://127.0.0.1:{port}")
}

#[test]
fn labels_behind_a_stall_of_a_stream_carry_the_true_time() {
    if !has_ffmpeg() {
        return;
    }
    let (url, began) = (free_udp(), Instant::now());
    let server = Server::start(&[format!("udp={url}")], &[]);
    let first = sender(&url);
    server.until("udp", |s| !s.segments.is_empty());
    let before = behind_s(&server, "udp", began);
    assert_eq!(server.metric("source_up{source=\"udp\"}"), 1.0);
    drop(first);
    // Shorter than sources.stall_s: the source stays open, and the second sender's times begin again.
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(server.metric("source_up{source=\"udp\"}"), 0.0);
    let _second = sender(&url);
    let heard = server.until("udp", |s| s.gaps.iter().any(|gap| gap.end.0 - gap.start.0 > 4.0));
    let after = behind_s(&server, "udp", began);
    println!("{before:.2} s behind before, {after:.2} s after {:?}", heard.gaps);
    assert!((before - after).abs() < 1.0, "{before} {after} {:?}", heard.gaps);
    assert_eq!(server.metric("source_failures_total{source=\"udp\"}"), 0.0);
    let gap_end = heard.gaps[0].end;
    server.until("udp", |s| s.segments.iter().any(|seg| seg.start > gap_end));
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
    BufReader::new(running.0.stdout.take()?).read_line(&mut line).ok()?;
    if line.trim() != "ready" {
        println!(
            "not run: RTSP, because its server is not installed (apt-get install gir1.2-gst-rtsp-server-1.0)"
        );
        return None;
    }
    Some(running)
}

#[test]
fn a_camera_that_comes_back_with_another_coder_goes_on() {
    if !has_ffmpeg() {
        return;
    }
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let Some(camera) = rtsp(port, "alawenc ! rtppcmapay pt=8") else { return };
    let server = Server::start(&[format!("door=rtsp://127.0.0.1:{port}/talk")], &[]);
    server.until("door", |s| !s.segments.is_empty());
    drop(camera);
    let _camera = rtsp(port, "audio/x-raw,rate=48000 ! opusenc ! rtpopuspay pt=97").unwrap();
    let heard = server
        .until("door", |s| !s.gaps.is_empty() && s.segments.iter().any(|seg| seg.start > s.gaps[0].end));
    assert_eq!((heard.gaps.len(), heard.gaps[0].reason.as_str(), heard.live), (1, "disconnected", true));
}

#[test]
fn labels_of_a_camera_that_was_away_carry_the_true_time() {
    if !has_ffmpeg() {
        return;
    }
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let Some(camera) = rtsp(port, "alawenc ! rtppcmapay pt=8") else { return };
    let began = Instant::now();
    let server = Server::start(&[format!("door=rtsp://127.0.0.1:{port}/talk")], &[]);
    server.until("door", |s| !s.segments.is_empty());
    let before = behind_s(&server, "door", began);
    drop(camera);
    std::thread::sleep(Duration::from_secs(5));
    let _camera = rtsp(port, "alawenc ! rtppcmapay pt=8").unwrap();
    let heard = server
        .until("door", |s| !s.gaps.is_empty() && s.segments.iter().any(|seg| seg.start > s.gaps[0].end));
    let after = behind_s(&server, "door", began);
    println!("{before:.2} s behind before, {after:.2} s after {:?}", heard.gaps);
    assert!((before - after).abs() < 1.0, "{before} {after} {:?}", heard.gaps);
    assert!(heard.gaps[0].end.0 - heard.gaps[0].start.0 > 4.0, "{:?}", heard.gaps);
    assert!(server.metric("source_failures_total{source=\"door\"}") >= 1.0);
}

/// Processes whose command line has this text and begins with ffmpeg.
fn children(text: &str) -> Vec<PathBuf> {
    let is_it = |path: &PathBuf| {
        let line = std::fs::read(path.join("cmdline")).unwrap_or_default();
        line.starts_with(b"ffmpeg") && String::from_utf8_lossy(&line).contains(text)
    };
    std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path()).filter(is_it).collect()
}

#[cfg(target_os = "linux")]
#[test]
fn a_child_ends_with_a_daemon_that_is_killed() {
    if !has_ffmpeg() {
        return;
    }
    // Nobody sends anything, so that the child never writes into its pipe.
    let url = free_udp();
    let server = Server::start(&[format!("silent={url}")], &["sources.stall_s=600"]);
    let began = Instant::now();
    while children(&url).is_empty() {
        assert!(began.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(20));
    }
    server.kill();
    let began = Instant::now();
    while !children(&url).is_empty() {
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", children(&url));
        std::thread::sleep(Duration::from_millis(20));
    }
}
