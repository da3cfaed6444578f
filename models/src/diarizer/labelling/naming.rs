//! Speaker names: from voiceprints, and from users, who take precedence.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use diarized_dsp::SampleIndex;

use crate::corrections::CorrectionError;
use crate::diarizer::clustering::SpeechMemory;
use crate::diarizer::params::DiarizerParams;
use crate::diarizer::voice_memory::{KeptName, KeptNames};
use crate::embedding::Embedding;
use crate::events::{SessionState, SpeakerId, SpeakerInfo, VoiceMatch};
use crate::names::checked_name;
use crate::voiceprint::Gallery;

/// Gallery in use, and the speakers that a user has named.
#[derive(Debug, Default)]
pub(super) struct Names {
    gallery: Option<Arc<Gallery>>,
    /// Recognition leaves these alone, also with an empty name.
    user_named: BTreeSet<SpeakerId>,
    /// What a user called speakers that a clustering has merged into others since; they may come back.
    away: BTreeMap<SpeakerId, SpeakerInfo>,
    /// Speakers that have the name of one that is away, and whose.
    borrowed: BTreeMap<SpeakerId, SpeakerId>,
}

impl Names {
    /// What goes on beside the names that the labels show.
    pub(super) fn keep(&self) -> KeptNames {
        let away = self.away.values().map(|info| KeptName {
            speaker: info.id.0,
            first: info.first.0,
            name: info.name.clone(),
            voice: info.voice.as_ref().map(|voice| (voice.id.to_string(), voice.probability)),
        });
        let borrowed = self.borrowed.iter().map(|(by, of)| (by.0, of.0)).collect();
        KeptNames { away: away.collect(), borrowed }
    }

    pub(super) fn take_back(&mut self, kept: KeptNames) {
        let away = kept.away.into_iter().map(|kept| SpeakerInfo {
            id: SpeakerId(kept.speaker),
            first: SampleIndex(kept.first),
            name: kept.name,
            voice: kept.voice.map(|(id, probability)| VoiceMatch { id: id.into(), probability }),
        });
        self.away = away.map(|info| (info.id, info)).collect();
        self.borrowed = kept.borrowed.into_iter().map(|(by, of)| (SpeakerId(by), SpeakerId(of))).collect();
    }

    /// Leaves the names of a session that goes on to their users, where they are of users.
    pub(super) fn take_users(&mut self, state: &SessionState) {
        let of_user = state.speakers().filter(|info| is_of_user(info)).map(|info| info.id);
        self.user_named.extend(of_user);
    }

    pub(super) fn set_gallery(&mut self, gallery: Arc<Gallery>) {
        self.gallery = Some(gallery);
    }

    /// Speakers whose name or voice changes by recognition. `speech_of` gives the direction and seconds of a speaker's
    /// clean speech.
    pub(super) fn recognised(
        &self,
        state: &SessionState,
        speech_of: impl Fn(SpeakerId) -> Option<(Embedding, f32)>,
    ) -> Vec<SpeakerInfo> {
        let Some(gallery) = &self.gallery else { return Vec::new() };
        let by_voice = state.speakers().filter(|info| !self.user_named.contains(&info.id));
        by_voice.filter_map(|info| recognise(gallery, info, speech_of(info.id))).collect()
    }

    /// A user names a speaker. An empty name clears it and marks the speaker as not enrolled.
    pub(super) fn set_name(
        &mut self,
        state: &SessionState,
        speaker: SpeakerId,
        name: &str,
        voice: Option<VoiceMatch>,
    ) -> Result<SpeakerInfo, CorrectionError> {
        let info = state.speaker(speaker).ok_or(CorrectionError::NoSuchSpeaker(speaker))?;
        let name = checked_name(name)?;
        self.user_named.insert(speaker);
        self.borrowed.remove(&speaker);
        let name = (!name.is_empty()).then(|| name.to_owned());
        Ok(SpeakerInfo { name, voice, ..info.clone() })
    }

    /// A speaker is called as before: by a user, where the name is not one of recognition.
    pub(super) fn restore(&mut self, info: &SpeakerInfo) {
        self.borrowed.remove(&info.id);
        if is_of_user(info) {
            self.user_named.insert(info.id);
        } else {
            self.user_named.remove(&info.id);
        }
    }

    /// A user has merged the speaker into another for good.
    pub(super) fn forget(&mut self, from: SpeakerId) {
        self.away.remove(&from);
        self.borrowed.retain(|_, of| *of != from);
    }

    /// A clustering has parted a speaker from another again, which it was merged into. Returns what changes: the name that
    /// a user gave it is its own again.
    pub(super) fn returned(&mut self, state: &SessionState, speaker: SpeakerId) -> Vec<SpeakerInfo> {
        let Some(info) = self.away.remove(&speaker) else { return Vec::new() };
        let Some(back) = state.speaker(speaker) else { return Vec::new() };
        self.user_named.insert(speaker);
        let mut changed = vec![SpeakerInfo { name: info.name, voice: info.voice, ..back.clone() }];
        let borrowers: Vec<SpeakerId> =
            self.borrowed.iter().filter(|(_, of)| **of == speaker).map(|(id, _)| *id).collect();
        for id in borrowers {
            self.borrowed.remove(&id);
            self.user_named.remove(&id);
            let held = state.speaker(id);
            changed.extend(held.map(|held| SpeakerInfo { name: None, voice: None, ..held.clone() }));
        }
        changed
    }

    /// Passes a user's name of `from` on to `into`, which replaces it; a user's name of `into` stays. Returns what
    /// changes.
    pub(super) fn inherit(
        &mut self,
        state: &SessionState,
        from: SpeakerId,
        into: SpeakerId,
    ) -> Option<SpeakerInfo> {
        if !self.user_named.remove(&from) {
            return None;
        }
        let (gone, stays) = (state.speaker(from)?, state.speaker(into)?);
        // A borrowed name stays that of its first speaker.
        let owner = self.borrowed.remove(&from).unwrap_or(from);
        if owner == from {
            self.away.insert(from, gone.clone());
        }
        if !self.user_named.insert(into) {
            return None;
        }
        self.borrowed.insert(into, owner);
        Some(SpeakerInfo { name: gone.name.clone(), voice: gone.voice.clone(), ..stays.clone() })
    }
}

/// Whether a user has named the speaker.
fn is_of_user(info: &SpeakerInfo) -> bool {
    match &info.voice {
        Some(voice) => voice.probability >= 1.0,
        None => info.name.is_some(),
    }
}

/// What recognition changes about a speaker: a name where a voiceprint matches, none where the one held does not match
/// any more.
fn recognise(gallery: &Gallery, info: &SpeakerInfo, speech: Option<(Embedding, f32)>) -> Option<SpeakerInfo> {
    let rules = gallery.rules();
    let speech = speech.filter(|(_, speech_s)| *speech_s >= rules.min_speech_s && !gallery.is_empty());
    let Some((embedding, speech_s)) = speech else {
        // Without clean speech the name stays, unless its voice has left the gallery.
        let held = info.voice.as_ref()?;
        let is_known = gallery.voices().iter().any(|v| v.id == held.id);
        return (!is_known).then(|| SpeakerInfo { name: None, voice: None, ..info.clone() });
    };
    let ranking = gallery.rank(&embedding, speech_s);
    let held = info.voice.as_ref().map(|held| &held.id);
    let best = ranking.candidates.first().filter(|best| {
        let is_held = held == Some(&gallery.voices()[best.voice_idx].id);
        best.probability >= if is_held { rules.release } else { ranking.accept }
    });
    let known = best.map(|best| (best, &gallery.voices()[best.voice_idx]));
    let name = known.map(|(_, known)| known.name.to_string());
    let voice = known.map(|(best, known)| {
        let probability = (best.probability * 1000.0).round() / 1000.0;
        VoiceMatch { id: Arc::clone(&known.id), probability }
    });
    let is_same = name == info.name && voice.as_ref().map(|v| &v.id) == held;
    (!is_same).then(|| SpeakerInfo { name, voice, ..info.clone() })
}

/// Mean signal-to-noise ratio of a speaker's segments in dB, weighted by length; `None` where none was measured.
pub(super) fn mean_snr_db(state: &SessionState, speaker: SpeakerId) -> Option<f32> {
    let (mut weighted_db, mut total_s) = (0.0_f32, 0.0_f32);
    for segment in state.segments().filter(|s| s.speaker == speaker) {
        if let Some(snr_db) = segment.snr_db {
            weighted_db += snr_db * segment.range.duration_s() as f32;
            total_s += segment.range.duration_s() as f32;
        }
    }
    (total_s > 0.0).then(|| weighted_db / total_s)
}

/// Direction and seconds of a speaker's settled and clean speech. The memory bounds it.
pub(super) fn speech_of(
    memory: &SpeechMemory,
    params: &DiarizerParams,
    speaker: SpeakerId,
) -> Option<(Embedding, f32)> {
    let (embedding, n_windows) = memory.voice(speaker)?;
    Some((embedding, n_windows * params.options().step_ms as f32 / 1000.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diarizer::labelling::made::state;
    use crate::events::Event;

    const ANN: SpeakerId = SpeakerId(1);
    const BOB: SpeakerId = SpeakerId(2);

    fn two_people() -> SessionState {
        state(&[(1, 1, 0.0, 1.0), (2, 2, 1.0, 3.0)])
    }

    #[test]
    fn names_are_trimmed_and_checked() {
        let (mut names, state) = (Names::default(), two_people());
        let named = names.set_name(&state, ANN, "  Ann ", None).unwrap();
        assert_eq!((named.id, named.name.as_deref()), (ANN, Some("Ann")));
        assert_eq!(names.set_name(&state, ANN, " ", None).unwrap().name, None);
        for bad in ["a\u{7}b", "S7"] {
            let fault = names.set_name(&state, ANN, bad, None).unwrap_err();
            assert!(matches!(fault, CorrectionError::BadName(_)), "{bad:?}: {fault:?}");
        }
        let unknown = SpeakerId(9);
        assert_eq!(
            names.set_name(&state, unknown, "Zoe", None),
            Err(CorrectionError::NoSuchSpeaker(unknown))
        );
    }

    #[test]
    fn a_users_name_passes_on_to_the_speaker_that_stays() {
        let (mut names, mut state) = (Names::default(), two_people());
        assert_eq!(names.inherit(&state, ANN, BOB), None, "no user has named either");
        state.apply(&Event::Speaker(names.set_name(&state, ANN, "Ann", None).unwrap())).unwrap();
        let inherited = names.inherit(&state, ANN, BOB).unwrap();
        assert_eq!((inherited.id, inherited.name.as_deref()), (BOB, Some("Ann")));
        state.apply(&Event::Speaker(inherited)).unwrap();
        state.apply(&Event::Speaker(names.set_name(&state, ANN, "Zoe", None).unwrap())).unwrap();
        assert_eq!(names.inherit(&state, ANN, BOB), None, "the user's own name for the other one stays");
    }

    #[test]
    fn a_speaker_that_comes_back_has_its_name_again() {
        let (mut names, mut state) = (Names::default(), two_people());
        let apply = |state: &mut SessionState, info| state.apply(&Event::Speaker(info)).unwrap();
        let info = names.set_name(&state, ANN, "Ann", None).unwrap();
        apply(&mut state, info);
        let info = names.inherit(&state, ANN, BOB).unwrap();
        apply(&mut state, info);
        assert_eq!(state.speaker(BOB).unwrap().name.as_deref(), Some("Ann"));
        let info = SpeakerInfo { name: None, ..state.speaker(ANN).unwrap().clone() };
        apply(&mut state, info);
        for info in names.returned(&state, ANN) {
            apply(&mut state, info);
        }
        let name = |state: &SessionState, id| state.speaker(id).unwrap().name.clone();
        assert_eq!((name(&state, ANN).as_deref(), name(&state, BOB)), (Some("Ann"), None));
        assert_eq!(names.returned(&state, ANN), [], "it comes back once");

        // A name that the other one was given meanwhile is its own.
        let info = names.inherit(&state, ANN, BOB).unwrap();
        apply(&mut state, info);
        let info = names.set_name(&state, BOB, "Bob", None).unwrap();
        apply(&mut state, info);
        let back = names.returned(&state, ANN);
        assert_eq!((back.len(), back[0].name.as_deref()), (1, Some("Ann")));

        // What a user has merged does not come back.
        let info = back[0].clone();
        apply(&mut state, info);
        assert_eq!(names.inherit(&state, ANN, BOB), None);
        names.forget(ANN);
        assert_eq!(names.returned(&state, ANN), []);
    }

    #[test]
    fn noise_is_averaged_by_length() {
        let mut state = two_people();
        assert_eq!(mean_snr_db(&state, ANN), None);
        for (id, start_s, end_s, snr_db) in [(3, 3.0, 4.0, 10.0), (4, 4.0, 7.0, 30.0)] {
            let range = crate::diarizer::labelling::made::range(start_s, end_s);
            let held = state.segments().next().unwrap().clone();
            let id = crate::events::SegmentId(id);
            state.apply(&Event::Segment(crate::Segment { id, range, snr_db: Some(snr_db), ..held })).unwrap();
        }
        assert_eq!(mean_snr_db(&state, ANN), Some(25.0));
    }
}
