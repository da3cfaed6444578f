//! From voiced frames, or the network's scores, to regions of speech.

use std::collections::VecDeque;

use super::DiarizerParams;
use super::params::log_odds;

/// A change of what the gate believes, at a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transition {
    /// Speech starts at this tick.
    Start(u64),
    /// Speech ends before this tick.
    End(u64),
}

/// Hysteresis over the share of voiced ticks in a short span, with minimum durations and padding.
#[derive(Debug)]
pub(crate) struct SpeechGate {
    span: VecDeque<bool>,
    n_voiced: usize,
    onset: f32,
    offset: f32,
    min_speech: u64,
    min_silence: u64,
    pad: u64,
    tick: u64,
    /// End of the last region told; nothing may start before it.
    floor: u64,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Silence,
    /// Loud since `start`, not long enough to be told.
    Rising {
        start: u64,
    },
    Speech,
    /// Quiet since `end`, not long enough to be told.
    Falling {
        end: u64,
    },
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
    min_speech: u64,
    min_silence: u64,
    pad: u64,
    tick: u64,
    floor: u64,
    /// Since when the odds have been above `offset`, while there is silence.
    rise: Option<u64>,
    /// Level of this session's speech in dBFS, a usual one to begin with: it rises fast and falls slowly.
    speech_db: f32,
    state: State,
}

impl ScoreGate {
    pub(crate) fn new(params: &DiarizerParams) -> Self {
        let o = params.options();
        Self {
            span: VecDeque::with_capacity(SCORE_SPAN_TICKS + 1),
            levels: VecDeque::with_capacity(SPAN_TICKS + 1),
            onset: log_odds(o.vad_onset),
            offset: log_odds(o.vad_offset),
            min_speech: u64::from(o.min_speech_ms / 10),
            min_silence: u64::from(o.min_silence_ms / 10),
            pad: u64::from(o.pad_ms / 10),
            tick: 0,
            floor: 0,
            rise: None,
            speech_db: USUAL_SPEECH_DB,
            state: State::Silence,
        }
    }

    /// Ticks that may pass between a change and its being told.
    pub(crate) fn look_ahead_ticks(&self) -> u64 {
        SCORE_SPAN_TICKS as u64 + LONGEST_RISE_TICKS + self.min_speech.max(self.min_silence) + self.pad
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
        // The span's centre is what the mean speaks of.
        let at = self.tick - 1 - self.span.len() as u64 / 2;
        match self.state {
            State::Silence => {
                if odds < self.offset {
                    self.rise = None;
                    return None;
                }
                let rise = (*self.rise.get_or_insert(at)).max(at.saturating_sub(LONGEST_RISE_TICKS));
                if odds < self.onset {
                    return None;
                }
                self.state = State::Rising { start: rise };
                self.try_start(rise, at)
            }
            State::Rising { .. } if odds < self.offset => {
                self.state = State::Silence;
                self.rise = None;
                None
            }
            State::Rising { start } => self.try_start(start, at),
            State::Speech if odds < self.offset => {
                self.state = State::Falling { end: at };
                self.try_end(at, at)
            }
            State::Falling { .. } if odds >= self.offset => {
                self.state = State::Speech;
                None
            }
            State::Falling { end } => self.try_end(end, at),
            State::Speech => None,
        }
    }

    fn try_start(&mut self, start: u64, at: u64) -> Option<Transition> {
        if at + 1 - start < self.min_speech {
            return None;
        }
        self.state = State::Speech;
        Some(Transition::Start(start.saturating_sub(self.pad).max(self.floor)))
    }

    fn try_end(&mut self, end: u64, at: u64) -> Option<Transition> {
        if at - end < self.min_silence.max(self.pad) {
            return None;
        }
        self.state = State::Silence;
        self.rise = None;
        self.floor = end + self.pad;
        Some(Transition::End(self.floor))
    }

    /// The stream pauses at `tick`: what is open closes. Ticks are then counted from 0; the level of speech stays.
    pub(crate) fn finish(&mut self, tick: u64) -> Option<Transition> {
        let transition = match self.state {
            State::Silence | State::Rising { .. } => None,
            State::Speech => Some(Transition::End(tick)),
            State::Falling { end } => Some(Transition::End((end + self.pad).min(tick))),
        };
        self.span.clear();
        self.levels.clear();
        self.tick = 0;
        self.floor = 0;
        self.rise = None;
        self.state = State::Silence;
        transition
    }
}

/// Ticks over which the network's odds are averaged: 50 ms.
const SCORE_SPAN_TICKS: usize = 5;
/// A start may lie so far before the moment at which the odds were high enough: 1 s.
const LONGEST_RISE_TICKS: u64 = 100;
/// Level of speech in dBFS before any was heard: so that what a session begins with is not taken for its talk however
/// quiet it is. A session that is so quiet by itself is heard after some seconds.
const USUAL_SPEECH_DB: f32 = -50.0;
/// Log odds from which on a tick tells the level of speech.
const SURE_SPEECH: f32 = 2.0;
const RISE_SHARE: f32 = 0.05;
const FALL_SHARE: f32 = 0.002;
/// Speech so many dB below the session's loses odds, so much for each dB.
const QUIETER_DB: f32 = 12.0;
const ODDS_PER_DB: f32 = 0.2;

/// Ticks over which the share of voiced ones is taken: 100 ms.
const SPAN_TICKS: usize = 10;

impl SpeechGate {
    pub(crate) fn new(params: &DiarizerParams) -> Self {
        let o = params.options();
        Self {
            span: VecDeque::with_capacity(SPAN_TICKS + 1),
            n_voiced: 0,
            onset: o.vad_onset,
            offset: o.vad_offset,
            min_speech: u64::from(o.min_speech_ms / 10),
            min_silence: u64::from(o.min_silence_ms / 10),
            pad: u64::from(o.pad_ms / 10),
            tick: 0,
            floor: 0,
            state: State::Silence,
        }
    }

    /// Ticks that may pass between a change and its being told.
    pub(crate) fn look_ahead_ticks(&self) -> u64 {
        SPAN_TICKS as u64 + self.min_speech.max(self.min_silence) + self.pad
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
        match self.state {
            State::Silence if share >= self.onset => {
                // The span's first voiced tick is where the rise began.
                let first = self.span.iter().position(|v| *v).unwrap_or(0);
                let start = self.tick - self.span.len() as u64 + first as u64;
                self.state = State::Rising { start };
                self.try_start(start)
            }
            State::Rising { .. } if share < self.offset => {
                self.state = State::Silence;
                None
            }
            State::Rising { start } => self.try_start(start),
            State::Speech if share < self.offset => {
                let last = self.span.iter().rposition(|v| *v).map_or(0, |p| p + 1);
                let end = self.tick - self.span.len() as u64 + last as u64;
                self.state = State::Falling { end };
                self.try_end(end)
            }
            State::Falling { .. } if share >= self.onset => {
                self.state = State::Speech;
                None
            }
            State::Falling { end } => self.try_end(end),
            State::Silence | State::Speech => None,
        }
    }

    fn try_start(&mut self, start: u64) -> Option<Transition> {
        if self.tick - start < self.min_speech {
            return None;
        }
        self.state = State::Speech;
        Some(Transition::Start(start.saturating_sub(self.pad).max(self.floor)))
    }

    fn try_end(&mut self, end: u64) -> Option<Transition> {
        if self.tick - end < self.min_silence.max(self.pad) {
            return None;
        }
        self.state = State::Silence;
        self.floor = end + self.pad;
        Some(Transition::End(self.floor))
    }

    /// The stream ends at `tick`: what is open closes. The gate is then as new, its ticks counted from 0.
    pub(crate) fn finish(&mut self, tick: u64) -> Option<Transition> {
        let transition = match self.state {
            State::Silence | State::Rising { .. } => None,
            State::Speech => Some(Transition::End(tick)),
            State::Falling { end } => Some(Transition::End((end + self.pad).min(tick))),
        };
        self.span.clear();
        self.n_voiced = 0;
        self.tick = 0;
        self.floor = 0;
        self.state = State::Silence;
        transition
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diarizer::DiarizerOptions;

    fn run(scores: impl IntoIterator<Item = (f32, f32)>) -> Vec<Transition> {
        let params = DiarizerParams::try_new(DiarizerOptions::default()).unwrap();
        let mut gate = ScoreGate::new(&params);
        let mut n = 0;
        let mut told: Vec<Transition> =
            scores.into_iter().inspect(|_| n += 1).filter_map(|(s, db)| gate.push(s, db)).collect();
        told.extend(gate.finish(n));
        told
    }

    fn ticks(n: usize, score: f32, level_db: f32) -> impl Iterator<Item = (f32, f32)> {
        std::iter::repeat_n((score, level_db), n)
    }

    #[test]
    fn a_start_reaches_back_to_where_the_odds_rose() {
        let told = run(ticks(100, -4.0, -70.0).chain(ticks(20, 1.0, -40.0)).chain(ticks(100, 6.0, -40.0)));
        let [Transition::Start(start), Transition::End(220)] = told[..] else { panic!("{told:?}") };
        // Padded by 50 ms; the mean over 50 ms blurs the rise.
        assert!((93..=98).contains(&start), "{start}");
    }

    #[test]
    fn doubtful_odds_alone_are_no_speech_and_short_pauses_none_either() {
        assert!(run(ticks(300, 1.0, -40.0)).is_empty());
        let told = run(ticks(100, 5.0, -40.0).chain(ticks(30, -3.0, -60.0)).chain(ticks(100, 5.0, -40.0)));
        assert_eq!(told, [Transition::Start(0), Transition::End(230)]);
    }

    #[test]
    fn a_session_does_not_begin_with_a_murmur_but_may_be_all_quiet() {
        assert!(run(ticks(150, 5.0, -80.0)).is_empty());
        // As quiet, and it goes on: after some seconds it is what there is.
        let told = run(ticks(1500, 5.0, -80.0));
        let [Transition::Start(start), Transition::End(1500)] = told[..] else { panic!("{told:?}") };
        assert!((50..900).contains(&start), "{start}");
        let told = run(ticks(300, 5.0, -62.0));
        assert_eq!(told, [Transition::Start(0), Transition::End(300)]);
    }

    #[test]
    fn a_voice_far_below_the_others_is_not_of_the_conversation() {
        let near = || ticks(200, 5.0, -30.0).chain(ticks(100, -5.0, -80.0));
        let told = run(near().chain(ticks(200, 3.5, -66.0)));
        assert_eq!(told.len(), 2, "{told:?}");
        let told = run(near().chain(ticks(200, 3.5, -42.0)));
        assert_eq!(told.len(), 4, "{told:?}");
    }
}
