//! Labels for people and for spreadsheets: Markdown and CSV, with the words and notes of a session.

use std::collections::BTreeMap;

use diarized_models::SegmentId;
use diarized_models::events::Word;
use diarized_models::words::join;

use super::labels::{Labels, rounded};
use super::table::clock;
use crate::protocol::corrections::Note;

/// Characters that mean something in Markdown or in the HTML inside it.
const MARKUP: &str = "\\`*_{}[]<>()#+-.!|~&";
/// What makes a spreadsheet take a field for a formula.
const FORMULA: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

impl Labels<'_> {
    /// A document: the title as its heading, then one paragraph for each segment with its speaker, its time, its words and
    /// the notes on it, and at the end the notes on the session.
    #[must_use]
    pub fn markdown(&self, title: Option<&str>, notes: &BTreeMap<u64, Note>) -> String {
        let said = self.texts();
        let mut out = format!("# {}\n", plain(title.unwrap_or(self.recording)));
        for segment in self.segments() {
            let who = plain(&self.speaker(segment.speaker));
            let at = clock(segment.range.start().seconds());
            out.push_str(&format!("\n**{who}** ({at})"));
            if let Some(said) = said.get(&segment.id) {
                out.push_str(&format!("  \n{}", plain(said)));
            }
            out.push('\n');
            for note in notes.values().filter(|note| note.segment == Some(segment.id.0)) {
                out.push_str(&quoted(note));
            }
        }
        let of_session: Vec<_> = notes.values().filter(|note| note.segment.is_none()).collect();
        if !of_session.is_empty() {
            out.push_str("\n## Notes\n");
            of_session.into_iter().for_each(|note| out.push_str(&quoted(note)));
        }
        out
    }

    /// A table as of RFC 4180, one row for each segment: start, end, speaker, name, confidence, overlap, text, note. A field
    /// that a spreadsheet would take for a formula begins with an apostrophe.
    #[must_use]
    pub fn csv(&self, notes: &BTreeMap<u64, Note>) -> String {
        let said = self.texts();
        let mut out = "start,end,speaker,name,confidence,overlap,text,note\r\n".to_owned();
        for segment in self.segments() {
            let on_it = notes.values().filter(|note| note.segment == Some(segment.id.0));
            let note = on_it.filter_map(|note| note.text.as_deref()).collect::<Vec<_>>().join("\n");
            let row = [
                format!("{:.3}", segment.range.start().seconds()),
                format!("{:.3}", segment.range.end().seconds()),
                segment.speaker.to_string(),
                field(self.name(segment.speaker).unwrap_or_default()),
                rounded(segment.confidence, 3).to_string(),
                segment.overlap.to_string(),
                field(said.get(&segment.id).map_or("", String::as_str)),
                field(&note),
            ];
            out.push_str(&row.join(","));
            out.push_str("\r\n");
        }
        out
    }

    /// The words of each segment that has some.
    fn texts(&self) -> BTreeMap<SegmentId, String> {
        let mut words: BTreeMap<SegmentId, Vec<&Word>> = BTreeMap::new();
        for word in self.state.words() {
            if let Some(by) = word.spoken_by {
                words.entry(by.segment).or_default().push(word);
            }
        }
        let text = |mut words: Vec<&Word>| {
            words.sort_by_key(|word| (word.range.start(), word.id));
            join(words.iter().map(|word| &*word.text))
        };
        words.into_iter().map(|(id, words)| (id, text(words))).collect()
    }
}

/// Text in which nothing is markup.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if MARKUP.contains(c) {
            out.push('\\');
        }
        out.push(if c == '\n' { ' ' } else { c });
    }
    out
}

fn quoted(note: &Note) -> String {
    let lines = note.text.as_deref().unwrap_or_default().lines().map(|line| format!("> {}\n", plain(line)));
    format!("\n{}", lines.collect::<String>())
}

fn field(text: &str) -> String {
    let guard = if text.starts_with(FORMULA) { "'" } else { "" };
    format!("\"{guard}{}\"", text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_is_markup_or_a_formula() {
        assert_eq!(plain("<b>Ann</b> *x*\n# y"), "\\<b\\>Ann\\</b\\> \\*x\\* \\# y");
        assert_eq!(field("=cmd()"), "\"'=cmd()\"");
        assert_eq!(field("say \"hi\",\nAnn"), "\"say \"\"hi\"\",\nAnn\"");
        let note = Note { id: 1, segment: None, text: Some("one\n> two".to_owned()) };
        assert_eq!(quoted(&note), "\n> one\n> \\> two\n");
    }
}
