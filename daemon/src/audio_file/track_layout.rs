//! The audio tracks of a container as it lists them: which is the default one, and where packets lie in time.

use super::fragments::Fragments;

/// One audio track.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct TrackLayout {
    /// The container's number for it.
    pub(super) id: u32,
    /// Whether players play it unless another is asked for.
    pub(super) is_default: bool,
    /// The container's word for its codec.
    pub(super) codec: String,
    /// What a decoder needs to know of it, where the demuxer does not pass it on.
    pub(super) header: Option<Box<[u8]>>,
    /// Which part of it is played when; if there is none, all of it from the beginning.
    pub(super) edits: Vec<Edit>,
}

/// A part of a track that is played, in ticks of the track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Edit {
    /// When it is played.
    pub(super) at: i64,
    /// Where it begins in the track.
    pub(super) media: i64,
    /// How long it is; the largest number where it goes to the end.
    pub(super) len: i64,
}

/// Where a packet is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// When what is left of it is played, in ticks.
    pub(super) at: i64,
    /// Ticks at its start that are not played.
    pub(super) n_cut: i64,
}

impl TrackLayout {
    /// Where a packet of `len` ticks that begins at `ts` is played, or `None` where it is not.
    pub(super) fn place(&self, ts: i64, len: i64) -> Option<Place> {
        if self.edits.is_empty() {
            return Some(Place { at: ts, n_cut: 0 });
        }
        let end = ts.saturating_add(len.max(1));
        let edit = self.edits.iter().find(|e| ts < e.media.saturating_add(e.len) && end > e.media)?;
        let n_cut = (edit.media - ts).max(0);
        Some(Place { at: edit.at.saturating_add(ts + n_cut - edit.media), n_cut })
    }
}

/// The audio tracks of a container, in its order, and its fragments; nothing where the container lists none.
#[derive(Debug, Default)]
pub(super) struct Layout {
    pub(super) tracks: Vec<TrackLayout>,
    pub(super) fragments: Option<Fragments>,
}

/// What a reader of the first bytes finds.
pub(super) enum Found<T> {
    /// This.
    Here(T),
    /// There is nothing to find.
    Nothing,
    /// More bytes are needed.
    Further,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_place_what_they_hold_and_leave_out_the_rest() {
        let place = |edits: &[Edit], ts, len| {
            let layout = TrackLayout { edits: edits.to_vec(), ..TrackLayout::default() };
            layout.place(ts, len).map(|place| (place.at, place.n_cut))
        };
        assert_eq!(place(&[], 700, 10), Some((700, 0)));
        // Three seconds of nothing, then all but the priming.
        let late = [Edit { at: 3000, media: 1024, len: i64::MAX }];
        assert_eq!(place(&late, 0, 1024), None);
        assert_eq!(place(&late, 1000, 1024), Some((3000, 24)));
        assert_eq!(place(&late, 2048, 1024), Some((4024, 0)));
        // A second is cut out of the middle.
        let cut = [Edit { at: 0, media: 0, len: 500 }, Edit { at: 500, media: 1500, len: 300 }];
        assert_eq!(place(&cut, 490, 20), Some((490, 0)));
        assert_eq!(place(&cut, 900, 100), None);
        assert_eq!(place(&cut, 1490, 20), Some((500, 10)));
        assert_eq!(place(&cut, 1800, 20), None);
    }
}
