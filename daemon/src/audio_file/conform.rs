//! Sound that changes its rate or channels in the middle of a file, as sound of the format that the file began with.

use diarized_dsp::RateConverter;

/// Rate in Hz, and channels.
pub(super) type Spec = (u32, usize);

/// Turns interleaved samples of one format into those of another.
pub(super) struct Conform {
    from: Spec,
    to: Spec,
    /// One a channel of the result, where the rates differ.
    converters: Vec<RateConverter>,
    channel: Vec<f32>,
    converted: Vec<Vec<f32>>,
}

impl Conform {
    /// Both formats must be such as the signal path takes.
    pub(super) fn new(from: Spec, to: Spec) -> Option<Self> {
        let converters = match from.0 == to.0 {
            true => Vec::new(),
            false => (0..to.1).map(|_| RateConverter::new(from.0, to.0)).collect::<Option<_>>()?,
        };
        Some(Self { from, to, converters, channel: Vec::new(), converted: vec![Vec::new(); to.1] })
    }

    /// What is converted from.
    pub(super) fn from(&self) -> Spec {
        self.from
    }

    /// Appends what `samples` give.
    pub(super) fn push(&mut self, samples: &[f32], out: &mut Vec<f32>) {
        for to_idx in 0..self.to.1 {
            self.channel.clear();
            let frames = samples.chunks_exact(self.from.1);
            self.channel.extend(frames.map(|frame| one_channel(frame, to_idx, self.to.1)));
            let converted = &mut self.converted[to_idx];
            match self.converters.get_mut(to_idx) {
                Some(converter) => converter.push(&self.channel, converted),
                None => converted.extend_from_slice(&self.channel),
            }
        }
        self.interleave(out);
    }

    /// Appends what is still held back.
    pub(super) fn finish(&mut self, out: &mut Vec<f32>) {
        for (converter, converted) in self.converters.iter_mut().zip(&mut self.converted) {
            converter.finish(converted);
        }
        self.interleave(out);
    }

    fn interleave(&mut self, out: &mut Vec<f32>) {
        let n_frames = self.converted[0].len();
        out.reserve(n_frames * self.to.1);
        for n in 0..n_frames {
            out.extend(self.converted.iter().map(|channel| channel[n]));
        }
        self.converted.iter_mut().for_each(Vec::clear);
    }
}

/// Channel `idx` of `n_channels` made of a frame of another number of channels: the same one where there is one for
/// each, else the mean of all.
fn one_channel(frame: &[f32], idx: usize, n_channels: usize) -> f32 {
    if frame.len() == n_channels {
        return frame[idx];
    }
    frame.iter().sum::<f32>() / frame.len() as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(from: Spec, to: Spec, samples: &[f32]) -> Vec<f32> {
        let mut conform = Conform::new(from, to).unwrap();
        let mut out = Vec::new();
        for block in samples.chunks(from.1 * 100) {
            conform.push(block, &mut out);
        }
        conform.finish(&mut out);
        out
    }

    #[test]
    fn channels_are_mixed_or_repeated() {
        assert_eq!(converted((8000, 2), (8000, 1), &[0.5, 0.1, -0.2, 0.2]), [0.3, 0.0]);
        assert_eq!(converted((8000, 1), (8000, 2), &[0.5, 0.1]), [0.5, 0.5, 0.1, 0.1]);
        assert_eq!(converted((8000, 3), (8000, 2), &[0.3, 0.6, 0.0]), [0.3, 0.3]);
    }

    #[test]
    fn a_tone_stays_where_it_is_at_another_rate() {
        for (from, to) in [(16_000, 44_100), (48_000, 22_050), (44_100, 48_000), (8_000, 11_025)] {
            let sine =
                |n: usize, rate: u32| (n as f64 * 440.0 * std::f64::consts::TAU / f64::from(rate)).sin();
            let stereo: Vec<f32> =
                (0..from as usize).flat_map(|n| [sine(n, from) as f32, -sine(n, from) as f32]).collect();
            let out = converted((from, 2), (to, 2), &stereo);
            assert_eq!(out.len(), 2 * to as usize, "{from} to {to}");
            // Blocks of an odd length are half a sample off.
            let tolerance = (0.7 * 440.0 * std::f64::consts::TAU / f64::from(to)) as f32;
            for n in (to as usize / 10)..(to as usize * 9 / 10) {
                let expected = sine(n, to) as f32;
                let got = (out[2 * n], out[2 * n + 1]);
                assert!(
                    (got.0 - expected).abs().max((got.1 + expected).abs()) < tolerance,
                    "{from} to {to}: {n}"
                );
            }
        }
    }
}
