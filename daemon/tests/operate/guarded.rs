//! Who may come in, what is written down of it, and what a deletion leaves behind.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Instant;

use super::common::{diarized, run, until};
use super::server::{PATIENCE, Server};
use super::stream;

/// Status and body of a request with this token and body.
pub(super) fn http_as(server: &Server, token: &str, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut tcp = TcpStream::connect(server.addr).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    let (addr, n) = (server.addr, body.len());
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {n}\r\n\r\n{body}"
    );
    tcp.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

pub(super) fn add(tokens: &str, name: &str, scope: &str) -> String {
    add_limited(tokens, name, scope, &[])
}

pub(super) fn add_limited(tokens: &str, name: &str, scope: &str, limits: &[&str]) -> String {
    let args = ["token", "add", name, "--scope", scope, "--file", tokens];
    let (code, stdout, stderr) = run(diarized(&args).args(limits));
    assert_eq!(code, 0, "{stderr}");
    stdout.trim().to_owned()
}

/// Plays the example under this id and waits for its end.
fn play(server: &Server, token: &str, id: &str) {
    let rest = ["--session", id, "--speed", "max"];
    let (code, _, stderr) = run(stream(&server.url, &rest).env("DIARIZED_TOKEN", token));
    assert_eq!(code, 0, "{stderr}");
}

/// Whether a file in this folder, or in one below it, holds the text.
fn holds(folder: &Path, text: &str) -> bool {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).any(|path| {
        if path.is_dir() {
            return holds(&path, text);
        }
        let bytes = std::fs::read(path).unwrap();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}

#[test]
fn a_publisher_cannot_touch_what_others_said_and_a_deletion_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens").to_str().unwrap().to_owned();
    let kept = folder.path().join("kept");
    let (ann, bob) = (add(&tokens, "ann", "publish,subscribe"), add(&tokens, "bob", "publish"));
    let admin = add(&tokens, "root", "admin");
    let (token_file, path) =
        (format!("server.token_file={tokens}"), format!("storage.path={}/sessions.sqlite", kept.display()));
    let server = Server::start(&["--set", &token_file, "--set", &path]);
    play(&server, &ann, "meeting");
    let (status, before) = http_as(&server, &ann, "GET", "/v1/sessions/meeting", "");
    assert_eq!(status, 200, "{before}");
    play(&server, &bob, "meeting");
    assert_eq!(http_as(&server, &ann, "GET", "/v1/sessions/meeting", "").1, before);
    let (status, second) = http_as(&server, &admin, "GET", "/v1/sessions/meeting-2", "");
    assert!(status == 200 && second.contains("\"meeting-2\""), "{second}");
    for token in [&ann, &bob] {
        assert_eq!(http_as(&server, token, "DELETE", "/v1/sessions/meeting", "").0, 403);
    }
    let long = format!("/v1/sessions/{}", "x".repeat(5000));
    assert_eq!(http_as(&server, &bob, "GET", &long, "").0, 403);

    // Both are on the disk before one of them goes.
    for id in ["meeting", "meeting-2"] {
        until("the stored session", || holds(&kept, &format!("\"session\":\"{id}\"")).then_some(()));
    }
    assert_eq!(http_as(&server, &admin, "DELETE", "/v1/sessions/meeting", "").0, 204);
    assert!(!holds(&kept, "\"session\":\"meeting\""), "the store is open, and nothing of it is in its files");
    assert!(holds(&kept, "\"session\":\"meeting-2\""));
    assert_eq!(http_as(&server, &admin, "GET", "/v1/sessions/meeting-2", "").0, 200);

    server.wait_for_log("was ended or deleted");
    let log = server.log();
    let logged = |words: &[&str]| log.lines().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(logged(&["opened", "meeting-2", "bob", "127.0.0.1"]), "{log}");
    assert!(logged(&["deleted", "meeting", "root", "127.0.0.1"]), "{log}");
    assert!(logged(&["turned away", "bob", "127.0.0.1"]) && !log.contains(&"x".repeat(200)), "{log}");
    for secret in [&ann, &bob, &admin] {
        assert!(!log.contains(&secret[3..]), "a token is in the log");
    }
}

#[test]
fn the_first_start_makes_a_token_and_no_other_does() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (code, _, stderr) = run(&mut diarized(&["serve", "--first-token", "--listen", "127.0.0.1:0"]));
    assert!(code == 78 && stderr.contains("server.token_file"), "{stderr}");
    let token_file = format!("server.token_file={}", at("tokens").display());
    let args = ["--first-token", "--set", &token_file];
    let server = Server::start(&args);
    let first = std::fs::read_to_string(at("first-token")).unwrap();
    assert_eq!(std::fs::metadata(at("first-token")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(server.http("GET", "/v1/sessions").0, 401);
    assert_eq!(http_as(&server, first.trim(), "GET", "/v1/sessions", "").0, 200);
    assert_eq!(http_as(&server, first.trim(), "GET", "/metrics", "").0, 200);
    assert!(!server.log().contains(first.trim()));
    drop(server);
    std::fs::remove_file(at("first-token")).unwrap();
    let before = std::fs::read(at("tokens")).unwrap();
    let server = Server::start(&args);
    assert!(!at("first-token").exists() && std::fs::read(at("tokens")).unwrap() == before);
    assert_eq!(http_as(&server, first.trim(), "GET", "/v1/sessions", "").0, 200);
}

#[test]
fn a_flood_of_refused_requests_does_not_fill_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens").to_str().unwrap().to_owned();
    add(&tokens, "anna", "publish");
    let server = Server::start(&["--set", &format!("server.token_file={tokens}")]);
    let began = Instant::now();
    for _ in 0..300 {
        assert_eq!(http_as(&server, "dz_unknown", "GET", "/v1/sessions", "").0, 401);
    }
    // A line a second after the first twenty; the next one has the number of those left out.
    until("the number of refusals without a line", || {
        assert_eq!(http_as(&server, "dz_unknown", "GET", "/v1/sessions", "").0, 401);
        let log = server.log();
        let left_out =
            log.lines().filter_map(|line| line.split_once("left_out=")?.1.split(' ').next()?.parse().ok());
        left_out.max().filter(|n: &u32| *n > 0)
    });
    let n_lines = server.log().matches("turned away").count();
    let most = 21 + began.elapsed().as_secs() as usize;
    assert!((20..=most).contains(&n_lines), "{n_lines} lines, at most {most}");
}

#[test]
fn tokens_that_are_added_at_once_are_all_there() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = folder.path().join("tokens").to_str().unwrap().to_owned();
    let names: Vec<String> = (0..12).map(|n| format!("token{n}")).collect();
    std::thread::scope(|scope| {
        for name in &names {
            scope.spawn(|| add(&tokens, name, "publish"));
        }
    });
    let (_, list, _) = run(&mut diarized(&["token", "list", "--file", &tokens]));
    assert!(names.iter().all(|name| list.contains(name)), "{list}");
    std::thread::scope(|scope| {
        for name in &names[1..] {
            let args = ["token", "revoke", name, "--file", &tokens];
            scope.spawn(move || assert_eq!(run(&mut diarized(&args)).0, 0));
        }
    });
    let (_, list, _) = run(&mut diarized(&["token", "list", "--file", &tokens]));
    assert_eq!((list.lines().count(), list.starts_with("token0")), (1, true), "{list}");
}

#[test]
fn what_is_packaged_is_closed_and_bounded() {
    let packaging = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging");
    let lines = |name: &str| {
        let text = std::fs::read_to_string(packaging.join(name)).unwrap();
        text.lines().filter(|l| !l.starts_with('#')).map(str::to_owned).collect::<Vec<_>>().join("\n")
    };
    let image = lines("Dockerfile");
    assert!(!image.contains("INSECURE") && image.contains("DIARIZED_SERVER_TOKEN_FILE="), "{image}");
    assert!(image.contains("CMD [\"serve\", \"--first-token\"]"), "{image}");
    let unit = lines("systemd/diarized.service");
    for key in ["LimitCORE=0", "MemoryMax=", "TasksMax="] {
        assert!(unit.lines().any(|line| line.starts_with(key)), "{key}");
    }
    assert!(lines("diarized.toml").contains("listen = [\"127.0.0.1:7007\"]"));
}
