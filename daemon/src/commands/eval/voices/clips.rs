//! How often a clip of one person is taken for two people's, and a clip of two for one's.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context as _;
use diarized_models::Embedder;
use diarized_models::voiceprint::ClipRules;
use parking_lot::Mutex;

use super::measure::origin;
use super::speakers::samples_of;
use crate::kaldi::Utterance;
use crate::threads::n_cores;
use crate::voices::others_share;

/// Lengths of clips, in seconds.
const CLIP_S: [usize; 3] = [10, 20, 30];
const SECOND: usize = diarized_dsp::SAMPLE_RATE_HZ as usize;

/// Clips of one length.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Clips {
    pub(super) clip_s: usize,
    /// With one voice: refused, and all.
    pub(super) one: (usize, usize),
    /// With two voices of one origin, a third of the clip being the second one's: taken, and all.
    pub(super) two: (usize, usize),
}

/// One clip of each length from each speaker, alone and with the speaker after it.
///
/// # Errors
/// Audio that cannot be read.
pub(super) fn clips(
    embedder: &Embedder,
    speakers: &[(&String, &Vec<Utterance>)],
) -> anyhow::Result<Vec<Clips>> {
    let found = Mutex::new(CLIP_S.map(|clip_s| Clips { clip_s, ..Clips::default() }));
    let next = AtomicUsize::new(0);
    let one = |idx: usize| -> anyhow::Result<()> {
        let (name, utterances) = speakers[idx];
        let samples = samples_of(utterances).with_context(|| name.clone())?;
        let second = speakers.get(idx + 1).filter(|(other, _)| origin(other) == origin(name));
        let second =
            second.map(|(other, utterances)| samples_of(utterances).with_context(|| (*other).clone()));
        let second = second.transpose()?;
        for (nth, clip_s) in CLIP_S.into_iter().enumerate() {
            let Some(alone) = samples.get(..clip_s * SECOND) else { continue };
            let is_refused = is_two(embedder, alone);
            let third = clip_s * SECOND / 3;
            let both = second.as_ref().and_then(|second| second.get(..third));
            let is_taken = both.map(|both| !is_two(embedder, &[&alone[third..], both].concat()));
            let mut found = found.lock();
            found[nth].one.0 += usize::from(is_refused);
            found[nth].one.1 += 1;
            found[nth].two.0 += usize::from(is_taken == Some(true));
            found[nth].two.1 += usize::from(is_taken.is_some());
        }
        Ok(())
    };
    let thread = || -> anyhow::Result<()> {
        loop {
            let idx = next.fetch_add(1, Ordering::Relaxed);
            if idx >= speakers.len() {
                return Ok(());
            }
            one(idx)?;
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..n_cores().min(speakers.len())).map(|_| scope.spawn(thread)).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?)
    })?;
    Ok(found.into_inner().to_vec())
}

fn is_two(embedder: &Embedder, clip: &[f32]) -> bool {
    others_share(embedder, clip) > ClipRules::default().max_others_share
}
