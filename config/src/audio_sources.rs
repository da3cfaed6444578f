//! `[sources]`: audio that the daemon fetches by itself.

use std::fmt;
use std::time::Duration;

use crate::origin::Value;
use crate::outgoing::is_line;
use crate::reader::Reader;

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
    fn parse(text: &str) -> Option<Self> {
        let (name, url) = text.split_once('=')?;
        let (name, url) = (name.trim(), url.trim());
        let is_name = (1..=64).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        let is_url = is_line(url) && !url.contains(',') && (url == "-" || !url.starts_with('-'));
        (is_name && is_url).then(|| Self { name: name.to_owned(), url: url.to_owned() })
    }
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
        const EXPECTED: &str = "sources as \"NAME=URL\", such as \"kitchen=rtsp://camera/1\"; NAME is 1 to 64 letters, digits, - and _; a comma \
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
        for bad in ["rtsp://a", "=a", "a b=c", "a=", "a=-x", "a=b,c", "a=b\nc"] {
            assert_eq!(AudioSource::parse(bad), None, "{bad}");
        }
        assert!(AudioSource::parse("stdin=-").is_some());
    }
}
