//! The header `Range` of a request (RFC 9110, 14): one range of bytes, or none that is acted on.

use std::ops::Range;

/// What a request asks of `n` bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of them: there is no range, or none that this server acts on.
    All,
    /// These.
    Part(Range<u64>),
    /// Bytes behind the end.
    Beyond,
}

/// Reads the header. Several ranges, other units and what makes no sense are passed over, as a server may.
#[must_use]
pub(super) fn wanted(header: Option<&str>, n: u64) -> Wanted {
    let unit_and_spec = header.and_then(|text| text.split_once('='));
    let Some((_, spec)) = unit_and_spec.filter(|(unit, _)| unit.trim().eq_ignore_ascii_case("bytes")) else {
        return Wanted::All;
    };
    let Some((first, last)) = spec.split_once('-') else { return Wanted::All };
    let number = |text: &str| {
        let text = text.trim();
        (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))
            .then(|| text.parse().unwrap_or(u64::MAX))
    };
    match (number(first), number(last)) {
        (Some(first), Some(last)) if last < first => Wanted::All,
        (Some(first), _) if first >= n => match last.trim().is_empty() || number(last).is_some() {
            true => Wanted::Beyond,
            false => Wanted::All,
        },
        (Some(first), Some(last)) => Wanted::Part(first..last.saturating_add(1).min(n)),
        (Some(first), None) if last.trim().is_empty() => Wanted::Part(first..n),
        // The last bytes.
        (None, Some(n_last)) if first.trim().is_empty() => match n_last.min(n) {
            0 => Wanted::Beyond,
            n_last => Wanted::Part(n - n_last..n),
        },
        _ => Wanted::All,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_is_read_and_all_else_is_passed_over() {
        let of = |text: &str| wanted(Some(text), 100);
        assert_eq!(wanted(None, 100), Wanted::All);
        assert_eq!(of("bytes=0-"), Wanted::Part(0..100));
        assert_eq!(of("bytes=10-19"), Wanted::Part(10..20));
        assert_eq!(of(" Bytes=10-19"), Wanted::Part(10..20));
        assert_eq!(of("bytes=90-1000"), Wanted::Part(90..100));
        assert_eq!(of("bytes=-7"), Wanted::Part(93..100));
        assert_eq!(of("bytes=-700"), Wanted::Part(0..100));
        assert_eq!(of("bytes=0-99999999999999999999999"), Wanted::Part(0..100));
        for beyond in ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=99999999999999999999999-"] {
            assert_eq!(of(beyond), Wanted::Beyond, "{beyond}");
        }
        for other in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=5-2",
            "items=0-5",
            "bytes=0-1,5-6",
            "bytes=a-b",
            "bytes=+1-2",
        ] {
            assert_eq!(of(other), Wanted::All, "{other}");
        }
        assert_eq!(wanted(Some("bytes=0-"), 0), Wanted::Beyond);
    }
}
