//! All that a node reads of others besides events, for tests with damaged bytes.

use super::ask::{Answer, Ask, What};
use super::node::Node;
use super::record::Record;
use super::tenants::DayUsage;

/// Reads these bytes as everything that they may be, and panics where something is accepted that must not be.
pub fn read_values(bytes: &[u8]) {
    let _ = Node::parse(bytes);
    let _ = serde_json::from_slice::<Answer>(bytes);
    let _ = DayUsage::parse(bytes);
    if let Ok(record) = Record::parse("kitchen", bytes) {
        assert!(record.audio.check().is_ok());
        // Whatever its numbers are, they can be shown.
        let _ = (record.source(), record.at().seconds(), record.began());
    }
    if let Ok(Ask { what: What::Words { words, .. }, .. }) = Ask::parse(bytes) {
        assert!(words.into_iter().filter_map(|word| word.word()).all(|w| w.range.start() <= w.range.end()));
    }
}
