//! `diarized eval`: yardsticks for labels (DER) and for voice models (EER).

use clap::Subcommand;

mod der;
mod eer;
mod labels;

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
    /// Equal error rate, detection cost and Cllr of a voice model on a list of trials.
    Eer(Box<eer::Args>),
}

/// Runs the command and gives the exit code.
///
/// # Errors
/// Whatever stopped the command as a whole.
pub fn run(args: Args) -> anyhow::Result<u8> {
    match args.yardstick {
        Yardstick::Der(args) => der::run(args),
        Yardstick::Eer(args) => eer::run(&args),
    }
}
