//! How a source is opened, by its address; pure but for the start of the child.

use std::process::Stdio;

use tokio::io::AsyncRead;
use tokio::process::{Child, Command};

/// What kind of source an address names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A live stream, which is opened again when it ends.
    Live,
    /// A file, read in real time, to its end.
    File,
    /// A pipe or standard input, to its end.
    Pipe,
    /// Raw PCM of 16 kHz, mono, 16 bit, to its end.
    Raw,
}

impl Kind {
    /// The kind by the address. What a path names is looked at.
    pub(super) fn of(url: &str) -> Self {
        if url.starts_with("pcm:") {
            Self::Raw
        } else if url == "-" {
            Self::Pipe
        } else if is_device(url) || (url.contains("://") && path_of(url).is_none()) {
            Self::Live
        } else if std::fs::metadata(path_of(url).unwrap_or(url)).is_ok_and(|found| !found.is_file()) {
            Self::Pipe
        } else {
            Self::File
        }
    }

    /// Whether it is over when its data ends.
    pub(super) fn ends(self) -> bool {
        self != Self::Live
    }
}

/// The path in a `file://` URL.
fn path_of(url: &str) -> Option<&str> {
    url.strip_prefix("file://localhost/")
        .map(|_| &url["file://localhost".len()..])
        .or_else(|| url.strip_prefix("file://"))
}

fn is_device(url: &str) -> bool {
    ["alsa:", "pulse:"].into_iter().any(|prefix| url.starts_with(prefix))
}

/// An address as it is opened. In devices and paths %2C becomes a comma; in a URL it stays, since the server decodes it.
pub(super) fn plain(url: &str) -> String {
    if url.contains("://") { url.to_owned() } else { url.replace("%2C", ",").replace("%2c", ",") }
}

/// The arguments of ffmpeg for an address.
pub(super) fn arguments(url: &str, kind: Kind) -> Vec<String> {
    let mut all: Vec<String> = ["-hide_banner", "-loglevel", "warning"].map(str::to_owned).to_vec();
    let mut add = |texts: &[&str]| all.extend(texts.iter().map(|text| (*text).to_owned()));
    if url != "-" {
        add(&["-nostdin"]);
    }
    let input = match (url.split_once(':'), kind) {
        (Some((format @ ("alsa" | "pulse"), device)), Kind::Live) => {
            add(&["-f", format]);
            device.to_owned()
        }
        (_, Kind::Live) => {
            if url.starts_with("rtsp") {
                // Over TCP no packet is lost. The limit is in microseconds.
                add(&["-rtsp_transport", "tcp", "-timeout", "10000000"]);
            } else if url.starts_with("http") {
                add(&["-rw_timeout", "10000000"]);
            }
            url.to_owned()
        }
        (_, Kind::File) => {
            add(&["-re"]);
            format!("file:{}", path_of(url).unwrap_or(url))
        }
        _ if url == "-" => "pipe:0".to_owned(),
        _ => format!("file:{}", path_of(url).unwrap_or(url)),
    };
    add(&["-i", &input, "-map", "0:a:0", "-vn", "-sn", "-dn"]);
    // Where packets are missing there is silence, so that the clock stays right.
    add(&["-af", "aresample=async=1", "-ac", "1", "-ar", "16000", "-f", "s16le", "pipe:1"]);
    all
}

/// An opened source: its audio, and the child that it comes from.
pub(super) struct Input {
    pub(super) audio: Box<dyn AsyncRead + Unpin + Send>,
    pub(super) child: Option<Child>,
}

/// Opens a source.
pub(super) async fn open(url: &str, kind: Kind, ffmpeg: &str) -> std::io::Result<Input> {
    if let Some(path) = url.strip_prefix("pcm:") {
        let audio: Box<dyn AsyncRead + Unpin + Send> = match path {
            "-" => Box::new(tokio::io::stdin()),
            path => Box::new(tokio::fs::File::open(path).await?),
        };
        return Ok(Input { audio, child: None });
    }
    let stdin = if url == "-" { Stdio::inherit() } else { Stdio::null() };
    let mut child = program(ffmpeg)
        .args(arguments(url, kind))
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let audio = child.stdout.take().ok_or_else(|| std::io::Error::other("the child has no output"))?;
    Ok(Input { audio: Box::new(audio), child: Some(child) })
}

/// The program, as a child that ends with the daemon; where there is no `/proc`, when nobody reads its pipe.
#[cfg(target_os = "linux")]
fn program(ffmpeg: &str) -> Command {
    use super::child::{COMMAND, OURSELVES};

    if !std::path::Path::new(OURSELVES).exists() {
        return Command::new(ffmpeg);
    }
    let parent = std::process::id().to_string();
    let mut command = Command::new(OURSELVES);
    command.args([COMMAND, "--parent", &parent, "--", ffmpeg]);
    command
}

/// The program, which ends when nobody reads its pipe.
#[cfg(not(target_os = "linux"))]
fn program(ffmpeg: &str) -> Command {
    Command::new(ffmpeg)
}

/// An address without user and password, for logs.
pub(super) fn shown(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let path = path.split('?').next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_decides_how_it_is_opened() {
        assert_eq!(Kind::of("rtsp://camera/1"), Kind::Live);
        assert_eq!(Kind::of("pulse:default"), Kind::Live);
        assert_eq!(Kind::of("talk.flac"), Kind::File);
        assert_eq!(Kind::of("/dev/null"), Kind::Pipe);
        assert_eq!(Kind::of("-"), Kind::Pipe);
        assert_eq!(Kind::of("pcm:/tmp/a"), Kind::Raw);
        let of = |url: &str| arguments(url, Kind::of(url)).join(" ");
        assert!(
            of("rtsp://camera/1")
                .contains("-rtsp_transport tcp -timeout 10000000 -i rtsp://camera/1 -map 0:a:0")
        );
        assert!(of("alsa:hw:1,0").contains("-f alsa -i hw:1,0 "));
        assert_eq!(plain("alsa:hw:1%2C0"), "alsa:hw:1,0");
        assert_eq!(plain("rtsp://camera/a%2Cb"), "rtsp://camera/a%2Cb", "the server reads it");
        assert!(of("talk.flac").contains("-nostdin -re -i file:talk.flac "));
        for url in ["file:///tmp/talk.flac", "file://localhost/tmp/talk.flac"] {
            assert_eq!(Kind::of(url), Kind::File, "{url}");
            assert!(of(url).contains("-nostdin -re -i file:/tmp/talk.flac "), "{url}");
        }
        assert_eq!(Kind::of("file:///dev/null"), Kind::Pipe);
        assert!(of("-").contains("warning -i pipe:0 "));
        assert!(of("udp://0.0.0.0:5000").ends_with("-ac 1 -ar 16000 -f s16le pipe:1"));
    }

    #[test]
    fn secrets_of_an_address_are_not_logged() {
        assert_eq!(shown("rtsp://user:pw@camera:554/1?token=x"), "rtsp://camera:554/1");
        assert_eq!(shown("http://host"), "http://host");
        assert_eq!(shown("a/b.flac"), "a/b.flac");
    }
}
