//! A diarizer for tests, based on loudness: its events are a function of the audio, like the real one's.
//!
//! In every tenth of a second a mean level below 0.05 is silence, otherwise speaker `round(10 * level)` speaks. A
//! segment of speaker 3 proves to be speaker 1 when it ends. Level 0.9 makes the engine panic.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Select;
use diarized_dsp::{SampleIndex, SampleRange};
use diarized_models::diarizer::{SpeakerVoice, VoicesMark};
use diarized_models::events::{Change, Event, GapReason, RevisionReason, Segment, SegmentId};
use diarized_models::{Embedding, SessionState, SpeakerId, SpeakerInfo, TimedEvent};
use parking_lot::{Condvar, Mutex};

use super::correction_error::CorrectionError;
use super::engine::{Before, Correction, Engine, EngineError, EngineFactory, GoingOn, InferenceStats};
use crate::protocol::SessionOptions;

const BLOCK: usize = 1600;

/// Holds engines still while it is shut.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    is_shut: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    pub(crate) fn shut(&self) {
        *self.is_shut.lock() = true;
    }

    pub(crate) fn open(&self) {
        *self.is_shut.lock() = false;
        self.opened.notify_all();
    }

    fn pass(&self) {
        let mut is_shut = self.is_shut.lock();
        while *is_shut {
            self.opened.wait(&mut is_shut);
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct ScriptedFactory {
    pub(crate) gate: Arc<Gate>,
    /// What was wanted of the engine that was made last.
    pub(crate) options: Mutex<SessionOptions>,
    pub(crate) overloaded: std::sync::atomic::AtomicBool,
}

impl EngineFactory for ScriptedFactory {
    fn engine_for(&self, options: SessionOptions) -> Result<Box<dyn Engine>, EngineError> {
        *self.options.lock() = options;
        Ok(Box::new(Scripted { gate: Arc::clone(&self.gate), ..Scripted::default() }))
    }

    fn engine_going_on(&self, options: SessionOptions, before: Before) -> Result<GoingOn, EngineError> {
        *self.options.lock() = options;
        let Before { state, at, last_segment, last_speaker, voices } = before;
        let (next_id, last_speaker) = (last_segment.0, last_speaker.0);
        let open = state.segments().find(|s| !s.is_final).cloned();
        let gate = Arc::clone(&self.gate);
        let mut engine = Scripted { gate, at, next_id, last_speaker, state, open, ..Scripted::default() };
        engine.close();
        let voices_lost = voices.and_then(|bytes| String::from_utf8(bytes).map_err(|e| e.to_string())).err();
        Ok(GoingOn { engine: Box::new(engine), voices_lost })
    }

    fn model(&self) -> &str {
        "scripted"
    }

    fn inference(&self) -> InferenceStats {
        let overloaded = self.overloaded.load(std::sync::atomic::Ordering::SeqCst);
        InferenceStats { overloaded, ..InferenceStats::default() }
    }
}

#[derive(Debug, Default)]
struct Scripted {
    gate: Arc<Gate>,
    block: Vec<f32>,
    at: SampleIndex,
    open: Option<Segment>,
    next_id: u64,
    last_speaker: u32,
    state: SessionState,
    emitted: Vec<TimedEvent>,
}

impl Scripted {
    fn say(&mut self, event: Event) {
        self.state.apply(&event).expect("the script is consistent");
        self.emitted.push(TimedEvent { at: self.at, event });
    }

    fn close(&mut self) {
        let Some(segment) = self.open.take() else { return };
        let (id, from, to) = (segment.id, segment.speaker, SpeakerId(1));
        self.say(Event::Segment(Segment { is_final: true, ..segment }));
        if from == SpeakerId(3) {
            self.meet(to);
            let changes = self.state.segments().filter(|s| s.speaker == from);
            let changes = changes.map(|s| Change { segment: s.id, from, to }).collect();
            self.say(Event::Revision { changes, reason: RevisionReason::Merge });
            self.say(Event::SpeakerMerged { from, into: to });
            assert_eq!(self.state.segment(id).map(|s| s.speaker), Some(to));
        }
    }

    fn meet(&mut self, id: SpeakerId) {
        if self.state.speaker(id).is_none() {
            self.say(Event::Speaker(SpeakerInfo::new(id, self.at)));
        }
    }

    fn hear_block(&mut self) {
        let level = self.block.iter().map(|s| s.abs()).sum::<f32>() / self.block.len() as f32;
        let range = SampleRange::with_len(self.at, self.block.len() as u64);
        self.at = range.end();
        self.block.clear();
        assert!(level < 0.85, "the script panics");
        let speaker = (level >= 0.05).then_some(SpeakerId((level * 10.0).round() as u32));
        if self.open.as_ref().map(|s| s.speaker) != speaker {
            self.close();
        }
        let Some(speaker) = speaker else { return };
        self.meet(speaker);
        let segment = match self.open.take() {
            Some(segment) => {
                let range = SampleRange::new(segment.range.start(), range.end());
                Segment { range, speech: vec![range], ..segment }
            }
            None => {
                self.next_id += 1;
                let (id, confidence) = (SegmentId(self.next_id), level);
                Segment {
                    id,
                    range,
                    speech: vec![range],
                    speaker,
                    confidence,
                    is_final: false,
                    overlap: false,
                    snr_db: None,
                    c50_db: None,
                }
            }
        };
        self.open = Some(segment.clone());
        self.say(Event::Segment(segment));
    }
}

impl Engine for Scripted {
    fn push(&mut self, samples: &[f32]) -> Result<(), EngineError> {
        self.gate.pass();
        for &sample in samples {
            self.block.push(sample);
            if self.block.len() == BLOCK {
                self.hear_block();
            }
        }
        Ok(())
    }

    fn gap(&mut self, n_samples: u64, reason: GapReason) -> Result<(), EngineError> {
        self.flush()?;
        let range = SampleRange::with_len(self.at, n_samples);
        self.at = range.end();
        self.say(Event::Gap { range, reason });
        Ok(())
    }

    fn flush(&mut self) -> Result<(), EngineError> {
        if !self.block.is_empty() {
            self.hear_block();
        }
        self.close();
        Ok(())
    }

    fn finish(&mut self) -> Result<(), EngineError> {
        self.flush()
    }

    fn correct(&mut self, correction: &Correction) -> Result<(), CorrectionError> {
        if let Correction::Rename { speaker, name } = correction {
            // Of any length, for tests that need large events.
            let info = self.state.speaker(*speaker).ok_or(CorrectionError::UnknownSpeaker(*speaker))?.clone();
            let name = (!name.is_empty()).then(|| name.clone());
            self.say(Event::Speaker(SpeakerInfo { name, ..info }));
            return Ok(());
        }
        let last = self.state.speakers().map(|info| info.id.0).max().unwrap_or(0);
        self.last_speaker = self.last_speaker.max(last);
        let next = SpeakerId(self.last_speaker + 1);
        for event in super::without_diarizer::events(&self.state, correction, next)? {
            self.say(event);
        }
        let open = self.open.as_ref().map(|open| open.id);
        self.open = open.and_then(|id| self.state.segment(id).cloned());
        Ok(())
    }

    fn voice_of(&self, speaker: SpeakerId) -> Option<SpeakerVoice> {
        self.state.speaker(speaker)?;
        let speech_s =
            self.state.segments().filter(|s| s.speaker == speaker).map(|s| s.range.duration_s()).sum::<f64>();
        // The voice of speaker n points along axis n.
        let mut values = [0.0; 192];
        values[speaker.0 as usize % 192] = 1.0;
        let embedding = Embedding::from_raw(&values).ok()?;
        Some(SpeakerVoice { embedding, speech_s: speech_s as f32, snr_db: None })
    }

    fn labelled_until(&self) -> SampleIndex {
        self.at
    }

    fn voices_mark(&self) -> VoicesMark {
        VoicesMark { version: self.next_id, n_speakers: self.state.speakers().len() }
    }

    fn voices(&self) -> Vec<u8> {
        format!("voices of {} people", self.state.speakers().len()).into_bytes()
    }

    fn drive(&mut self, out: &mut Vec<TimedEvent>) -> Result<(), EngineError> {
        out.append(&mut self.emitted);
        Ok(())
    }

    fn n_pending(&self) -> usize {
        0
    }

    fn register<'a>(&'a self, _select: &mut Select<'a>) {}

    fn level_dbfs(&self) -> f32 {
        -20.0
    }

    fn is_speech(&self) -> bool {
        self.open.is_some()
    }

    fn take_busy(&mut self) -> Duration {
        Duration::ZERO
    }
}

/// Audio at 16 kHz as `pcm_s16le`: for each `(level, tenths)` that number of tenths of a second at that level.
pub(crate) fn script(parts: &[(f32, usize)]) -> Vec<u8> {
    let mut out = Vec::new();
    for &(level, tenths) in parts {
        let high = (level * 32_768.0) as i16;
        for n in 0..tenths * BLOCK {
            out.extend((if n % 2 == 0 { high } else { -high }).to_le_bytes());
        }
    }
    out
}
