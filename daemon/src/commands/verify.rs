//! `diarized verify`: decides whether two clips are of one person.

use std::path::PathBuf;

use diarized_models::calibration::sigmoid;
use diarized_models::voiceprint::ClipRules;
use serde_json::json;

use super::voice_args::ClipArgs;
use crate::exit;
use crate::output::write_stdout;

/// Arguments of `diarized verify`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The evidence is the natural-log likelihood ratio of one speaker against two speakers. The probability assumes even \
prior odds. The command distinguishes the speakers of a conversation; it is no proof of identity.

Exit codes: 0 one person, 1 two people, 2 wrong usage, 66 a clip cannot be used, 78 wrong configuration.")]
pub struct Args {
    /// First clip.
    a: PathBuf,
    /// Second clip.
    b: PathBuf,
    /// Probability from which on the answer is one person.
    #[arg(long, value_name = "P", default_value_t = 0.5, value_parser = probability)]
    threshold: f32,
    #[command(flatten)]
    clip: ClipArgs,
}

fn probability(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(p) if p > 0.0 && p < 1.0 => Ok(p),
        _ => Err("expected a number above 0 and below 1".to_owned()),
    }
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
    let files = [args.a.clone(), args.b.clone()];
    let clips = args.clip.clips(&embedder, &config, &files, &ClipRules::for_comparison());
    let [(_, a), (_, b)] = &clips[..] else { return Ok(exit::NO_INPUT) };
    let cosine = a.embedding.cosine(&b.embedding);
    let (longer, shorter) = (a.speech_s.max(b.speech_s), a.speech_s.min(b.speech_s));
    let llr = embedder.card().print_calibrations.llr(cosine, longer, shorter);
    let probability = sigmoid(llr);
    let is_same = probability >= args.threshold;
    let text = if args.clip.json {
        let speech_s = [a.speech_s, b.speech_s].map(|s| (f64::from(s) * 100.0).round() / 100.0);
        json!({"same": is_same, "probability": probability, "llr": llr, "cosine": cosine, "speech_s": speech_s})
            .to_string()
    } else {
        let verdict = if is_same { "one person" } else { "two people" };
        format!(
            "{verdict}: probability {:.1} %, evidence {llr:+.1}, cosine {cosine:.3} ({:.1} s and {:.1} s of speech)",
            100.0 * probability,
            a.speech_s,
            b.speech_s
        )
    };
    write_stdout(&(text + "\n"))?;
    Ok(if is_same { exit::OK } else { exit::FAILURE })
}
