//! `diarized eval`: accuracy of labels (DER), their confidence, counts of speakers, voice models (EER) and names.

use clap::Subcommand;

mod confidence;
mod count;
mod der;
mod eer;
mod labels;
mod pairing;
mod voices;

pub use count::{CountLine, read_count_lines};
pub use labels::read_event_log;

/// Arguments of `diarized eval`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    yardstick: Yardstick,
}

#[derive(Debug, Subcommand)]
enum Yardstick {
    /// Diarization error rate of labels against a reference, with its parts, JER and speaker counts.
    Der(der::Args),
    /// Whether confidence is a probability: reliability, expected calibration error and Brier score.
    Confidence(confidence::Args),
    /// Counts of speakers against a reference: how many are right, and whether their confidence is a probability.
    Count(count::Args),
    /// Equal error rate, detection cost and Cllr of a voice model on a list of trials.
    Eer(Box<eer::Args>),
    /// Naming of enrolled people and of strangers, and the calibration of voiceprints.
    Voices(voices::Args),
}

/// Runs the command and gives the exit code.
///
/// # Errors
/// Whatever stopped the command as a whole.
pub fn run(args: Args) -> anyhow::Result<u8> {
    match args.yardstick {
        Yardstick::Der(args) => der::run(args),
        Yardstick::Confidence(args) => confidence::run(&args),
        Yardstick::Count(args) => count::run(&args),
        Yardstick::Eer(args) => eer::run(&args),
        Yardstick::Voices(args) => voices::run(&args),
    }
}
