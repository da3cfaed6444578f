//! Plans a conversation: who holds the floor when, before any audio is looked at.

use super::rng::Rng;
use super::statistics::TurnStatistics;

/// One stretch in which a speaker shall speak.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlannedTurn {
    /// Index of the speaker.
    pub speaker_idx: usize,
    /// Start in seconds.
    pub start_s: f64,
    /// Length in seconds.
    pub length_s: f64,
}

/// The shape of a conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Turns by start; they may overlap, but never those of one speaker.
    pub turns: Vec<PlannedTurn>,
    /// The speaker who is away for a while, and from when to when, in seconds.
    pub absence: Option<(usize, f64, f64)>,
    /// Length in seconds, where the turns decide it.
    pub duration_s: Option<f64>,
}

/// Shortest turn that is planned, in seconds: shorter ones hold no whole syllable.
const SHORTEST_S: f64 = 0.25;
/// Overlap at a change is no longer than this share of the turn that it interrupts.
const MOST_OVERLAP: f64 = 0.8;
/// Longest turn, in seconds; keeps one speaker from filling a short conversation.
const LONGEST_S: f64 = 30.0;

/// How often a plan is drawn again if a long turn kept somebody from having a word when they must.
const ATTEMPTS: usize = 200;

/// Plans `duration_s` seconds of talk among speakers of the given shares (sum 1).
///
/// With three speakers or more one of them leaves for 45 to 60 % of the time and comes back, and every speaker
/// speaks at least once: the one who leaves before and after, the others at a time drawn for them. Only a
/// conversation too short for its speakers may break this.
#[must_use]
pub fn plan(statistics: &TurnStatistics, shares: &[f64], duration_s: f64, rng: &mut Rng) -> Plan {
    let mut drawn = draw(statistics, shares, duration_s, rng);
    for _ in 1..ATTEMPTS {
        if drawn.keeps_promises(shares.len()) {
            break;
        }
        drawn = draw(statistics, shares, duration_s, rng);
    }
    drawn
}

impl Plan {
    fn keeps_promises(&self, n_speakers: usize) -> bool {
        let speaks = |who: usize, from: f64, to: f64| {
            self.turns
                .iter()
                .any(|t| t.speaker_idx == who && t.start_s >= from && t.start_s + t.length_s <= to)
        };
        let returns = self
            .absence
            .is_none_or(|(who, from, to)| speaks(who, 0.0, from) && speaks(who, to, f64::INFINITY));
        returns && (0..n_speakers).all(|who| speaks(who, 0.0, f64::INFINITY))
    }
}

/// Plans a quick exchange: every speaker has 2 to 10 s in turns of 0.7 to 4 s, and people answer each other within half
/// a second, as in a trailer, a sketch or a call.
#[must_use]
pub fn quick(n_speakers: usize, rng: &mut Rng) -> Plan {
    let mut left_s: Vec<f64> = (0..n_speakers).map(|_| rng.between(2.0, 10.0)).collect();
    let mut turns: Vec<PlannedTurn> = Vec::new();
    let (mut holder, mut before) = (None, None);
    let mut floor_end = rng.between(0.2, 1.0);
    while left_s.iter().any(|left| *left > 0.0) {
        let may = |speaker: usize| Some(speaker) != holder && left_s[speaker] > 0.0;
        let returns = before.filter(|before| may(*before) && rng.chance(0.5));
        let weights: Vec<f64> = (0..n_speakers).map(|s| if may(s) { left_s[s] } else { 0.0 }).collect();
        let Some(speaker_idx) = returns.or_else(|| rng.weighted(&weights)).or(holder) else { break };
        // What would be left over as a scrap belongs to the turn.
        let mut length_s = rng.between(0.7, 4.0).min(left_s[speaker_idx].max(0.7));
        if left_s[speaker_idx] - length_s < 0.7 {
            length_s = left_s[speaker_idx].max(0.7);
        }
        let pause_s = (0.2 + 0.25 * rng.normal()).clamp(-0.3, 0.8);
        let start_s =
            (floor_end + if holder == Some(speaker_idx) { pause_s.max(0.3) } else { pause_s }).max(0.0);
        turns.push(PlannedTurn { speaker_idx, start_s, length_s });
        left_s[speaker_idx] -= length_s;
        floor_end = start_s + length_s;
        if holder != Some(speaker_idx) {
            before = holder.replace(speaker_idx);
        }
    }
    Plan { turns, absence: None, duration_s: Some(((floor_end + 1.0) * 10.0).ceil() / 10.0) }
}

fn draw(statistics: &TurnStatistics, shares: &[f64], duration_s: f64, rng: &mut Rng) -> Plan {
    let n_speakers = shares.len();
    let absence = (n_speakers >= 3).then(|| {
        let from = duration_s * rng.between(0.2, 0.3);
        (rng.below(n_speakers), from, from + duration_s * rng.between(0.45, 0.6))
    });
    let is_away = |speaker: usize, start: f64, end: f64| {
        absence.is_some_and(|(away, from, to)| away == speaker && start < to && end > from)
    };
    let mut due = dues(n_speakers, absence, duration_s, rng);
    let mut turns: Vec<PlannedTurn> = Vec::new();
    let mut spoken_s = vec![0.0; n_speakers];
    // Speakers by their last turns, and the end of the latest speech.
    let (mut holder, mut before, mut floor_end) = (None, None, rng.between(0.3, 2.5));
    while floor_end < duration_s - 1.0 {
        let (wants_change, mut pause, length) = statistics.next_turn(rng);
        let length = length.clamp(SHORTEST_S, LONGEST_S);
        let changes = wants_change || holder.is_none();
        // The turn that reaches furthest holds the floor; others may lie within it.
        let end_of = |turn: &PlannedTurn| turn.start_s + turn.length_s;
        let floor = turns.iter().max_by(|a, b| end_of(a).total_cmp(&end_of(b)));
        pause = floor.map_or(0.0, |floor| pause.max(-MOST_OVERLAP * floor.length_s));
        let start = (floor_end + pause).max(0.0);
        let end = (start + length).min(duration_s - 0.2);
        if end - start < SHORTEST_S {
            break;
        }
        let is_free = |speaker: usize| {
            let own_end = turns.iter().filter(|t| t.speaker_idx == speaker).map(|t| t.start_s + t.length_s);
            !is_away(speaker, start, end) && own_end.fold(0.0, f64::max) + 0.05 <= start
        };
        let who = pick_speaker(
            &Choice { changes, holder, before, shares, spoken_s: &spoken_s },
            &mut due,
            start,
            &is_free,
            statistics,
            rng,
        );
        let Some(who) = who else {
            // Nobody may speak here (the only others are away or still speaking): wait a little.
            floor_end += rng.between(0.3, 1.0);
            continue;
        };
        if holder != Some(who) {
            before = holder;
        }
        holder = Some(who);
        spoken_s[who] += end - start;
        turns.push(PlannedTurn { speaker_idx: who, start_s: start, length_s: end - start });
        floor_end = floor_end.max(end);
    }
    add_back_channels(&mut turns, statistics, n_speakers, &is_away, rng);
    turns.sort_by(|a, b| a.start_s.total_cmp(&b.start_s));
    Plan { turns, absence, duration_s: None }
}

/// When a speaker must have had a word: (speaker, from when on).
fn dues(
    n_speakers: usize,
    absence: Option<(usize, f64, f64)>,
    duration_s: f64,
    rng: &mut Rng,
) -> Vec<(usize, f64)> {
    let mut due: Vec<(usize, f64)> = Vec::new();
    for speaker in 0..n_speakers {
        match absence {
            Some((away, from, to)) if away == speaker => {
                due.push((speaker, from * rng.between(0.1, 0.6)));
                due.push((speaker, to + (duration_s - to) * rng.between(0.05, 0.4)));
            }
            _ => due.push((speaker, duration_s * rng.between(0.02, 0.7))),
        }
    }
    due.sort_by(|a, b| a.1.total_cmp(&b.1));
    due
}

struct Choice<'a> {
    changes: bool,
    holder: Option<usize>,
    before: Option<usize>,
    shares: &'a [f64],
    spoken_s: &'a [f64],
}

fn pick_speaker(
    choice: &Choice<'_>,
    due: &mut Vec<(usize, f64)>,
    start: f64,
    is_free: &dyn Fn(usize) -> bool,
    statistics: &TurnStatistics,
    rng: &mut Rng,
) -> Option<usize> {
    if let Some(idx) = due.iter().position(|(speaker, from)| *from <= start && is_free(*speaker)) {
        return Some(due.remove(idx).0);
    }
    if !choice.changes && choice.holder.is_some_and(is_free) {
        return choice.holder;
    }
    if let Some(before) = choice.before.filter(|before| is_free(*before))
        && rng.chance(statistics.p_return() * 0.8)
    {
        return Some(before);
    }
    // A speaker below their share of the talk is likelier to speak.
    let total: f64 = choice.spoken_s.iter().sum::<f64>() + 1.0;
    let weights: Vec<f64> = (0..choice.shares.len())
        .map(|speaker| {
            let lag = (choice.shares[speaker] - choice.spoken_s[speaker] / total).max(0.0);
            let may = Some(speaker) != choice.holder && is_free(speaker);
            if may { 0.1 * choice.shares[speaker] + lag } else { 0.0 }
        })
        .collect();
    rng.weighted(&weights).or_else(|| choice.holder.filter(|holder| is_free(*holder)))
}

/// Puts short words of listeners into the turns of others.
fn add_back_channels(
    turns: &mut Vec<PlannedTurn>,
    statistics: &TurnStatistics,
    n_speakers: usize,
    is_away: &dyn Fn(usize, f64, f64) -> bool,
    rng: &mut Rng,
) {
    if n_speakers < 2 {
        return;
    }
    for turn in turns.clone() {
        let expected = statistics.back_channel_rate() * turn.length_s;
        let n = expected.floor() as usize + usize::from(rng.chance(expected.fract()));
        for _ in 0..n {
            let speaker_idx = rng.below(n_speakers);
            let length_s = statistics.back_channel(rng).max(SHORTEST_S);
            let start_s =
                rng.between(turn.start_s, (turn.start_s + turn.length_s - length_s).max(turn.start_s));
            let collides = turns.iter().any(|other| {
                other.speaker_idx == speaker_idx
                    && start_s < other.start_s + other.length_s + 0.05
                    && other.start_s < start_s + length_s + 0.05
            });
            if !collides && !is_away(speaker_idx, start_s, start_s + length_s) {
                turns.push(PlannedTurn { speaker_idx, start_s, length_s });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use diarized_models::rttm::Nanos;
    use diarized_models::scoring::Turn;

    use super::*;

    fn statistics() -> TurnStatistics {
        let mut statistics = TurnStatistics::default();
        let mut rng = Rng::new(9, 9);
        let (mut at, mut turns) = (0.0, Vec::new());
        for idx in 0..200 {
            let length = rng.between(0.3, 12.0);
            let span = |a: f64, b: f64| (Nanos::from_seconds(a), Nanos::from_seconds(b));
            let (start, end) = span(at, at + length);
            turns.push(Turn::new(start, end, ["A", "B", "C", "D"][rng.below(4)]));
            if idx % 3 == 0 && length > 2.0 {
                let (start, end) = span(at + 1.0, at + 1.4);
                turns.push(Turn::new(start, end, "E"));
            }
            at += length + rng.between(-1.0, 2.0);
        }
        statistics.add(&turns);
        statistics
    }

    #[test]
    fn a_quick_exchange_gives_everybody_two_to_ten_seconds() {
        for n_speakers in 2..=9 {
            for seed in 0..20 {
                let plan = quick(n_speakers, &mut Rng::new(seed, n_speakers as u64));
                for speaker in 0..n_speakers {
                    let own: Vec<_> = plan.turns.iter().filter(|t| t.speaker_idx == speaker).collect();
                    let spoken_s: f64 = own.iter().map(|t| t.length_s).sum();
                    assert!(
                        (2.0..=10.8).contains(&spoken_s),
                        "{spoken_s} s of speaker {speaker} (seed {seed})"
                    );
                    let apart = |pair: &[&PlannedTurn]| pair[0].start_s + pair[0].length_s <= pair[1].start_s;
                    assert!(own.windows(2).all(apart));
                }
                let duration_s = plan.duration_s.unwrap();
                assert!(plan.turns.iter().all(|t| t.start_s >= 0.0 && t.start_s + t.length_s < duration_s));
            }
        }
    }

    #[test]
    fn plans_keep_their_promises_for_every_number_of_speakers() {
        let statistics = statistics();
        for n_speakers in 1..=8 {
            for seed in 0..20 {
                let mut rng = Rng::new(seed, n_speakers as u64);
                let shares = statistics.shares(n_speakers, &mut rng);
                let duration_s = rng.between(120.0, 400.0);
                let plan = plan(&statistics, &shares, duration_s, &mut rng);
                for speaker in 0..n_speakers {
                    let own: Vec<_> = plan.turns.iter().filter(|t| t.speaker_idx == speaker).collect();
                    assert!(!own.is_empty(), "speaker {speaker} of {n_speakers} never speaks (seed {seed})");
                    let apart = |pair: &[&PlannedTurn]| pair[0].start_s + pair[0].length_s <= pair[1].start_s;
                    assert!(
                        own.windows(2).all(apart),
                        "speaker {speaker} overlaps with themself (seed {seed})"
                    );
                }
                assert!(plan.turns.iter().all(|t| t.start_s >= 0.0 && t.start_s + t.length_s <= duration_s));
                if let Some((away, from, to)) = plan.absence {
                    let own = |late: bool| {
                        plan.turns.iter().any(|t| t.speaker_idx == away && (t.start_s >= to) == late)
                    };
                    assert!(own(false) && own(true), "the speaker who leaves is not heard on both sides");
                    let silent = |t: &PlannedTurn| t.start_s >= to || t.start_s + t.length_s <= from;
                    assert!(plan.turns.iter().filter(|t| t.speaker_idx == away).all(silent));
                }
            }
        }
    }
}
