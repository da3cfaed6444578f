//! The gallery of enrolled people for one voice model, kept up to date with the store.

use std::sync::Arc;

use diarized_config::VoicesConfig;
use diarized_models::ModelCard;
use diarized_models::diarizer::SpeakerVoice;
use diarized_models::voiceprint::{Clip, ClipRules, Gallery, MatchRules, ModelId, Print, Ranking, Recording};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::error::StoreError;
use super::name::checked_name;
use super::place::Place;
use super::shared::{Others, Shared};
use super::store::LEARNED;
use super::store::Store;
use super::voice::{Enrolment, NewRecording};

/// Least that is learned from: long, clean and surely recognised.
const LEARN_SPEECH_S: f32 = 30.0;
const LEARN_SNR_DB: f32 = 15.0;
const LEARN_PROBABILITY: f32 = 0.99;
/// Least log-likelihood ratio to what a person enrolled; what was learned before does not count, so that errors do not
/// add up.
const LEARN_LLR: f32 = 5.0;
/// How much a second of what was learned counts against a second of what was enrolled.
const LEARN_WEIGHT: f32 = 0.5;

/// Reason of a refused enrolment; nothing was stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnrolError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A recording is not of the person who has the name.
    #[error(
        "{recording} does not sound like {name} (log-likelihood ratio {llr:.1}, at least {min:.1} is expected): enrol it \
         under another name, or insist with `force`"
    )]
    OtherVoice {
        /// The recording.
        recording: String,
        /// The person.
        name: String,
        /// Evidence that both are one person.
        llr: f32,
        /// Least evidence.
        min: f32,
    },
    /// The clip sounds like another enrolled person.
    #[error(
        "{recording} sounds like {known}, who is enrolled already (probability {probability:.2}): enrol it as {known}, or, \
         if it is another person, insist with `force`"
    )]
    SoundsLike {
        /// The recording.
        recording: String,
        /// The enrolled person.
        known: String,
        /// Probability of that person.
        probability: f32,
    },
    /// Too little speech of a session's speaker.
    #[error(
        "too short: the session has {speech_s:.1} s of clean speech of {speaker}, at least {min_s:.1} s are needed"
    )]
    TooLittle {
        /// The speaker.
        speaker: String,
        /// Length of the speech, in seconds.
        speech_s: f32,
        /// Least, in seconds.
        min_s: f32,
    },
}

/// One store seen by one voice model. Shared by sessions and requests; every method but [`Self::gallery`] and
/// [`Self::version`] reads or writes the disk, so call it where that may wait.
#[derive(Debug)]
pub struct Registry {
    place: Place,
    card: ModelCard,
    rules: MatchRules,
    learns: bool,
    gallery: Mutex<(Option<i64>, Arc<Gallery>)>,
    version: watch::Sender<u64>,
}

impl Registry {
    /// The registry of the configured store, still empty; [`Self::refresh`] reads it.
    #[must_use]
    pub fn new(config: &VoicesConfig, card: &ModelCard) -> Self {
        let rules = MatchRules {
            accept: config.accept as f32,
            stranger_prior: config.stranger_prior as f32,
            min_speech_s: config.min_speech_s as f32,
            ..MatchRules::default()
        };
        let gallery = Arc::new(Gallery::new(card, rules));
        Self {
            place: Place::of(config),
            card: card.clone(),
            rules,
            learns: config.learn,
            gallery: Mutex::new((None, gallery)),
            version: watch::Sender::new(0),
        }
    }

    /// Where the store is.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Whether sessions may add to voiceprints.
    #[must_use]
    pub fn learns(&self) -> bool {
        self.learns
    }

    /// Everybody as of the last [`Self::refresh`].
    #[must_use]
    pub fn gallery(&self) -> Arc<Gallery> {
        Arc::clone(&self.gallery.lock().1)
    }

    /// Changes whenever [`Self::gallery`] does.
    #[must_use]
    pub fn version(&self) -> u64 {
        *self.version.borrow()
    }

    /// A receiver of [`Self::version`].
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// Name and weights of the voice model.
    #[must_use]
    pub fn model(&self) -> ModelId {
        ModelId::of(&self.card)
    }

    /// Reads the store if anybody changed it. No store is an empty one.
    ///
    /// # Errors
    /// [`StoreError`]; what was known stays known.
    pub fn refresh(&self) -> Result<(), StoreError> {
        match self.place.open() {
            Ok(store) => self.take(&store),
            Err(StoreError::Absent { .. }) => {
                let mut held = self.gallery.lock();
                if held.0.is_some() {
                    *held = (None, Arc::new(Gallery::new(&self.card, self.rules)));
                    self.version.send_modify(|version| *version += 1);
                }
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn take(&self, store: &Store) -> Result<(), StoreError> {
        let generation = store.generation()?;
        let mut held = self.gallery.lock();
        if held.0 == Some(generation) {
            return Ok(());
        }
        let (gallery, without) = store.gallery(&self.card, self.rules)?;
        if !without.is_empty() {
            // Names are not logged; `diarized voices list` shows them.
            tracing::warn!(
                voices = without.len(),
                model = self.card.name,
                "some voices were enrolled with another model and cannot be recognised; enrol them again"
            );
        }
        *held = (Some(generation), Arc::new(gallery));
        self.version.send_modify(|version| *version += 1);
        Ok(())
    }

    /// Opens the store for reading or for a change of an enrolled person.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn with_store<T>(
        &self,
        work: impl FnOnce(&mut Store) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut store = self.place.open()?;
        let done = work(&mut store)?;
        self.take(&store)?;
        Ok(done)
    }

    /// Joins the store, that of `node`, with what other machines have, and makes it with their key where it is absent.
    ///
    /// # Errors
    /// [`StoreError`]; nothing is changed.
    pub fn share(&self, node: &str, others: &Others) -> Result<Shared, StoreError> {
        let mut store = match self.place.open() {
            Err(StoreError::Absent { .. }) if others.voices.is_empty() => return Ok(Shared::default()),
            Err(StoreError::Absent { path }) => Store::make(&path, &self.place.key.read(&path)?)?,
            other => other?,
        };
        let shared = store.share(node, &self.model(), others)?;
        self.take(&store)?;
        Ok(shared)
    }

    /// Rewrites the store's file, so that it holds no bytes of voices that others deleted.
    ///
    /// # Errors
    /// [`StoreError::Locked`] while another program reads the store.
    pub fn scrub(&self) -> Result<(), StoreError> {
        self.place.open()?.scrub()
    }

    /// Stores clips of the person called `name`, all or none; creates a missing store and key. With `force` the clips may
    /// differ from the person's voiceprint.
    ///
    /// # Errors
    /// [`EnrolError`]; nothing is stored.
    pub fn enrol(
        &self,
        name: &str,
        consent: Option<&str>,
        clips: &[(String, Clip)],
        force: bool,
        actor: &str,
    ) -> Result<Enrolment, EnrolError> {
        checked_name(name)?;
        let mut store = self.place.open_or_make()?;
        self.take(&store)?;
        if !force {
            self.check_voice(&store, name, clips)?;
        }
        let model = ModelId::of(&self.card);
        let recordings: Vec<NewRecording> = clips
            .iter()
            .map(|(source, clip)| NewRecording {
                source: source.clone(),
                speech_s: clip.speech_s,
                weight: 1.0,
                snr_db: clip.snr_db,
                embedding: clip.embedding.as_slice().to_vec(),
            })
            .collect();
        let enrolment = store.enrol(name, consent, &model, &recordings, actor)?;
        self.take(&store)?;
        Ok(enrolment)
    }

    /// Holds new clips against the voiceprint that the person has, or against the first of them, and those of somebody
    /// new against everybody: a voice that has two names gets neither.
    fn check_voice(&self, store: &Store, name: &str, clips: &[(String, Clip)]) -> Result<(), EnrolError> {
        let gallery = self.gallery();
        let known = match store.find(name) {
            Ok(voice) => gallery.voices().iter().find(|v| *v.id == *voice.id).cloned(),
            Err(StoreError::Unknown { .. }) => {
                Self::check_new(&gallery, clips)?;
                None
            }
            Err(error) => return Err(error.into()),
        };
        let first = clips.first().map(|(_, clip)| (clip.embedding.clone(), clip.speech_s));
        let held = known.map(|v| (v.print.centre().clone(), v.print.seconds())).or(first);
        let min = ClipRules::default().other_voice_llr;
        for (source, clip) in clips {
            let Some((centre, seconds)) = &held else { break };
            let llr = gallery.llr(clip.embedding.cosine(centre), *seconds, clip.speech_s);
            if llr < min {
                return Err(EnrolError::OtherVoice {
                    recording: source.clone(),
                    name: name.to_owned(),
                    llr,
                    min,
                });
            }
        }
        Ok(())
    }

    /// Whether anybody who is known would be recognised in the clips of somebody new.
    fn check_new(gallery: &Gallery, clips: &[(String, Clip)]) -> Result<(), EnrolError> {
        for (recording, clip) in clips {
            let ranking = gallery.rank(&clip.embedding, clip.speech_s);
            if let Some(accepted) = ranking.accepted() {
                return Err(EnrolError::SoundsLike {
                    recording: recording.clone(),
                    known: gallery.voices()[accepted.voice_idx].name.to_string(),
                    probability: accepted.probability,
                });
            }
        }
        Ok(())
    }

    /// How likely a clip is each of the known people.
    #[must_use]
    pub fn identify(&self, clip: &Clip) -> (Arc<Gallery>, Ranking) {
        let gallery = self.gallery();
        let ranking = gallery.rank(&clip.embedding, clip.speech_s);
        (gallery, ranking)
    }

    /// Adds the speech of a recognised person in a session to the voiceprint, if it is long, clean and certain enough.
    /// Returns whether it was added.
    ///
    /// # Errors
    /// [`StoreError`]; nothing is stored.
    pub fn learn(&self, id: &str, probability: f32, voice: &SpeakerVoice) -> Result<bool, StoreError> {
        let is_clean = voice.snr_db.is_some_and(|snr| snr >= LEARN_SNR_DB);
        if !self.learns || !is_clean || voice.speech_s < LEARN_SPEECH_S || probability < LEARN_PROBABILITY {
            return Ok(false);
        }
        let model = ModelId::of(&self.card);
        self.with_store(|store| {
            let enrolled = store.find(id)?.recordings.into_iter().map(|r| (r.model, r.content));
            let enrolled: Vec<Recording> = enrolled
                .filter(|(of, content)| *of == model && content.source != LEARNED)
                .filter_map(|(_, content)| {
                    let embedding = diarized_models::Embedding::from_raw(&content.embedding).ok()?;
                    Some(Recording { embedding, seconds: content.speech_s, weight: content.weight })
                })
                .collect();
            let Ok(print) = Print::try_new(model.clone(), enrolled) else { return Ok(false) };
            let cosine = print.centre().cosine(&voice.embedding);
            if self.card.print_calibrations.llr(cosine, print.seconds(), voice.speech_s) < LEARN_LLR {
                return Ok(false);
            }
            let recording = NewRecording {
                source: LEARNED.to_owned(),
                speech_s: voice.speech_s,
                weight: LEARN_WEIGHT,
                snr_db: voice.snr_db,
                embedding: voice.embedding.as_slice().to_vec(),
            };
            store.learn(id, &model, recording)?;
            Ok(true)
        })
    }
}

/// A session's speaker as a clip to be enrolled.
///
/// # Errors
/// [`EnrolError::TooLittle`]
pub fn clip_of(speaker: &str, voice: Option<SpeakerVoice>) -> Result<Clip, EnrolError> {
    let min_s = ClipRules::default().min_speech_s;
    match voice {
        Some(SpeakerVoice { embedding, speech_s, snr_db }) if speech_s >= min_s => {
            Ok(Clip { embedding, speech_s, snr_db })
        }
        other => {
            let speech_s = other.map_or(0.0, |voice| voice.speech_s);
            Err(EnrolError::TooLittle { speaker: speaker.to_owned(), speech_s, min_s })
        }
    }
}
