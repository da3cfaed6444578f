//! Speakers as people: names by voiceprint, the word of a person over them, and one label that is two people.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Labeller;
use crate::diarizer::{CorrectionError, SpeakerVoice};
use crate::embedding::Embedding;
use crate::events::{Change, Event, RevisionReason, SegmentId, SpeakerId, SpeakerInfo, VoiceMatch};
use crate::names::checked_name;
use crate::voiceprint::Gallery;

/// Whom the session knows, and of which speakers a person has spoken.
#[derive(Debug, Default)]
pub(crate) struct People {
    gallery: Option<Arc<Gallery>>,
    /// Recognition leaves these alone, named or not.
    told: BTreeMap<SpeakerId, ()>,
}

impl Labeller {
    /// From now on these people are known; names by voiceprint follow at once.
    pub(crate) fn set_gallery(&mut self, gallery: Arc<Gallery>) {
        self.people.gallery = Some(gallery);
        self.recognise();
    }

    /// What was heard of a speaker so far, settled and clean.
    pub(crate) fn voice_of(&self, speaker: SpeakerId) -> Option<SpeakerVoice> {
        let (embedding, speech_s) = self.speech_of(speaker)?;
        let (mut weighted_db, mut total_s) = (0.0_f32, 0.0_f32);
        for segment in self.state.segments().filter(|s| s.speaker == speaker) {
            if let Some(snr_db) = segment.snr_db {
                weighted_db += snr_db * segment.range.duration_s() as f32;
                total_s += segment.range.duration_s() as f32;
            }
        }
        let snr_db = (total_s > 0.0).then(|| weighted_db / total_s);
        Some(SpeakerVoice { embedding, speech_s, snr_db })
    }

    /// Direction and length in seconds of a speaker's settled and clean speech. Bounded by the history, whatever the
    /// length of the session.
    fn speech_of(&self, speaker: SpeakerId) -> Option<(Embedding, f32)> {
        let (embedding, n_windows) = self.history.voice(speaker)?;
        Some((embedding, n_windows * self.params.options().step_ms as f32 / 1000.0))
    }

    /// Names speakers by their voices where a voiceprint fits surely, and takes back names that no longer do. A
    /// speaker of whom a person has spoken keeps what the person said.
    pub(super) fn recognise(&mut self) {
        let Some(gallery) = self.people.gallery.clone() else { return };
        let rules = gallery.rules();
        let unspoken = |info: &&SpeakerInfo| !self.people.told.contains_key(&info.id);
        let speakers: Vec<SpeakerInfo> = self.state.speakers().filter(unspoken).cloned().collect();
        for info in speakers {
            let voice = self.speech_of(info.id).filter(|(_, speech_s)| *speech_s >= rules.min_speech_s);
            // A speaker of whom nothing clean is held now keeps the name that their speech gave before.
            let Some((embedding, speech_s)) = voice.filter(|_| !gallery.is_empty()) else {
                let is_known = |held: &VoiceMatch| gallery.voices().iter().any(|v| v.id == held.id);
                if info.voice.as_ref().is_some_and(|held| !is_known(held)) {
                    self.say(Event::Speaker(SpeakerInfo { name: None, voice: None, ..info }));
                }
                continue;
            };
            let ranking = gallery.rank(&embedding, speech_s);
            let held = info.voice.as_ref().map(|held| &held.id);
            let best = ranking.candidates.first().filter(|best| {
                let is_held = held == Some(&gallery.voices()[best.voice_idx].id);
                best.probability >= if is_held { rules.release } else { ranking.accept }
            });
            let (name, voice) = match best {
                Some(best) => {
                    let known = &gallery.voices()[best.voice_idx];
                    let probability = (best.probability * 1000.0).round() / 1000.0;
                    (
                        Some(known.name.to_string()),
                        Some(VoiceMatch { id: Arc::clone(&known.id), probability }),
                    )
                }
                None => (None, None),
            };
            if name != info.name || voice.as_ref().map(|v| &v.id) != held {
                self.say(Event::Speaker(SpeakerInfo { name, voice, ..info }));
            }
        }
    }

    /// A person names a speaker; an empty name says that the voice is nobody's that is known.
    pub(crate) fn rename(&mut self, speaker: SpeakerId, name: &str) -> Result<(), CorrectionError> {
        self.tell(speaker, name, None)
    }

    /// A person says that a speaker is this known voice.
    pub(crate) fn tell_voice(
        &mut self,
        speaker: SpeakerId,
        voice: &str,
        name: &str,
    ) -> Result<(), CorrectionError> {
        self.tell(speaker, name, Some(VoiceMatch { id: Arc::from(voice), probability: 1.0 }))
    }

    fn tell(
        &mut self,
        speaker: SpeakerId,
        name: &str,
        voice: Option<VoiceMatch>,
    ) -> Result<(), CorrectionError> {
        let info = self.state.speaker(speaker).cloned().ok_or(CorrectionError::NoSuchSpeaker(speaker))?;
        let name = checked_name(name)?;
        self.people.told.insert(speaker, ());
        let name = (!name.is_empty()).then(|| name.to_owned());
        self.say(Event::Speaker(SpeakerInfo { name, voice, ..info }));
        Ok(())
    }

    /// What a person said of `from` holds for `into`, unless a person spoke of `into` too: `from` is about to go.
    pub(super) fn inherit(&mut self, from: SpeakerId, into: SpeakerId) {
        if self.people.told.remove(&from).is_none() || self.people.told.contains_key(&into) {
            return;
        }
        let (Some(gone), Some(stays)) = (self.state.speaker(from), self.state.speaker(into)) else { return };
        let info = SpeakerInfo { name: gone.name.clone(), voice: gone.voice.clone(), ..stays.clone() };
        self.people.told.insert(into, ());
        self.say(Event::Speaker(info));
    }

    /// A person says that `speaker` is two people: `segments` are the second one's, or those that sound so if none are
    /// given. Returns the label of the second one.
    pub(crate) fn split(
        &mut self,
        speaker: SpeakerId,
        segments: &[SegmentId],
    ) -> Result<SpeakerId, CorrectionError> {
        self.state.speaker(speaker).ok_or(CorrectionError::NoSuchSpeaker(speaker))?;
        for &id in segments {
            let segment = self.state.segment(id).ok_or(CorrectionError::NoSuchSegment(id))?;
            if segment.speaker != speaker {
                return Err(CorrectionError::NotOfSpeaker { segment: id, speaker: segment.speaker });
            }
            if !segment.is_final {
                return Err(CorrectionError::NotFinal(id));
            }
        }
        let is_final_of_speaker =
            |id: &SegmentId| self.state.segment(*id).is_some_and(|s| s.speaker == speaker && s.is_final);
        let chosen: Vec<SegmentId> = match segments {
            [] => self.history.second_voice(speaker).into_iter().filter(is_final_of_speaker).collect(),
            segments => segments.to_vec(),
        };
        let stays = self.state.segments().any(|s| s.speaker == speaker && !chosen.contains(&s.id));
        let starts = chosen.iter().filter_map(|id| self.state.segment(*id)).map(|s| s.range.start());
        let (Some(first), true) = (starts.min(), stays) else {
            return Err(CorrectionError::NothingToSplit(speaker));
        };
        let new = self.fresh_speaker(first);
        self.history.split(speaker, new, &chosen);
        let mut seen: BTreeMap<SegmentId, ()> = BTreeMap::new();
        let changes: Vec<Change> = chosen
            .into_iter()
            .filter(|id| seen.insert(*id, ()).is_none())
            .map(|segment| Change { segment, from: speaker, to: new })
            .collect();
        changes.iter().for_each(|change| self.overlaps.told(change.segment));
        self.say(Event::Revision { changes, reason: RevisionReason::Correction });
        self.revise_overlap(RevisionReason::Correction);
        self.recognise();
        Ok(new)
    }
}
