//! A terminal with lines that scroll on standard output and one live line below them on standard error.

use std::io::{self, IsTerminal as _};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::{StdoutError, write_stdout};

/// Scroll and live line; the live line shows only where a person sees it.
#[derive(Debug)]
pub struct Terminal {
    live: ProgressBar,
    colour: bool,
}

impl Terminal {
    /// The terminal of this process.
    #[must_use]
    pub fn new() -> Self {
        let live = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        live.set_style(ProgressStyle::with_template("{wide_msg}").expect("the template is well-formed"));
        let colour = io::stdout().is_terminal()
            && io::stderr().is_terminal()
            && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
        Self { live, colour }
    }

    /// Whether colours are wanted.
    #[must_use]
    pub fn colour(&self) -> bool {
        self.colour
    }

    /// Prints a line to the scroll.
    ///
    /// # Errors
    /// Standard output is closed, as by `head`, or full.
    pub fn line(&self, line: &str) -> Result<(), StdoutError> {
        self.live.suspend(|| write_stdout(&format!("{line}\n")))
    }

    /// Shows a message on standard error only.
    pub fn note(&self, line: &str) {
        self.live.suspend(|| eprintln!("diarized: {line}"));
    }

    /// Replaces the live line.
    pub fn live(&self, line: String) {
        self.live.set_message(line);
        self.live.tick();
    }

    /// Takes the live line away.
    pub fn clear(&self) {
        self.live.finish_and_clear();
    }
}

impl Default for Terminal {
    fn default() -> Self {
        Self::new()
    }
}
