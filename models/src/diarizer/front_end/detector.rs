//! Detectors of speech: webrtc-vad or the network, each behind its hysteresis.

use std::collections::VecDeque;

use diarized_dsp::log_mel::{LogMel, LogMelParams};
use diarized_dsp::{Transition, Vad, VadMode};

use crate::diarizer::params::{DiarizerParams, SpeechDetector};
use crate::diarizer::speech::{ScoreGate, SpeechGate};
use crate::segmenter::{self, Scores, Segmenter, SegmenterStream};

/// How clear a frame is in which somebody speaks, by the network.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct FrameQuality {
    pub(crate) snr_db: f32,
    pub(crate) c50_db: f32,
}

/// A detector of speech and its state.
#[derive(Debug)]
pub(super) enum Detector {
    WebRtc { vad: Box<Vad>, gate: Box<SpeechGate> },
    Network(Box<Network>),
}

/// The network of a stream with its log-mel rows, which are the voice model's too where its recipe is the same.
#[derive(Debug)]
pub(super) struct Network {
    mel: LogMel,
    rows: Vec<f32>,
    stream: SegmenterStream,
    scores: Scores,
    gate: ScoreGate,
}

/// The decision on one tick.
#[derive(Debug, Clone, Copy)]
pub(super) struct Decision {
    pub(super) voiced: bool,
    /// Log odds of speech; the network's alone.
    pub(super) score: f32,
    /// None where nobody speaks, and without the network.
    pub(super) quality: Option<FrameQuality>,
}

impl Detector {
    /// # Panics
    /// If the network inside the binary does not load, which a test of this crate rules out.
    pub(super) fn new(params: &DiarizerParams) -> Self {
        let mode = [VadMode::Quality, VadMode::LowBitrate, VadMode::Aggressive, VadMode::VeryAggressive];
        match params.options().vad_mode {
            SpeechDetector::WebRtc { mode: m } => Self::WebRtc {
                vad: Box::new(Vad::new(mode[usize::from(m.min(3))])),
                gate: Box::new(SpeechGate::new(params)),
            },
            SpeechDetector::Network => Self::Network(Box::new(Network {
                mel: LogMel::new(segmenter::front_end()),
                rows: Vec::new(),
                stream: Segmenter::builtin().expect("the network inside the binary loads").stream(),
                scores: Scores::default(),
                gate: ScoreGate::new(params),
            })),
        }
    }

    pub(super) fn look_ahead_ticks(&self) -> u64 {
        match self {
            Self::WebRtc { gate, .. } => gate.look_ahead_ticks(),
            Self::Network(network) => network.gate.look_ahead_ticks(),
        }
    }

    /// Ticks that must be complete before the first `n` are decided.
    pub(super) fn known_after(&self, n: u64) -> u64 {
        match self {
            Self::WebRtc { .. } => n,
            Self::Network(network) => network.stream.known_after(n),
        }
    }

    /// By how many ticks the decisions lag behind the log-mel rows, at least.
    pub(super) fn lag_ticks(&self) -> u64 {
        match self {
            Self::WebRtc { .. } => 0,
            Self::Network(network) => network.stream.lag(),
        }
    }

    /// By how many ticks what is known of overlap lags behind the decisions.
    pub(super) fn overlap_lag_ticks(&self) -> u64 {
        match self {
            Self::WebRtc { .. } => 0,
            Self::Network(network) => network.stream.overlap_lag(),
        }
    }

    pub(super) fn gate(&mut self, decision: Decision, level_db: f32) -> Option<Transition> {
        match self {
            Self::WebRtc { gate, .. } => gate.push(decision.voiced),
            Self::Network(network) => network.gate.push(decision.score, level_db),
        }
    }

    /// Whether its log-mel rows are those of this recipe.
    pub(super) fn has_rows_of(&self, recipe: LogMelParams) -> bool {
        matches!(self, Self::Network(network) if *network.mel.params() == recipe)
    }

    /// Runs the network over samples; `last` is true for the last ones. Overlap comes after the decisions. The log-mel
    /// rows are appended to `heard`.
    pub(super) fn hear(
        &mut self,
        samples: &[f32],
        last: bool,
        decisions: &mut VecDeque<Decision>,
        overlaps: &mut VecDeque<f32>,
        heard: Option<&mut Vec<f32>>,
    ) {
        let Self::Network(network) = self else { return };
        let Network { mel, rows, stream, scores, gate } = &mut **network;
        rows.clear();
        scores.clear();
        mel.push(samples, rows);
        if last {
            mel.finish(rows);
        }
        stream.push(rows, scores);
        if last {
            stream.finish(scores);
        }
        if let Some(heard) = heard {
            heard.extend_from_slice(rows);
        }
        let decided = |s: &segmenter::FrameScores| {
            let voiced = gate.is_voiced(s.speech);
            let quality = voiced.then_some(FrameQuality { snr_db: s.snr_db, c50_db: s.c50_db });
            Decision { voiced, score: s.speech, quality }
        };
        decisions.extend(scores.frames.iter().map(decided));
        overlaps.extend(&scores.overlap);
    }

    pub(super) fn finish(&mut self, tick: u64) -> Option<Transition> {
        match self {
            Self::WebRtc { vad, gate } => {
                vad.reset();
                gate.finish(tick)
            }
            Self::Network(network) => {
                network.mel.reset();
                network.stream.reset();
                network.gate.finish(tick)
            }
        }
    }
}
