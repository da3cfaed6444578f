//! The bar of a measurement, on a terminal.

use std::io::IsTerminal as _;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// One bar for one phase after the other; clones are of the same one.
#[derive(Debug, Clone)]
pub(super) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    pub(super) fn new(quiet: bool) -> Self {
        let is_shown = !quiet && std::io::stderr().is_terminal();
        let target = if is_shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        bar.set_style(style());
        Self { bar }
    }

    /// Begins a phase with a number of steps.
    pub(super) fn begin(&self, what: impl Into<String>, n_steps: u64) {
        self.bar.reset();
        self.bar.set_length(n_steps);
        self.bar.set_message(what.into());
    }

    /// Sets the number of finished steps of the phase.
    pub(super) fn at(&self, n_steps: u64) {
        self.bar.set_position(n_steps);
    }

    /// A line on stderr, above the bar.
    pub(super) fn note(&self, text: &str) {
        self.bar.suspend(|| eprintln!("{text}"));
    }

    /// Takes the bar away.
    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{msg:36!} [{bar:30}] {percent:>3} %, {eta} left")
        .expect("the template is a constant that a test holds")
        .progress_chars("=> ")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_template_is_a_template() {
        super::style();
    }
}
