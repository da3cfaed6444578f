//! Common parts of the commands for voices: paths of the store, the model, clips with a progress bar, tables.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use diarized_config::Config;
use diarized_models::voiceprint::{Clip, ClipRules};
use diarized_models::{Embedder, ModelSource};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::config_args::{ConfigArgs, FlagValue};
use super::input_args::ClipSourceArgs;
use crate::channel_choice::channel_select;
use crate::error_chain::error_chain;
use crate::exit;
use crate::voices::{ClipError, EnrolError, Place, StoreError, clip_of_audio, load_clip_embedder};

/// Where the store and its key are. Flatten it into a command's arguments.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct StoreArgs {
    /// The store [default: voices.path, else voices.db in the user's data folder].
    #[arg(long, value_name = "FILE")]
    store: Option<PathBuf>,

    /// File of the store's key [default: voices.key_file, else voices.key in the user's configuration folder; the
    /// environment variable DIARIZED_VOICES_KEY, if set, is the key itself].
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,

    #[command(flatten)]
    config: ConfigArgs,
}

impl StoreArgs {
    /// The configuration, with these flags and `more` of the command's own.
    pub(super) fn load(&self, more: &[FlagValue]) -> Result<Config, u8> {
        let text = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let mut flags = vec![
            ("--store", "voices.path", text(&self.store)),
            ("--key-file", "voices.key_file", text(&self.key_file)),
        ];
        flags.extend(more.iter().cloned());
        Ok(self.config.load(&flags)?.config)
    }

    /// Paths of the store.
    pub(super) fn place(&self) -> Result<Place, u8> {
        Ok(Place::of(&self.load(&[])?.voices))
    }
}

/// How clips are read, and where the store is. Flatten it into a command's arguments.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct ClipArgs {
    #[command(flatten)]
    clips: ClipSourceArgs,

    /// Write one JSON object.
    #[arg(long)]
    pub(super) json: bool,

    /// Hide progress.
    #[arg(short, long)]
    quiet: bool,

    #[command(flatten)]
    store: StoreArgs,
}

impl ClipArgs {
    /// The configuration, and the voice model ready for clips; or the exit code after reported faults of the
    /// configuration.
    pub(super) fn start(&self) -> anyhow::Result<Result<(Config, Embedder), u8>> {
        let config = match self.store.load(&self.clips.flags()) {
            Ok(config) => config,
            Err(code) => return Ok(Err(code)),
        };
        // A model that is named on the command line counts; else voiceprints are of the second model, if there is one.
        let second = config.model.second.clone().filter(|_| !self.clips.names_model());
        let folder = second.or_else(|| config.model.path.clone());
        let embedder = load_clip_embedder(&folder.map_or(ModelSource::Builtin, ModelSource::Folder))?;
        Ok(Ok((config, embedder)))
    }

    /// Reads and analyses files one after the other with a progress bar. Faults are reported on stderr. Returns the
    /// usable clips in the order of the files.
    pub(super) fn clips<'a>(
        &self,
        embedder: &Embedder,
        config: &Config,
        files: &'a [PathBuf],
        rules: &ClipRules,
    ) -> Vec<(&'a Path, Clip)> {
        let is_shown = !self.quiet && std::io::stderr().is_terminal();
        let target = if is_shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(1000 * files.len() as u64), target);
        let style = ProgressStyle::with_template("{msg:24!} [{bar:30}] {percent:>3} %, {eta} left");
        bar.set_style(style.expect("the template is a constant").progress_chars("=> "));
        let channel = channel_select(config.audio.channel);
        let mut clips = Vec::new();
        for (n, path) in files.iter().enumerate() {
            let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
            bar.set_message(name);
            let progress = |share: f32| bar.set_position(1000 * n as u64 + (1000.0 * share) as u64);
            let audio = self.clips.track.open(path).map_err(ClipError::from);
            match audio.and_then(|audio| clip_of_audio(embedder, audio, channel, rules, progress)) {
                Ok(clip) => clips.push((path.as_path(), clip)),
                Err(error) => bar.suspend(|| tell_clip(&error)),
            }
        }
        bar.finish_and_clear();
        clips
    }
}

fn tell_clip(error: &ClipError) {
    eprintln!("diarized: {error}");
}

/// Reports a fault of the store on stderr; returns the exit code.
pub(super) fn tell(error: StoreError) -> u8 {
    let code = match &error {
        StoreError::Absent { .. }
        | StoreError::Unknown { .. }
        | StoreError::NotAnExport { .. }
        | StoreError::NotAStore { .. }
        | StoreError::Corrupt { .. }
        | StoreError::Schema { .. } => exit::NO_INPUT,
        StoreError::NoKey { .. }
        | StoreError::KeyForm { .. }
        | StoreError::KeyExposed { .. }
        | StoreError::WrongKey { .. } => exit::CONFIG,
        StoreError::Full { .. } | StoreError::ReadOnly { .. } => exit::CANNOT_WRITE,
        StoreError::BadName(_) | StoreError::NoName => exit::USAGE,
        _ => exit::FAILURE,
    };
    eprintln!("diarized: {}", error_chain(&error));
    code
}

/// Reports the reason of a refused enrolment on stderr; returns the exit code.
pub(super) fn tell_enrol(error: EnrolError) -> u8 {
    match error {
        EnrolError::Store(error) => tell(error),
        other => {
            eprintln!("diarized: {other}; nothing was stored");
            exit::NO_INPUT
        }
    }
}

/// Rows under a head, columns as wide as their widest cell; the first column to the left, `right` ones to the right.
pub(super) fn table(head: &[&str], rows: &[Vec<String>], right: &[usize]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut text = String::new();
        for (column, cell) in cells.enumerate() {
            let pad = " ".repeat(widths[column] - cell.chars().count());
            let gap = if column == 0 { "" } else { "  " };
            match right.contains(&column) {
                true => text.push_str(&format!("{gap}{pad}{cell}")),
                false => text.push_str(&format!("{gap}{cell}{pad}")),
            }
        }
        text.truncate(text.trim_end().len());
        text + "\n"
    };
    let mut text = line(&mut head.iter().copied());
    for row in rows {
        text.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    text
}

/// A day and time in UTC as `2026-11-23 21:40`.
pub(super) fn day_and_time(unix_s: i64) -> String {
    let (days, seconds) = (unix_s.div_euclid(86_400), unix_s.rem_euclid(86_400));
    // Civil date of a count of days (Hinnant, "chrono-compatible low-level date algorithms").
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}", seconds / 3600, seconds / 60 % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_follow_the_calendar() {
        assert_eq!(day_and_time(0), "1970-01-01 00:00");
        assert_eq!(day_and_time(951_782_399), "2000-02-28 23:59");
        assert_eq!(day_and_time(951_782_400), "2000-02-29 00:00");
        assert_eq!(day_and_time(1_795_470_000), "2026-11-23 21:40");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["Ann".to_owned(), "7".to_owned()], vec!["Bartholomew".to_owned(), "12".to_owned()]];
        assert_eq!(table(&["name", "s"], &rows, &[1]), "name          s\nAnn           7\nBartholomew  12\n");
    }
}
