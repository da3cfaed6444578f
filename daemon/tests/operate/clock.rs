//! A system clock that is set back, and forward again, while sessions are stored: none is overwritten or lost.

use std::path::{Path, PathBuf};

use super::common::{diarized, run};
use super::server::Server;
use super::stream;

/// Where Debian's `faketime` has its library.
fn library() -> Option<PathBuf> {
    let arch = std::env::consts::ARCH;
    let folders = [format!("/usr/lib/{arch}-linux-gnu/faketime"), "/usr/lib/faketime".to_owned()];
    folders.iter().map(|folder| Path::new(folder).join("libfaketimeMT.so.1")).find(|path| path.exists())
}

/// A server whose clock is off by what the file `clock` holds, at every moment.
fn server(library: &Path, folder: &Path) -> Server {
    let store = format!("storage.path={}", folder.join("sessions.sqlite").display());
    let mut command = diarized(&["serve", "--listen", "127.0.0.1:0", "--set", &store]);
    command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", folder.join("clock"));
    // Durations are measured by another clock, which nobody can set.
    command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    Server::run(command)
}

/// Ids and times of the beginning of all sessions, as the server lists them.
fn sessions(server: &Server) -> Vec<(String, f64)> {
    let (status, list) = server.http("GET", "/v1/sessions");
    assert_eq!(status, 200, "{list}");
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    let of = |s: &serde_json::Value| {
        (s["session"].as_str().unwrap().to_owned(), s["began_unix_s"].as_f64().unwrap())
    };
    list["sessions"].as_array().unwrap().iter().map(of).collect()
}

fn labels(server: &Server, id: &str) -> String {
    let (status, body) = server.http("GET", &format!("/v1/sessions/{id}.rttm"));
    assert_eq!(status, 200, "{id}: {body}");
    body
}

#[test]
fn a_clock_that_is_set_back_overwrites_and_loses_nothing() {
    let Some(library) = library() else {
        println!("not run: faketime is not installed (apt-get install faketime)");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let set = |offset: &str| std::fs::write(folder.path().join("clock"), offset).unwrap();
    let play = |server: &Server| {
        let (code, _, stderr) = run(&mut stream(&server.url, &["--speed", "max", "--session", "meeting"]));
        assert_eq!(code, 0, "{stderr}");
    };
    set("+0");
    let first = server(&library, folder.path());
    play(&first);
    let expected = labels(&first, "meeting");
    assert!(expected.lines().count() > 5);
    // Forty days back, longer than sessions are kept, while the server runs.
    set("-40d");
    play(&first);
    let found = sessions(&first);
    let began = |id: &str| found.iter().find(|(of, _)| of == id).unwrap().1;
    let back_days = (began("meeting") - began("meeting-2")) / 86_400.0;
    assert!((39.9..40.1).contains(&back_days), "the clock is set back: {found:?}");
    first.signal("TERM");
    assert_eq!(first.wait(), Some(0));

    // A start with that clock, and one with the right clock again.
    for (offset, id) in [("-40d", "meeting-3"), ("+0", "meeting-4")] {
        set(offset);
        let server = server(&library, folder.path());
        play(&server);
        let ids: Vec<String> = sessions(&server).into_iter().map(|(id, _)| id).collect();
        assert!(ids.iter().any(|of| of == id), "{ids:?}");
        // The look for old sessions comes right after the start; nothing shows that it found none.
        std::thread::sleep(std::time::Duration::from_millis(1500));
        for id in ["meeting", "meeting-2", id] {
            assert_eq!(labels(&server, id).lines().count(), expected.lines().count(), "{id} at {offset}");
        }
        assert_eq!(labels(&server, "meeting"), expected);
        server.signal("TERM");
        assert_eq!(server.wait(), Some(0));
    }
}
