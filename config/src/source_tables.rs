//! `[[source]]`: sources as tables, another form of `sources.urls`.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::audio_sources::{is_name, is_url};
use crate::fault::{Fault, FaultKind};
use crate::origin::Origin;
use crate::raw::{Raw, RawValue, shorten};

/// Name of the table.
pub(crate) const SOURCE: &str = "source";
/// Key of the list that holds the same.
pub(crate) const URLS: &str = "sources.urls";
const KEYS: [&str; 2] = ["name", "url"];

/// The tables of one file.
pub(crate) struct SourceTables<'a> {
    text: &'a str,
    origin_of: &'a dyn Fn(usize) -> Origin,
    items: Vec<RawValue>,
    faults: Vec<Fault>,
}

impl<'a> SourceTables<'a> {
    pub(crate) fn new(text: &'a str, origin_of: &'a dyn Fn(usize) -> Origin) -> Self {
        Self { text, origin_of, items: Vec::new(), faults: Vec::new() }
    }

    /// Takes the content of `source`: one table or a list of them.
    pub(crate) fn take(&mut self, content: &Spanned<DeValue<'_>>) {
        match content.get_ref() {
            DeValue::Table(table) => self.take_one(table, content.span().start),
            DeValue::Array(items) => {
                for item in items {
                    match item.get_ref() {
                        DeValue::Table(table) => self.take_one(table, item.span().start),
                        _ => self.no_table(item),
                    }
                }
            }
            _ => self.no_table(content),
        }
    }

    /// The sources in the form of the list, and what is wrong with them.
    pub(crate) fn finish(self) -> (Vec<RawValue>, Vec<Fault>) {
        (self.items, self.faults)
    }

    fn no_table(&mut self, value: &Spanned<DeValue<'_>>) {
        let got = self.shown(value);
        let origin = (self.origin_of)(value.span().start);
        let expected = "tables, each written [[source]] with its name and url below".to_owned();
        self.faults.push(Fault { origin, kind: FaultKind::Value { key: SOURCE, got, expected } });
    }

    fn take_one(&mut self, table: &DeTable<'_>, start: usize) {
        for (key, _) in table {
            if !KEYS.contains(&key.get_ref().as_ref()) {
                let origin = (self.origin_of)(key.span().start);
                let key = format!("{SOURCE}.{}", key.get_ref());
                let suggestion = Some("source.name or source.url".to_owned());
                self.faults.push(Fault { origin, kind: FaultKind::UnknownKey { key, suggestion } });
            }
        }
        let name = self.field(
            table,
            start,
            "name",
            "source.name",
            "the id of its session: 1 to 64 letters, digits, - and _",
            is_name,
        );
        let url = self.field(
            table,
            start,
            "url",
            "source.url",
            "an address without a comma, which is written as %2C",
            is_url,
        );
        if let (Some(name), Some(url)) = (name, url) {
            self.items.push(RawValue::Text(format!("{name}={url}")));
        }
    }

    fn field(
        &mut self,
        table: &DeTable<'_>,
        start: usize,
        name: &str,
        key: &'static str,
        expected: &str,
        fits: fn(&str) -> bool,
    ) -> Option<String> {
        let value = table.get(name);
        if let Some(DeValue::String(text)) = value.map(Spanned::get_ref)
            && fits(text)
        {
            return Some(text.to_string());
        }
        let got = value.map_or_else(|| "nothing".to_owned(), |value| self.shown(value));
        let origin = (self.origin_of)(value.map_or(start, |value| value.span().start));
        let kind = FaultKind::Value { key, got, expected: expected.to_owned() };
        self.faults.push(Fault { origin, kind });
        None
    }

    fn shown(&self, value: &Spanned<DeValue<'_>>) -> String {
        shorten(self.text.get(value.span()).unwrap_or_default())
    }
}

/// Adds sources to those of the list, if the file has it.
pub(crate) fn added(list: Option<Raw>, items: Vec<RawValue>, origin: Origin) -> Raw {
    let shown = |items: &[RawValue]| format!("{} sources", items.len());
    match list {
        None => Raw::new(RawValue::List(items.clone()), shown(&items), origin),
        Some(mut list) => {
            list.value = match list.value {
                RawValue::List(before) => RawValue::List([before, items].concat()),
                RawValue::Text(one) if one != "none" => {
                    RawValue::List([vec![RawValue::Text(one)], items].concat())
                }
                RawValue::Text(_) => RawValue::List(items),
                faulty => faulty,
            };
            list
        }
    }
}
