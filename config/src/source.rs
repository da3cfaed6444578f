//! The three sources of values: a TOML file, environment variables, flags.

use std::ffi::OsString;
use std::io::Read as _;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use crate::config::{Config, Loaded};
use crate::fault::{ConfigError, Fault, FaultKind, Faults};
use crate::former;
use crate::layers::{ENV_PREFIX, Layers};
use crate::origin::Origin;
use crate::raw::{Raw, RawValue, raw_value, shorten};
use crate::reader::{Reader, SECTIONS};
use crate::source_tables::{SOURCE, SourceTables, URLS, added};

/// Variables with the prefix that name no key.
const RESERVED_VARIABLES: [&str; 3] = [CONFIG_VARIABLE, TOKEN_VARIABLE, VOICES_KEY_VARIABLE];
/// Variable of the path of the configuration file, used without a flag.
pub const CONFIG_VARIABLE: &str = "DIARIZED_CONFIG";
/// Variable of the token of the client commands.
pub const TOKEN_VARIABLE: &str = "DIARIZED_TOKEN";
/// Variable of the key of the voiceprint store; never part of the displayed configuration.
pub const VOICES_KEY_VARIABLE: &str = "DIARIZED_VOICES_KEY";
/// Size limit of a configuration file, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Collects the values of file, environment and flags, and makes one [`Config`] from them.
///
/// Flags override the environment, the environment overrides the file, the file overrides the defaults. The
/// configuration file is the only file opened.
#[derive(Debug, Default)]
pub struct Sources {
    layers: Layers,
    faults: Vec<Fault>,
    syntax_faults: Vec<Fault>,
}

impl Sources {
    /// No values: the defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the configuration file at `path`; [`Self::load`] reports faults of its content.
    ///
    /// # Errors
    /// [`ConfigError`] other than `Faults` if the file cannot be read as text.
    pub fn file(self, path: &Path) -> Result<Self, ConfigError> {
        let read_error = |source| ConfigError::Read { path: path.to_owned(), source };
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path).map_err(read_error)?;
        file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(read_error)?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(ConfigError::TooLong { path: path.to_owned(), limit: MAX_FILE_BYTES });
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(self.file_text(path, &text)),
            Err(error) => {
                Err(ConfigError::NotText { path: path.to_owned(), offset: error.utf8_error().valid_up_to() })
            }
        }
    }

    /// Adds `text` as the content of the configuration file named `path`, which is not opened.
    #[must_use]
    pub fn file_text(mut self, path: &Path, text: &str) -> Self {
        let line_of = |offset: usize| 1 + text.bytes().take(offset).filter(|b| *b == b'\n').count();
        let origin_of = |offset: usize| Origin::File { path: path.to_owned(), line: line_of(offset) };
        let (table, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            self.syntax_faults.extend(errors.iter().map(|error| Fault {
                origin: origin_of(error.span().map_or(0, |span| span.start)),
                kind: FaultKind::Syntax { message: error.message().lines().collect::<Vec<_>>().join(", ") },
            }));
            return self;
        }
        let mut sources = SourceTables::new(text, &origin_of);
        let mut sources_at = None;
        for (section, content) in table.get_ref() {
            let section_name = section.get_ref();
            if section_name == SOURCE {
                sources.take(content);
                sources_at = Some(origin_of(section.span().start));
                continue;
            }
            let DeValue::Table(keys) = content.get_ref() else {
                let shown = shorten(text.get(content.span()).unwrap_or_default());
                let origin = origin_of(section.span().start);
                if SECTIONS.contains(&section_name.as_ref()) {
                    let kind = FaultKind::NotASection { key: section_name.to_string(), got: shown };
                    self.faults.push(Fault { origin, kind });
                } else {
                    let raw = Raw::new(raw_value(content.get_ref()), shown, origin);
                    self.layers.file.insert(section_name.to_string(), raw);
                }
                continue;
            };
            if !SECTIONS.contains(&section_name.as_ref()) {
                // The section is unknown, so its keys are: one fault for the section is enough.
                let origin = origin_of(section.span().start);
                let raw = Raw::new(RawValue::Other, String::new(), origin);
                self.layers.file.insert(format!("[{section_name}]"), raw);
                continue;
            }
            for (key, value) in keys {
                let shown = shorten(text.get(value.span()).unwrap_or_default());
                let raw = Raw::new(raw_value(value.get_ref()), shown, origin_of(key.span().start));
                self.layers.file.insert(format!("{section_name}.{}", key.get_ref()), raw);
            }
        }
        let (items, faults) = sources.finish();
        self.faults.extend(faults);
        if let Some(origin) = sources_at.filter(|_| !items.is_empty()) {
            let list = self.layers.file.remove(URLS);
            self.layers.file.insert(URLS.to_owned(), added(list, items, origin));
        }
        self
    }

    /// Adds environment variables. Those without the prefix `DIARIZED_` are ignored, and an empty one counts as not set.
    #[must_use]
    pub fn env(mut self, variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        for (name, value) in variables {
            let Some(name) = name.to_str().filter(|name| name.starts_with(ENV_PREFIX)) else { continue };
            if value.is_empty() || RESERVED_VARIABLES.contains(&name) {
                continue;
            }
            let shown = shorten(&value.to_string_lossy());
            let origin = Origin::Environment { name: name.to_owned() };
            // Text that is not UTF-8 fits no key; the fault names its variable.
            let value = value.into_string().map_or(RawValue::Other, RawValue::Untyped);
            let raw = Raw::new(value, shown, origin);
            self.layers.env.insert(name.to_owned(), raw);
        }
        self
    }

    /// Adds the value of the flag `name` (with its dashes) for `key` (`section.key`); the last one wins.
    #[must_use]
    pub fn flag(mut self, name: &str, key: &str, value: impl Into<String>) -> Self {
        let value = value.into();
        let (shown, origin) = (shorten(&value), Origin::Flag { name: name.to_owned() });
        let raw = Raw::new(RawValue::Untyped(value), shown, origin);
        self.layers.flags.insert(key.to_owned(), raw);
        self
    }

    /// Makes the checked configuration.
    ///
    /// # Errors
    /// Every fault of every source at once.
    pub fn load(mut self) -> Result<Loaded, Faults> {
        if let Some(faults) = Faults::try_new(std::mem::take(&mut self.syntax_faults)) {
            return Err(faults);
        }
        let mut warnings = former::rename(&mut self.layers, &mut self.faults);
        let mut reader = Reader::new(self.layers, self.faults);
        let config = Config::read(&mut reader);
        let (settings, unknown) = reader.finish()?;
        warnings.extend(unknown);
        Ok(Loaded { config, settings, warnings })
    }
}

impl Default for Config {
    fn default() -> Self {
        Sources::new().load().expect("the defaults keep every rule, which a test holds").config
    }
}
