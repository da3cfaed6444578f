//! A restart of the daemon while its microphone runs: the same session goes on, or another begins.

use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::common::{conversation, request};
use super::daemon::{Daemon, Subscriber};
use super::pulse::Pulse;

const PATIENCE: Duration = Duration::from_secs(40);

fn start(pulse: &Pulse, folder: &Path, more: &[&str]) -> Daemon {
    let of = |name: &str| folder.join(name).display().to_string();
    let store = format!("storage.path={}", of("sessions.sqlite"));
    let key = format!("voices.key_file={}", of("key"));
    let mut settings = vec![store.as_str(), key.as_str(), "storage.audio=opus"];
    settings.extend(more);
    Daemon::start_with(pulse, &settings)
}

fn sessions(daemon: &Daemon) -> Vec<Value> {
    let (_, listing) = request(daemon.address(), "GET", "/v1/sessions", "");
    let listing: Value = serde_json::from_str(&listing).unwrap();
    listing["sessions"].as_array().unwrap().clone()
}

fn unix_s() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// Speakers of labels that begin in this part of the session.
fn speakers(subscriber: &Subscriber, from_s: f64, to_s: f64) -> Vec<String> {
    let starts_there = |m: &&Value| m["start"].as_f64().is_some_and(|start| (from_s..to_s).contains(&start));
    let segments = subscriber.messages.iter().filter(|m| m["type"] == "segment").filter(starts_there);
    let mut all: Vec<_> = segments.map(|m| m["speaker"].as_str().unwrap().to_owned()).collect();
    all.sort();
    all.dedup();
    all
}

#[test]
fn the_microphones_session_goes_on_after_a_kill_with_the_same_people() {
    let Some(pulse) = Pulse::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("key"), "00112233445566778899aabbccddeeff".repeat(2)).unwrap();
    let mut key = std::fs::metadata(folder.path().join("key")).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut key, 0o600);
    std::fs::set_permissions(folder.path().join("key"), key).unwrap();

    let daemon = start(&pulse, folder.path(), &[]);
    let mut before = Subscriber::connect(&daemon);
    let player = pulse.play(&conversation());
    before.read_until(Duration::from_secs(24), |_| false);
    daemon.kill();
    drop(player);
    let killed_at = unix_s();
    thread::sleep(Duration::from_secs(2));

    let daemon = start(&pulse, folder.path(), &[]);
    let mut after = Subscriber::connect(&daemon);
    let _player = pulse.play(&conversation());
    let is_gap = |message: &Value| message["type"] == "gap";
    let gap = after.read_until(PATIENCE, is_gap).expect("a gap covers the restart");
    assert_eq!(gap["reason"], "disconnected");
    let back_s = gap["end"].as_f64().unwrap();
    let is_late =
        |m: &Value| m["type"] == "segment" && m["start"].as_f64().is_some_and(|s| s > back_s + 15.0);
    after.read_until(PATIENCE, is_late).expect("speech after the restart is labelled");
    let (known, new) = (speakers(&before, 0.0, 60.0), speakers(&after, back_s, back_s + 60.0));
    assert!(known.len() >= 2 && new.len() >= 2, "{known:?}, {new:?}");
    assert!(new.iter().filter(|label| known.contains(label)).count() >= 2, "{known:?}, {new:?}");
    let warnings: Vec<_> = after.messages.iter().filter(|m| m["type"] == "warning").collect();
    assert!(warnings.is_empty(), "{warnings:?}");

    // One session, whose clock is that of the wall.
    let all = sessions(&daemon);
    let [session] = all.as_slice() else { panic!("{all:?}") };
    assert!(session["live"] == true && session["connected"] == true, "{session}");
    let number = |key: &str| session[key].as_f64().unwrap();
    let ahead_s = number("began_unix_s") + number("duration_s") - unix_s();
    assert!((-3.0..0.5).contains(&ahead_s), "{ahead_s} s");
    let gap_began = number("began_unix_s") + gap["start"].as_f64().unwrap();
    assert!((killed_at - 4.0..killed_at + 0.5).contains(&gap_began), "{gap}, killed at {killed_at}");
}

#[test]
fn after_a_long_silence_the_microphone_begins_another_session() {
    let Some(pulse) = Pulse::start() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut daemon = start(&pulse, folder.path(), &[]);
    let mut subscriber = Subscriber::connect(&daemon);
    let player = pulse.play(&conversation());
    let is_segment = |message: &Value| message["type"] == "segment";
    subscriber.read_until(PATIENCE, is_segment).expect("somebody speaks");
    drop(player);
    let first = sessions(&daemon)[0]["session"].as_str().unwrap().to_owned();
    daemon.terminate();
    assert!(daemon.ended_well());
    thread::sleep(Duration::from_secs(2));

    let daemon = start(&pulse, folder.path(), &["capture.session_silence_s=1"]);
    let mut seen = Vec::new();
    for _ in 0..100 {
        seen = sessions(&daemon);
        seen.sort_by_key(|session| session["session"].as_str().unwrap().to_owned());
        if seen.len() == 2 && seen[0]["live"] == false {
            break;
        }
        thread::sleep(Duration::from_millis(100));
    }
    let [old, new] = seen.as_slice() else { panic!("{seen:?}") };
    assert_eq!((&old["session"], &old["reason"]), (&Value::from(first.as_str()), &"interrupted".into()));
    assert_eq!(new["session"], format!("{first}-2"));
    assert_eq!(new["live"], true);
}
