//! What may be the name of a person: something that can be shown, and that is no label.

/// Longest name, in characters.
pub const MAX_NAME_CHARS: usize = 100;

/// Why a text is no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameFault {
    /// It is too long.
    #[error("a name has at most {MAX_NAME_CHARS} characters, this one has {got}; shorten it")]
    TooLong {
        /// Its length, in characters.
        got: usize,
    },
    /// It holds something that is not seen.
    #[error(
        "a name holds no control characters, nor such as turn the direction of text; leave U+{:04X} out",
        u32::from(*got)
    )]
    Unseen {
        /// The first such character.
        got: char,
    },
    /// It looks like the label of a speaker.
    #[error("{got:?} reads like the label of a speaker; choose a name that is more than S and a number")]
    Label {
        /// The name.
        got: String,
    },
}

/// The name without white space around it; an empty one is none.
///
/// # Errors
/// [`NameFault`]: what is wrong, and what to do.
pub fn checked_name(name: &str) -> Result<&str, NameFault> {
    let name = name.trim();
    let n_chars = name.chars().count();
    if n_chars > MAX_NAME_CHARS {
        return Err(NameFault::TooLong { got: n_chars });
    }
    if let Some(got) = name.chars().find(|c| is_unseen(*c)) {
        return Err(NameFault::Unseen { got });
    }
    if is_like_label(name) {
        return Err(NameFault::Label { got: name.to_owned() });
    }
    Ok(name)
}

/// Whether a character does not show as itself: controls, the separators of lines and paragraphs, and the characters of Unicode's property `Bidi_Control`, with which
/// one name can be made to look like another.
#[must_use]
pub fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether a name looks like S and a number, of any length and however it is written.
fn is_like_label(name: &str) -> bool {
    let shown: String = name.chars().filter(|c| !is_without_width(*c)).map(plain).collect();
    let number = shown.strip_prefix(['S', 's']).map(|rest| rest.trim_start_matches([' ', '_', '-']));
    number.is_some_and(|n| !n.is_empty() && n.chars().all(|c| c.is_ascii_digit()))
}

/// Characters that join or part others and take no room of their own.
fn is_without_width(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2064}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}')
}

/// The character of ASCII that looks like this one: full width, the letter DZE, digits of other scripts.
fn plain(c: char) -> char {
    const FULL_WIDTH: u32 = 0xfee0;
    match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - FULL_WIDTH).unwrap_or(c),
        '\u{405}' => 'S',
        '\u{455}' => 's',
        c if c.is_numeric() => '0',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_people_pass_and_labels_and_unseen_characters_do_not() {
        for name in [
            "Ann",
            "  Ann ",
            "",
            "Sam 2",
            "S",
            "S1b",
            "7S1",
            "Zoë Müller-O'Hara",
            "王芳",
            "نرگس\u{200c}ها",
            "S.1",
            "С1 (Анна)",
            "👩\u{200d}👧",
        ] {
            assert_eq!(checked_name(name), Ok(name.trim()));
        }
        for name in [
            "S1",
            "s12",
            " S003 ",
            "S 1",
            "S_1",
            "s-7",
            "S\u{200b}1",
            "\u{405}1",
            "Ｓ１",
            "S٣",
            &format!("S{}", "9".repeat(40)),
        ] {
            assert_eq!(checked_name(name), Err(NameFault::Label { got: name.trim().to_owned() }));
        }
        for unseen in
            ['\0', '\u{7f}', '\u{85}', '\u{2028}', '\u{200f}', '\u{202a}', '\u{202e}', '\u{2066}', '\u{2069}']
        {
            assert_eq!(checked_name(&format!("An{unseen}n")), Err(NameFault::Unseen { got: unseen }));
        }
        let message = checked_name("a\u{202e}b").unwrap_err().to_string();
        assert!(message.contains("U+202E") && !message.contains('\u{202e}'), "{message}");
        assert_eq!(checked_name(&"x".repeat(MAX_NAME_CHARS)).map(str::len), Ok(MAX_NAME_CHARS));
        assert_eq!(checked_name(&"ä".repeat(101)), Err(NameFault::TooLong { got: 101 }));
    }
}
