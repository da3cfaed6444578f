//! What a hostile soak measured, as a table and as a verdict.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use diarized::percentile::percentile;

/// Faults that are reported in full.
const MAX_FAULTS: usize = 10;

/// What may not be exceeded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HostileBounds {
    /// Memory that the server may have above what it had before its first client, in bytes.
    pub growth_bytes: f64,
    /// Longest answer of `/healthz`, in seconds.
    pub healthz_s: f64,
}

impl Default for HostileBounds {
    fn default() -> Self {
        Self { growth_bytes: 150e6, healthz_s: 1.0 }
    }
}

/// Acts of one kind of hostile client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acts {
    /// What they do.
    pub kind: &'static str,
    /// Clients that do it.
    pub n_clients: usize,
    /// Acts that went to their end.
    pub n_done: usize,
    /// Acts that the server cut short.
    pub n_cut: usize,
}

/// What was measured.
#[derive(Debug, Clone)]
pub struct HostileReport {
    /// How long good and hostile clients were there together.
    pub length: Duration,
    /// Good publishers and their followers.
    pub n_good: (usize, usize),
    /// Good sessions whose labels were those of a quiet server, by everybody who followed.
    pub n_sessions: usize,
    /// Good sessions that the server did not take at first.
    pub n_refused: usize,
    /// Times that a good stream was taken up again.
    pub n_resumed: usize,
    /// Hostile acts by kind.
    pub acts: Vec<Acts>,
    /// Corrections by kind that storms made in their own sessions, and those that were refused.
    pub corrections: BTreeMap<String, usize>,
    /// Resident memory in bytes before the first client, with good clients alone, at most, and after the last client.
    pub memory: [f64; 4],
    /// Times of `/healthz`, in seconds; infinite where it did not answer.
    pub healthz_s: Vec<f64>,
    /// What somebody could read or change who should not.
    pub breaches: Vec<String>,
    /// What went wrong.
    pub faults: Vec<String>,
}

impl HostileReport {
    fn sorted_healthz_s(&self) -> Vec<f64> {
        let mut times = self.healthz_s.clone();
        times.sort_unstable_by(f64::total_cmp);
        times
    }

    /// What is out of bounds, every breach and every fault.
    #[must_use]
    pub fn verdict(&self, bounds: &HostileBounds) -> Vec<String> {
        let mut all: Vec<String> =
            self.breaches.iter().take(MAX_FAULTS).map(|b| format!("breach: {b}")).collect();
        all.extend(self.faults.iter().take(MAX_FAULTS).cloned());
        let n_more = (self.breaches.len() + self.faults.len()).saturating_sub(all.len());
        all.extend((n_more > 0).then(|| format!("{n_more} more breaches and faults")));
        let [before, _, most, _] = self.memory;
        if most - before > bounds.growth_bytes {
            let (grown, most) = ((most - before) / 1e6, bounds.growth_bytes / 1e6);
            all.push(format!("memory rose by {grown:.1} MB, more than {most:.0}"));
        }
        let slowest_s = percentile(&self.sorted_healthz_s(), 1.0);
        if self.healthz_s.is_empty() || slowest_s > bounds.healthz_s {
            all.push(format!("/healthz took {slowest_s:.3} s, more than {:.0}", bounds.healthz_s));
        }
        if self.n_sessions == 0 {
            all.push("no good session went to its end".to_owned());
        }
        all.extend(
            self.acts
                .iter()
                .filter(|acts| acts.n_done + acts.n_cut == 0)
                .map(|a| format!("{} did nothing", a.kind)),
        );
        let missing =
            ["split", "merge", "refused"].iter().filter(|kind| !self.corrections.contains_key(**kind));
        all.extend(missing.map(|kind| format!("no correction of the storms was \"{kind}\"")));
        all
    }

    /// The figures, for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        let (publishers, followers) = self.n_good;
        let n_enemies: usize = self.acts.iter().map(|acts| acts.n_clients).sum();
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "{:.1} min, {publishers} good publishers with {followers} followers, {n_enemies} hostile clients\n",
            self.length.as_secs_f64() / 60.0
        );
        let _ = writeln!(out, "{:<26} {:>8} {:>10} {:>10}", "hostile", "clients", "acts", "cut short");
        for Acts { kind, n_clients, n_done, n_cut } in &self.acts {
            let _ = writeln!(out, "{kind:<26} {n_clients:>8} {:>10} {n_cut:>10}", n_done + n_cut);
        }
        let corrections: Vec<_> = self.corrections.iter().map(|(kind, n)| format!("{kind} {n}")).collect();
        let _ = writeln!(out, "\nstorms: {}", corrections.join(", "));
        let times = self.sorted_healthz_s();
        let [before, alone, most, after] = self.memory.map(|bytes| bytes / 1e6);
        let rows = [
            ("good sessions as on a quiet server", self.n_sessions.to_string()),
            ("good sessions refused at first", self.n_refused.to_string()),
            ("good streams taken up again", self.n_resumed.to_string()),
            ("faults of good sessions", self.faults.len().to_string()),
            ("breaches", self.breaches.len().to_string()),
            ("memory before the first client", format!("{before:.1} MB")),
            ("memory with good clients alone", format!("{alone:.1} MB")),
            ("memory at most", format!("{most:.1} MB")),
            ("memory after the last client", format!("{after:.1} MB")),
            ("/healthz median", format!("{:.3} s", percentile(&times, 0.5))),
            ("/healthz p99", format!("{:.3} s", percentile(&times, 0.99))),
            ("/healthz slowest", format!("{:.3} s of {}", percentile(&times, 1.0), times.len())),
        ];
        out.push('\n');
        for (what, value) in rows {
            let _ = writeln!(out, "{what:<40} {value:>14}");
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> HostileReport {
        HostileReport {
            length: Duration::from_secs(600),
            n_good: (10, 90),
            n_sessions: 80,
            n_refused: 0,
            n_resumed: 1,
            acts: vec![Acts { kind: "request floods", n_clients: 12, n_done: 100, n_cut: 3 }],
            corrections: ["split", "merge", "refused"].map(|kind| (kind.to_owned(), 7)).into(),
            memory: [60e6, 90e6, 200e6, 80e6],
            healthz_s: vec![0.002; 600],
            breaches: Vec::new(),
            faults: Vec::new(),
        }
    }

    #[test]
    fn a_harmless_hour_passes_and_any_harm_does_not() {
        let bounds = HostileBounds::default();
        assert_eq!(report().verdict(&bounds), Vec::<String>::new());
        let text = report().text();
        assert!(text.contains("request floods") && text.contains("103"), "{text}");
        let fails = |change: fn(&mut HostileReport), words: &str| {
            let mut report = report();
            change(&mut report);
            let verdict = report.verdict(&bounds);
            assert!(verdict.len() == 1 && verdict[0].contains(words), "{words}: {verdict:?}");
        };
        fails(|r| r.memory[2] = 211e6, "memory rose by 151.0 MB");
        fails(|r| r.healthz_s.push(1.2), "/healthz took 1.200 s");
        fails(|r| r.healthz_s.push(f64::INFINITY), "/healthz took inf s");
        fails(|r| r.n_sessions = 0, "no good session");
        fails(|r| r.breaches.push("read".to_owned()), "breach: read");
        fails(|r| r.faults.push("lost".to_owned()), "lost");
        fails(|r| _ = r.corrections.remove("split"), "no correction of the storms was \"split\"");
        fails(|r| (r.acts[0].n_done, r.acts[0].n_cut) = (0, 0), "did nothing");
    }
}
