//! The kinds of conversation that can be simulated.

use std::fmt;

/// What a simulated conversation is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Kind {
    /// A meeting in one room: turn-taking of real meetings.
    #[default]
    Meeting,
    /// A quick exchange: every speaker has 2 to 10 s and people answer each other at once.
    Quick,
    /// A call: every speaker has a band, a level and a µ-law line of their own.
    Telephone,
    /// A meeting in which one speaker is followed by an echo of 60 to 400 ms.
    Echo,
    /// A meeting whose microphone changes in the middle.
    Microphone,
    /// A meeting with one speaker far from the microphone.
    Far,
    /// A meeting over a bed of music.
    Music,
    /// A meeting whose speakers change pitch, rate and effort from turn to turn.
    Effort,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Meeting => "meeting",
            Self::Quick => "quick",
            Self::Telephone => "telephone",
            Self::Echo => "echo",
            Self::Microphone => "microphone",
            Self::Far => "far",
            Self::Music => "music",
            Self::Effort => "effort",
        })
    }
}
