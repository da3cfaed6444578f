//! Who may enrol from what, and what is nobody's voice or somebody else's.

use std::process::Stdio;

use serde_json::json;

use super::{Bench, RMS, SLT, Server};

#[test]
fn enrolling_from_a_session_takes_the_right_to_read_it_and_naming_in_it_to_correct_it() {
    let bench = Bench::new();
    let tokens = bench.path("tokens").display().to_string();
    let add = |name: &str, scopes: &str| {
        let args = ["token", "add", name, "--scope", scopes, "--file", &tokens];
        bench.run(&args).1.trim().to_owned()
    };
    let token_file = format!("server.token_file={tokens}");
    let (publish, admin) = (add("mic", "publish"), add("root", "admin"));
    let (voices, reader) = (add("desk", "voices"), add("reader", "voices,subscribe"));
    let all = add("all", "voices,subscribe,publish");
    let server = Server::start(&bench, &["--voices", "--set", &token_file]);
    // A session that goes on: its audio comes by hand and stays open.
    let talk = bench.wav("talk.wav", &bench.samples);
    let url = format!("ws://{}", server.addr);
    let args = ["stream", &talk, "--url", &url, "--session", "meeting", "--speed", "4"];
    let mut playing = bench.command(&args);
    let mut playing = playing.env("DIARIZED_TOKEN", &publish);
    playing = playing.stdout(Stdio::null()).stderr(Stdio::null());
    let mut playing = playing.spawn().unwrap();
    let labels = || server.http_as(&admin, "GET", "/v1/sessions/meeting", "", b"").1;
    let speaker = loop {
        let heard = labels();
        let speakers = heard["speakers"].as_array().cloned().unwrap_or_default();
        if let Some(s) = speakers.iter().find(|s| s["total_s"].as_f64().unwrap_or(0.0) > 9.0) {
            break s["id"].as_str().unwrap().to_owned();
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    let enrol = |token: &str, name: &str, session: &str| {
        let asked = json!({"name": name, "session": session, "speaker": speaker, "force": true});
        server.http_as(token, "POST", "/v1/speakers", "application/json", asked.to_string().as_bytes())
    };
    for session in ["meeting", "nothing"] {
        let (status, error) = enrol(&voices, "Ann", session);
        assert_eq!((status, error["code"].as_str()), (403, Some("forbidden")), "{error}");
        assert!(error["reason"].as_str().unwrap().contains("subscribe"), "{error}");
    }
    let shown = || {
        let labels = labels();
        labels["speakers"].as_array().unwrap().iter().find(|s| s["id"] == *speaker).unwrap().clone()
    };
    // A name that a user gave is changed by users only, so the enrolled person is not recognised there.
    let rename = json!({"speaker": speaker, "name": "Cleo"}).to_string();
    let path = "/v1/sessions/meeting/rename";
    assert_eq!(server.http_as(&admin, "POST", path, "application/json", rename.as_bytes()).0, 204);
    let (status, made) = enrol(&reader, "Ann", "meeting");
    assert!(status == 201 && made["name"] == "Ann", "{made}");
    assert_eq!(shown()["name"], "Cleo");
    let (status, _) = enrol(&all, "Bea", "meeting");
    let shown = shown();
    assert_eq!(
        (status, shown["name"].as_str(), shown["probability"].as_f64()),
        (201, Some("Bea"), Some(1.0))
    );
    let _ = playing.kill();
    let _ = playing.wait();
}

#[test]
fn one_voice_gets_one_name_and_only_one_person_who_speaks_gets_any() {
    let bench = Bench::new();
    bench.enrol_two();
    // Another clip of a voice that is known, under another name.
    let again = bench.wav("again.wav", &bench.cut(&RMS[2..]));
    let (code, stdout, stderr) = bench.run(&["enrol", "Reese", &again]);
    assert_eq!((code, &*stdout), (66, ""), "{stderr}");
    assert!(stderr.contains("sounds like Rhys") && stderr.ends_with("nothing was stored\n"), "{stderr}");
    let server = Server::start(&bench, &["--voices"]);
    let post = |path: &str, samples: &[f32]| {
        let clip = std::fs::read(bench.wav("clip.wav", samples)).unwrap();
        let (status, answer) = server.http("POST", path, "audio/wav", &clip);
        (status, answer["code"].as_str().unwrap_or_default().to_owned(), answer.to_string())
    };
    let (status, code, answer) = post("/v1/speakers?name=Reese", &bench.cut(&RMS[2..]));
    assert!(status == 409 && code == "conflict" && answer.contains("sounds like Rhys"), "{answer}");
    // A stranger's clip is nobody's yet, and who insists is believed.
    assert_eq!(post("/v1/speakers?name=Sally", &bench.cut(&SLT)).0, 201);
    let (code, _, stderr) = bench.run(&["enrol", "Reese", &again, "--force"]);
    assert_eq!(code, 0, "{stderr}");

    let mut state = 1_u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        0.4 * ((state >> 8) as f32 / (1_u32 << 23) as f32 - 1.0)
    };
    let steady: Vec<f32> = (0..16_000 * 10).map(|_| noise()).collect();
    let tone = |n: usize| 0.3 * (std::f32::consts::TAU * 440.0 * n as f32 / 16_000.0).sin();
    for samples in [steady, (0..16_000 * 10).map(tone).collect()] {
        let (status, code, answer) = post("/v1/identify", &samples);
        assert!(status == 422 && code == "bad_clip" && answer.contains("no speech"), "{answer}");
    }
    // Two seconds in which somebody speaks are enough to ask.
    let (status, _, answer) = post("/v1/identify", &bench.cut(&[(14.0, 16.0)]));
    assert_eq!(status, 200, "{answer}");
    let two = [bench.cut(&RMS[..2]), bench.cut(&SLT)].concat();
    let (status, code, answer) = post("/v1/identify", &two);
    assert!(status == 422 && code == "bad_clip" && answer.contains("two voices"), "{answer}");
}
