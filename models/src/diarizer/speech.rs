//! From voiced frames to regions of speech.

use std::collections::VecDeque;

use super::DiarizerParams;

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
