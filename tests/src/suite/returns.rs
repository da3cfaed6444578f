//! Whether people keep their label when they come back after a silence.

use std::collections::BTreeMap;

use diarized_models::scoring::{Span, Turn};

use super::events::{ScoredEvent, turns_after};

/// A speaker who is silent for this long and speaks again has returned, in seconds.
pub const AWAY_S: f64 = 60.0;
/// Speech before and after the silence below which a speaker is not counted, in seconds.
pub const RETURN_SPEECH_S: f64 = 3.0;

/// Returns after [`AWAY_S`] or more of silence, with at least [`RETURN_SPEECH_S`] of speech before and after.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Returns {
    /// All of them.
    pub all: usize,
    /// Those whose speech gets, 5 s later, the label that their earlier speech had when they came back.
    pub kept: usize,
    /// Those whose label was their own when they came back: nobody else spoke more under it.
    pub all_own: usize,
    /// Those of them who kept it.
    pub kept_own: usize,
}

impl std::iter::Sum for Returns {
    fn sum<I: Iterator<Item = Self>>(returns: I) -> Self {
        returns.fold(Self::default(), |sum, one| Self {
            all: sum.all + one.all,
            kept: sum.kept + one.kept,
            all_own: sum.all_own + one.all_own,
            kept_own: sum.kept_own + one.kept_own,
        })
    }
}

impl std::fmt::Display for Returns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{} (own label {}/{})", self.kept, self.all, self.kept_own, self.all_own)
    }
}

/// `later` is the view 5 s later.
pub(super) fn returns(events: &[ScoredEvent], reference: &[Turn], later: &[Turn]) -> Returns {
    let mut spans: BTreeMap<&str, Vec<Span>> = BTreeMap::new();
    for turn in reference {
        spans.entry(&turn.speaker).or_default().push(turn.span);
    }
    spans.values_mut().for_each(|own| own.sort_unstable());
    let mut found = Returns::default();
    for (speaker, own) in &spans {
        for cut in 1..own.len() {
            if own[cut].start.0 - own[cut - 1].end.0 < (AWAY_S * 1e9) as i64 {
                continue;
            }
            let (before, after) = own.split_at(cut);
            if [before, after].map(speech_s).into_iter().any(|speech_s| speech_s < RETURN_SPEECH_S) {
                continue;
            }
            let back_s = own[cut].start.seconds();
            let standing = turns_after(events.iter().take_while(|event| event.at_s <= back_s));
            let (before, after) = (main_label(before, &standing), main_label(after, later));
            let is_own = before.is_some_and(|label| main_speaker(label, &standing, &spans) == Some(*speaker));
            let is_kept = before.is_some() && before == after;
            found.all += 1;
            found.kept += usize::from(is_kept);
            found.all_own += usize::from(is_own);
            found.kept_own += usize::from(is_own && is_kept);
        }
    }
    found
}

fn speech_s(spans: &[Span]) -> f64 {
    spans.iter().map(|span| span.len_ns() as f64 / 1e9).sum()
}

/// The label that most of `spans` has.
#[must_use]
pub fn main_label<'a>(spans: &[Span], labels: &'a [Turn]) -> Option<&'a str> {
    most(labels.iter().map(|turn| (turn.speaker.as_str(), shared_ns(spans, turn.span))))
}

/// The speaker with most speech under `label`.
fn main_speaker<'a>(label: &str, labels: &[Turn], spans: &BTreeMap<&'a str, Vec<Span>>) -> Option<&'a str> {
    let turns = || labels.iter().filter(|turn| turn.speaker == label);
    most(spans.iter().flat_map(|(who, own)| turns().map(move |turn| (*who, shared_ns(own, turn.span)))))
}

fn shared_ns(spans: &[Span], with: Span) -> i64 {
    spans.iter().map(|span| span.intersection(&with).len_ns()).sum()
}

/// The name with the largest sum, if it is above zero.
fn most<'a>(amounts: impl Iterator<Item = (&'a str, i64)>) -> Option<&'a str> {
    let mut sums: BTreeMap<&str, i64> = BTreeMap::new();
    for (name, amount) in amounts {
        *sums.entry(name).or_default() += amount;
    }
    sums.into_iter().filter(|(_, sum)| *sum > 0).max_by_key(|(_, sum)| *sum).map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::super::parse_events;
    use super::super::tests::turn;
    use super::*;

    #[test]
    fn who_returns_keeps_the_label_that_their_speech_had_by_then() {
        let reference =
            [turn(0.0, 5.0, "A"), turn(5.0, 9.0, "B"), turn(100.0, 104.0, "A"), turn(200.0, 204.0, "B")];
        let lines = |revised_at: f64, last: &str| {
            format!(
                r#"
                {{"file":"x","at":5.0,"type":"segment","id":1,"start":0.0,"end":5.0,"speaker":"S1"}}
                {{"file":"x","at":9.0,"type":"segment","id":2,"start":5.0,"end":9.0,"speaker":"S1"}}
                {{"file":"x","at":{revised_at},"type":"revision","changes":[{{"id":2,"from":"S1","to":"S2"}}],"reason":"split"}}
                {{"file":"x","at":205.0,"type":"segment","id":3,"start":100.0,"end":104.0,"speaker":"S1"}}
                {{"file":"x","at":205.0,"type":"segment","id":4,"start":200.0,"end":204.0,"speaker":"{last}"}}
                "#
            )
        };
        let kept = |text: &str| {
            let events = parse_events(text).unwrap();
            returns(&events, &reference, &turns_after(events.iter()))
        };
        let of = |kept, kept_own, all_own| Returns { all: 2, kept, all_own, kept_own };
        assert_eq!(
            kept(&lines(30.0, "S2")),
            of(2, 2, 2),
            "what stands before the return is the label to keep"
        );
        assert_eq!(
            kept(&lines(204.5, "S2")),
            of(1, 1, 1),
            "until then B shared the label of A, who said more"
        );
        assert_eq!(kept(&lines(30.0, "S1")), of(1, 1, 2));
    }
}
