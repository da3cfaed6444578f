//! Progress on the terminal: one bar per file in work, with its speed and the time left.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use diarized_dsp::SampleIndex;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

/// All bars; clones are of the same ones. Without a terminal everything but [`Self::line`] does nothing.
#[derive(Clone)]
pub(super) struct Bars {
    bars: MultiProgress,
    /// The bar over all files, where there are several.
    all: Option<ProgressBar>,
    is_shown: bool,
    n_files: usize,
    began: Instant,
    heard_samples: Arc<AtomicU64>,
}

/// The bar of one file; gone when dropped.
pub(super) struct FileBar {
    bar: ProgressBar,
    heard_samples: Arc<AtomicU64>,
}

impl Bars {
    pub(super) fn new(is_shown: bool, n_files: usize) -> Self {
        let target = if is_shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bars = MultiProgress::with_draw_target(target);
        let all = (n_files > 1).then(|| {
            let bar = bars.add(ProgressBar::new(n_files as u64));
            bar.set_style(style_of_all());
            bar
        });
        Self { bars, all, is_shown, n_files, began: Instant::now(), heard_samples: Arc::default() }
    }

    /// Writes a line on stderr, above the bars.
    pub(super) fn line(&self, text: &str) {
        self.suspend(|| eprintln!("{text}"));
    }

    /// Takes the bars away while `write` uses the terminal.
    pub(super) fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        self.bars.suspend(write)
    }

    /// A bar for a file whose header promises `duration`.
    pub(super) fn file(&self, name: &str, duration: Option<Duration>) -> FileBar {
        let bar = match duration {
            Some(duration) => ProgressBar::new(millis(duration)),
            None => ProgressBar::no_length(),
        };
        let bar = match &self.all {
            Some(all) => self.bars.insert_before(all, bar),
            None => self.bars.add(bar),
        };
        let bar = bar.with_message(name.to_owned());
        bar.set_style(style(duration.is_some()));
        FileBar { bar, heard_samples: Arc::clone(&self.heard_samples) }
    }

    /// One more file is over, with labels or without.
    pub(super) fn one_more(&self) {
        if let Some(all) = &self.all {
            all.inc(1);
        }
    }

    /// What was done in all, once everything is.
    pub(super) fn summary(&self, n_done: usize) {
        if let Some(all) = &self.all {
            all.finish_and_clear();
        }
        if !self.is_shown || n_done == 0 {
            return;
        }
        let heard_s = SampleIndex(self.heard_samples.load(Ordering::Relaxed)).seconds();
        let took_s = self.began.elapsed().as_secs_f64().max(1e-3);
        let (heard, took) = (clock(heard_s), clock(took_s));
        let files =
            if self.n_files == 1 { String::new() } else { format!("{n_done} of {} files, ", self.n_files) };
        self.line(&format!("{files}{heard} of audio in {took}: {:.0} times real time", heard_s / took_s));
    }
}

impl FileBar {
    pub(super) fn heard(&self, at: SampleIndex) {
        self.bar.set_position(at.0 / 16);
    }

    pub(super) fn finish(self, heard: SampleIndex) {
        self.heard_samples.fetch_add(heard.0, Ordering::Relaxed);
    }
}

impl Drop for FileBar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// The bar over all files.
fn style_of_all() -> ProgressStyle {
    ProgressStyle::with_template("{pos:>4} of {len:<17} [{bar:30}] files, {eta} left")
        .expect("the template is a constant that a test holds")
        .progress_chars("=> ")
}

fn style(has_length: bool) -> ProgressStyle {
    let template = match has_length {
        true => "{msg:24!} [{bar:30}] {at:>8} of {length:8} {speed}, {left} left",
        false => "{msg:24!} {spinner} {at:>8} {speed}",
    };
    let seconds_a_second = |state: &ProgressState| state.per_sec() / 1000.0;
    ProgressStyle::with_template(template)
        .expect("the template is a constant that a test holds")
        .progress_chars("=> ")
        .with_key("at", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let _ = out.write_str(&clock(state.pos() as f64 / 1000.0));
        })
        .with_key("length", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let _ = out.write_str(&clock(state.len().unwrap_or(0) as f64 / 1000.0));
        })
        .with_key("speed", move |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let _ = write!(out, "{:.0}x real time", seconds_a_second(state));
        })
        .with_key("left", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let _ = out.write_str(&clock(state.eta().as_secs_f64()));
        })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// `1:02:03`, without hours where there are none.
fn clock(seconds: f64) -> String {
    let seconds = seconds.round().max(0.0) as u64;
    let mut text = String::new();
    if seconds >= 3600 {
        let _ = write!(text, "{}:{:02}", seconds / 3600, seconds / 60 % 60);
    } else {
        let _ = write!(text, "{}", seconds / 60);
    }
    let _ = write!(text, ":{:02}", seconds % 60);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_templates() {
        for has_length in [true, false] {
            style(has_length);
        }
        style_of_all();
    }

    #[test]
    fn times_are_short_where_they_can_be() {
        let shown = [0.4, 59.6, 3599.0, 3600.0, 36_061.0].map(clock);
        assert_eq!(shown, ["0:00", "1:00", "59:59", "1:00:00", "10:01:01"]);
    }
}
