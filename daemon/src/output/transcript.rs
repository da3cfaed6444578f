//! The transcript: the words by speaker, one line for each stretch of one speaker's words.

use diarized_dsp::SAMPLE_RATE_HZ;
use diarized_models::words::{Line, LineParams, lines};

use super::labels::Labels;
use super::table::clock;

/// A line ends with a change of speaker or after two seconds without a word.
const LINES: LineParams =
    LineParams { max_pause: 2 * SAMPLE_RATE_HZ as u64, max_len: u64::MAX, max_chars: usize::MAX };

impl Labels<'_> {
    /// Lines such as `0:12.3  Ann: hello there`; `?` stands for a speaker that is not known. Empty without words.
    #[must_use]
    pub fn transcript(&self) -> String {
        let line = |line: Line| {
            let who = line.speaker.map_or_else(|| "?".to_owned(), |speaker| self.speaker(speaker));
            // Neither names nor words hold control characters; other white space would do no harm.
            format!("{}  {who}: {}\n", clock(line.range.start().seconds()), line.text)
        };
        lines(self.state, LINES).into_iter().map(line).collect()
    }
}
