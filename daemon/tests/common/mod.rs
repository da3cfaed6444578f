//! The real binary as a person runs it, and the example conversation; each test takes what it needs.
#![allow(dead_code, reason = "this is compiled into every test, and hardly one of them uses all of it")]

use std::io::{BufRead, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// A program with an environment that holds none of our variables.
pub(crate) fn clean(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("DIARIZED_") {
            command.env_remove(name);
        }
    }
    command
}

/// The binary with such an environment.
pub(crate) fn diarized(args: &[&str]) -> Command {
    let mut command = clean(env!("CARGO_BIN_EXE_diarized"));
    command.args(args);
    command
}

/// The same, started in `folder`.
pub(crate) fn diarized_in(folder: &Path, args: &[&str]) -> Command {
    let mut command = diarized(args);
    command.current_dir(folder);
    command
}

/// Exit code, standard output and standard error, which never tells of a panic.
pub(crate) fn run(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert!(!stderr.contains("panicked"), "{command:?}: {stderr}");
    let code = status.code().unwrap_or_else(|| panic!("{command:?} was killed: {stderr}"));
    (code, String::from_utf8(stdout).unwrap(), stderr)
}

/// Address of a plain server, from the line in which it reports that it is ready.
pub(crate) fn address_of_ready(mut stdout: impl BufRead) -> String {
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    let (_, rest) = line.split_once("is ready at http://").unwrap_or_else(|| panic!("not ready: {line:?}"));
    rest.split(' ').next().unwrap().to_owned()
}

/// Status and body of a request to the plain server at `addr`.
pub(crate) fn request(addr: &str, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut tcp = TcpStream::connect(addr).unwrap();
    let n = body.len();
    write!(
        tcp,
        "{method} {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\nContent-Length: {n}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// Waits until `look` finds something, a minute at most.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{what} does not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The example conversation.
pub(crate) fn conversation() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/example/conversation.flac")
}

/// The first seconds of the example conversation, or all of it; mono at 16 kHz.
pub(crate) fn speech(seconds: Option<usize>) -> Vec<f32> {
    let mut audio = diarized::audio_file::AudioFile::open(&conversation()).unwrap();
    assert_eq!((audio.sample_rate_hz(), audio.n_channels()), (16_000, 1));
    let n_wanted = seconds.map_or(usize::MAX, |seconds| seconds * 16_000);
    let (mut samples, mut block) = (Vec::new(), Vec::new());
    while samples.len() < n_wanted && audio.read(&mut block).unwrap() {
        samples.extend_from_slice(&block);
    }
    samples.truncate(n_wanted);
    samples
}
