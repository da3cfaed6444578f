//! Voices of speakers: known ones by their voiceprints, and what a second model adds to them.

use std::sync::Arc;

use super::{Labeller, naming};
use crate::calibration::Calibration;
use crate::diarizer::clustering::SecondEmbedding;
use crate::diarizer::interface::{SpeakerVoice, WorkId};
use crate::embedding::Embedding;
use crate::events::SpeakerId;
use crate::plda::Plda;
use crate::voiceprint::Gallery;

impl Labeller {
    /// Replaces the gallery. Names by voiceprint follow at once.
    pub(crate) fn set_gallery(&mut self, gallery: Arc<Gallery>) {
        self.names.set_gallery(gallery);
        self.recognise();
    }

    /// Voice of a speaker's settled and clean speech so far, by the second model if there is one.
    pub(crate) fn voice_of(&self, speaker: SpeakerId) -> Option<SpeakerVoice> {
        let (embedding, speech_s) = naming::speech_of(&self.memory, &self.params, speaker)?;
        let snr_db = naming::mean_snr_db(self.publisher.state(), speaker);
        Some(SpeakerVoice { embedding, speech_s, snr_db })
    }

    /// Names speakers by voiceprint, as far as that is sure.
    pub(super) fn recognise(&mut self) {
        let speech_of = |speaker| naming::speech_of(&self.memory, &self.params, speaker);
        for info in self.names.recognised(self.publisher.state(), speech_of) {
            self.publisher.set_speaker(info);
        }
    }

    /// From now on a second model sees windows, too.
    pub(crate) fn set_second_model(&mut self, plda: Plda, calibration: Calibration) {
        self.memory.set_second_model(plda, calibration);
    }

    /// Takes a late second embedding of a window that was labelled before; without one none will come.
    pub(crate) fn take_second(&mut self, id: WorkId, embedding: Option<Embedding>) {
        if self.memory.take_second(id, embedding.as_ref()) {
            return;
        }
        let windows = self.zone.iter_mut().flat_map(|zone| &mut zone.windows);
        if let Some(window) = windows.into_iter().find(|w| w.second == SecondEmbedding::Waiting(id)) {
            window.second = embedding.map_or(SecondEmbedding::None, SecondEmbedding::Done);
        }
    }
}
