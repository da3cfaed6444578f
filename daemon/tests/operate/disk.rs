//! Sessions that are kept where there is no room.

use std::path::{Path, PathBuf};
use std::process::Command;

use diarized::protocol::ServerMessage;
use diarized::protocol::server_message::{Body, EndReason};

use super::common::{clean, diarized, run};
use super::server::Server;
use super::{replay, stream};

/// Counts of the metrics page.
pub(crate) fn metric(server: &Server, name: &str) -> f64 {
    let (_, page) = server.http("GET", "/metrics");
    let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {name} in {page}")).parse().unwrap()
}

#[test]
fn sessions_go_on_when_the_disk_is_full() {
    let folder = tempfile::tempdir().unwrap();
    let path = format!("storage.path={}", folder.path().join("sessions.sqlite").display());
    // A file may not grow above some hundred kilobytes; to the process that is a disk that is full.
    let mut command = clean("sh");
    command.args(["-c", "ulimit -f 200; trap '' XFSZ; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_diarized")]);
    command.args(["serve", "--listen", "127.0.0.1:0", "--set", &path]);
    let server = Server::run(command);
    let mut warned = String::new();
    for n in 0..10 {
        let id = format!("talk{n}");
        let (code, json, stderr) = run(&mut stream(&server.url, &["--speed", "10", "--session", &id]));
        assert_eq!(code, 0, "{stderr}");
        let (state, ended) = replay(&json);
        assert!(state.segments().len() > 5 && ended == Some(EndReason::Closed));
        if json.contains("\"storage_failed\"") {
            warned = json;
            break;
        }
    }
    assert!(!warned.is_empty(), "nobody was warned\n{}", server.log());
    server.wait_for_log("sessions are not kept");
    assert!(metric(&server, "diarized_storage_errors_total") >= 1.0);
    assert_eq!(server.http("GET", "/readyz").0, 200, "it serves all the same");
}

/// A small disk of its own; gone when dropped.
struct Disk(PathBuf);

impl Disk {
    /// None where this user may not mount one.
    fn mount(at: &Path, size: &str) -> Option<Self> {
        std::fs::create_dir(at).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "none"]).arg(at);
        mount.output().is_ok_and(|done| done.status.success()).then(|| Self(at.to_owned()))
    }

    /// Takes all the room that is left.
    fn fill(&self) -> PathBuf {
        let path = self.0.join("filler");
        // Written until it fails, which leaves what fitted.
        let full = std::fs::write(&path, vec![1; 4 << 20]).unwrap_err();
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
        path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).output();
    }
}

#[test]
fn a_disk_that_fills_up_and_is_cleared_costs_no_event() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::mount(&folder.path().join("disk"), "2m") else {
        println!(
            "not run: keeping sessions on a disk that is full, because this user may not mount one (root may)"
        );
        return;
    };
    let path = format!("storage.path={}", disk.0.join("sessions.sqlite").display());
    let server = Server::start(&["--set", &path]);
    let play = |id: &str| {
        let (code, json, stderr) = run(&mut stream(&server.url, &["--speed", "max", "--session", id]));
        assert_eq!(code, 0, "{stderr}");
        json
    };
    play("before");
    let filler = disk.fill();
    let during = play("during");
    server.wait_for_log("sessions are not kept");
    assert_eq!(metric(&server, "diarized_storage_failing"), 1.0);
    let (state, reason) = replay(&during);
    assert!(state.segments().len() > 5 && reason == Some(EndReason::Closed));
    std::fs::remove_file(filler).unwrap();
    server.wait_for_log("sessions are kept again");
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));

    let server = Server::start(&["--set", &path]);
    assert_eq!(server.http("GET", "/v1/sessions/before").0, 200);
    let (_, snapshot) = server.http("GET", "/v1/sessions/during");
    let Body::Snapshot(kept) = ServerMessage::parse(&snapshot).unwrap().body else { panic!("{snapshot}") };
    assert_eq!(kept.to_state().unwrap(), state);
}

/// What lies on the disk, by name.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_store_of_voices_is_made_whole_or_not_at_all_where_there_is_no_room() {
    let folder = tempfile::tempdir().unwrap();
    let (mut n_made, mut n_refused) = (0, 0);
    for size_kb in [4, 8, 16, 32, 48, 64, 80, 96, 128, 256] {
        let Some(disk) = Disk::mount(&folder.path().join(format!("{size_kb}k")), &format!("{size_kb}k"))
        else {
            println!(
                "not run: a store of voices on a small disk, because this user may not mount one (root may)"
            );
            return;
        };
        let store = disk.0.join("s.db");
        let run = |action: &str| {
            let mut command = diarized(&["voices", action, "--store", store.to_str().unwrap()]);
            run(command.env("DIARIZED_VOICES_KEY", "5e".repeat(32)))
        };
        let (code, _, stderr) = run("init");
        if code == 0 {
            assert_eq!(run("list").0, 0, "{size_kb} KB");
            n_made += 1;
        } else {
            let reason = stderr.replace("No space", "no space");
            assert!(reason.contains("no space") && reason.contains("/s.db"), "{size_kb} KB: {stderr}");
            assert_eq!(names(&disk.0), [""; 0], "{size_kb} KB: {stderr}");
            n_refused += 1;
        }
    }
    assert!(n_made > 0 && n_refused > 0, "{n_made} made, {n_refused} refused");
}
