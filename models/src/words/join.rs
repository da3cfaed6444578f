//! The text of several words in a row.

/// Joins words by spaces, without one before punctuation or between characters of scripts that are written without.
#[must_use]
pub fn join<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let mut out = String::new();
    for word in words {
        let needs_space = match (out.chars().next_back(), word.chars().next()) {
            (Some(last), Some(first)) => !(closes(first) || is_dense(last) && is_dense(first)),
            _ => false,
        };
        if needs_space {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}

/// Punctuation that follows a word without a space.
fn closes(c: char) -> bool {
    matches!(
        c,
        '.' | ',' | '!' | '?' | ';' | ':' | '…' | '%' | ')' | '。' | '、' | '，' | '！' | '？' | '；' | '：'
    )
}

/// Characters of scripts without spaces between words: Chinese, Japanese, Thai, Lao, Khmer, Burmese.
fn is_dense(c: char) -> bool {
    matches!(u32::from(c),
        0x0e00..=0x0eff | 0x1000..=0x109f | 0x1780..=0x17ff | 0x3000..=0x30ff | 0x3400..=0x4dbf | 0x4e00..=0x9fff
        | 0xf900..=0xfaff | 0xff01..=0xff0f | 0xff1a..=0xff1f | 0x20000..=0x3ffff)
}
