//! Errors of open-set naming as a table and as JSON.

use std::fmt::Write as _;

use diarized_models::scoring::eer::TrialScores;
use serde_json::json;

/// What became of pieces of one length.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    /// Pieces of enrolled people, and of those without a name and with a wrong one.
    enrolled: usize,
    unnamed: usize,
    misnamed: usize,
    /// Pieces of strangers, and of those with a name.
    strangers: usize,
    accepted: usize,
    /// Log-likelihood ratios of single comparisons.
    target: Vec<f64>,
    nontarget: Vec<f64>,
}

impl Counts {
    /// One piece: `named` is whether its name is right, if it has one.
    pub(super) fn add(&mut self, is_enrolled: bool, named: Option<bool>) {
        if is_enrolled {
            self.enrolled += 1;
            self.unnamed += usize::from(named.is_none());
            self.misnamed += usize::from(named == Some(false));
        } else {
            self.strangers += 1;
            self.accepted += usize::from(named.is_some());
        }
    }

    pub(super) fn compare(&mut self, is_target: bool, llr: f32) {
        if is_target { &mut self.target } else { &mut self.nontarget }.push(f64::from(llr));
    }

    fn miss(&self) -> f64 {
        percent(self.unnamed + self.misnamed, self.enrolled)
    }

    fn false_accept(&self) -> f64 {
        percent(self.accepted, self.strangers)
    }

    fn eer(&self) -> Option<f64> {
        let scores = TrialScores::try_new(self.target.clone(), self.nontarget.clone()).ok()?;
        Some(100.0 * scores.eer().rate)
    }

    /// Cllr in bits (Brümmer and du Preez, 2006): 0 for perfect evidence, 1 for none.
    fn cllr(&self) -> f64 {
        let cost = |llrs: &[f64], sign: f64| {
            let total: f64 = llrs.iter().map(|llr| (sign * llr).exp().ln_1p() / std::f64::consts::LN_2).sum();
            total / llrs.len().max(1) as f64
        };
        (cost(&self.target, -1.0) + cost(&self.nontarget, 1.0)) / 2.0
    }
}

fn percent(part: usize, whole: usize) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}

/// All that was measured.
pub(super) struct Report {
    pub(super) model: String,
    pub(super) enrol_s: f32,
    pub(super) accept: f32,
    pub(super) cross: bool,
    pub(super) n_enrolled: usize,
    pub(super) n_speakers: usize,
    pub(super) by_length: Vec<(f32, Counts)>,
}

impl Report {
    pub(super) fn table(&self) -> String {
        let mut text = format!(
            "{}{}: {} of {} speakers enrolled at a time with {} s each, named from a probability of {}\n\n\
             speech s   miss %  misnamed %  false accept %   pieces  of strangers   EER %    Cllr\n",
            self.model,
            if self.cross { ", calibrated on other speakers" } else { "" },
            self.n_enrolled,
            self.n_speakers,
            self.enrol_s,
            self.accept
        );
        for (test_s, c) in &self.by_length {
            let _ = writeln!(
                text,
                "{test_s:8}  {:7.2}  {:10.2}  {:14.2}  {:7}  {:12}  {:>6}  {:6.3}",
                c.miss(),
                percent(c.misnamed, c.enrolled),
                c.false_accept(),
                c.enrolled,
                c.strangers,
                c.eer().map_or("-".to_owned(), |eer| format!("{eer:.2}")),
                c.cllr(),
            );
        }
        text
    }

    pub(super) fn json(&self) -> String {
        let rows: Vec<_> = self
            .by_length
            .iter()
            .map(|(test_s, c)| {
                json!({
                    "speech_s": test_s,
                    "miss": c.miss(),
                    "misnamed": percent(c.misnamed, c.enrolled),
                    "false_accept": c.false_accept(),
                    "enrolled_pieces": c.enrolled,
                    "stranger_pieces": c.strangers,
                    "eer": c.eer(),
                    "cllr": c.cllr(),
                })
            })
            .collect();
        let object = json!({
            "model": self.model,
            "enrol_s": self.enrol_s,
            "accept": self.accept,
            "cross": self.cross,
            "speakers": self.n_speakers,
            "enrolled": self.n_enrolled,
            "by_speech": rows,
        });
        format!("{object:#}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misses_are_the_unnamed_and_the_misnamed_and_strangers_are_counted_apart() {
        let mut counts = Counts::default();
        for named in [Some(true), Some(true), Some(false), None] {
            counts.add(true, named);
        }
        for named in [None, None, None, None, Some(false)] {
            counts.add(false, named);
        }
        assert!((counts.miss() - 50.0).abs() < 1e-9 && (counts.false_accept() - 20.0).abs() < 1e-9);
        counts.compare(true, 0.0);
        counts.compare(false, 0.0);
        assert!((counts.cllr() - 1.0).abs() < 1e-9, "no evidence costs one bit");
    }
}
