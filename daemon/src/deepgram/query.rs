//! The query of `/v1/listen`: what is offered, and a clear no to the rest; pure.

use crate::protocol::lenient::read_number;
use crate::protocol::{AudioFormat, Encoding};

/// What a client wants.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wishes {
    pub(super) format: AudioFormat,
    /// Whether words have their speakers.
    pub(super) diarize: bool,
    /// Whether words that may still change are sent.
    pub(super) interim_results: bool,
    /// Whether the begin of speech is sent.
    pub(super) vad_events: bool,
    pub(super) model: String,
}

/// Parameters that choose a recogniser. The recogniser of the configuration takes their place.
const OF_THE_RECOGNISER: [&str; 3] = ["model", "language", "version"];
/// Switches that are not offered; switched off they are taken.
const NOT_OFFERED: [&str; 14] = [
    "punctuate",
    "smart_format",
    "numerals",
    "profanity_filter",
    "dictation",
    "filler_words",
    "measurements",
    "multichannel",
    "detect_language",
    "detect_entities",
    "no_delay",
    "endpointing",
    "utterances",
    "paragraphs",
];

/// Reads the query.
///
/// # Errors
/// The parameter that is not offered, or whose value is not.
pub(super) fn read(query: &[(String, String)]) -> Result<Wishes, String> {
    let mut encoding = None;
    let mut format = AudioFormat::default();
    let (mut diarize, mut interim_results, mut vad_events) = (false, false, false);
    let mut model = "general".to_owned();
    let mut has_rate = false;
    for (key, value) in query {
        match key.as_str() {
            "encoding" => {
                encoding = Some(match value.as_str() {
                    "linear16" => Encoding::PcmS16le,
                    "linear32" => Encoding::PcmF32le,
                    "mulaw" => Encoding::Mulaw,
                    _ => {
                        return Err(format!(
                            "encoding ({}) must be linear16, linear32 or mulaw",
                            shown(value)
                        ));
                    }
                });
            }
            "sample_rate" => {
                has_rate = true;
                format.sample_rate = number(key, value)?;
            }
            "channels" => format.channels = number(key, value)?,
            "diarize" => diarize = switch(key, value)?,
            // There is one diarizer; whichever version is asked for, it is meant.
            "diarize_model" if ["v1", "latest"].contains(&value.as_str()) => diarize = true,
            "diarize_model" => return Err(format!("diarize_model ({}) must be v1 or latest", shown(value))),
            "interim_results" => interim_results = switch(key, value)?,
            "vad_events" => vad_events = switch(key, value)?,
            "mip_opt_out" => {
                switch(key, value)?;
            }
            key if OF_THE_RECOGNISER.contains(&key) => {
                if key == "model" {
                    model = shown(value);
                }
            }
            key if NOT_OFFERED.contains(&key) => {
                if value != "false" {
                    return Err(format!("{key} is not offered here: leave it out, or set it to false"));
                }
            }
            _ => return Err(format!("{} is not offered here: leave it out", shown(key))),
        }
    }
    let Some(encoding) = encoding else {
        return Err(
            "encoding is needed: linear16, linear32 or mulaw; files and containers are not offered here"
                .to_owned(),
        );
    };
    if !has_rate {
        return Err("sample_rate is needed, 8000 to 48000".to_owned());
    }
    format.encoding = encoding;
    format.check().map_err(|error| error.to_string())?;
    Ok(Wishes { format, diarize, interim_results, vad_events, model })
}

fn switch(key: &str, value: &str) -> Result<bool, String> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(format!("{key} ({}) must be true or false", shown(value))),
    }
}

fn number<T: std::str::FromStr>(key: &str, value: &str) -> Result<T, String> {
    read_number(value).ok_or_else(|| format!("{key} ({}) is not a number in range", shown(value)))
}

/// What a client sent, cut to what an answer may repeat.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Wishes, String> {
        let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
        read(&pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect::<Vec<_>>())
    }

    #[test]
    fn what_is_offered_is_taken() {
        let wishes = of(
            "model=nova-3&encoding=linear16&sample_rate=48000.0&channels=2&diarize=true&smart_format=false",
        );
        let wishes = wishes.unwrap();
        assert_eq!((wishes.format.sample_rate, wishes.format.channels, wishes.diarize), (48_000, 2, true));
        assert_eq!((wishes.model.as_str(), wishes.interim_results), ("nova-3", false));
    }

    #[test]
    fn what_is_not_offered_is_named() {
        let usual = "encoding=linear16&sample_rate=16000";
        for (more, named) in [
            ("smart_format=true", "smart_format is not offered"),
            ("callback=http://a", "callback is not offered"),
            ("endpointing=300", "endpointing is not offered"),
            ("diarize=1", "diarize (1) must be true or false"),
            ("keywords=a", "keywords is not offered"),
            ("channels=99", "channels (99)"),
        ] {
            let fault = of(&format!("{usual}&{more}")).unwrap_err();
            assert!(fault.starts_with(named), "{fault}");
        }
        assert!(of("encoding=opus&sample_rate=16000").unwrap_err().starts_with("encoding (opus)"));
        assert!(of("sample_rate=16000").unwrap_err().starts_with("encoding is needed"));
        assert!(of("encoding=mulaw").unwrap_err().starts_with("sample_rate is needed"));
    }
}
