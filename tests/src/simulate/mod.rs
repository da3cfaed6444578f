//! Simulated conversations: real voices, the turn-taking of real meetings, rooms, levels and noise.
//!
//! Everything follows from the seed: conversation `i` of a seed is the same whatever else is asked for.
//! The reference holds speech as the energy of the dry utterances shows it ([`tape`] says how), so silence
//! inside an utterance and the tail of a room are not labelled speech.

mod condition;
mod kind;
pub mod plan;
pub mod rng;
pub mod room;
pub mod statistics;
pub mod tape;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use diarized::kaldi::{self, Utterance};
use diarized_dsp::SAMPLE_RATE_HZ;
use diarized_models::rttm::{Nanos, SpeakerTurn, parse_rttm};
use diarized_models::scoring::Turn;

use condition::Condition;
pub use kind::Kind;
use rng::Rng;
use room::Room;
use statistics::TurnStatistics;
use tape::{FRAME, Tape};

/// A speaker with less audio is not used, in seconds.
const LEAST_AUDIO_S: f64 = 15.0;
/// Everybody with this much may speak in any conversation, in seconds.
const ENOUGH_AUDIO_S: f64 = 60.0;
/// Largest sample of a finished conversation.
const PEAK: f32 = 0.9;

/// What a set of conversations is drawn from.
pub struct Sources {
    /// Utterances of each speaker, by name.
    speakers: BTreeMap<String, Speaker>,
    statistics: TurnStatistics,
    noises: Vec<PathBuf>,
}

struct Speaker {
    utterances: Vec<Utterance>,
    /// Folder of the first recording: speakers of one folder were recorded alike.
    set: PathBuf,
    audio_s: f64,
}

/// The shape of one conversation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    /// Number of speakers, 1 to 100.
    pub n_speakers: usize,
    /// Length in seconds; [`Kind::Quick`] has the length that its turns add up to.
    pub duration_s: f64,
    /// Whether all speakers come from one set: alike in language, device and often in age.
    pub alike: bool,
    /// What the conversation is like.
    pub kind: Kind,
}

/// A finished conversation.
pub struct Conversation {
    /// Length in seconds.
    pub duration_s: f64,
    /// 16 kHz mono.
    pub samples: Vec<f32>,
    /// Who speaks when.
    pub reference: Vec<SpeakerTurn>,
    /// What was drawn, for the record.
    pub facts: serde_json::Value,
}

impl Sources {
    /// Reads a Kaldi data folder (`wav.scp`, `segments`, `utt2spk`), a folder of RTTM files to learn
    /// turn-taking from, and a folder of noise (optional).
    ///
    /// # Errors
    /// Whatever cannot be read, with its file and line.
    pub fn read(
        data: &Path,
        audio_root: Option<&Path>,
        turns: &Path,
        noise: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let segments = data.join("segments");
        let segments = segments.exists().then_some(segments);
        let utterances = kaldi::read_utterances(&data.join("wav.scp"), segments.as_deref(), audio_root)?;
        let utt2spk = kaldi::read_utt2spk(&data.join("utt2spk"))?;
        let mut speakers: BTreeMap<String, Speaker> = BTreeMap::new();
        for utterance in utterances {
            let speaker = utt2spk.get(&utterance.id).with_context(|| {
                format!("utterance {} is not in {}", utterance.id, data.join("utt2spk").display())
            })?;
            let set = utterance.path.parent().unwrap_or(Path::new("")).to_owned();
            let new = Speaker { utterances: Vec::new(), set, audio_s: 0.0 };
            let speaker = speakers.entry(speaker.clone()).or_insert(new);
            speaker.audio_s += utterance.span_s.map_or(LEAST_AUDIO_S, |(start, end)| end - start);
            speaker.utterances.push(utterance);
        }
        speakers.retain(|_, speaker| speaker.audio_s >= LEAST_AUDIO_S);

        let mut statistics = TurnStatistics::default();
        for file in files_in(turns, "rttm")? {
            let bytes = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
            let mut meetings: BTreeMap<String, Vec<Turn>> = BTreeMap::new();
            for line in parse_rttm(&file.display().to_string(), &bytes)? {
                meetings.entry(line.recording.clone()).or_default().push(Turn::from(&line));
            }
            meetings.values().for_each(|turns| statistics.add(turns));
        }
        if !statistics.is_usable() {
            bail!("{} holds too few turns to learn from", turns.display());
        }
        let noises = noise.map(|folder| files_in(folder, "")).transpose()?.unwrap_or_default();
        Ok(Self { speakers, statistics, noises })
    }

    /// Makes conversation `idx` of `seed`.
    ///
    /// # Errors
    /// Too few speakers for the shape, or audio that cannot be read.
    pub fn conversation(
        &self,
        name: &str,
        shape: Shape,
        seed: u64,
        idx: u64,
    ) -> anyhow::Result<Conversation> {
        let mut rng = Rng::new(seed, idx);
        let cast = self.cast(shape, &mut rng)?;
        let tapes = cast.iter().map(|speaker| self.tape(speaker, &mut rng));
        let mut tapes = tapes.collect::<anyhow::Result<Vec<_>>>()?;
        let plan = self.plan(shape, cast.len(), &mut rng);
        let duration_s = plan.duration_s.unwrap_or(shape.duration_s);
        let room = Room::draw(&mut rng);
        let paths: Vec<room::Path> = cast.iter().map(|_| room.path(&mut rng)).collect();
        let levels_db: Vec<f64> = cast.iter().map(|_| (3.5 * rng.normal()).clamp(-7.0, 7.0)).collect();
        let condition = Condition::draw(shape.kind, cast.len(), duration_s, &mut rng);
        let n_samples = (duration_s * f64::from(SAMPLE_RATE_HZ)) as usize;
        let mut samples = vec![0.0f32; n_samples];
        let mut speech = vec![vec![false; n_samples / FRAME]; cast.len()];
        for turn in &plan.turns {
            let who = turn.speaker_idx;
            let Some(take) = tapes[who].take(turn.length_s) else { continue };
            let gain = 10f64.powf((levels_db[who] + 1.5 * rng.normal()) / 20.0) as f32;
            let first_frame = (turn.start_s * 100.0) as usize;
            let wet = condition.of_turn(who, turn.start_s, paths[who].apply(&take.samples), &mut rng);
            for (sample, wet) in samples[first_frame * FRAME..].iter_mut().zip(wet) {
                *sample += gain * wet;
            }
            for (frame, is_speech) in speech[who][first_frame..].iter_mut().zip(&take.is_speech) {
                *frame |= is_speech;
            }
        }
        condition.of_mixture(&mut samples, &mut rng);
        let noise = self.add_noise(&mut samples, &speech, &mut rng)?;
        bound_peak(&mut samples);
        let speaker_facts = |who: usize| {
            serde_json::json!({
                "speaker": cast[who],
                "speech_s": speech[who].iter().filter(|frame| **frame).count() as f64 / 100.0,
                "said_twice_s": (tapes[who].repeated_s() * 10.0).round() / 10.0,
                "level_db": (levels_db[who] * 10.0).round() / 10.0,
                "direct_to_reverberant_db": (paths[who].direct_to_reverberant_db * 10.0).round() / 10.0,
            })
        };
        let facts = serde_json::json!({
            "recording": name,
            "seed": seed,
            "index": idx,
            "kind": shape.kind.to_string(),
            "duration_s": duration_s,
            "speakers_alike": shape.alike,
            "rt60_s": (room.rt60_s * 100.0).round() / 100.0,
            "noise": noise,
            "away": plan.absence.map(|(who, from, to)| serde_json::json!({
                "speaker": cast[who], "from_s": from.round(), "to_s": to.round() })),
            "speakers": (0..cast.len()).map(speaker_facts).collect::<Vec<_>>(),
        });
        Ok(Conversation { duration_s, samples, reference: reference(name, &cast, speech), facts })
    }

    fn plan(&self, shape: Shape, n_speakers: usize, rng: &mut Rng) -> plan::Plan {
        if shape.kind == Kind::Quick {
            return plan::quick(n_speakers, rng);
        }
        let shares = self.statistics.shares(n_speakers, rng);
        plan::plan(&self.statistics, &shares, shape.duration_s, rng)
    }

    /// Draws the speakers, those with more audio first, as the largest shares are the first.
    fn cast(&self, shape: Shape, rng: &mut Rng) -> anyhow::Result<Vec<String>> {
        // Who has little audio would say everything several times over.
        let wanted_s = (0.6 * shape.duration_s / shape.n_speakers as f64).min(ENOUGH_AUDIO_S);
        let has_enough = |name: &&String| self.speakers[*name].audio_s >= wanted_s;
        let mut candidates: Vec<&String> = self.speakers.keys().filter(has_enough).collect();
        if shape.alike {
            let mut sets: BTreeMap<&Path, Vec<&String>> = BTreeMap::new();
            for name in candidates {
                sets.entry(&self.speakers[name].set).or_default().push(name);
            }
            let sets: Vec<_> = sets.into_values().filter(|names| names.len() >= shape.n_speakers).collect();
            candidates = rng.pick(&sets).context("no set holds that many speakers")?.clone();
        }
        if candidates.len() < shape.n_speakers {
            bail!("{} speakers asked for, the data hold {}", shape.n_speakers, candidates.len());
        }
        rng.shuffle(&mut candidates);
        candidates.truncate(shape.n_speakers);
        candidates.sort_by(|a, b| self.speakers[*b].audio_s.total_cmp(&self.speakers[*a].audio_s));
        Ok(candidates.into_iter().cloned().collect())
    }

    fn tape(&self, name: &str, rng: &mut Rng) -> anyhow::Result<Tape> {
        let mut utterances: Vec<&Utterance> = self.speakers[name].utterances.iter().collect();
        rng.shuffle(&mut utterances);
        let mut files: BTreeMap<&Path, Vec<f32>> = BTreeMap::new();
        let mut tape = Tape::default();
        for utterance in utterances {
            let file = match files.entry(&utterance.path) {
                std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::btree_map::Entry::Vacant(entry) => {
                    entry.insert(kaldi::load_mono(&utterance.path)?)
                }
            };
            tape.add(utterance.of(file)?);
        }
        if tape.duration_s() <= 0.0 {
            bail!("speaker {name} has no audible speech");
        }
        Ok(tape)
    }

    /// Adds a noise at a drawn distance below the speech, and the hiss of a microphone.
    fn add_noise(
        &self,
        samples: &mut [f32],
        speech: &[Vec<bool>],
        rng: &mut Rng,
    ) -> anyhow::Result<serde_json::Value> {
        let hiss = 10f64.powf(rng.between(-78.0, -62.0) / 20.0);
        samples.iter_mut().for_each(|sample| *sample += (hiss * rng.normal()) as f32);
        let Some(path) = rng.pick(&self.noises) else { return Ok(serde_json::Value::Null) };
        let snr_db = rng.between(5.0, 30.0);
        let noise = kaldi::load_mono(path)?;
        let power = |samples: &mut dyn Iterator<Item = f32>| {
            let (sum, n) = samples.fold((0.0f64, 0usize), |(sum, n), s| (sum + f64::from(s * s), n + 1));
            sum / n.max(1) as f64
        };
        let anybody = |frame: usize| speech.iter().any(|own| own.get(frame) == Some(&true));
        let mut spoken = samples
            .chunks(FRAME)
            .enumerate()
            .filter(|(f, _)| anybody(*f))
            .flat_map(|(_, s)| s.iter().copied());
        let (speech_power, noise_power) = (power(&mut spoken), power(&mut noise.iter().copied()));
        if noise_power <= 0.0 {
            bail!("{} is silent", path.display());
        }
        let gain = (speech_power / noise_power / 10f64.powf(snr_db / 10.0)).sqrt() as f32;
        let offset = rng.below(noise.len());
        for (idx, sample) in samples.iter_mut().enumerate() {
            *sample += gain * noise[(offset + idx) % noise.len()];
        }
        let file = path.file_name().map(|name| name.to_string_lossy().into_owned());
        Ok(serde_json::json!({ "file": file, "snr_db": (snr_db * 10.0).round() / 10.0 }))
    }
}

/// Turns of each speaker's speech frames; pauses under a quarter of a second are bridged.
fn reference(name: &str, cast: &[String], speech: Vec<Vec<bool>>) -> Vec<SpeakerTurn> {
    let mut turns = Vec::new();
    for (speaker, mut mask) in cast.iter().zip(speech) {
        tape::fill(&mut mask, false, 25);
        let mut frame = 0;
        while let Some(start) = (frame..mask.len()).find(|frame| mask[*frame]) {
            let end = (start..mask.len()).find(|frame| !mask[*frame]).unwrap_or(mask.len());
            turns.push(SpeakerTurn {
                recording: name.to_owned(),
                channel: "1".to_owned(),
                start: Nanos(start as i64 * 10_000_000),
                duration: Nanos((end - start) as i64 * 10_000_000),
                speaker: speaker.clone(),
                confidence: None,
            });
            frame = end;
        }
    }
    turns.sort_by_key(|turn| (turn.start, turn.duration));
    turns
}

/// Files of a folder with the extension (any, if it is empty), by name.
fn files_in(folder: &Path, extension: &str) -> anyhow::Result<Vec<PathBuf>> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("cannot read folder {}", folder.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let fits = extension.is_empty() || path.extension().is_some_and(|e| e == extension);
        if path.is_file() && fits {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Makes samples quieter where they would clip.
fn bound_peak(samples: &mut [f32]) {
    let peak = samples.iter().fold(0.0f32, |peak, sample| peak.max(sample.abs()));
    if peak > PEAK {
        samples.iter_mut().for_each(|sample| *sample *= PEAK / peak);
    }
}
