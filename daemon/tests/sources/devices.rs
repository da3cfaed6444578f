//! Capture devices as sources: several at once, and one that is pulled out.

use std::time::Duration;

use crate::common::conversation;
use crate::has_ffmpeg;
use crate::pulse::Pulse;
use crate::server::{Server, command};

#[test]
fn two_devices_at_once_are_labelled_and_come_back_behind_a_gap() {
    if !has_ffmpeg() {
        return;
    }
    let Some(mut pulse) = Pulse::start() else { return };
    let sources = ["hall=pulse:diarized_test.monitor", "desk=alsa:default"].map(str::to_owned);
    let mut serve = command(&sources, &[]);
    pulse.quiet_env(&mut serve);
    let server = Server::run(&mut serve);
    let player = pulse.play(&conversation());
    for session in ["hall", "desk"] {
        let heard = server.until(session, |s| !s.segments.is_empty());
        assert!(heard.live && heard.gaps.is_empty(), "{session}: {:?}", heard.gaps);
    }
    drop(player);
    pulse.pull_out();
    std::thread::sleep(Duration::from_secs(3));
    pulse.plug_in();
    let _player = pulse.play(&conversation());
    for session in ["hall", "desk"] {
        let heard = server.until(session, |s| {
            s.gaps.first().is_some_and(|gap| s.segments.iter().any(|segment| segment.start > gap.end))
        });
        let gap = &heard.gaps[0];
        assert!(gap.end.0 - gap.start.0 > 2.5 && heard.live, "{session}: {:?}", heard.gaps);
    }
}
