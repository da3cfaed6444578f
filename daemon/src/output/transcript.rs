//! The transcript: the words by speaker, one line for each stretch of one speaker's words, or who spoke when without words.

use diarized_dsp::SAMPLE_RATE_HZ;
use diarized_models::words::{Line, LineParams, lines};

use super::labels::Labels;
use super::table::clock;
use super::turns::{Turn, turns};

/// A line ends with a change of speaker or after two seconds without a word.
const LINES: LineParams =
    LineParams { max_pause: 2 * SAMPLE_RATE_HZ as u64, max_len: u64::MAX, max_chars: usize::MAX };

impl Labels<'_> {
    /// Lines such as `0:12.3  Ann: hello there`; `?` stands for a speaker that is not known. Where there are no words at all, a
    /// line for each turn, such as `0:12.3  Ann`.
    #[must_use]
    pub fn transcript(&self) -> String {
        let line = |line: Line| {
            let who = line.speaker.map_or_else(|| "?".to_owned(), |speaker| self.speaker(speaker));
            // Neither names nor words hold control characters; other white space would do no harm.
            format!("{}  {who}: {}\n", clock(line.range.start().seconds()), line.text)
        };
        let words = lines(self.state, LINES);
        if words.is_empty() {
            let turn = |turn: Turn| {
                format!("{}  {}\n", clock(turn.range.start().seconds()), self.speaker(turn.speaker))
            };
            return turns(self.state).into_iter().map(turn).collect();
        }
        words.into_iter().map(line).collect()
    }
}
