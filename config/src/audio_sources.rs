//! `[sources]`: audio that the daemon fetches by itself.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use crate::origin::Value;
use crate::outgoing::is_line;
use crate::reader::Reader;

/// Longest name of a source, in characters.
const MAX_NAME: usize = 64;

/// One source: its name and its address.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AudioSource {
    /// Name, which is the id of its session. Further sessions of the same id get a number.
    pub name: String,
    /// Address: a URL that ffmpeg opens, a path, `-`, `alsa:DEVICE`, `pulse:DEVICE`, or `pcm:` with a path or `-`.
    pub url: String,
}

impl AudioSource {
    /// Reads `NAME=URL`, or a URL alone, which gives the name too.
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Some((name, url)) = text.split_once('=')
            && is_name(name.trim())
        {
            let (name, url) = (name.trim(), url.trim());
            return is_url(url).then(|| Self { name: name.to_owned(), url: url.to_owned() });
        }
        (is_url(text) && !has_wrong_name(text)).then(|| Self { name: name_of(text), url: text.to_owned() })
    }
}

/// Whether something stands before a URL that was meant as its name.
fn has_wrong_name(text: &str) -> bool {
    let Some((name, url)) = text.split_once('=') else { return false };
    url.contains("://") && !name.contains([':', '/'])
}

/// Whether it can be the id of a session.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=MAX_NAME).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
}

/// Whether it can be an address: of one line, without the comma that separates addresses, and no option of a program.
pub(crate) fn is_url(text: &str) -> bool {
    is_line(text) && !text.contains(',') && (text == "-" || !text.starts_with('-'))
}

/// The name of a source without one: host and path of a URL, device, or the name of a file without its ending.
fn name_of(url: &str) -> String {
    let url = url.replace("%2C", ",").replace("%2c", ",");
    let rest = url.strip_prefix("pcm:").unwrap_or(&url);
    let shown = match rest.split_once("://") {
        _ if rest == "-" => "stdin",
        Some((_, rest)) => {
            let rest = rest.split(['?', '#']).next().unwrap_or_default();
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = authority.rsplit('@').next().unwrap_or_default();
            return clean(&format!("{host}{path}"));
        }
        None => match rest.split_once(':') {
            Some(("alsa" | "pulse", device)) => device,
            _ => Path::new(rest).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default(),
        },
    };
    clean(shown)
}

/// What is no part of a name becomes a hyphen, several of them one.
fn clean(text: &str) -> String {
    let words: Vec<&str> = text
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
        .collect();
    let name: String = words.join("-").chars().take(MAX_NAME).collect();
    if name.is_empty() { "source".to_owned() } else { name }
}

impl fmt::Display for AudioSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.url)
    }
}

/// `[sources]`: audio that the daemon fetches by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SourcesConfig {
    /// The sources; each is a session of its own. Default none.
    pub urls: Vec<AudioSource>,
    /// The program that opens them. Default `ffmpeg`.
    pub ffmpeg: String,
    /// Silence of a source, in the sense of no data, after which it is opened again. 2 s to 600 s, default 15 s.
    pub stall: Duration,
}

impl SourcesConfig {
    pub(crate) fn read(r: &mut Reader) -> Self {
        const EXPECTED: &str = "sources as \"URL\" or \"NAME=URL\", such as \"kitchen=rtsp://camera/1\"; NAME is 1 to 64 letters, digits, - and _; a comma \
             in a URL is written as %2C";
        let config = Self {
            urls: r.list_or_none("sources.urls", EXPECTED, AudioSource::parse),
            ffmpeg: r.parsed(
                "sources.ffmpeg",
                "a program",
                "ffmpeg".to_owned(),
                |text| is_line(text).then(|| text.to_owned()),
                |text| Value::Text(text.clone()),
            ),
            stall: r.seconds("sources.stall_s", 2.0..=600.0, 15.0),
        };
        let mut names: Vec<_> = config.urls.iter().map(|source| &source.name).collect();
        names.sort_unstable();
        let n_names = names.len();
        names.dedup();
        if names.len() < n_names {
            r.broken_rule("sources.urls", "of different names, and not looked for by", "sources.ffmpeg");
        }
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_has_a_name_and_an_address() {
        let source = AudioSource::parse(" hall = rtsp://a/b?c=d ").unwrap();
        assert_eq!((source.name.as_str(), source.url.as_str()), ("hall", "rtsp://a/b?c=d"));
        assert_eq!(AudioSource::parse(&source.to_string()), Some(source));
        for bad in
            ["", "a=", "a=-x", "-x", "a=b,c", "a=b\nc", "=http://a", "big hall=http://a", "кухня=rtsp://a/b"]
        {
            assert_eq!(AudioSource::parse(bad), None, "{bad}");
        }
        assert!(AudioSource::parse("stdin=-").is_some());
    }

    #[test]
    fn a_source_without_a_name_gets_it_from_its_address() {
        for (url, name) in [
            ("rtsp://ann:secret@camera.example:554/live/1?token=x", "camera-example-554-live-1"),
            ("udp://239.0.0.1:5004", "239-0-0-1-5004"),
            ("http://[::1]:8000/a=b", "1-8000-a-b"),
            ("pulse:hall_mic.monitor", "hall_mic-monitor"),
            ("alsa:hw:1,0", ""),
            ("talks/Monday talk.flac", "Monday-talk"),
            ("alsa:hw:1%2C0", "hw-1-0"),
            ("-", "stdin"),
            ("pcm:-", "stdin"),
            ("pcm:/run/mic.pcm", "mic"),
            ("речь.wav", "source"),
        ] {
            let source = AudioSource::parse(url);
            match name {
                "" => assert_eq!(source, None, "{url} has a comma"),
                _ => {
                    let source = source.unwrap();
                    assert_eq!((source.name.as_str(), source.url.as_str()), (name, url));
                    assert_eq!(AudioSource::parse(&source.to_string()), Some(source));
                }
            }
        }
    }
}
