//! A real microphone path on any machine: PulseAudio's null sink, ALSA, cpal, the daemon.
#![cfg(feature = "microphone")]

#[path = "../common/mod.rs"]
mod common;
mod daemon;
mod pulse;
mod restart;

use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::conversation;
use daemon::{Daemon, Subscriber};
use pulse::Pulse;

fn diarized(pulse: &Pulse) -> Command {
    let mut command = common::diarized(&[]);
    pulse.quiet_env(&mut command);
    command
}

/// `diarized devices --probe` in the background; its report is read when it is done.
fn probe(pulse: &Pulse, seconds: &str) -> Child {
    diarized(pulse)
        .args(["devices", "--probe", "--json", "--seconds", seconds])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary starts")
}

fn report(probe: Child) -> serde_json::Value {
    let output = probe.wait_with_output().expect("the probe ends");
    assert!(output.status.success(), "{:?}", output.status);
    serde_json::from_slice(&output.stdout).expect("one line of JSON")
}

fn number(report: &serde_json::Value, key: &str) -> f64 {
    report[key].as_f64().unwrap_or_else(|| panic!("{key} is a number in {report}"))
}

#[test]
fn every_sample_of_a_null_sinks_monitor_arrives() {
    let Some(pulse) = Pulse::start() else { return };
    let _player = pulse.play(&conversation());
    let report = report(probe(&pulse, "8"));
    let pace = number(&report, "pace");
    assert!((pace - 1.0).abs() < 0.01, "sample count off by more than 1 %: {report}");
    assert_eq!(number(&report, "gaps_s"), 0.0, "{report}");
    assert!(number(&report, "level_dbfs") > -45.0, "the conversation is heard: {report}");
    // A null sink renders ahead in blocks of up to 2 s; its first block comes when the one that was begun is over.
    assert!(number(&report, "start_latency_s") < 3.0, "{report}");
}

#[test]
fn a_device_that_is_pulled_out_and_plugged_in_leaves_a_gap_as_long_as_its_absence() {
    let Some(mut pulse) = Pulse::start() else { return };
    let probe = probe(&pulse, "9");
    thread::sleep(Duration::from_secs(4));
    pulse.pull_out();
    thread::sleep(Duration::from_millis(1500));
    pulse.plug_in();
    let report = report(probe);
    assert_eq!(number(&report, "n_losses"), 1.0, "{report}");
    let gaps_s = number(&report, "gaps_s");
    assert!(gaps_s > 1.4, "{report}");
    let clock_s = number(&report, "n_frames") / number(&report, "sample_rate_hz") + gaps_s;
    let listened_s = number(&report, "listened_s");
    assert!(
        (clock_s / listened_s - 1.0).abs() < 0.01,
        "clock {clock_s:.3} s, wall {listened_s:.3} s: {report}"
    );
}

#[test]
fn without_a_sound_card_the_error_says_what_to_do() {
    let output = common::diarized(&["devices", "--probe", "--seconds", "0.1"])
        // A configuration without any device, whatever this machine has.
        .env("ALSA_CONFIG_PATH", "/dev/null")
        .stdin(Stdio::null())
        .output()
        .expect("the binary starts");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("connect a microphone") && text.contains("without a microphone"), "{text}");
}

#[test]
fn labels_of_the_microphone_reach_a_subscriber_and_survive_the_loss_of_the_device() {
    let Some(mut pulse) = Pulse::start() else { return };
    let mut daemon = Daemon::start(&pulse);
    let mut subscriber = Subscriber::connect(&daemon);
    let kind = |message: &serde_json::Value| message["type"].as_str().unwrap_or_default().to_owned();
    let is_gap = |message: &serde_json::Value| message["type"] == "gap";
    let is_final = |message: &serde_json::Value| message["type"] == "segment" && message["final"] == true;

    // The first turns of the conversation: three voices within 22 s.
    let player = pulse.play(&conversation());
    subscriber.read_until(Duration::from_secs(24), |_| false);
    let speakers = subscriber.messages.iter().filter(|m| m["type"] == "speaker").count();
    let finals = subscriber.messages.iter().filter(|m| is_final(m)).count();
    let kinds: Vec<_> = subscriber.messages.iter().map(kind).collect();
    assert!(finals >= 2, "labelled segments arrive: {kinds:?}");
    assert!(speakers >= 2, "more than one voice is heard: {kinds:?}");
    assert!(!kinds.iter().any(|kind| kind == "gap"), "nothing is lost: {:?}", subscriber.messages);

    // The device goes away: subscribers learn of it while it is away.
    drop(player);
    pulse.pull_out();
    let lost_at = Instant::now();
    let first = subscriber.read_until(Duration::from_secs(10), is_gap).expect("a gap tells of the loss");
    assert_eq!(first["reason"], "device_lost");
    thread::sleep(Duration::from_secs(1));

    // It comes back, the clock has gone on, and speech after it is labelled.
    pulse.plug_in();
    let _player = pulse.play(&conversation());
    let second = subscriber.read_until(Duration::from_secs(15), is_gap).expect("a gap tells of the absence");
    assert_eq!(second["reason"], "device_lost");
    assert_eq!(second["start"], first["end"]);
    let back_s = number(&second, "end");
    let is_after = |message: &serde_json::Value| {
        message["type"] == "segment" && message["start"].as_f64().is_some_and(|start| start >= back_s)
    };
    subscriber.read_until(Duration::from_secs(20), is_after).expect("speech after the absence is labelled");

    // Stopped, it says the end; the session's clock has kept up with the wall's.
    daemon.terminate();
    let stopped_at = Instant::now();
    let ended = subscriber
        .read_until(Duration::from_secs(20), |message| message["type"] == "ended")
        .expect("the end is said before the process goes");
    assert_eq!(ended["reason"], "shutdown");
    let clock_s = number(&ended, "duration_s") - number(&first, "start");
    let wall_s = (stopped_at - lost_at).as_secs_f64();
    assert!((clock_s - wall_s).abs() < 0.01 * wall_s + 0.15, "clock {clock_s:.3} s, wall {wall_s:.3} s");
    assert!(daemon.ended_well());
}
