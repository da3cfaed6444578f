//! A restart of the daemon while sources are read: the session of a live one goes on, that of a file ends.

use std::time::Duration;

use crate::common::request;
use crate::server::Server;
use crate::{encoded, has_ffmpeg, radio};

#[test]
fn the_session_of_a_stream_goes_on_after_a_restart_and_that_of_a_file_ends() {
    if !has_ffmpeg() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let sources = [
        format!("radio={}", radio(folder.path())),
        format!("file={}", encoded(folder.path(), "long.mp3", "60")),
    ];
    let store = format!("storage.path={}", folder.path().join("sessions.sqlite").display());
    for (is_killed, before, after) in [(true, "file", "file-2"), (false, "file-3", "file-4")] {
        let server = Server::start(&sources, &[&store]);
        server.until(before, |s| s.live);
        let n_gaps = server.until("radio", |s| s.live && !s.segments.is_empty()).gaps.len();
        if is_killed {
            server.kill()
        } else {
            server.terminate()
        }
        std::thread::sleep(Duration::from_secs(1));

        let server = Server::start(&sources, &[&store]);
        let heard = server.until("radio", |s| {
            s.live && s.gaps.len() > n_gaps && s.segments.iter().any(|seg| seg.start > s.gaps[n_gaps].end)
        });
        assert_eq!(heard.gaps[n_gaps].reason, "disconnected");
        assert_eq!(request(&server.addr, "GET", "/v1/sessions/radio-2", "").0, 404, "one session");
        server.until(before, |s| !s.live);
        server.until(after, |s| s.live);
    }
}
