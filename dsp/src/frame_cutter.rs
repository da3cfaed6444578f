//! Cuts blocks of any size into 10 ms frames, so that what works per frame cannot see how audio arrived.

/// Samples in one frame: 10 ms at 16 kHz.
pub const FRAME_SAMPLES: usize = 160;

/// One 10 ms frame, 160 samples at 16 kHz.
pub type Frame = [f32; FRAME_SAMPLES];

/// Collects samples into consecutive 10 ms frames: frame `k` covers samples `[160 k, 160 (k + 1))`.
///
/// Holds 640 bytes and never allocates. Look-ahead: a sample waits at most 10 ms for its frame.
#[derive(Debug, Clone)]
pub struct FrameCutter {
    partial: Frame,
    n_partial: usize,
    n_frames: u64,
}

impl Default for FrameCutter {
    fn default() -> Self {
        Self::new()
    }
}

impl FrameCutter {
    /// A cutter at the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self { partial: [0.0; FRAME_SAMPLES], n_partial: 0, n_frames: 0 }
    }

    /// Adds `samples` (mono, 16 kHz) and calls `on_frame` for each frame that they complete.
    pub fn push(&mut self, mut samples: &[f32], mut on_frame: impl FnMut(&Frame)) {
        if self.n_partial > 0 {
            let n = samples.len().min(FRAME_SAMPLES - self.n_partial);
            let (head, rest) = samples.split_at(n);
            self.partial[self.n_partial..self.n_partial + n].copy_from_slice(head);
            self.n_partial += n;
            samples = rest;
            if self.n_partial < FRAME_SAMPLES {
                return;
            }
            self.n_partial = 0;
            self.n_frames += 1;
            on_frame(&self.partial);
        }
        let (frames, rest) = samples.as_chunks::<FRAME_SAMPLES>();
        for frame in frames {
            self.n_frames += 1;
            on_frame(frame);
        }
        self.partial[..rest.len()].copy_from_slice(rest);
        self.n_partial = rest.len();
    }

    /// Frames completed so far.
    #[must_use]
    pub fn n_frames(&self) -> u64 {
        self.n_frames
    }

    /// Samples that wait for the rest of their frame, in `0..160`.
    #[must_use]
    pub fn n_pending(&self) -> usize {
        self.n_partial
    }

    /// Goes back to the start of a stream; a pending partial frame is forgotten.
    pub fn reset(&mut self) {
        self.n_partial = 0;
        self.n_frames = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn frames_do_not_depend_on_the_split(sizes in prop::collection::vec(0usize..700, 0..12)) {
            let samples: Vec<f32> = (0..sizes.iter().sum()).map(|n: usize| n as f32).collect();
            let (mut got, mut cutter, mut rest) = (Vec::new(), FrameCutter::new(), &samples[..]);
            for size in sizes {
                let (head, tail) = rest.split_at(size);
                cutter.push(head, |frame| got.extend_from_slice(frame));
                rest = tail;
            }
            let n_whole = samples.len() / FRAME_SAMPLES * FRAME_SAMPLES;
            prop_assert_eq!(&got[..], &samples[..n_whole]);
            prop_assert_eq!(cutter.n_frames() as usize * FRAME_SAMPLES, n_whole);
            prop_assert_eq!(cutter.n_pending(), samples.len() - n_whole);
        }
    }

    #[test]
    fn reset_equals_new() {
        let mut cutter = FrameCutter::new();
        cutter.push(&[1.0; 250], |_| ());
        cutter.reset();
        assert_eq!((cutter.n_frames(), cutter.n_pending()), (0, 0));
        let mut seen = 0;
        cutter.push(&[2.0; 160], |frame| {
            assert_eq!(frame, &[2.0; 160]);
            seen += 1;
        });
        assert_eq!(seen, 1);
    }
}
