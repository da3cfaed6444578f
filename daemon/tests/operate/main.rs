//! The daemon as those who operate it meet it: networks that break, processes that are killed, full disks, tokens,
//! certificates and the service manager. The real binary, its real model, real sockets and files.

#![cfg(unix)]

mod audio;
mod clock;
#[path = "../common/mod.rs"]
mod common;
mod disk;
mod guarded;
mod limits;
mod restart;
mod server;
mod store_versions;

use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use diarized::protocol::ServerMessage;
use diarized::protocol::server_message::{Body, EndReason};
use diarized_models::SessionState;
use diarized_test_network::Proxy;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, ClientConfig, ClientConnection, RootCertStore};

use common::{conversation, diarized, run};
use server::{PATIENCE, Server};

/// What the events of one session make of an empty state, and how it ended; the numbers must be gapless.
fn replay(json: &str) -> (SessionState, Option<EndReason>) {
    let (mut state, mut ended, mut seq) = (SessionState::new(), None, 0);
    for line in json.lines() {
        let message = ServerMessage::parse(line).unwrap();
        if let Some(got) = message.seq {
            assert_eq!(got, seq + 1, "no loss, no doubling");
            seq = got;
        }
        match message.body {
            Body::Ended(end) => ended = Some(end.reason),
            body => {
                if let Ok(event) = body.to_event() {
                    state.apply(&event).unwrap();
                }
            }
        }
    }
    (state, ended)
}

fn stream(url: &str, rest: &[&str]) -> std::process::Command {
    let file = conversation();
    let mut command = diarized(&["stream", file.to_str().unwrap(), "--url", url, "--json"]);
    command.args(rest);
    command
}

#[test]
fn a_stream_over_a_network_that_breaks_gets_the_labels_of_one_that_does_not() {
    let server = Server::start(&[]);
    let (code, whole, _) = run(&mut stream(&server.url, &["--speed", "max"]));
    assert_eq!(code, 0);
    let (whole, _) = replay(&whole);
    assert!(whole.segments().len() > 5, "there is a conversation to compare");
    for budgets in [vec![1_000_000], vec![123_457, 700_001, 31]] {
        let n = budgets.len();
        let network = Proxy::cutting(server.addr, budgets);
        let (code, cut, stderr) = run(&mut stream(&format!("ws://{}", network.addr), &["--speed", "max"]));
        assert_eq!((code, network.n_cut.load(Ordering::SeqCst)), (0, n), "{stderr}");
        assert!(stderr.contains("trying again in") && stderr.contains("connected again"), "{stderr}");
        assert_eq!(replay(&cut), (whole.clone(), Some(EndReason::Closed)));
    }
}

/// Numbers of events as they come, with their times: at least twenty over three seconds.
fn first_events(output: impl std::io::Read) -> Vec<(Instant, u64)> {
    let mut events: Vec<(Instant, u64)> = Vec::new();
    for line in BufReader::new(output).lines() {
        let message = ServerMessage::parse(&line.unwrap()).unwrap();
        events.extend(message.seq.map(|seq| (Instant::now(), seq)));
        if events.len() >= 20 && events[events.len() - 1].0 - events[0].0 > Duration::from_secs(3) {
            break;
        }
    }
    events
}

#[test]
fn a_killed_server_loses_less_than_a_second_of_what_it_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = format!("storage.path={}", folder.path().join("sessions.sqlite").display());
    let ends = ["--set", &path, "--set", "server.resume_grace_s=0"];
    let server = Server::start(&ends);
    let (code, ..) = run(&mut stream(&server.url, &["--speed", "max", "--session", "before"]));
    assert_eq!(code, 0);
    let mut publisher = stream(&server.url, &["--speed", "4", "--session", "talk"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let heard = first_events(publisher.stdout.take().unwrap());
    server.signal("KILL");
    let killed_at = Instant::now();
    assert_eq!(server.wait(), None);
    publisher.kill().unwrap();
    publisher.wait().unwrap();

    let server = Server::start(&ends);
    server.wait_for_log("kept as interrupted");
    let (_, list) = server.http("GET", "/v1/sessions");
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    let of =
        |id: &str| list["sessions"].as_array().unwrap().iter().find(|s| s["session"] == id).cloned().unwrap();
    assert_eq!((&of("before")["reason"], &of("before")["live"]), (&"closed".into(), &false.into()));
    assert_eq!((&of("talk")["reason"], &of("talk")["live"]), (&"interrupted".into(), &false.into()));
    let last = of("talk")["seq"].as_u64().unwrap();
    let old: Vec<_> = heard.iter().filter(|(at, _)| killed_at - *at > Duration::from_secs(1)).collect();
    assert!(old.len() > 5, "enough was said before the last second: {}", heard.len());
    assert!(
        last > old.last().unwrap().1,
        "event {} of more than a second before is lost",
        old.last().unwrap().1
    );

    let events = ["listen", &server.url, "--session", "talk", "--since", "0", "--json"];
    let (code, events, _) = run(&mut diarized(&events));
    assert_eq!(code, 0);
    let (state, ended) = replay(&events);
    assert_eq!(ended, Some(EndReason::Interrupted));
    let (_, snapshot) = server.http("GET", "/v1/sessions/talk.json");
    let Body::Snapshot(snapshot) = ServerMessage::parse(&snapshot).unwrap().body else {
        panic!("{snapshot}")
    };
    assert_eq!((&snapshot.to_state().unwrap(), snapshot.live), (&state, false));
    let (status, rttm) = server.http("GET", "/v1/sessions/talk.rttm");
    let n_parts: usize = state.segments().map(|segment| segment.speech.len()).sum();
    assert_eq!((status, rttm.lines().count()), (200, n_parts));
    assert_eq!(server.http("DELETE", "/v1/sessions/talk").0, 204);
    assert_eq!(server.http("GET", "/v1/sessions/talk").0, 404);
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    // What was forgotten stays so, and the other one is still there.
    let server = Server::start(&["--set", &path]);
    assert_eq!(server.http("GET", "/v1/sessions/talk").0, 404);
    assert_eq!(server.http("GET", "/v1/sessions/before.vtt").0, 200);
}

#[test]
fn a_terminated_server_keeps_all_that_was_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = format!("storage.path={}", folder.path().join("sessions.sqlite").display());
    let server = Server::start(&["--set", &path, "--set", "server.resume_grace_s=0"]);
    let mut publisher = stream(&server.url, &["--speed", "4", "--session", "talk"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(publisher.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut heard = String::new();
    let mut hear = |line: String| heard.push_str(&(line + "\n"));
    // Somebody speaks, and has not come to an end.
    let mut open = None;
    for line in lines.by_ref() {
        if let Body::Segment(segment) = ServerMessage::parse(&line).unwrap().body {
            open = (!segment.is_final).then_some(segment.id);
        }
        hear(line);
        if open.is_some() {
            break;
        }
    }
    server.signal("TERM");
    lines.for_each(&mut hear);
    assert_eq!(publisher.wait().unwrap().code(), Some(1));
    assert_eq!(server.wait(), Some(0));
    let (said, reason) = replay(&heard);
    assert_eq!(reason, Some(EndReason::Shutdown));
    let open = said.segment(diarized_models::SegmentId(open.unwrap()));
    assert!(open.is_some_and(|segment| segment.is_final), "the open segment arrives: {open:?}");
    assert!(said.segments().all(|segment| segment.is_final));
    let server = Server::start(&["--set", &path]);
    let events = ["listen", &server.url, "--session", "talk", "--since", "0", "--json"];
    let (_, events, _) = run(&mut diarized(&events));
    assert_eq!(replay(&events), (said, reason));
}

/// The certificate that a server shows.
fn certificate_of(server: &Server, authority: &Path) -> CertificateDer<'static> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut tls =
        ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap();
    let mut tcp = TcpStream::connect(server.addr).unwrap();
    while tls.is_handshaking() {
        tls.complete_io(&mut tcp).unwrap();
    }
    tls.peer_certificates().unwrap()[0].clone().into_owned()
}

/// A server with tokens and a certificate.
const GUARDED: &str = "[server]\ntoken_file = \"tokens\"\ntls_certificate = \"server.pem\"\ntls_key = \"server.key\"\n\
    [log]\nlevel = \"debug\"\n";

#[test]
fn tokens_and_certificates_guard_a_server_and_are_loaded_again() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls");
    let authority = fixtures.join("authority.pem");
    let put = |name: &str| {
        std::fs::copy(fixtures.join(format!("{name}.pem")), at("server.pem")).unwrap();
        std::fs::copy(fixtures.join(format!("{name}.key")), at("server.key")).unwrap();
    };
    put("first");
    let tokens = at("tokens");
    let add = |name: &str, scope: &str| {
        let args = ["token", "add", name, "--scope", scope, "--file", &tokens];
        let (code, stdout, stderr) = run(&mut diarized(&args));
        assert_eq!(code, 0, "{stderr}");
        stdout.trim().to_owned()
    };
    let (good, other) = (add("laptop", "publish"), add("screen", "subscribe"));
    std::fs::write(at("diarized.toml"), GUARDED).unwrap();
    let server = Server::start(&["--config", &at("diarized.toml")]);
    assert!(server.url.starts_with("wss://"));
    let ca = ["--ca", authority.to_str().unwrap(), "--speed", "max"];
    let play = |token: &str, rest: &[&str]| run(stream(&server.url, rest).env("DIARIZED_TOKEN", token));
    let (code, json, stderr) = play(&good, &ca);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(replay(&json).1, Some(EndReason::Closed));
    for (token, code, said) in
        [("", 4401, "a token is needed"), (&other, 4403, "lacks the scope \"publish\"")]
    {
        let (exit, _, stderr) = play(token, &ca);
        assert!(exit == 1 && stderr.contains(&format!("with {code}: ")) && stderr.contains(said), "{stderr}");
    }
    let (exit, _, stderr) = play(&good, &["--speed", "max"]);
    assert!(
        exit == 1 && stderr.contains("certificate"),
        "an authority that the system does not know: {stderr}"
    );

    let of = |name: &str| CertificateDer::from_pem_file(fixtures.join(format!("{name}.pem"))).unwrap();
    assert_eq!(certificate_of(&server, &authority), of("first"));
    put("second");
    let (code, list, _) = run(&mut diarized(&["token", "list", "--file", &tokens]));
    assert!(code == 0 && list.contains("laptop") && !list.contains(&good), "{list}");
    assert_eq!(run(&mut diarized(&["token", "revoke", "laptop", "--file", &tokens])).0, 0);
    server.signal("HUP");
    server.wait_for_log("were loaded again");
    assert_eq!(certificate_of(&server, &authority), of("second"));
    let (exit, _, stderr) = play(&good, &ca);
    assert!(exit == 1 && stderr.contains("4401"), "{stderr}");
    // A certificate that is no good changes nothing.
    std::fs::write(at("server.pem"), "nothing").unwrap();
    server.signal("HUP");
    server.wait_for_log("the certificate stays as it was");
    assert_eq!(certificate_of(&server, &authority), of("second"));
    for secret in [&good, &other] {
        assert!(!server.log().contains(&secret[3..]), "a token is in the log");
    }
}

#[test]
fn the_service_manager_is_told_and_the_log_level_follows_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let told = |wanted: &str| {
        let mut bytes = [0; 1024];
        loop {
            let n = socket.recv(&mut bytes).unwrap();
            let text = String::from_utf8_lossy(&bytes[..n]);
            if text.lines().any(|line| line == wanted) {
                return;
            }
            // The watchdog may come at any time, all else only when it is expected.
            assert!(text.starts_with("WATCHDOG=1"), "{text} instead of {wanted}");
        }
    };
    let config = folder.path().join("diarized.toml");
    std::fs::write(&config, "[log]\nlevel = \"error\"\n").unwrap();
    let mut command = diarized(&["serve", "--listen", "127.0.0.1:0", "--config", config.to_str().unwrap()]);
    command.env("NOTIFY_SOCKET", folder.path().join("notify")).env("WATCHDOG_USEC", "200000");
    let server = Server::run(command);
    told("READY=1");
    told("WATCHDOG=1");
    told("WATCHDOG=1");
    std::fs::write(&config, "[server]\nmax_sessions = 3\n[log]\nlevel = \"info\"\nformat = \"text\"\n")
        .unwrap();
    server.signal("HUP");
    told("RELOADING=1");
    told("READY=1");
    server.wait_for_log("log.level");
    server.wait_for_log("server.max_sessions");
    std::fs::write(&config, "[log]\nlevel = \"loud\"\n").unwrap();
    server.signal("HUP");
    told("RELOADING=1");
    told("READY=1");
    server.wait_for_log("stays as it was");
    assert_eq!(server.http("GET", "/healthz").0, 200);
    server.signal("TERM");
    told("STOPPING=1");
    assert_eq!(server.wait(), Some(0));
}

#[test]
fn what_is_packaged_is_there_and_the_packaged_configuration_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let man = folder.path().join("man");
    assert_eq!(run(&mut diarized(&["man", man.to_str().unwrap()])).0, 0);
    let page = std::fs::read_to_string(man.join("diarized-serve.1")).unwrap();
    assert!(page.contains("allow\\-insecure"), "{page}");
    for shell in ["bash", "zsh", "fish"] {
        let (code, script, _) = run(&mut diarized(&["completions", shell]));
        assert!(code == 0 && script.contains("serve"), "{shell}");
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = root.join("../packaging/diarized.toml");
    let (code, _, stderr) = run(&mut diarized(&["config", "--check", config.to_str().unwrap()]));
    assert_eq!((code, stderr.as_str()), (0, ""));
    // Every file that the package names and that is not made by the build.
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let assets = manifest.split_once("assets = [").unwrap().1;
    let named: Vec<_> =
        assets.lines().filter_map(|l| l.trim().strip_prefix("[\"")?.split('"').next()).collect();
    assert!(named.len() > 10, "{named:?}");
    for path in named.iter().filter(|path| !path.contains("target/")) {
        assert!(root.join(path).is_file(), "{path}");
    }
    // What the unit starts is what the package installs.
    let unit = std::fs::read_to_string(root.join("../packaging/systemd/diarized.service")).unwrap();
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    assert_eq!(start, "/usr/bin/diarized serve --config /etc/diarized/diarized.toml");
    for sandbox in [
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "CapabilityBoundingSet=\n",
        "Type=notify\n",
        "ExecReload=/bin/sh -c 'kill -HUP ${MAINPID}'\n",
    ] {
        assert!(unit.contains(sandbox), "{sandbox}");
    }
}
