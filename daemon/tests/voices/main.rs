//! Known voices as a person meets them: the real binary, its real model, real files and sockets.

#[path = "../common/mod.rs"]
mod common;
mod rights;

use std::io::{BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use common::address_of_ready;

/// Pieces of the example conversation in which one voice speaks alone, in seconds. The first ones are enrolled.
const RMS: [(f64, f64); 4] = [(13.95, 22.05), (23.2, 28.2), (42.6, 45.6), (65.6, 69.2)];
const AWB: [(f64, f64); 3] = [(0.85, 7.85), (53.7, 60.4), (69.7, 72.5)];
const SLT: [(f64, f64); 2] = [(8.45, 13.3), (29.3, 33.9)];

struct Bench {
    folder: tempfile::TempDir,
    samples: Vec<f32>,
}

impl Bench {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), samples: common::speech(None) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn cut(&self, pieces: &[(f64, f64)]) -> Vec<f32> {
        let at = |seconds: f64| (seconds * 16_000.0) as usize;
        pieces.iter().flat_map(|&(start, end)| self.samples[at(start)..at(end)].to_vec()).collect()
    }

    fn wav(&self, name: &str, samples: &[f32]) -> String {
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: 16_000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let path = self.path(name);
        let mut writer = hound::WavWriter::create(&path, spec).unwrap();
        samples.iter().for_each(|s| writer.write_sample((s * 32_767.0) as i16).unwrap());
        writer.finalize().unwrap();
        path.display().to_string()
    }

    /// The binary in a home of its own.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = common::diarized_in(self.folder.path(), args);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("XDG_") {
                command.env_remove(name);
            }
        }
        command.env("HOME", self.folder.path());
        command
    }

    fn run(&self, args: &[&str]) -> (i32, String, String) {
        common::run(&mut self.command(args))
    }

    fn json(&self, args: &[&str]) -> (i32, Value) {
        let (code, stdout, stderr) = self.run(args);
        (code, serde_json::from_str(&stdout).unwrap_or_else(|e| panic!("{args:?}: {e}: {stdout}{stderr}")))
    }

    fn enrol_two(&self) {
        for (name, pieces) in [("Rhys", &RMS[..2]), ("Abel", &AWB[..2])] {
            let clip = self.wav(&format!("{name}.wav"), &self.cut(pieces));
            let (code, enrolled) = self.json(&["enrol", name, &clip, "--json", "--consent", "synthetic"]);
            assert_eq!((code, enrolled["new"].as_bool()), (0, Some(true)), "{enrolled}");
        }
    }
}

#[test]
fn the_enrolled_are_recognised_in_clips_and_files_and_strangers_are_not() {
    let bench = Bench::new();
    bench.enrol_two();
    let (_, list) = bench.json(&["voices", "list", "--json"]);
    let voices = list["voices"].as_array().unwrap();
    let names: Vec<&str> = voices.iter().map(|v| v["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["Abel", "Rhys"]);

    let rhys = bench.wav("held_out.wav", &bench.cut(&RMS[2..]));
    let stranger = bench.wav("stranger.wav", &bench.cut(&SLT));
    let (code, answer) = bench.json(&["identify", &rhys, "--json"]);
    assert_eq!((code, answer["name"].as_str()), (0, Some("Rhys")), "{answer}");
    let (code, answer) = bench.json(&["identify", &stranger, "--json"]);
    assert_eq!((code, answer["name"].as_str()), (1, None), "{answer}");
    assert!(answer["stranger"].as_f64().unwrap() > 0.5, "{answer}");
    let enrolled = bench.path("Rhys.wav").display().to_string();
    assert_eq!(bench.json(&["verify", &enrolled, &rhys, "--json"]).1["same"], true);
    let (code, different) = bench.json(&["verify", &enrolled, &stranger, "--json"]);
    assert_eq!((code, different["same"].as_bool()), (1, Some(false)));

    let talk = bench.wav("talk.wav", &bench.samples);
    let (code, labels, stderr) = bench.run(&["label", "--voices", "-f", "json", &talk]);
    assert_eq!(code, 0, "{stderr}");
    let mut seconds = std::collections::BTreeMap::<(String, &str), f64>::new();
    for line in labels.lines() {
        let label: Value = serde_json::from_str(line).unwrap();
        let (start, end) = (label["start"].as_f64().unwrap(), label["end"].as_f64().unwrap());
        for (truth, pieces) in [("Rhys", &RMS[..]), ("Abel", &AWB[..]), ("stranger", &SLT[..])] {
            let shared: f64 = pieces.iter().map(|&(s, e)| (end.min(e) - start.max(s)).max(0.0)).sum();
            let name = label["name"].as_str().unwrap_or("-").to_owned();
            *seconds.entry((name, truth)).or_default() += shared;
        }
    }
    let answer = |name: &str, truth| seconds.get(&(name.to_owned(), truth)).copied().unwrap_or(0.0);
    assert!(answer("Rhys", "Rhys") > 10.0 && answer("Abel", "Abel") > 8.0, "{seconds:?}");
    assert!(answer("Rhys", "stranger") + answer("Abel", "stranger") < 1.0, "{seconds:?}");
    // Without the flag nobody is named, though they are enrolled.
    let (_, labels, _) = bench.run(&["label", "-f", "json", &talk]);
    assert!(!labels.contains("\"name\""), "{labels}");
}

#[test]
fn clips_that_would_spoil_a_voiceprint_are_refused_and_nothing_is_stored() {
    let bench = Bench::new();
    let two = [bench.cut(&RMS[..2]), bench.cut(&SLT)].concat();
    // An interview: they take turns every other second, with half a second between them.
    let second = |samples: &[f32], n: usize| [&samples[n * 16_000..(n + 2) * 16_000], &[0.0; 8000]].concat();
    let (rms, awb) = (bench.cut(&RMS), bench.cut(&AWB));
    let interview: Vec<f32> =
        (0..14).step_by(2).flat_map(|n| [second(&rms, n), second(&awb, n)].concat()).collect();
    let noise = |n: usize| ((n as f32 * 12.9898).sin() * 43_758.547).fract() - 0.5;
    let loud: Vec<f32> = bench.cut(&AWB).iter().enumerate().map(|(n, s)| 0.3 * s + noise(n)).collect();
    let good = bench.wav("good.wav", &bench.cut(&AWB));
    for (name, samples, word) in [
        ("silent.wav", vec![0.0; 160_000], "silent.wav: silence: "),
        ("short.wav", bench.cut(&[(1.0, 4.0)]), "short.wav: too short: "),
        ("two.wav", two.clone(), "two.wav: two voices: two people speak, "),
        ("interview.wav", interview, "interview.wav: two voices: two people speak, "),
        ("noisy.wav", loud, "noisy.wav: "),
    ] {
        let clip = bench.wav(name, &samples);
        let (code, stdout, stderr) = bench.run(&["enrol", "Ann", &good, &clip]);
        assert_eq!((code, &*stdout), (66, ""), "{name}: {stderr}");
        assert!(stderr.contains(word) && stderr.ends_with("nothing was stored\n"), "{name}: {stderr}");
    }
    // Each of them alone is one person.
    for (name, pieces) in [("Rhys", &RMS[..]), ("Abel", &AWB[..]), ("Sam", &SLT[..])] {
        let alone = bench.wav("alone.wav", &bench.cut(pieces));
        let store = bench.path("alone.db").display().to_string();
        let (code, _, stderr) = bench.run(&["enrol", "--store", &store, name, &alone]);
        assert_eq!(code, 0, "{name}: {stderr}");
        let two = bench.wav("two.wav", &two);
        let (code, _, stderr) = bench.run(&["identify", "--store", &store, &two]);
        assert!(code == 66 && stderr.contains("two people speak"), "{stderr}");
    }
    let text = bench.path("text.wav");
    std::fs::write(&text, "no audio").unwrap();
    assert_eq!(bench.run(&["enrol", "Ann", text.to_str().unwrap()]).0, 66);
    let (code, _, stderr) = bench.run(&["voices", "list"]);
    assert_eq!(code, 66, "{stderr}");
    assert!(stderr.starts_with("diarized: there is no voiceprint store at "), "{stderr}");

    // A clip of somebody else under a known name is refused too, unless one insists.
    assert_eq!(bench.run(&["enrol", "Ann", &good]).0, 0);
    let other = bench.wav("other.wav", &bench.cut(&SLT));
    let (code, _, stderr) = bench.run(&["enrol", "Ann", &other]);
    assert!(code == 66 && stderr.contains("other.wav does not sound like Ann"), "{stderr}");
    assert_eq!(bench.run(&["enrol", "Ann", &other, "--force"]).0, 0);
}

#[test]
fn a_store_is_managed_from_the_command_line() {
    let bench = Bench::new();
    bench.enrol_two();
    let (code, table, _) = bench.run(&["voices", "list"]);
    assert!(code == 0 && table.contains("Rhys") && table.contains("synthetic"), "{table}");
    assert_eq!(bench.run(&["voices", "rename", "rhys", "Rhys Morgan"]).0, 0);
    let (_, shown) = bench.json(&["voices", "show", "Rhys Morgan", "--json"]);
    let actions: Vec<&str> =
        shown["audit"].as_array().unwrap().iter().map(|e| e["action"].as_str().unwrap()).collect();
    assert_eq!((actions, shown["recordings"].as_u64()), (vec!["enrolled", "renamed"], Some(1)));
    let (code, text, _) = bench.run(&["voices", "show", "Rhys Morgan"]);
    assert!(code == 0 && text.contains("Rhys.wav") && text.contains("consent: synthetic"), "{text}");

    assert_eq!(bench.run(&["voices", "export", "all.json"]).0, 0);
    assert_eq!(bench.run(&["voices", "delete", "Abel", "nobody"]).0, 66, "a misspelling deletes nobody");
    assert_eq!(bench.json(&["voices", "list", "--json"]).1["voices"].as_array().unwrap().len(), 2);
    assert_eq!(bench.run(&["voices", "delete", "Abel"]).0, 0);
    let (_, took) = bench.json(&["voices", "import", "all.json", "--json"]);
    assert_eq!(took, json!({"voices": 1, "recordings": 1}));

    let mut wrong = bench.command(&["voices", "list"]);
    let output = wrong.env("DIARIZED_VOICES_KEY", "11".repeat(32)).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{stderr}");
    assert!(stderr.contains("is not the key of ") && !stderr.contains("1111"), "{stderr}");
    // The server says the same and does not start without the voices that it was asked to know.
    let mut serve = bench.command(&["serve", "--voices", "--listen", "127.0.0.1:0"]);
    let output = serve.env("DIARIZED_VOICES_KEY", "11".repeat(32)).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && stderr.contains("is not the key of "), "{stderr}");
}

/// A server on a free port; killed when dropped.
struct Server {
    child: Child,
    addr: String,
}

impl Server {
    fn start(bench: &Bench, args: &[&str]) -> Self {
        let args = [&["serve", "--listen", "127.0.0.1:0"], args].concat();
        let mut child = bench.command(&args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let addr = address_of_ready(BufReader::new(child.stdout.take().unwrap()));
        Self { child, addr }
    }

    /// Status and body of one request.
    fn http(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> (u16, Value) {
        self.http_as("", method, path, kind, body)
    }

    /// The same with a token.
    fn http_as(&self, token: &str, method: &str, path: &str, kind: &str, body: &[u8]) -> (u16, Value) {
        let mut tcp = TcpStream::connect(&self.addr).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: {kind}\r\nAuthorization: \
             Bearer {token}\r\nContent-Length: {}\r\n\r\n",
            self.addr,
            body.len()
        );
        tcp.write_all(head.as_bytes()).unwrap();
        // A server that refuses the size of a body answers before it has read all of it.
        let _ = tcp.write_all(body);
        let mut answer = String::new();
        let _ = tcp.read_to_string(&mut answer);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{path}: {answer:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }

    fn json(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        self.http(method, path, "application/json", body.to_string().as_bytes())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn voices_are_enrolled_compared_and_deleted_over_http() {
    let bench = Bench::new();
    let server = Server::start(&bench, &["--voices", "--set", "voices.max_clip_bytes=1000000"]);
    let clip = |pieces: &[(f64, f64)]| std::fs::read(bench.wav("clip.wav", &bench.cut(pieces))).unwrap();
    let (rhys, more, stranger) = (clip(&RMS[..2]), clip(&RMS[2..]), clip(&SLT));
    assert_eq!(server.http("GET", "/v1/speakers", "", b"").1, json!({"speakers": []}));
    let (status, made) = server.http("POST", "/v1/speakers?name=Rhys&consent=yes", "audio/wav", &rhys);
    assert_eq!(
        (status, made["name"].as_str(), made["recognisable"].as_bool()),
        (201, Some("Rhys"), Some(true))
    );
    let id = made["id"].as_str().unwrap().to_owned();
    let (status, better) = server.http("POST", "/v1/speakers?name=rhys", "audio/wav", &more);
    assert_eq!((status, better["id"].as_str(), better["recordings"].as_u64()), (200, Some(&*id), Some(2)));

    let (_, answer) = server.http("POST", "/v1/identify", "audio/wav", &more);
    assert_eq!((answer["name"].as_str(), answer["voice"].as_str()), (Some("Rhys"), Some(&*id)), "{answer}");
    let (_, answer) = server.http("POST", "/v1/identify", "audio/wav", &stranger);
    assert!(answer["name"].is_null() && answer["stranger"].as_f64().unwrap() > 0.5, "{answer}");
    let verify = |query: &str, body: &[u8]| server.http("POST", &format!("/v1/verify?{query}"), "", body);
    assert_eq!(verify("speaker=Rhys", &more).1["same"], true);
    assert_eq!(verify("speaker=Rhys", &stranger).1["same"], false);
    let both = [rhys.clone(), stranger.clone()].concat();
    assert_eq!(verify(&format!("first_bytes={}", rhys.len()), &both).1["same"], false);
    let same = [rhys.clone(), more.clone()].concat();
    assert_eq!(verify(&format!("first_bytes={}", rhys.len()), &same).1["same"], true);

    for (method, path, body, status, code) in [
        ("POST", "/v1/speakers?name=Two", &[0; 4][..], 422, "bad_clip"),
        ("POST", "/v1/speakers", &rhys, 400, "bad_message"),
        ("POST", "/v1/speakers?name=Rhys", &stranger, 422, "bad_clip"),
        ("POST", "/v1/speakers?name=Big", &vec![0; 1_000_001], 413, "frame_too_large"),
        ("POST", "/v1/verify", &rhys, 400, "bad_message"),
        ("POST", "/v1/verify?first_bytes=0", &rhys, 400, "bad_message"),
        ("POST", "/v1/verify?speaker=Nobody", &rhys, 404, "unknown_voice"),
        ("GET", "/v1/speakers/Nobody", &[][..], 404, "unknown_voice"),
        ("DELETE", "/v1/speakers/Nobody", &[][..], 404, "unknown_voice"),
        ("PUT", "/v1/speakers", &[][..], 405, "not_here"),
    ] {
        let (got, error) = server.http(method, path, "audio/wav", body);
        assert_eq!((got, error["code"].as_str()), (status, Some(code)), "{method} {path}: {error}");
    }
    let (status, renamed) = server.json("PATCH", "/v1/speakers/Rhys", &json!({"name": "Morgan"}));
    assert_eq!((status, renamed["name"].as_str(), renamed["id"].as_str()), (200, Some("Morgan"), Some(&*id)));
    assert_eq!(server.json("PATCH", "/v1/speakers/Morgan", &json!({"nam": "x"})).0, 400);
    assert_eq!(server.json("PATCH", "/v1/speakers/Morgan", &json!({})).0, 400);
    assert_eq!(server.http("DELETE", &format!("/v1/speakers/{id}"), "", b"").0, 204);
    assert_eq!(server.http("GET", "/v1/speakers", "", b"").1, json!({"speakers": []}));

    let without = Server::start(&bench, &[]);
    let (status, error) = without.http("GET", "/v1/speakers", "", b"");
    assert_eq!((status, error["code"].as_str()), (404, Some("voices_off")));
}

#[test]
fn a_speaker_of_a_session_becomes_known_and_is_recognised_in_the_next() {
    let bench = Bench::new();
    let path = format!("storage.path={}", bench.path("sessions.sqlite").display());
    let serve = ["--voices", "--set", &path];
    let server = Server::start(&bench, &serve);
    let talk = bench.wav("talk.wav", &bench.samples);
    let addr = server.addr.clone();
    let stream = |session: &str| {
        let url = format!("ws://{addr}");
        let args = ["stream", &talk, "--url", &url, "--session", session, "--speed", "max", "--json"];
        let (code, events, stderr) = bench.run(&args);
        assert_eq!(code, 0, "{stderr}");
        events.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    let events = stream("first");
    assert!(!events.iter().any(|e| e["type"] == "speaker" && !e["name"].is_null()), "nobody is known");
    // Who has most of the enrolment pieces of the voice `rms` in the session that has ended?
    let (_, labels) = server.http("GET", "/v1/sessions/first", "", b"");
    let mut shared = std::collections::BTreeMap::<String, f64>::new();
    for segment in labels["segments"].as_array().unwrap() {
        let (start, end) = (segment["start"].as_f64().unwrap(), segment["end"].as_f64().unwrap());
        let common: f64 = RMS.iter().map(|&(s, e)| (end.min(e) - start.max(s)).max(0.0)).sum();
        *shared.entry(segment["speaker"].as_str().unwrap().to_owned()).or_default() += common;
    }
    let speaker = shared.into_iter().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap().0;
    let asked = json!({"name": "Rhys", "session": "first", "speaker": speaker});
    let (status, made) = server.json("POST", "/v1/speakers", &asked);
    assert_eq!(status, 201, "{made}");
    for (field, value, status) in
        [("session", "none", 404), ("speaker", "S99", 404), ("speaker", "x", 400), ("name", "", 400)]
    {
        let mut asked = asked.clone();
        asked[field] = json!(value);
        assert_eq!(server.json("POST", "/v1/speakers", &asked).0, status, "{field} {value}");
    }

    let events = stream("second");
    let named: Vec<&Value> =
        events.iter().filter(|e| e["type"] == "speaker" && e["name"] == "Rhys").collect();
    let last = named.last().unwrap_or_else(|| panic!("recognised: {events:#?}"));
    assert_eq!(last["voice"], made["id"]);
    assert!(last["probability"].as_f64().unwrap() >= 0.8, "{last}");
    let (_, labels) = server.http("GET", "/v1/sessions/second", "", b"");
    let rhys = labels["speakers"].as_array().unwrap().iter().find(|s| s["name"] == "Rhys").unwrap();
    assert_eq!(rhys["voice"], made["id"], "the snapshot says so too");

    // After a restart the session is there as labels; voices are not kept with it.
    drop(server);
    let server = Server::start(&bench, &serve);
    assert_eq!(server.http("GET", "/v1/sessions/first", "", b"").0, 200);
    let (status, error) = server.json("POST", "/v1/speakers", &asked);
    assert_eq!((status, error["code"].as_str()), (409, Some("refused")), "{error}");
    assert!(error["reason"].as_str().unwrap().contains("without voices"), "{error}");
    let rename = json!({"speaker": speaker, "name": "Rhys"});
    let (status, answer) = server.json("POST", "/v1/sessions/first/rename", &rename);
    assert!((200..300).contains(&status), "{status}: {answer}");
    let (_, labels) = server.http("GET", "/v1/sessions/first", "", b"");
    assert!(labels["speakers"].as_array().unwrap().iter().any(|s| s["name"] == "Rhys"), "{labels}");
}

#[test]
fn a_speaker_of_an_old_session_becomes_known_by_its_kept_audio() {
    let bench = Bench::new();
    let path = format!("storage.path={}", bench.path("sessions.sqlite").display());
    let serve = ["--voices", "--set", &path, "--set", "storage.audio=opus"];
    let server = Server::start(&bench, &serve);
    let talk = bench.wav("talk.wav", &bench.samples);
    let url = format!("ws://{}", server.addr);
    for (session, more) in [("first", &[][..]), ("quiet", &["--no-keep-audio"])] {
        let args = ["stream", &talk, "--url", &url, "--session", session, "--speed", "max"];
        let (code, _, stderr) = bench.run(&[&args[..], more].concat());
        assert_eq!(code, 0, "{stderr}");
    }
    // Everything is written when the process has ended in order; nothing of the voices is left in memory.
    let pid = server.child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let mut ended = server;
    ended.child.wait().unwrap();
    drop(ended);
    let server = Server::start(&bench, &serve);
    let (_, labels) = server.http("GET", "/v1/sessions/first", "", b"");
    let speaker_at = |seconds: f64| {
        let is_there = |s: &&Value| {
            s["start"].as_f64().unwrap() <= seconds
                && seconds < s["end"].as_f64().unwrap()
                && s["overlap"].is_null()
        };
        labels["segments"].as_array().unwrap().iter().find(is_there).unwrap()["speaker"].clone()
    };
    let (rhys, abel, sue) = (speaker_at(16.0), speaker_at(4.0), speaker_at(10.0));
    let asked = |name: &str, session: &str, speaker: &Value| {
        server.json("POST", "/v1/speakers", &json!({"name": name, "session": session, "speaker": speaker}))
    };
    let (status, made) = asked("Rhys", "first", &rhys);
    assert_eq!(status, 201, "{made}");
    let speech_s = made["speech_s"].as_f64().unwrap();
    assert!((10.0..25.0).contains(&speech_s), "{made}");
    // The session names him, and a clip of his is recognised, one of another person is not.
    let (_, named) = server.http("GET", "/v1/sessions/first", "", b"");
    let named = named["speakers"].as_array().unwrap().iter().find(|s| s["id"] == rhys).unwrap().clone();
    assert_eq!((named["name"].as_str(), &named["voice"]), (Some("Rhys"), &made["id"]));
    let clip = |pieces: &[(f64, f64)]| std::fs::read(bench.wav("clip.wav", &bench.cut(pieces))).unwrap();
    assert_eq!(server.http("POST", "/v1/identify", "audio/wav", &clip(&RMS[2..])).1["name"], "Rhys");
    assert!(server.http("POST", "/v1/identify", "audio/wav", &clip(&AWB[..1])).1["name"].is_null());

    // Two people under one label are noticed.
    let merge = json!({"from": sue, "into": abel});
    assert_eq!(server.json("POST", "/v1/sessions/first/merge", &merge).0, 204);
    let (status, error) = asked("Abel", "first", &abel);
    let reason = error["reason"].as_str().unwrap();
    assert!(status == 422 && reason.contains("two voices") && reason.contains("kept audio of"), "{error}");
    assert_eq!(server.json("POST", "/v1/sessions/first/undo", &json!({})).0, 204);
    assert_eq!(asked("Abel", "first", &abel).0, 201);
    // Without audio there is nothing to enrol from.
    let (status, error) = asked("Somebody", "quiet", &json!("S1"));
    assert_eq!((status, error["code"].as_str()), (409, Some("refused")), "{error}");
}

#[test]
fn a_kill_at_any_moment_of_an_enrolment_leaves_a_sound_store() {
    let bench = Bench::new();
    bench.enrol_two();
    let clip = bench.wav("more.wav", &bench.cut(&AWB));
    for n in 0..6 {
        let mut child = bench.command(&["enrol", &format!("Person {n}"), &clip, &clip, "-q", "--force"]);
        let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(250 * n));
        child.kill().unwrap();
        child.wait().unwrap();
        let (code, list) = bench.json(&["voices", "list", "--json"]);
        assert_eq!(code, 0, "killed after {} ms", 250 * n);
        for voice in list["voices"].as_array().unwrap() {
            let expected = if voice["name"].as_str().unwrap().starts_with("Person") { 2 } else { 1 };
            assert_eq!(voice["recordings"], expected, "all recordings or none: {voice}");
        }
    }
}
