//! Reads keys from the layers: checks type and range, records the origin, and finds unknown keys.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use crate::fault::{Fault, FaultKind, Faults, Warning};
use crate::former::present_name;
use crate::layers::{Layers, variable_of};
use crate::origin::{Origin, Setting, Value};
use crate::raw::{Raw, RawValue, base_folder};

/// Names of the sections, in the order of the example.
pub(crate) const SECTIONS: [&str; 17] = [
    "server",
    "capture",
    "sources",
    "audio",
    "model",
    "diarization",
    "voices",
    "inference",
    "storage",
    "asr",
    "wyoming",
    "vosk",
    "grpc",
    "mqtt",
    "webhook",
    "cluster",
    "log",
];

/// Text of an optional value that is not set.
const NONE: &str = "none";
/// Similarity from which on a key counts as a misspelling of another.
const SIMILAR: f64 = 0.8;

/// Returns checked values and records faults and origins; a faulty value reads as its default.
pub(crate) struct Reader {
    layers: Layers,
    faults: Vec<Fault>,
    settings: Vec<Setting>,
}

impl Reader {
    pub(crate) fn new(layers: Layers, faults: Vec<Fault>) -> Self {
        Self { layers, faults, settings: Vec::new() }
    }

    /// The effective settings, after every key is read.
    pub(crate) fn finish(mut self) -> Result<(Vec<Setting>, Vec<Warning>), Faults> {
        let Layers { file, env, flags } = std::mem::take(&mut self.layers);
        for (key, raw) in file.into_iter().chain(flags) {
            let suggestion = self.similar_key(&key);
            self.faults.push(Fault { origin: raw.origin, kind: FaultKind::UnknownKey { key, suggestion } });
        }
        let warnings = env.into_keys().map(|name| {
            let candidates: BTreeMap<String, String> =
                self.settings.iter().map(|s| (variable_of(s.key), variable_of(s.key))).collect();
            let suggestion = most_similar(&name, &candidates);
            Warning::UnknownVariable { name, suggestion }
        });
        let warnings = warnings.collect();
        match Faults::try_new(self.faults) {
            Some(faults) => Err(faults),
            None => Ok((self.settings, warnings)),
        }
    }

    /// A whole number in `allowed`.
    pub(crate) fn integer(
        &mut self,
        key: &'static str,
        unit: &str,
        allowed: RangeInclusive<i64>,
        default: i64,
    ) -> i64 {
        self.integer_in_steps(key, unit, 1, allowed, default)
    }

    /// A whole number in `allowed` that is a multiple of `step`.
    pub(crate) fn integer_in_steps(
        &mut self,
        key: &'static str,
        unit: &str,
        step: i64,
        allowed: RangeInclusive<i64>,
        default: i64,
    ) -> i64 {
        let expected = || match step {
            1 => whole_number(unit, &allowed),
            _ => format!("{} that is a multiple of {step}", whole_number(unit, &allowed)),
        };
        let fits = |n: &i64| allowed.contains(n) && n % step == 0;
        self.value(key, default, expected, |raw| integer(raw).filter(fits), Value::Integer)
    }

    /// A whole number in `allowed`, or not set.
    pub(crate) fn optional_integer(
        &mut self,
        key: &'static str,
        unit: &str,
        allowed: RangeInclusive<i64>,
    ) -> Option<i64> {
        self.optional_integer_or(key, unit, allowed, None)
    }

    /// A whole number in `allowed`, or "none".
    pub(crate) fn optional_integer_or(
        &mut self,
        key: &'static str,
        unit: &str,
        allowed: RangeInclusive<i64>,
        default: Option<i64>,
    ) -> Option<i64> {
        let parse = |raw: &RawValue| match is_none(raw) {
            true => Some(None),
            false => integer(raw).filter(|n| allowed.contains(n)).map(Some),
        };
        let expected = || format!("{}, or \"{NONE}\"", whole_number(unit, &allowed));
        self.value(key, default, expected, parse, |n| n.map_or(Value::Unset, Value::Integer))
    }

    /// A finite number in `allowed`.
    pub(crate) fn number(&mut self, key: &'static str, allowed: RangeInclusive<f64>, default: f64) -> f64 {
        let expected = || format!("a number from {} to {}", allowed.start(), allowed.end());
        self.value(key, default, expected, |raw| number(raw).filter(|n| allowed.contains(n)), Value::Number)
    }

    /// A length of time in seconds, fractions allowed.
    pub(crate) fn seconds(
        &mut self,
        key: &'static str,
        allowed: RangeInclusive<f64>,
        default_s: f64,
    ) -> Duration {
        let expected = || format!("seconds from {} to {}", allowed.start(), allowed.end());
        let parse = |raw: &RawValue| number(raw).filter(|n| allowed.contains(n));
        Duration::from_secs_f64(self.value(key, default_s, expected, parse, Value::Number))
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&mut self, key: &'static str, default: bool) -> bool {
        let parse = |raw: &RawValue| match raw {
            RawValue::Boolean(value) => Some(*value),
            RawValue::Untyped(text) => match text.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" | "1" => Some(true),
                "false" | "no" | "off" | "0" => Some(false),
                _ => None,
            },
            _ => None,
        };
        self.value(key, default, || "true or false".to_owned(), parse, Value::Boolean)
    }

    /// One of the named values.
    pub(crate) fn choice<T: Copy + PartialEq>(
        &mut self,
        key: &'static str,
        choices: &[(&'static str, T)],
        default: T,
    ) -> T {
        let expected = || {
            let words: Vec<String> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            format!("one of {}", words.join(", "))
        };
        let parse = |raw: &RawValue| {
            let text = text(raw)?;
            choices.iter().find(|(word, _)| *word == text).map(|(_, value)| *value)
        };
        let show = |value: T| {
            let word = choices.iter().find(|(_, v)| *v == value).map_or("", |(word, _)| word);
            Value::Text(word.to_owned())
        };
        self.value(key, default, expected, parse, show)
    }

    /// A text or a whole number accepted by `parse`.
    pub(crate) fn parsed<T: Clone>(
        &mut self,
        key: &'static str,
        expected: &str,
        default: T,
        parse: impl Fn(&str) -> Option<T>,
        show: impl Fn(&T) -> Value,
    ) -> T {
        let parse = |raw: &RawValue| match raw {
            RawValue::Integer(n) => parse(&n.to_string()),
            _ => parse(text(raw)?),
        };
        self.value(key, default, || expected.to_owned(), parse, |value| show(&value))
    }

    /// A list of texts accepted by `parse`, at least one. A single one needs no brackets; in the environment and in flags
    /// commas separate them.
    pub(crate) fn list<T: Clone + ToString>(
        &mut self,
        key: &'static str,
        expected: &str,
        default: Vec<T>,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Vec<T> {
        let parse_all = |raw: &RawValue| {
            let items: Option<Vec<T>> = match raw {
                RawValue::List(items) => items.iter().map(|item| parse(text(item)?)).collect(),
                RawValue::Untyped(text) => text.split(',').map(|item| parse(item.trim())).collect(),
                RawValue::Text(text) => Some(vec![parse(text)?]),
                _ => None,
            };
            items.filter(|items| !items.is_empty())
        };
        let show = |items: Vec<T>| Value::List(items.iter().map(ToString::to_string).collect());
        self.value(key, default, || expected.to_owned(), parse_all, show)
    }

    /// A list of texts accepted by `parse`, empty by default; `none` is the empty list.
    pub(crate) fn list_or_none<T: Clone + ToString>(
        &mut self,
        key: &'static str,
        expected: &str,
        one: impl Fn(&str) -> Option<T>,
    ) -> Vec<T> {
        let parse = |raw: &RawValue| match raw {
            RawValue::List(items) => items.iter().map(|item| one(text(item)?)).collect(),
            raw if is_none(raw) => Some(Vec::new()),
            RawValue::Untyped(text) => text.split(',').map(&one).collect::<Option<Vec<_>>>(),
            RawValue::Text(text) => Some(vec![one(text)?]),
            _ => None,
        };
        let show = |items: Vec<T>| Value::List(items.iter().map(ToString::to_string).collect());
        self.value(key, Vec::new(), || format!("{expected}, or \"{NONE}\""), parse, show)
    }

    /// A path, or not set. A relative path written in a file is relative to the file's folder.
    pub(crate) fn optional_path(&mut self, key: &'static str) -> Option<PathBuf> {
        let base = self.winner(key).and_then(|raw| base_folder(&raw.origin));
        let parse = |raw: &RawValue| match is_none(raw) {
            true => Some(None),
            false => {
                let written =
                    PathBuf::from(text(raw).filter(|text| !text.is_empty() && !text.contains('\0'))?);
                Some(Some(base.as_ref().map_or(written.clone(), |base| base.join(written))))
            }
        };
        let show = |path: Option<PathBuf>| {
            path.map_or(Value::Unset, |path| Value::Text(path.to_string_lossy().into_owned()))
        };
        self.value(key, None, || format!("a path, or \"{NONE}\""), parse, show)
    }

    /// A path as of [`Self::optional_path`], or the word, which gives no path.
    pub(crate) fn path_or_word(&mut self, key: &'static str, word: &'static str) -> Option<Option<PathBuf>> {
        let is_word = |raw: &RawValue| text(raw).is_some_and(|text| text == word);
        if self.winner(key).is_none_or(|raw| !is_word(&raw.value)) {
            return self.optional_path(key).map(Some);
        }
        let parse = |raw: &RawValue| Some(is_word(raw));
        let show = |_: bool| Value::Text(word.to_owned());
        self.value(key, true, || word.to_owned(), parse, show);
        Some(None)
    }

    /// Reports a broken rule between two values.
    pub(crate) fn broken_rule(&mut self, key: &'static str, relation: &'static str, other_key: &'static str) {
        let setting = |key: &str| self.settings.iter().find(|setting| setting.key == key);
        let (Some(one), Some(other)) = (setting(key), setting(other_key)) else { return };
        // A value that is faulty by itself reads as its default; only what a person wrote may break a rule.
        let faulty = |key: &str| {
            let is_key = |fault: &Fault| matches!(&fault.kind, FaultKind::Value { key: k, .. } if present_name(k) == key);
            self.faults.iter().any(is_key)
        };
        if faulty(key) || faulty(other_key) {
            return;
        }
        let origin = if one.origin == Origin::Default { &other.origin } else { &one.origin };
        let kind = FaultKind::Rule {
            key,
            value: one.value.to_string(),
            relation,
            other_key,
            other_value: other.value.to_string(),
        };
        self.faults.push(Fault { origin: origin.clone(), kind });
    }

    fn winner(&self, key: &str) -> Option<&Raw> {
        let Layers { file, env, flags } = &self.layers;
        flags.get(key).or_else(|| env.get(&variable_of(key))).or_else(|| file.get(key))
    }

    fn value<T: Clone>(
        &mut self,
        key: &'static str,
        default: T,
        expected: impl Fn() -> String,
        parse: impl Fn(&RawValue) -> Option<T>,
        show: impl Fn(T) -> Value,
    ) -> T {
        debug_assert!(self.settings.iter().all(|setting| setting.key != key), "{key} is read twice");
        let Layers { file, env, flags } = &mut self.layers;
        let in_file = file.remove(key);
        let in_env = env.remove(&variable_of(key));
        let in_flags = flags.remove(key);
        let (value, origin) = match in_flags.or(in_env).or(in_file) {
            None => (default, Origin::Default),
            Some(raw) => match parse(&raw.value) {
                Some(value) => (value, raw.origin),
                None => {
                    let kind = FaultKind::Value {
                        key: raw.written_as.unwrap_or(key),
                        got: raw.shown,
                        expected: expected(),
                    };
                    self.faults.push(Fault { origin: raw.origin, kind });
                    (default, Origin::Default)
                }
            },
        };
        self.settings.push(Setting { key, value: show(value.clone()), origin });
        value
    }

    /// A key similar to the misspelt `key`, or the same key in its right section.
    fn similar_key(&self, key: &str) -> Option<String> {
        let key = key.trim_matches(['[', ']']);
        let word = key.rsplit('.').next().unwrap_or(key);
        let elsewhere = self.settings.iter().find(|s| s.key.rsplit('.').next() == Some(word));
        if let Some(setting) = elsewhere {
            return Some(setting.key.to_owned());
        }
        let known = self.settings.iter().map(|s| s.key.to_owned());
        let candidates: BTreeMap<String, String> = match key.contains('.') {
            true => known.map(|key| (key.clone(), key)).collect(),
            // Without a section it may be a section's name or a key that lacks its section.
            false => known
                .map(|key| (key.rsplit('.').next().unwrap_or_default().to_owned(), key))
                .chain(SECTIONS.iter().map(|name| ((*name).to_owned(), format!("[{name}]"))))
                .collect(),
        };
        most_similar(key, &candidates)
    }
}

fn most_similar(written: &str, candidates: &BTreeMap<String, String>) -> Option<String> {
    let scored =
        candidates.iter().map(|(word, key)| (strsim::normalized_damerau_levenshtein(written, word), key));
    let best = scored.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 >= SIMILAR).then(|| best.1.clone())
}

fn whole_number(unit: &str, allowed: &RangeInclusive<i64>) -> String {
    let space = if unit.is_empty() { "" } else { " " };
    format!("a whole number{space}{unit} from {} to {}", allowed.start(), allowed.end())
}

fn text(raw: &RawValue) -> Option<&str> {
    match raw {
        RawValue::Text(text) | RawValue::Untyped(text) => Some(text),
        _ => None,
    }
}

fn is_none(raw: &RawValue) -> bool {
    text(raw) == Some(NONE)
}

fn integer(raw: &RawValue) -> Option<i64> {
    match raw {
        RawValue::Integer(n) => Some(*n),
        RawValue::Untyped(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn number(raw: &RawValue) -> Option<f64> {
    match raw {
        RawValue::Number(n) => Some(*n),
        // Whole numbers up to 2^53 are exact, and every range ends far below.
        RawValue::Integer(n) => Some(*n as f64),
        RawValue::Untyped(text) => text.trim().parse().ok(),
        _ => None,
    }
    .filter(|n| n.is_finite())
}
