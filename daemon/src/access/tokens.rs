//! The token file: one line per token with its name, scopes and hash. The tokens themselves are not stored.

use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use time::{Date, Month};

use super::limits::{TenantId, TokenLimits};
use super::scope::{Scope, Scopes};
use crate::private_file::{self, OWNER_AND_GROUP};
use crate::secret::{SecretHash, random_hex};
use crate::whole_file::write_whole_file_with_mode;

/// What every token begins with, so that people and scanners recognise one.
const PREFIX: &str = "dz_";
/// Randomness in a token: more than can ever be guessed, which is why a fast hash suffices.
const TOKEN_BYTES: usize = 24;
/// The most that is read of a token file, in bytes.
const MAX_FILE_BYTES: usize = 1 << 20;

const HEADER: &str = "\
# Tokens of diarized, one a line: name, scopes, SHA-256 of the token, day of making, and its limits if it has some.
# Made by `diarized token`; a server loads the file again on SIGHUP.
";

/// One token, without the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What people call it.
    pub name: String,
    /// What it allows.
    pub scopes: Scopes,
    /// When it was made, in days since 1970.
    pub made_day: u64,
    /// How much it may use.
    pub limits: TokenLimits,
    /// The tenant of the token: a mark of its name.
    pub(super) tenant: TenantId,
    hash: SecretHash,
}

impl Entry {
    /// Whether it is the same token with the same rights, whatever its limits are.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        (&self.name, self.scopes, self.made_day, &self.hash)
            == (&other.name, other.scopes, other.made_day, &other.hash)
    }

    /// The day of making, as `2026-01-31`.
    #[must_use]
    pub fn made_on(&self) -> String {
        date_of(self.made_day)
    }
}

/// Why a token file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenFileError {
    /// It cannot be read or written.
    #[error("cannot {what} the token file {}", path.display())]
    Io {
        /// `read`, `write` or `lock`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// It is not there.
    #[error(
        "there is no token file {path}: make one with `diarized token add NAME --scope SCOPE --file {path}`, or let \
         `diarized serve --first-token` make it", path = path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A line is not a token's.
    #[error("{}:{line}: {reason}; a line reads NAME SCOPES SHA256 DAY [LIMIT…], and `diarized token add` writes one", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// Two tokens cannot share a name.
    #[error("there is a token {name:?} already; revoke it first or choose another name")]
    Taken {
        /// The name.
        name: String,
    },
}

/// All tokens of a server.
#[derive(Debug, Clone, Default)]
pub struct Tokens(Vec<Arc<Entry>>);

/// Whether `name` may name a token: 1 to 64 letters, digits, `-`, `_` and `.`.
#[must_use]
pub fn is_token_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

impl Tokens {
    /// Reads a token file.
    ///
    /// # Errors
    /// [`TokenFileError`]
    pub fn load(path: &Path) -> Result<Self, TokenFileError> {
        let io = |source| TokenFileError::Io { what: "read", path: path.to_owned(), source };
        let text = std::fs::read_to_string(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => TokenFileError::Missing { path: path.to_owned() },
            _ => io(source),
        })?;
        if text.len() > MAX_FILE_BYTES {
            return Err(io(io::Error::other(format!("it is larger than {MAX_FILE_BYTES} bytes"))));
        }
        Self::parse(&text).map_err(|(line, reason)| TokenFileError::Line {
            path: path.to_owned(),
            line,
            reason,
        })
    }

    fn parse(text: &str) -> Result<Self, (usize, String)> {
        let mut tokens = Self::default();
        for (idx, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let entry = entry(line).map_err(|reason| (idx + 1, reason))?;
            if tokens.0.iter().any(|known| known.name == entry.name) {
                return Err((idx + 1, format!("a second token is called {:?}", entry.name)));
            }
            tokens.0.push(Arc::new(entry));
        }
        Ok(tokens)
    }

    /// The token file's text.
    #[must_use]
    pub fn to_text(&self) -> String {
        self.0.iter().fold(HEADER.to_owned(), |mut out, entry| {
            // Writing to a string cannot fail.
            let Entry { name, scopes, hash, limits, .. } = &**entry;
            let _ = writeln!(
                out,
                "{}",
                format!("{name} {scopes} {hash} {} {limits}", entry.made_on()).trim_end()
            );
            out
        })
    }

    /// Writes the token file, whole or not at all, readable by its owner and group.
    ///
    /// # Errors
    /// [`TokenFileError::Io`]; the file is as it was.
    pub fn save(&self, path: &Path) -> Result<(), TokenFileError> {
        let io = |source| TokenFileError::Io { what: "write", path: path.to_owned(), source };
        write_whole_file_with_mode(path, self.to_text().as_bytes(), OWNER_AND_GROUP).map_err(io)
    }

    /// Exclusive lock for changes of the token file, until the result is dropped or the process ends; waits for the present
    /// holder. Readers need no lock, since the file is replaced atomically.
    ///
    /// # Errors
    /// [`TokenFileError::Io`]
    pub fn lock(path: &Path) -> Result<File, TokenFileError> {
        let io = |source| TokenFileError::Io { what: "lock", path: path.to_owned(), source };
        let mut beside = path.as_os_str().to_owned();
        beside.push("-lock");
        let lock = private_file::open_or_create(&PathBuf::from(beside)).map_err(io)?;
        lock.lock().map_err(io)?;
        Ok(lock)
    }

    /// Every token, in the order of the file.
    #[must_use]
    pub fn entries(&self) -> &[Arc<Entry>] {
        &self.0
    }

    /// The entry of a token.
    #[must_use]
    pub fn find(&self, token: &str) -> Option<&Arc<Entry>> {
        self.0.iter().find(|entry| entry.hash.fits(token))
    }

    /// Makes a token and gives it, which nothing will again.
    ///
    /// # Errors
    /// [`TokenFileError::Taken`]
    pub fn add(&mut self, name: &str, scopes: Scopes) -> Result<String, TokenFileError> {
        if self.0.iter().any(|entry| entry.name == name) {
            return Err(TokenFileError::Taken { name: name.to_owned() });
        }
        let token = format!("{PREFIX}{}", random_hex(TOKEN_BYTES));
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let (hash, made_day) = (SecretHash::of(&token), seconds / 86_400);
        let (limits, tenant) = (TokenLimits::default(), TenantId::of(name));
        self.0.push(Arc::new(Entry { name: name.to_owned(), scopes, made_day, limits, tenant, hash }));
        Ok(token)
    }

    /// Changes the limits of a token. Whether there is one of this name.
    pub fn limit(&mut self, name: &str, change: impl FnOnce(&mut TokenLimits)) -> bool {
        let Some(entry) = self.0.iter_mut().find(|entry| entry.name == name) else { return false };
        change(&mut Arc::make_mut(entry).limits);
        true
    }

    /// Forgets a token. Whether there was one of this name.
    pub fn revoke(&mut self, name: &str) -> bool {
        let before = self.0.len();
        self.0.retain(|entry| entry.name != name);
        self.0.len() < before
    }
}

fn entry(line: &str) -> Result<Entry, String> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [name, scopes, hash, day, ref limits @ ..] = fields[..] else {
        return Err(format!("{} fields", fields.len()));
    };
    if !is_token_name(name) {
        return Err(format!("name ({name:?}) must be 1 to 64 letters, digits, -, _ and ."));
    }
    let scope = |word: &str| word.parse::<Scope>().map_err(|_| format!("there is no scope {word:?}"));
    let scopes = scopes.split(',').map(scope).collect::<Result<Scopes, String>>()?;
    let hash = SecretHash::parse(hash).ok_or("the hash is not 64 hexadecimal digits")?;
    let made_day = day_of(day).ok_or_else(|| format!("{day:?} is no day"))?;
    let (limits, tenant) = (TokenLimits::parse(limits)?, TenantId::of(name));
    Ok(Entry { name: name.to_owned(), scopes, made_day, limits, tenant, hash })
}

/// Julian day number of 1970-01-01.
const EPOCH_JULIAN_DAY: i32 = 2_440_588;

/// The calendar date of a day since 1970; the last one that a date has beyond the year 9999.
pub(crate) fn date_of(day: u64) -> String {
    let julian = i32::try_from(day).ok().and_then(|day| EPOCH_JULIAN_DAY.checked_add(day));
    let date = julian.and_then(|day| Date::from_julian_day(day).ok()).unwrap_or(Date::MAX);
    format!("{:04}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day())
}

/// The day of a calendar date as [`date_of`] writes it, from 1970 on.
fn day_of(date: &str) -> Option<u64> {
    let fields: Vec<&str> = date.split('-').collect();
    let [year, month, day] = fields[..] else { return None };
    let month = Month::try_from(month.parse::<u8>().ok()?).ok()?;
    let found = Date::from_calendar_date(year.parse().ok()?, month, day.parse().ok()?).ok()?;
    let since = u64::try_from(found.to_julian_day() - EPOCH_JULIAN_DAY).ok()?;
    (date_of(since) == date).then_some(since)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_file_round_trips_and_holds_no_token() {
        let mut tokens = Tokens::default();
        let ada = tokens.add("ada", Scopes::all()).unwrap();
        tokens.add("bob.laptop", [Scope::Subscribe].into_iter().collect()).unwrap();
        assert!(tokens.limit("bob.laptop", |limits| limits.max_sessions = Some(3)));
        assert!(!tokens.limit("eve", |limits| limits.max_sessions = None));
        assert!(ada.starts_with("dz_") && ada.len() == 51);
        assert!(matches!(tokens.add("ada", Scopes::all()), Err(TokenFileError::Taken { .. })));
        let text = tokens.to_text();
        assert!(!text.contains(&ada[3..]));
        assert!(text.ends_with(" max_sessions=3\n"), "{text}");
        let read = Tokens::parse(&text).unwrap();
        assert_eq!(read.entries(), tokens.entries());
        assert_eq!(read.find(&ada).unwrap().name, "ada");
        assert!(read.find("dz_0").is_none());
    }

    #[test]
    fn what_is_wrong_with_a_line_is_said_with_its_number() {
        let hash = SecretHash::of("x");
        let cases = [
            ("ada publish", "2 fields"),
            (&format!("ä publish {hash} 2026-01-31"), "name (\"ä\")"),
            (&format!("ada write {hash} 2026-01-31"), "no scope \"write\""),
            ("ada publish 0123 2026-01-31", "64 hexadecimal digits"),
            (&format!("ada publish {hash} 2026-02-30"), "\"2026-02-30\" is no day"),
            (&format!("ada publish {hash} 2026-01-31 max_sessions=0"), "max_sessions (\"0\") must be"),
            (&format!("ada publish {hash} 2026-01-31 sessions=2"), "there is no limit \"sessions\""),
            (&format!("ada publish {hash} 2026-01-31\nada publish {hash} 2026-01-31"), "a second token"),
        ];
        for (line, expected) in cases {
            let (_, reason) = Tokens::parse(&format!("# comment\n\n{line}\n")).unwrap_err();
            assert!(reason.contains(expected), "{line}: {reason}");
        }
        let (line, _) = Tokens::parse("# comment\n\nada\n").unwrap_err();
        assert_eq!(line, 3);
    }

    #[test]
    fn a_file_that_is_not_there_is_said_with_what_makes_it() {
        let missing = tempfile::tempdir().unwrap().path().join("tokens");
        let error = Tokens::load(&missing).unwrap_err().to_string();
        let named = missing.to_str().unwrap();
        assert!(error.contains(named) && error.contains("diarized token add"), "{error}");
    }

    #[test]
    fn days_are_dates() {
        for (day, date) in
            [(0, "1970-01-01"), (11_016, "2000-02-29"), (20_484, "2026-01-31"), (47_541, "2100-03-01")]
        {
            assert_eq!((date_of(day).as_str(), day_of(date)), (date, Some(day)));
        }
        for bad in ["2026-1-31", "2026-02-29", "1969-12-31", "", "-", "99999-01-01"] {
            assert_eq!(day_of(bad), None, "{bad}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn the_file_is_not_for_everybody_and_is_replaced_whole() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        let mut tokens = Tokens::default();
        for name in ["a", "b"] {
            tokens.add(name, Scopes::all()).unwrap();
            tokens.save(&path).unwrap();
        }
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o007, 0);
        assert_eq!(Tokens::load(&path).unwrap().entries().len(), 2);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }
}
