//! What the soak of a cluster has found: figures out of what every follower received, and what of it is out of bounds.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use diarized::percentile::percentile;

use super::homes::Homes;
use super::place::{Arrival, SessionReport};
use super::processes::Member;
use super::usage::Figures;

/// How long after a kill pauses are its own, unless another one comes before.
const AFTERMATH_S: f64 = 60.0;
/// Faults that are printed of a kind.
const MAX_LINES: usize = 20;

/// A process was killed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Kill {
    /// When, in seconds after the beginning.
    pub at_s: f64,
    /// Which one.
    pub member: Member,
}

/// What a kill was to one follower.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Touch {
    /// The node of its session.
    Home,
    /// The node that it followed at, and that was not the session's.
    Way,
    /// Another node.
    Bystander,
    /// A server of NATS.
    Nats,
}

impl Touch {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Home, "the session's node"),
        (Self::Way, "the subscriber's node"),
        (Self::Bystander, "another node"),
        (Self::Nats, "a server of NATS"),
    ];
}

/// What may not be exceeded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// Longest time without events and `stats` at a follower, in seconds.
    pub pause_s: f64,
    /// Delay that 99 of 100 events may have at other nodes while nobody was killed lately, in seconds.
    pub added_p99_s: f64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { pause_s: 15.0, added_p99_s: 1.0 }
    }
}

/// What was measured.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Processes that were killed.
    pub kills: Vec<Kill>,
    /// Where each session was.
    pub homes: Homes,
    /// Every session that began.
    pub sessions: Vec<SessionReport>,
    /// Sessions that were cut off before they had begun.
    pub n_unstarted: usize,
    /// Panics in logs.
    pub panics: Vec<String>,
    /// What the sessions took, where nobody was killed.
    pub figures: Option<Figures>,
}

/// Median, 99th percentile and largest.
fn figures(mut values: Vec<f64>) -> (usize, f64, f64, f64) {
    values.sort_unstable_by(f64::total_cmp);
    (values.len(), percentile(&values, 0.5), percentile(&values, 0.99), percentile(&values, 1.0))
}

/// Times between what came to a follower, with the time before the first and after the last: when each began, and its length.
fn pauses(session: &SessionReport, follower: &[Arrival]) -> Vec<(f64, f64)> {
    let times = follower.iter().map(|arrival| arrival.at_s);
    let ends = times.clone().chain([session.lasted_s.1]);
    let begins = std::iter::once(session.lasted_s.0).chain(times);
    begins.zip(ends).map(|(begin, end)| (begin, (end - begin).max(0.0))).collect()
}

impl Report {
    /// Every follower with its session.
    fn followers(&self) -> impl Iterator<Item = (&SessionReport, &[Arrival])> {
        self.sessions
            .iter()
            .flat_map(|session| session.followers.iter().map(move |follower| (session, follower.as_slice())))
    }

    /// What a kill was to a follower; none where its session did not run then.
    fn touch(&self, kill: Kill, session: &SessionReport, follower: &[Arrival]) -> Option<Touch> {
        if !(session.lasted_s.0..session.lasted_s.1).contains(&kill.at_s) {
            return None;
        }
        let Member::Node(killed) = kill.member else { return Some(Touch::Nats) };
        let way = follower.iter().rev().find(|arrival| arrival.at_s <= kill.at_s).map(|arrival| arrival.node);
        Some(match (self.homes.at(&session.id, kill.at_s), way) {
            (Some(home), _) if home == killed => Touch::Home,
            (_, Some(way)) if way == killed => Touch::Way,
            _ => Touch::Bystander,
        })
    }

    /// The longest pause of every follower after every kill that touched it in this way.
    fn pauses_after(&self, touch: Touch) -> Vec<f64> {
        let mut longest = Vec::new();
        for (idx, kill) in self.kills.iter().enumerate() {
            let next_s = self.kills.get(idx + 1).map_or(f64::INFINITY, |next| next.at_s);
            let until_s = next_s.min(kill.at_s + AFTERMATH_S);
            for (session, follower) in self.followers() {
                if self.touch(*kill, session, follower) == Some(touch) {
                    // One that begins later and lasts over the next kill is of that one.
                    let is_of_kill = |begin: f64, end: f64| {
                        end > kill.at_s && (begin <= kill.at_s || (begin < until_s && end <= next_s))
                    };
                    let of_kill = pauses(session, follower).into_iter();
                    let of_kill = of_kill.filter(|(begin, length)| is_of_kill(*begin, begin + length));
                    longest.push(of_kill.map(|(_, length)| length).fold(0.0, f64::max));
                }
            }
        }
        longest
    }

    /// How much later than at the session's node each event came to the others, in seconds, where both connections had been there
    /// for a while: all, and those with no kill within the time that its aftermath takes.
    fn added_s(&self) -> (Vec<f64>, Vec<f64>) {
        let (mut all, mut quiet) = (Vec::new(), Vec::new());
        for session in &self.sessions {
            let mut by_seq: BTreeMap<u64, Vec<Arrival>> = BTreeMap::new();
            for arrival in session.followers.iter().flatten().filter(|arrival| arrival.is_steady) {
                if let Some(seq) = arrival.seq {
                    by_seq.entry(seq).or_default().push(*arrival);
                }
            }
            for arrivals in by_seq.values() {
                let home =
                    |arrival: &&Arrival| self.homes.at(&session.id, arrival.at_s) == Some(arrival.node);
                let Some(own) = arrivals.iter().find(home) else { continue };
                let is_quiet = !self
                    .kills
                    .iter()
                    .any(|kill| (kill.at_s - 1.0..kill.at_s + AFTERMATH_S / 2.0).contains(&own.at_s));
                for other in arrivals.iter().filter(|other| other.node != own.node) {
                    let added_s = other.at_s - own.at_s;
                    all.push(added_s);
                    quiet.extend(Some(added_s).filter(|_| is_quiet));
                }
            }
        }
        (all, quiet)
    }

    /// Sum over the sessions.
    fn sum(&self, of: impl Fn(&SessionReport) -> u64) -> u64 {
        self.sessions.iter().map(of).sum()
    }

    /// Events that were taken back from followers: at the session's node, which may have shown them to nobody else when it died,
    /// and at other nodes, which must not show what can be taken back.
    fn withdrawn(&self) -> (usize, usize) {
        let (mut at_home, mut away) = (0, 0);
        for session in &self.sessions {
            for (follower, withdrawn) in session.followers.iter().zip(&session.withdrawn) {
                for seq in withdrawn {
                    let first = follower.iter().find(|arrival| arrival.seq == Some(*seq));
                    let is_home =
                        first.is_some_and(|at| self.homes.at(&session.id, at.at_s) == Some(at.node));
                    *(if is_home { &mut at_home } else { &mut away }) += 1;
                }
            }
        }
        (at_home, away)
    }

    fn others_ends(&self) -> Vec<String> {
        let ends = self.sessions.iter();
        ends.filter_map(|session| Some(format!("{}: {}", session.id, session.other_end.as_ref()?))).collect()
    }

    fn longest_pause_s(&self) -> f64 {
        self.followers()
            .flat_map(|(session, f)| pauses(session, f))
            .map(|(_, length)| length)
            .fold(0.0, f64::max)
    }

    /// The figures, for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        let n_other = self.others_ends().len();
        let n_events = self.sum(|s| s.followers.iter().flatten().filter(|a| a.seq.is_some()).count() as u64);
        let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
        for kill in &self.kills {
            let kind = if matches!(kill.member, Member::Node(_)) { "node" } else { "server of NATS" };
            *kinds.entry(kind.to_owned()).or_default() += 1;
        }
        let mut line = |what: &str, value: String| {
            let _ = writeln!(text, "{what:<42} {value}");
        };
        line("kills", listed(&kinds));
        line("sessions", self.sessions.len().to_string());
        line("  that ended in another way than closed", n_other.to_string());
        line("  cut off before they had begun", self.n_unstarted.to_string());
        line("  that went to another node", self.homes.moves().len().to_string());
        line("times that a publisher came back", self.sum(|s| s.n_resumed as u64).to_string());
        line("events at followers", n_events.to_string());
        line("  lost", self.sum(|s| s.faults.n_lost).to_string());
        line("  doubled, or not the same everywhere", self.sum(|s| s.faults.n_doubled).to_string());
        line("  taken back from publishers", self.sum(|s| s.n_withdrawn as u64).to_string());
        let (at_home, away) = self.withdrawn();
        line("  taken back at nodes that died", at_home.to_string());
        line("  taken back at other nodes", away.to_string());
        let mut warnings: BTreeMap<String, usize> = BTreeMap::new();
        for (code, n) in self.sessions.iter().flat_map(|session| &session.warnings) {
            *warnings.entry(code.clone()).or_default() += n;
        }
        line("warnings and errors at followers", listed(&warnings));
        let _ =
            writeln!(text, "\n{:<42} {:>7} {:>8} {:>8} {:>8}", "in seconds", "number", "p50", "p99", "max");
        let mut row = |what: &str, values: Vec<f64>| {
            let (n, p50, p99, max) = figures(values);
            let _ = writeln!(text, "{what:<42} {n:>7} {p50:>8.3} {p99:>8.3} {max:>8.3}");
        };
        let all = self.followers().flat_map(|(session, follower)| pauses(session, follower));
        row("times between events or stats", all.map(|(_, length)| length).collect());
        for (touch, what) in Touch::ALL {
            row(
                &format!("longest pause after a kill of {}", what.trim_start_matches("the ")),
                self.pauses_after(touch),
            );
        }
        let (added, quiet) = self.added_s();
        row("added delay at other nodes", added);
        row("  30 s after a kill and later", quiet);
        let moves = self.homes.moves();
        if !moves.is_empty() {
            let _ = writeln!(text, "\nmoves, as the nodes list them:");
            moves.iter().take(MAX_LINES).for_each(|line| _ = writeln!(text, "  {line}"));
        }
        text
    }

    /// What is out of bounds; empty if all is well.
    #[must_use]
    pub fn verdict(&self, bounds: &Bounds) -> Vec<String> {
        let mut verdict = Vec::new();
        let mut fail_if = |is_bad: bool, line: String| verdict.extend(is_bad.then_some(line));
        let (n_lost, n_doubled) = (self.sum(|s| s.faults.n_lost), self.sum(|s| s.faults.n_doubled));
        fail_if(n_lost > 0, format!("{n_lost} events were lost"));
        fail_if(n_doubled > 0, format!("{n_doubled} events came twice, or were not the same everywhere"));
        let n_withdrawn = self.withdrawn().1;
        fail_if(
            n_withdrawn > 0,
            format!("{n_withdrawn} events were taken back at nodes that were not the session's"),
        );
        let pause_s = self.longest_pause_s();
        fail_if(
            pause_s > bounds.pause_s,
            format!("a subscriber waited {pause_s:.1} s (at most {})", bounds.pause_s),
        );
        let (n, _, p99_s, _) = figures(self.added_s().1);
        let is_compared = self.followers().any(|(session, follower)| {
            let home = |arrival: &Arrival| self.homes.at(&session.id, arrival.at_s);
            follower.iter().any(|arrival| home(arrival).is_some_and(|home| home != arrival.node))
        });
        fail_if(is_compared && n == 0, "no event was seen at two nodes while nobody was killed".to_owned());
        fail_if(
            p99_s > bounds.added_p99_s,
            format!("events came {p99_s:.2} s later to other nodes (p99; at most {})", bounds.added_p99_s),
        );
        fail_if(self.sessions.is_empty(), "no session began".to_owned());
        let ends = self.others_ends();
        fail_if(!ends.is_empty(), format!("{} sessions ended in another way than closed", ends.len()));
        let lines = self.sessions.iter().flat_map(|session| {
            session.faults.lines.iter().map(move |line| format!("{}: {line}", session.id))
        });
        let lines: Vec<String> = lines.collect();
        for all in [ends, lines, self.panics.clone()] {
            let n_more = all.len().saturating_sub(MAX_LINES);
            verdict.extend(all.into_iter().take(MAX_LINES));
            verdict.extend((n_more > 0).then(|| format!("and {n_more} more")));
        }
        verdict
    }
}

fn listed(counts: &BTreeMap<String, usize>) -> String {
    if counts.is_empty() {
        return "none".to_owned();
    }
    counts.iter().map(|(what, n)| format!("{n} {what}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A session of 100 s at node 0, whose three followers get an event a second, 20 ms later at other nodes.
    fn quiet() -> Report {
        let follower = |node: usize| {
            let arrival = |n: u32| Arrival {
                at_s: f64::from(n) + if node == 0 { 0.0 } else { 0.02 },
                node,
                seq: Some(u64::from(n)),
                is_steady: true,
            };
            (1..100).map(arrival).collect::<Vec<_>>()
        };
        let session = SessionReport {
            id: "a".to_owned(),
            lasted_s: (0.5, 99.5),
            followers: (0..3).map(follower).collect(),
            ..SessionReport::default()
        };
        let mut homes = Homes::default();
        homes.saw("a", 1.0, 0);
        Report { homes, sessions: vec![session], ..Report::default() }
    }

    #[test]
    fn what_is_well_passes_and_is_measured() {
        let report = quiet();
        assert_eq!(report.verdict(&Bounds::default()), Vec::<String>::new());
        let (n, p50, _, max) = figures(report.added_s().0);
        assert_eq!(n, 2 * 99);
        assert!((p50 - 0.02).abs() < 1e-9 && (max - 0.02).abs() < 1e-9);
        assert!((report.longest_pause_s() - 1.02).abs() < 0.05);
        assert!(report.text().contains("kills"), "{}", report.text());
    }

    #[test]
    fn a_pause_belongs_to_the_kill_before_it() {
        let mut report = quiet();
        let kill = |at_s, member| Kill { at_s, member };
        report.kills = vec![
            kill(10.2, Member::Nats(1)),
            kill(30.2, Member::Node(0)),
            kill(60.2, Member::Node(1)),
            kill(200.0, Member::Node(2)),
        ];
        // Nobody gets anything for 20 s after the second kill.
        for follower in &mut report.sessions[0].followers {
            follower.retain(|arrival| !(31.0..50.0).contains(&arrival.at_s));
        }
        let after = |touch| report.pauses_after(touch);
        assert_eq!(after(Touch::Home).len(), 3);
        assert!(
            after(Touch::Home).iter().all(|pause_s| (pause_s - 20.0).abs() < 0.1),
            "{:?}",
            after(Touch::Home)
        );
        assert!(after(Touch::Nats).iter().all(|pause_s| *pause_s < 1.1), "{:?}", after(Touch::Nats));
        assert_eq!((after(Touch::Way).len(), after(Touch::Bystander).len()), (1, 2));
        let verdict = report.verdict(&Bounds::default());
        assert!(verdict.len() == 1 && verdict[0].contains("waited 20.0 s"), "{verdict:?}");
    }

    #[test]
    fn whatever_is_out_of_bounds_fails_by_itself() {
        type Break = fn(&mut Report);
        let fails = |break_it: Break, words: &str| {
            let mut report = quiet();
            break_it(&mut report);
            let verdict = report.verdict(&Bounds::default());
            assert!(verdict.iter().any(|line| line.contains(words)), "{words}: {verdict:?}");
        };
        fails(|r| r.sessions[0].faults.n_lost = 1, "1 events were lost");
        fails(|r| r.sessions[0].faults.n_doubled = 2, "2 events came twice");
        fails(|r| r.sessions[0].faults.lines.push("snapshot".to_owned()), "a: snapshot");
        fails(|r| r.sessions[0].withdrawn = vec![vec![7], vec![7], vec![]], "1 events were taken back");
        fails(|r| r.sessions[0].other_end = Some("gone".to_owned()), "1 sessions ended in another way");
        fails(|r| r.sessions[0].followers[1].truncate(50), "waited 49");
        fails(|r| r.sessions[0].followers[1].clear(), "waited 99");
        fails(|r| r.sessions[0].followers[2].iter_mut().for_each(|a| a.at_s += 1.5), "1.52 s later");
        fails(|r| r.sessions.clear(), "no session began");
        // A node alone names none, and there is nothing to compare.
        let mut alone = quiet();
        alone.homes = Homes::default();
        assert_eq!(alone.verdict(&Bounds::default()), Vec::<String>::new());
        fails(|r| r.panics.push("node1: panicked".to_owned()), "panicked");
    }
}
