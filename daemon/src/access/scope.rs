//! Scopes of tokens.

use std::fmt;

use strum::{EnumString, IntoStaticStr, VariantArray};

/// What a token allows.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    EnumString,
    IntoStaticStr,
    VariantArray,
    strum::VariantNames,
)]
#[strum(serialize_all = "snake_case")]
pub enum Scope {
    /// Send audio, and correct the labels.
    Publish,
    /// Read sessions and follow them.
    Subscribe,
    /// Manage and match voiceprints.
    Voices,
    /// Read the metrics.
    Metrics,
    /// Everything, and to end and forget sessions.
    Admin,
}

impl Scope {
    /// Every scope.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// The word in the token file and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// A set of scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes(u8);

impl Scopes {
    /// Every scope.
    #[must_use]
    pub fn all() -> Self {
        Scope::ALL.iter().copied().collect()
    }

    /// Whether `scope` is granted; `admin` grants everything.
    #[must_use]
    pub fn allow(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u8 | 1 << Scope::Admin as u8) != 0
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |all, scope| all | 1 << scope as u8))
    }
}

impl fmt::Display for Scopes {
    /// The words, separated by commas.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<_> =
            Scope::ALL.iter().copied().filter(|s| self.0 & 1 << *s as u8 != 0).map(Scope::as_str).collect();
        f.write_str(&words.join(","))
    }
}
