//! `diarized enrol`: stores the voiceprint of a person.

use std::path::PathBuf;

use diarized_models::voiceprint::ClipRules;
use serde_json::json;

use super::voice_args::{ClipArgs, tell_enrol};
use crate::exit;
use crate::output::write_stdout;
use crate::voices::Registry;

const EXAMPLES: &str = "\
Examples:
  diarized enrol Ann ann.wav                     half a minute of Ann only
  diarized enrol Ann monday.m4a phone.wav        recordings of other days and microphones improve it
  diarized enrol Ann ann.wav --consent 'agreed by mail on 3 May; may be deleted at any time'

A clip needs at least 5 s of speech of one person, in a quiet place. A clip that is too short, too noisy, without \
speech or with two speakers is refused with the reason, and nothing is stored. Voiceprints are biometric data: enrol \
people with their consent only.

Exit codes: 0 enrolled, 2 wrong usage, 66 a clip was refused, 73 the store cannot be written, 78 wrong configuration \
or key.";

/// Arguments of `diarized enrol`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Name of the person; the clips improve an existing voiceprint.
    name: String,

    /// Audio files with speech of that person only.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// The consent of the person, in words; stored with the voiceprint.
    #[arg(long, value_name = "TEXT")]
    consent: Option<String>,

    /// Store the clips even if they differ from each other or from the voiceprint of that name, or match a voice that is
    /// enrolled under another name.
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    clip: ClipArgs,
}

/// Runs the command and gives the exit code.
///
/// # Errors
/// The model cannot be loaded, or standard output cannot be written.
pub fn run(args: &Args) -> anyhow::Result<u8> {
    if let Err(error) = crate::voices::checked_name(&args.name) {
        eprintln!("diarized: {error}");
        return Ok(exit::USAGE);
    }
    let (config, embedder) = match args.clip.start()? {
        Ok(started) => started,
        Err(code) => return Ok(code),
    };
    let clips = args.clip.clips(&embedder, &config, &args.files, &ClipRules::default());
    if clips.len() < args.files.len() {
        eprintln!("diarized: nothing was stored");
        return Ok(exit::NO_INPUT);
    }
    let source =
        |path: &std::path::Path| path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let clips: Vec<_> = clips.into_iter().map(|(path, clip)| (source(path), clip)).collect();
    let registry = Registry::new(&config.voices, embedder.card());
    let enrolment = match registry.enrol(&args.name, args.consent.as_deref(), &clips, args.force, "command") {
        Ok(enrolment) => enrolment,
        Err(error) => return Ok(tell_enrol(error)),
    };
    let voice = &enrolment.voice;
    let speech_s: f32 = voice.recordings.iter().map(|r| r.content.speech_s).sum();
    let mut text = if args.clip.json {
        let speech_s = f64::from(speech_s * 10.0).round() / 10.0;
        json!({"id": voice.id, "name": voice.name, "new": enrolment.is_new, "recordings": voice.recordings.len(),
               "speech_s": speech_s})
        .to_string()
    } else {
        let (verb, n) = (if enrolment.is_new { "enrolled" } else { "improved" }, voice.recordings.len());
        let plural = if n == 1 { "recording" } else { "recordings" };
        format!("{verb} {} ({}): {n} {plural}, {speech_s:.1} s of speech", voice.name, voice.id)
    };
    if !args.clip.json && !config.voices.enabled {
        text += "\nlabels name enrolled people when voices.enabled is true, or with `label --voices`, `serve --voices`";
    }
    write_stdout(&(text + "\n"))?;
    Ok(exit::OK)
}
