//! Free text of people: bounded, and without characters that show as something else.

use diarized_models::names::is_unseen;

/// Longest note, in characters.
pub const MAX_NOTE_CHARS: usize = 2000;
/// Longest title of a session, in characters.
pub const MAX_TITLE_CHARS: usize = 200;

/// Why a text is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TextFault {
    /// It is too long.
    #[error("`{field}` has at most {max} characters, this one has {got}; shorten it")]
    TooLong {
        /// The field.
        field: &'static str,
        /// Characters that it may have.
        max: usize,
        /// Characters that it has.
        got: usize,
    },
    /// It holds something that is not seen.
    #[error(
        "`{field}` holds no control characters, nor such as turn the direction of text; leave U+{:04X} out",
        u32::from(*got)
    )]
    Unseen {
        /// The field.
        field: &'static str,
        /// The first such character.
        got: char,
    },
}

/// A title without white space around it; an empty one is none.
///
/// # Errors
/// [`TextFault`] names the field and what to do.
pub fn checked_title(title: &str) -> Result<&str, TextFault> {
    checked("title", title, MAX_TITLE_CHARS, is_unseen)
}

/// The text of a note without white space around it, of any number of lines; an empty one is none.
///
/// # Errors
/// As [`checked_title`].
pub fn checked_note(text: &str) -> Result<&str, TextFault> {
    checked("text", text, MAX_NOTE_CHARS, |c| is_unseen(c) && c != '\n')
}

fn checked<'a>(
    field: &'static str,
    text: &'a str,
    max: usize,
    is_refused: impl Fn(char) -> bool,
) -> Result<&'a str, TextFault> {
    let text = text.trim();
    let got = text.chars().count();
    if got > max {
        return Err(TextFault::TooLong { field, max, got });
    }
    match text.chars().find(|c| is_refused(*c)) {
        Some(got) => Err(TextFault::Unseen { field, got }),
        None => Ok(text),
    }
}

/// The title that a file's name gives: what no title may hold is left out, and what is too long cut off.
#[must_use]
pub fn title_of_file(name: &str) -> String {
    let shown: String = name.chars().filter(|c| !is_unseen(*c)).collect();
    shown.trim().chars().take(MAX_TITLE_CHARS).collect::<String>().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_title_is_any_text_that_shows_as_it_is() {
        for title in ["Weekly, 30 November", "<b>&amp;</b> \"quoted\"", "Совещание 🎙", "S1", ""] {
            assert_eq!(checked_title(title), Ok(title));
        }
        assert_eq!(checked_title("  a \n"), Ok("a"));
        let reason = |title: &str| checked_title(title).unwrap_err().to_string();
        assert_eq!(
            reason(&"é".repeat(10_000)),
            "`title` has at most 200 characters, this one has 10000; shorten it"
        );
        assert!(reason("a\u{202e}b").contains("U+202E"));
        assert!(reason("a\nb").contains("U+000A"));
        assert_eq!(checked_note(" two\nlines "), Ok("two\nlines"));
        assert!(checked_note("a\rb").is_err() && checked_note(&"x".repeat(2001)).is_err());
    }

    proptest! {
        #[test]
        fn the_name_of_a_file_always_gives_a_title(name in "\\PC{0,300}|.{0,300}") {
            let title = title_of_file(&name);
            prop_assert_eq!(checked_title(&title), Ok(title.as_str()));
        }
    }
}
