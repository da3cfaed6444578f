//! What detects speech.

/// What detects speech.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpeechDetector {
    /// The built-in network. It decides 0.2 to 0.3 s late.
    Network,
    /// webrtc-vad.
    WebRtc {
        /// How readily it decides that a frame is noise, 0 to 3.
        mode: u8,
    },
}

/// Every detector and its word in the configuration.
pub const SPEECH_DETECTORS: [(&str, SpeechDetector); 5] = [
    ("network", SpeechDetector::Network),
    ("quality", SpeechDetector::WebRtc { mode: 0 }),
    ("low_bitrate", SpeechDetector::WebRtc { mode: 1 }),
    ("aggressive", SpeechDetector::WebRtc { mode: 2 }),
    ("very_aggressive", SpeechDetector::WebRtc { mode: 3 }),
];

impl SpeechDetector {
    /// The word in the configuration.
    #[must_use]
    pub fn word(self) -> &'static str {
        let known = SPEECH_DETECTORS.iter().find(|(_, detector)| *detector == self);
        known.map_or("webrtc", |(word, _)| word)
    }
}
