//! `diarized identify`: which enrolled person speaks in a clip, if any.

use std::path::PathBuf;

use diarized_models::voiceprint::ClipRules;
use serde_json::json;

use super::voice_args::{ClipArgs, table, tell};
use crate::exit;
use crate::output::write_stdout;
use crate::voices::{Registry, StoreError};

/// Arguments of `diarized identify`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exit codes: 0 a person was recognised, 1 nobody was (a stranger, or too uncertain), 2 wrong usage, 66 the clip or the store \
cannot be used, 78 wrong configuration or key.")]
pub struct Args {
    /// Clip of one person.
    file: PathBuf,
    /// Candidates to show.
    #[arg(long, value_name = "N", default_value_t = 5)]
    top: usize,
    #[command(flatten)]
    clip: ClipArgs,
}

/// Runs the command and gives the exit code.
///
/// # Errors
/// The model cannot be loaded, or standard output cannot be written.
pub fn run(args: &Args) -> anyhow::Result<u8> {
    let (config, embedder) = match args.clip.start()? {
        Ok(started) => started,
        Err(code) => return Ok(code),
    };
    let registry = Registry::new(&config.voices, embedder.card());
    let place = registry.place();
    if !place.path.exists() {
        return Ok(tell(StoreError::Absent { path: place.path.clone() }));
    }
    if let Err(error) = registry.refresh() {
        return Ok(tell(error));
    }
    let files = [args.file.clone()];
    let clips = args.clip.clips(&embedder, &config, &files, &ClipRules::for_identification());
    let Some((_, clip)) = clips.first() else { return Ok(exit::NO_INPUT) };
    let (gallery, ranking) = registry.identify(clip);
    let accepted = ranking.accepted();
    let named = accepted.map(|c| &gallery.voices()[c.voice_idx]);
    let top = || ranking.candidates.iter().take(args.top).map(|c| (c, &gallery.voices()[c.voice_idx]));
    let text = if args.clip.json {
        let candidates: Vec<_> = top()
            .map(|(c, voice)| {
                json!({"id": *voice.id, "name": *voice.name, "probability": c.probability, "llr": c.llr,
                       "cosine": c.cosine})
            })
            .collect();
        let answer = json!({"voice": named.map(|v| &*v.id), "name": named.map(|v| &*v.name),
            "stranger": ranking.stranger, "speech_s": (f64::from(clip.speech_s) * 100.0).round() / 100.0,
            "candidates": candidates});
        format!("{answer}\n")
    } else {
        let verdict = match (accepted, named) {
            (Some(c), Some(voice)) => format!("{} ({:.1} %)", voice.name, 100.0 * c.probability),
            _ => format!("nobody who is enrolled ({:.1} % a stranger)", 100.0 * ranking.stranger),
        };
        let rows: Vec<Vec<String>> = top()
            .map(|(c, voice)| {
                let percent = format!("{:.1} %", 100.0 * c.probability);
                vec![voice.name.to_string(), percent, format!("{:+.1}", c.llr), format!("{:.3}", c.cosine)]
            })
            .collect();
        let rows = table(&["candidate", "probability", "evidence", "cosine"], &rows, &[1, 2, 3]);
        format!("{verdict}\n\n{rows}")
    };
    write_stdout(&text)?;
    Ok(if named.is_some() { exit::OK } else { exit::FAILURE })
}
