//! From voiced frames, or the network's scores, to regions of speech.

use std::collections::VecDeque;

use diarized_dsp::{Comparison, Hysteresis, HysteresisParams, Transition};

use super::params::DiarizerParams;
use super::params::{DiarizerOptions, log_odds};

/// Hysteresis over the share of voiced ticks in a short span, with minimum durations and padding.
#[derive(Debug)]
pub(crate) struct SpeechGate {
    span: VecDeque<bool>,
    n_voiced: usize,
    onset: f32,
    offset: f32,
    look_ahead: u64,
    tick: u64,
    gate: Hysteresis,
}

/// Hysteresis over the network's log odds of speech, with minimum durations and padding. What is much quieter than the
/// session's speech needs higher odds: a voice from the next room is no part of the conversation.
#[derive(Debug)]
pub(crate) struct ScoreGate {
    span: VecDeque<f32>,
    levels: VecDeque<f32>,
    /// Log odds above which speech begins and below which it ends.
    onset: f32,
    offset: f32,
    look_ahead: u64,
    tick: u64,
    /// Since when the odds have been above `offset`.
    rise: Option<u64>,
    /// Level of this session's speech in dBFS, a usual one to begin with: it rises fast and falls slowly.
    speech_db: f32,
    gate: Hysteresis,
}

/// Durations in ticks of 10 ms.
fn durations(o: &DiarizerOptions) -> HysteresisParams {
    HysteresisParams {
        min_active: u64::from(o.min_speech_ms / 10),
        min_inactive: u64::from(o.min_silence_ms / 10),
        pad: u64::from(o.pad_ms / 10),
    }
}

/// Ticks between a change and its emission by a gate, at most.
fn wait(params: HysteresisParams) -> u64 {
    params.min_active.max(params.min_inactive) + params.pad
}

impl ScoreGate {
    pub(crate) fn new(params: &DiarizerParams) -> Self {
        let o = params.options();
        let durations = durations(o);
        // The tick of the decision does not count as part of a pause.
        let min_inactive = durations.min_inactive.max(durations.pad) + 1;
        let gate = HysteresisParams { min_inactive, ..durations };
        Self {
            span: VecDeque::with_capacity(SCORE_SPAN_TICKS + 1),
            levels: VecDeque::with_capacity(SPAN_TICKS + 1),
            onset: log_odds(o.vad_onset),
            offset: log_odds(o.vad_offset),
            look_ahead: SCORE_SPAN_TICKS as u64 + LONGEST_RISE_TICKS + wait(durations),
            tick: 0,
            rise: None,
            speech_db: USUAL_SPEECH_DB,
            gate: Hysteresis::new(gate),
        }
    }

    /// Ticks between a change and its emission, at most.
    pub(crate) fn look_ahead_ticks(&self) -> u64 {
        self.look_ahead
    }

    /// Whether these log odds are speech's rather than a pause's.
    pub(crate) fn is_voiced(&self, score: f32) -> bool {
        score >= self.offset
    }

    /// One more tick, with its log odds and level.
    pub(crate) fn push(&mut self, score: f32, level_db: f32) -> Option<Transition> {
        self.tick += 1;
        self.levels.push_back(level_db);
        if self.levels.len() > SPAN_TICKS {
            self.levels.pop_front();
        }
        let level = self.levels.iter().sum::<f32>() / self.levels.len() as f32;
        if score > SURE_SPEECH {
            let share = if level > self.speech_db { RISE_SHARE } else { FALL_SHARE };
            self.speech_db += share * (level - self.speech_db);
        }
        let below = (self.speech_db - QUIETER_DB - level).max(0.0);
        self.span.push_back(score - ODDS_PER_DB * below);
        if self.span.len() > SCORE_SPAN_TICKS {
            self.span.pop_front();
        }
        let odds = self.span.iter().sum::<f32>() / self.span.len() as f32;
        // The mean describes the centre of the span.
        let at = self.tick - 1 - self.span.len() as u64 / 2;
        let is_pause = odds < self.offset;
        self.rise = if is_pause { None } else { self.rise.or(Some(at)) };
        let rise = self.rise.unwrap_or(at).max(at.saturating_sub(LONGEST_RISE_TICKS));
        let comparison = Comparison { begins: odds >= self.onset, ends: is_pause, resumes: !is_pause };
        self.gate.push(at + 1, comparison, || rise, || at)
    }

    /// The stream pauses at `tick`: what is open closes. Ticks are then counted from 0; the level of speech stays.
    pub(crate) fn finish(&mut self, tick: u64) -> Option<Transition> {
        self.span.clear();
        self.levels.clear();
        self.tick = 0;
        self.rise = None;
        self.gate.finish(tick)
    }
}

/// Ticks over which the network's odds are averaged: 50 ms.
const SCORE_SPAN_TICKS: usize = 5;
/// A start may lie so far before the moment at which the odds were high enough: 1 s.
const LONGEST_RISE_TICKS: u64 = 100;
/// Assumed level of speech in dBFS at the start of a session, so that very quiet sound at its start is not taken for
/// speech. A session that is as quiet throughout is detected after some seconds.
const USUAL_SPEECH_DB: f32 = -50.0;
/// Log odds from which on a tick updates the level of speech.
const SURE_SPEECH: f32 = 2.0;
const RISE_SHARE: f32 = 0.05;
const FALL_SHARE: f32 = 0.002;
/// Level below the session's speech, in dB, from which speech loses odds, and the loss for each dB.
const QUIETER_DB: f32 = 12.0;
const ODDS_PER_DB: f32 = 0.2;

/// Ticks over which the share of voiced ones is taken: 100 ms.
const SPAN_TICKS: usize = 10;

impl SpeechGate {
    pub(crate) fn new(params: &DiarizerParams) -> Self {
        let o = params.options();
        let durations = durations(o);
        Self {
            span: VecDeque::with_capacity(SPAN_TICKS + 1),
            n_voiced: 0,
            onset: o.vad_onset,
            offset: o.vad_offset,
            look_ahead: SPAN_TICKS as u64 + wait(durations),
            tick: 0,
            gate: Hysteresis::new(durations),
        }
    }

    /// Ticks between a change and its emission, at most.
    pub(crate) fn look_ahead_ticks(&self) -> u64 {
        self.look_ahead
    }

    /// One more tick.
    pub(crate) fn push(&mut self, voiced: bool) -> Option<Transition> {
        self.tick += 1;
        self.span.push_back(voiced);
        self.n_voiced += usize::from(voiced);
        if self.span.len() > SPAN_TICKS {
            self.n_voiced -= usize::from(self.span.pop_front().unwrap_or(false));
        }
        let share = self.n_voiced as f32 / SPAN_TICKS as f32;
        let first = self.tick - self.span.len() as u64;
        let span = &self.span;
        let comparison = Comparison {
            begins: share >= self.onset,
            ends: share < self.offset,
            resumes: share >= self.onset,
        };
        // A rise begins with the first voiced tick of the span, and a fall follows the last one.
        self.gate.push(
            self.tick,
            comparison,
            || first + span.iter().position(|v| *v).unwrap_or(0) as u64,
            || first + span.iter().rposition(|v| *v).map_or(0, |p| p + 1) as u64,
        )
    }

    /// The stream ends at `tick`: what is open closes. The gate is then as new, its ticks counted from 0.
    pub(crate) fn finish(&mut self, tick: u64) -> Option<Transition> {
        self.span.clear();
        self.n_voiced = 0;
        self.tick = 0;
        self.gate.finish(tick)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diarizer::params::DiarizerOptions;

    fn run(scores: impl IntoIterator<Item = (f32, f32)>) -> Vec<Transition> {
        let params = DiarizerParams::try_new(DiarizerOptions::default()).unwrap();
        let mut gate = ScoreGate::new(&params);
        let mut n = 0;
        let mut transitions: Vec<Transition> =
            scores.into_iter().inspect(|_| n += 1).filter_map(|(s, db)| gate.push(s, db)).collect();
        transitions.extend(gate.finish(n));
        transitions
    }

    fn ticks(n: usize, score: f32, level_db: f32) -> impl Iterator<Item = (f32, f32)> {
        std::iter::repeat_n((score, level_db), n)
    }

    #[test]
    fn a_start_reaches_back_to_where_the_odds_rose() {
        let transitions =
            run(ticks(100, -4.0, -70.0).chain(ticks(20, 1.0, -40.0)).chain(ticks(100, 6.0, -40.0)));
        let [Transition::Start(start), Transition::End(220)] = transitions[..] else {
            panic!("{transitions:?}")
        };
        // Padded by 50 ms; the mean over 50 ms blurs the rise.
        assert!((93..=98).contains(&start), "{start}");
    }

    #[test]
    fn doubtful_odds_alone_are_no_speech_and_short_pauses_none_either() {
        assert!(run(ticks(300, 1.0, -40.0)).is_empty());
        let transitions =
            run(ticks(100, 5.0, -40.0).chain(ticks(30, -3.0, -60.0)).chain(ticks(100, 5.0, -40.0)));
        assert_eq!(transitions, [Transition::Start(0), Transition::End(230)]);
    }

    #[test]
    fn a_session_does_not_begin_with_a_murmur_but_may_be_all_quiet() {
        assert!(run(ticks(150, 5.0, -80.0)).is_empty());
        // As quiet, and it goes on: after some seconds it is what there is.
        let transitions = run(ticks(1500, 5.0, -80.0));
        let [Transition::Start(start), Transition::End(1500)] = transitions[..] else {
            panic!("{transitions:?}")
        };
        assert!((50..900).contains(&start), "{start}");
        let transitions = run(ticks(300, 5.0, -62.0));
        assert_eq!(transitions, [Transition::Start(0), Transition::End(300)]);
    }

    #[test]
    fn a_voice_far_below_the_others_is_not_of_the_conversation() {
        let near = || ticks(200, 5.0, -30.0).chain(ticks(100, -5.0, -80.0));
        let transitions = run(near().chain(ticks(200, 3.5, -66.0)));
        assert_eq!(transitions.len(), 2, "{transitions:?}");
        let transitions = run(near().chain(ticks(200, 3.5, -42.0)));
        assert_eq!(transitions.len(), 4, "{transitions:?}");
    }
}
