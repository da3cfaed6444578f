//! The result of a trial list as a table, JSON, CSV and a DET plot.

use std::fmt::Write as _;

use diarized_models::scoring::eer::{DetPoint, TrialScores};
use serde_json::json;

use super::trials::Trial;

/// All that was measured.
pub(super) struct Report {
    pub(super) model: String,
    pub(super) setup: String,
    pub(super) scores: TrialScores,
    /// Cllr of the model's own calibration, where it applies.
    pub(super) calibrated_cllr: Option<f64>,
    pub(super) scored: Vec<(Trial, f64)>,
}

impl Report {
    pub(super) fn table(&self) -> String {
        let (eer, hull, kaldi) = (self.scores.eer(), self.scores.eer_convex_hull(), self.scores.eer_kaldi());
        let (dcf_1, dcf_5) = (self.scores.min_dcf(0.01), self.scores.min_dcf(0.05));
        let (n_target, n_nontarget) = (self.scores.n_target(), self.scores.n_nontarget());
        let mut text = format!(
            "{}: {}\n{n_target} target and {n_nontarget} non-target trials\n\n",
            self.model, self.setup
        );
        let rows = [
            ("EER", format!("{:8.3} %", 100.0 * eer.rate), Some(eer.threshold)),
            ("EER, convex hull", format!("{:8.3} %", 100.0 * hull.rate), Some(hull.threshold)),
            ("EER, Kaldi", format!("{:8.3} %", 100.0 * kaldi.rate), Some(kaldi.threshold)),
            ("minDCF(0.01)", format!("{:8.4}", dcf_1.rate), Some(dcf_1.threshold)),
            ("minDCF(0.05)", format!("{:8.4}", dcf_5.rate), Some(dcf_5.threshold)),
            (
                "Cllr, calibrated",
                self.calibrated_cllr.map_or("not calibrated".into(), |c| format!("{c:8.4} bit")),
                None,
            ),
            ("min Cllr", format!("{:8.4} bit", self.scores.min_cllr()), None),
        ];
        for (name, value, threshold) in rows {
            let at = threshold.map_or(String::new(), |threshold| format!("  at score {threshold:.4}"));
            let _ = writeln!(text, "{name:17} {value:12}{at}");
        }
        text
    }

    pub(super) fn json(&self) -> String {
        let finite = |x: f64| x.is_finite().then_some(x);
        let (eer, dcf_1, dcf_5) = (self.scores.eer(), self.scores.min_dcf(0.01), self.scores.min_dcf(0.05));
        let object = json!({
            "model": self.model,
            "setup": self.setup,
            "target_trials": self.scores.n_target(),
            "nontarget_trials": self.scores.n_nontarget(),
            "eer": 100.0 * eer.rate,
            "eer_threshold": finite(eer.threshold),
            "eer_convex_hull": 100.0 * self.scores.eer_convex_hull().rate,
            "eer_kaldi": 100.0 * self.scores.eer_kaldi().rate,
            "min_dcf_0_01": dcf_1.rate,
            "min_dcf_0_01_threshold": finite(dcf_1.threshold),
            "min_dcf_0_05": dcf_5.rate,
            "min_dcf_0_05_threshold": finite(dcf_5.threshold),
            "cllr": self.calibrated_cllr,
            "min_cllr": self.scores.min_cllr(),
        });
        format!("{object:#}\n")
    }

    pub(super) fn score_lines(&self) -> String {
        self.scored
            .iter()
            .map(|(trial, score)| format!("{} {} {score:.6}\n", trial.enrol, trial.test))
            .collect()
    }

    pub(super) fn det_csv(&self) -> String {
        let line = |p: &DetPoint| format!("{},{},{}\n", p.threshold, p.p_miss, p.p_fa);
        format!("threshold,p_miss,p_fa\n{}", self.scores.det().iter().map(line).collect::<String>())
    }

    /// The DET curve on axes of normal deviates (Martin et al., 1997), from 0.1 to 60 %.
    pub(super) fn det_svg(&self) -> String {
        const SIZE: f64 = 480.0;
        const MARGIN: f64 = 60.0;
        const TICKS: [f64; 9] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4];
        const LOW: f64 = 0.001;
        const HIGH: f64 = 0.6;
        let at = |p: f64| (probit(p.clamp(LOW, HIGH)) - probit(LOW)) / (probit(HIGH) - probit(LOW)) * SIZE;
        let (x, y) = (|p: f64| MARGIN + at(p), |p: f64| MARGIN + SIZE - at(p));
        let full = SIZE + 2.0 * MARGIN;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {full} {full}\" font-family=\"sans-serif\" \
             font-size=\"12\">\n<rect width=\"{full}\" height=\"{full}\" fill=\"white\"/>\n"
        );
        let (left, bottom, end) = (MARGIN, MARGIN + SIZE, MARGIN + SIZE);
        for tick in TICKS {
            let (tx, ty, percent) = (x(tick), y(tick), 100.0 * tick);
            let _ = writeln!(
                svg,
                "<path d=\"M{tx:.1} {MARGIN}V{bottom}M{left} {ty:.1}H{end}\" stroke=\"#ddd\"/>\
                 <text x=\"{tx:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{percent}</text>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{percent}</text>",
                bottom + 18.0,
                left - 6.0,
                ty + 4.0
            );
        }
        let mut path = String::new();
        let mut last = (f64::NAN, f64::NAN);
        for point in self.scores.det() {
            let (px, py) = (x(point.p_fa), y(point.p_miss));
            // Steps under half a pixel cannot be seen.
            if (px - last.0).abs() + (py - last.1).abs() < 0.5 {
                continue;
            }
            let _ = write!(path, "{}{px:.1} {py:.1}", if path.is_empty() { "M" } else { "L" });
            last = (px, py);
        }
        let eer = self.scores.eer().rate;
        let _ = writeln!(
            svg,
            "<path d=\"M{left} {bottom}L{end} {MARGIN}\" stroke=\"#bbb\" stroke-dasharray=\"4\"/>\n\
             <path d=\"{path}\" fill=\"none\" stroke=\"#1f5fa8\" stroke-width=\"2\"/>\n\
             <circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"4\" fill=\"#c0392b\"/>",
            x(eer),
            y(eer)
        );
        let middle = MARGIN + SIZE / 2.0;
        let title = escape(&format!("{}: EER {:.2} %, {}", self.model, 100.0 * eer, self.setup));
        let _ = writeln!(
            svg,
            "<text x=\"{middle}\" y=\"30\" text-anchor=\"middle\" font-size=\"14\">{title}</text>\n\
             <text x=\"{middle}\" y=\"{:.1}\" text-anchor=\"middle\">false alarms, % of non-target trials</text>\n\
             <text transform=\"translate(18 {middle}) rotate(-90)\" text-anchor=\"middle\">misses, % of target \
             trials</text>\n</svg>",
            full - 14.0
        );
        svg
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Inverse of the normal distribution function on (0, 1), by bisection of [`normal_cdf`]: exact enough to draw.
fn probit(p: f64) -> f64 {
    let (mut low, mut high) = (-8.0, 8.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        *(if normal_cdf(middle) < p { &mut low } else { &mut high }) = middle;
    }
    (low + high) / 2.0
}

/// Abramowitz and Stegun, 1964, formula 26.2.17: error below 7.5e-8.
fn normal_cdf(x: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * x.abs());
    let series = [0.319_381_530, -0.356_563_782, 1.781_477_937, -1.821_255_978, 1.330_274_429];
    let polynomial = series.iter().rev().fold(0.0, |sum, c| (sum + c) * t);
    let tail = (-x * x / 2.0).exp() / std::f64::consts::TAU.sqrt() * polynomial;
    if x > 0.0 { 1.0 - tail } else { tail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axes_are_normal_deviates() {
        for (p, deviate) in [(0.5, 0.0), (0.158_655, -1.0), (0.001, -3.090_232), (0.975, 1.959_964)] {
            assert!((probit(p) - deviate).abs() < 1e-4, "{p}: {}", probit(p));
        }
    }

    #[test]
    fn the_plot_is_well_formed_and_the_csv_holds_every_point() {
        let scores = TrialScores::try_new(vec![0.9, 0.8, 0.3], vec![0.1, 0.4, 0.2]).unwrap();
        let report = Report {
            model: "a<b".into(),
            setup: "x".into(),
            scores,
            calibrated_cllr: None,
            scored: Vec::new(),
        };
        assert!(report.det_svg().contains("a&lt;b: EER 33.33 %"));
        assert_eq!(report.det_svg().matches("<svg").count(), report.det_svg().matches("</svg>").count());
        assert_eq!(report.det_csv().lines().count(), 1 + report.scores.det().len());
        assert!(report.table().contains("EER") && report.table().contains("not calibrated"));
    }
}
