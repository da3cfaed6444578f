//! Recordings one after the other, as a microphone that never stops has them.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use diarized::audio_file::{AudioFile, MonoFile};
use diarized_dsp::{ChannelSelect, SAMPLE_RATE_HZ};
use diarized_models::rttm::Nanos;
use diarized_models::scoring::{Span, Turn};

use crate::recordings::{Reference, name_of};

/// Silence after each recording, in seconds.
const PAUSE_S: u32 = 2;

/// A recording, and where it lies in the whole.
#[derive(Debug, Clone)]
pub struct JoinedPart {
    /// Name of the recording.
    pub name: String,
    /// From its first sample to its last.
    pub span: Span,
    /// What is right, on its own clock.
    pub reference: Reference,
}

impl JoinedPart {
    /// What of the whole's turns lies in this part, on its own clock.
    #[must_use]
    pub fn cut(&self, turns: &[Turn]) -> Vec<Turn> {
        let inside = |turn: &Turn| {
            let span = self.span.intersection(&turn.span);
            let at = |nanos: Nanos| Nanos(nanos.0 - self.span.start.0);
            (!span.is_empty()).then(|| Turn::new(at(span.start), at(span.end), turn.speaker.clone()))
        };
        turns.iter().filter_map(inside).collect()
    }

    /// The reference's turns on the clock of the whole.
    fn shifted(&self, own_people: bool) -> impl Iterator<Item = Turn> {
        let at = |nanos: Nanos| Nanos(nanos.0 + self.span.start.0);
        self.reference.turns.iter().map(move |turn| {
            let speaker = match own_people {
                true => format!("{} {}", self.name, turn.speaker),
                false => turn.speaker.clone(),
            };
            Turn::new(at(turn.span.start), at(turn.span.end), speaker)
        })
    }
}

/// Writes `recordings` to one WAV file of 16 kHz, one after the other with two seconds of silence behind each.
///
/// # Errors
/// A recording or reference that cannot be read, a file that cannot be written.
pub fn write_joined(recordings: &[PathBuf], out: &Path) -> anyhow::Result<Vec<JoinedPart>> {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: SAMPLE_RATE_HZ,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut wav = hound::WavWriter::create(out, spec).with_context(|| out.display().to_string())?;
    let mut parts = Vec::new();
    let mut samples = Vec::new();
    for audio in recordings {
        let start = wav.duration();
        let mut file = MonoFile::new(AudioFile::open(audio)?, ChannelSelect::Mix)?;
        loop {
            samples.clear();
            if !file.read(&mut samples)? {
                break;
            }
            for sample in &samples {
                wav.write_sample((sample.clamp(-1.0, 1.0) * f32::from(i16::MAX)).round() as i16)?;
            }
        }
        let at = |n: u32| Nanos::from_seconds(f64::from(n) / f64::from(SAMPLE_RATE_HZ));
        let span = Span::new(at(start), at(wav.duration()));
        (0..PAUSE_S * SAMPLE_RATE_HZ).try_for_each(|_| wav.write_sample(0_i16))?;
        parts.push(JoinedPart { name: name_of(audio)?, span, reference: Reference::beside(audio)? });
    }
    wav.finalize()?;
    Ok(parts)
}

/// The reference of the whole. With `own_people` equal names in two recordings are two people. Where a recording has a UEM,
/// what lies outside is not scored.
#[must_use]
pub fn joined_reference(parts: &[JoinedPart], own_people: bool) -> Reference {
    let turns = parts.iter().flat_map(|part| part.shifted(own_people)).collect();
    let scored = |part: &JoinedPart| match &part.reference.uem {
        None => vec![part.span],
        Some(uem) => {
            let at = |nanos: Nanos| Nanos(nanos.0 + part.span.start.0);
            uem.iter().map(|span| Span::new(at(span.start), at(span.end))).collect()
        }
    };
    Reference { turns, uem: Some(parts.iter().flat_map(scored).collect()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_is_cut_where_it_was_joined() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: 8000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        for (name, uem) in [("a", Some("a 1 0.5 3.0\n")), ("b", None)] {
            let mut wav = hound::WavWriter::create(path(&format!("{name}.wav")), spec).unwrap();
            (0..4 * 8000).for_each(|_| wav.write_sample(100_i16).unwrap());
            wav.finalize().unwrap();
            let line = format!("SPEAKER {name} 1 1.000 2.000 <NA> <NA> ann <NA> <NA>\n");
            std::fs::write(path(&format!("{name}.rttm")), line).unwrap();
            if let Some(uem) = uem {
                std::fs::write(path(&format!("{name}.uem")), uem).unwrap();
            }
        }
        let parts = write_joined(&[path("a.wav"), path("b.wav")], &path("whole.wav")).unwrap();
        assert_eq!(hound::WavReader::open(path("whole.wav")).unwrap().duration(), 12 * SAMPLE_RATE_HZ);
        let turn = |start: f64, end: f64, who: &str| {
            Turn::new(Nanos::from_seconds(start), Nanos::from_seconds(end), who)
        };
        let one_ann = joined_reference(&parts, false);
        assert_eq!(one_ann.turns, [turn(1.0, 3.0, "ann"), turn(7.0, 9.0, "ann")]);
        let span = |start: f64, end: f64| Span::new(Nanos::from_seconds(start), Nanos::from_seconds(end));
        assert_eq!(one_ann.uem.unwrap(), [span(0.5, 3.0), span(6.0, 10.0)]);
        assert_eq!(joined_reference(&parts, true).turns[1].speaker, "b ann");
        let labels = [turn(1.0, 3.5, "S1"), turn(5.5, 9.0, "S2")];
        assert_eq!(parts[0].cut(&labels), [turn(1.0, 3.5, "S1")]);
        assert_eq!(parts[1].cut(&labels), [turn(0.0, 3.0, "S2")]);
    }
}
