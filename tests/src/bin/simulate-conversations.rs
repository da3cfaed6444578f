//! Writes simulated conversations with exact references: WAV, RTTM, UEM and what was drawn, from a seed.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Parser;
use diarized_models::rttm::write_rttm;
use diarized_tests::simulate::rng::Rng;
use diarized_tests::simulate::{Kind, Shape, Sources};

/// Makes conversations from a Kaldi data folder: real voices, turn-taking as in real meetings, rooms, noise.
#[derive(Debug, Parser)]
struct Args {
    /// Kaldi data folder with wav.scp, utt2spk and, where recordings hold several utterances, segments.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Folder that relative paths in wav.scp start from.
    #[arg(long, value_name = "DIR")]
    audio_root: Option<PathBuf>,
    /// Folder of RTTM files of real meetings, to draw turns, pauses, back-channels and overlap from.
    #[arg(long, value_name = "DIR")]
    turns: PathBuf,
    /// Folder of noise recordings; without it only the hiss of a microphone is added.
    #[arg(long, value_name = "DIR")]
    noise: Option<PathBuf>,
    /// Folder for the results.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Everything follows from this number.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Number of conversations.
    #[arg(long, default_value_t = 12)]
    count: u64,
    /// Number of speakers, from and to: conversations go through the numbers in turn.
    #[arg(long, default_value = "2-8", value_parser = range)]
    speakers: (f64, f64),
    /// Length in minutes, from and to.
    #[arg(long, default_value = "2-6", value_parser = range)]
    minutes: (f64, f64),
    /// What the conversations are like. `quick` has its own length: every speaker speaks for 2 to 10 s.
    #[arg(long, value_enum, default_value_t)]
    kind: Kind,
}

fn range(text: &str) -> Result<(f64, f64), String> {
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    match (low.parse(), high.parse()) {
        (Ok(low), Ok(high)) if 0.0 < low && low <= high => Ok((low, high)),
        _ => Err("expected a number or a range such as 2-8".to_owned()),
    }
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let (fewest, most) = (args.speakers.0 as usize, args.speakers.1 as usize);
    if !(1..=100).contains(&fewest) || most > 100 {
        bail!("--speakers: from 1 to 100");
    }
    if args.minutes.0 < 0.5 || args.minutes.1 > 60.0 {
        bail!("--minutes: from 0.5 to 60");
    }
    let sources = Sources::read(&args.data, args.audio_root.as_deref(), &args.turns, args.noise.as_deref())?;
    std::fs::create_dir_all(&args.out).with_context(|| format!("cannot make {}", args.out.display()))?;
    let mut facts = Vec::new();
    for idx in 0..args.count {
        let n_speakers = fewest + idx as usize % (most - fewest + 1);
        // A stream of its own, so that the shape does not depend on what the conversation draws.
        let minutes = Rng::new(args.seed, idx + (1 << 32)).between(args.minutes.0, args.minutes.1);
        let duration_s = (minutes * 60.0).round();
        let shape = Shape { n_speakers, duration_s, alike: idx % 2 == 1, kind: args.kind };
        let kind = if args.kind == Kind::Meeting { "sim".to_owned() } else { args.kind.to_string() };
        let name = format!("{kind}{}-{idx:02}-{n_speakers}spk", args.seed);
        let conversation =
            sources.conversation(&name, shape, args.seed, idx).with_context(|| name.clone())?;

        let file = |extension: &str| args.out.join(format!("{name}.{extension}"));
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: diarized_dsp::SAMPLE_RATE_HZ,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut wav = hound::WavWriter::create(file("wav"), spec)?;
        for sample in &conversation.samples {
            wav.write_sample((sample * 32_767.0).round() as i16)?;
        }
        wav.finalize()?;
        std::fs::write(file("rttm"), write_rttm(&conversation.reference))?;
        std::fs::write(file("uem"), format!("{name} 1 0.000 {:.3}\n", conversation.duration_s))?;
        eprintln!("{name}: {} s, {} turns", conversation.duration_s, conversation.reference.len());
        facts.push(conversation.facts);
    }
    let facts = serde_json::to_string_pretty(&facts)?;
    std::fs::write(args.out.join("facts.json"), format!("{facts}\n"))?;
    Ok(())
}
