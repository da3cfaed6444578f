//! Mean normalisation over a window of features, and the turn from frame-major to mel-major.

use super::choices::MeanNormalisation;

/// How a feature matrix lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Layout {
    /// `(n_frames, n_mels)`, row-major: what [`LogMel`](super::LogMel) gives.
    FrameMajor,
    /// `(n_mels, n_frames)`, row-major: what the networks take.
    MelMajor,
}

/// A feature slice does not hold whole rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "length of the features ({got}) must be a multiple of the number of mel bands ({n_mels}), at least 1"
)]
#[non_exhaustive]
pub struct ShapeError {
    /// Length of the slice.
    pub got: usize,
    /// Mel bands.
    pub n_mels: usize,
}

fn n_frames(features: &[f32], n_mels: usize) -> Result<usize, ShapeError> {
    let fits = n_mels > 0 && features.len().is_multiple_of(n_mels);
    if fits { Ok(features.len() / n_mels) } else { Err(ShapeError { got: features.len(), n_mels }) }
}

/// Subtracts a mean over time from each mel channel of `features`, in place; [`MeanNormalisation::StandardisedWindow`]
/// also divides by the deviation.
///
/// Sums are taken in `f64`. [`MeanNormalisation::Sliding`] allocates one row of `n_frames + 1` numbers, the
/// others nothing. Linear in the number of features.
///
/// # Errors
/// [`ShapeError`] if `features` does not hold whole rows; it is then unchanged.
pub fn subtract_mean(
    features: &mut [f32],
    n_mels: usize,
    layout: Layout,
    how: MeanNormalisation,
) -> Result<(), ShapeError> {
    let n_frames = n_frames(features, n_mels)?;
    let width = match how {
        MeanNormalisation::None => return Ok(()),
        MeanNormalisation::Window
        | MeanNormalisation::ClippedWindow { .. }
        | MeanNormalisation::StandardisedWindow => n_frames,
        MeanNormalisation::Sliding { frames } => frames.max(1),
    };
    if let MeanNormalisation::ClippedWindow { range_db } = how {
        clip(features, range_db);
    }
    let (mel_step, frame_step) = match layout {
        Layout::FrameMajor => (1, n_mels),
        Layout::MelMajor => (n_frames, 1),
    };
    let mut sums_before = Vec::new();
    for mel_idx in 0..n_mels {
        let at = |frame_idx: usize| mel_idx * mel_step + frame_idx * frame_step;
        if width >= n_frames {
            let sum: f64 = (0..n_frames).map(|frame_idx| f64::from(features[at(frame_idx)])).sum();
            let mean = sum / n_frames as f64;
            let divisor = match how {
                MeanNormalisation::StandardisedWindow => {
                    deviation(n_frames, mean, |frame_idx| f64::from(features[at(frame_idx)]))
                }
                _ => 1.0,
            };
            for frame_idx in 0..n_frames {
                features[at(frame_idx)] = ((f64::from(features[at(frame_idx)]) - mean) / divisor) as f32;
            }
            continue;
        }
        sums_before.clear();
        sums_before.push(0.0);
        let mut sum = 0.0;
        for frame_idx in 0..n_frames {
            sum += f64::from(features[at(frame_idx)]);
            sums_before.push(sum);
        }
        for frame_idx in 0..n_frames {
            let first = frame_idx.saturating_sub(width / 2).min(n_frames - width);
            let mean = (sums_before[first + width] - sums_before[first]) / width as f64;
            features[at(frame_idx)] = (f64::from(features[at(frame_idx)]) - mean) as f32;
        }
    }
    Ok(())
}

/// Keeps the deviation of a constant channel above zero, as the public code does.
const VARIANCE_OFFSET: f64 = 1e-7;

/// What a channel of `n_frames` values with this mean is divided by.
fn deviation(n_frames: usize, mean: f64, value: impl Fn(usize) -> f64) -> f64 {
    let squares: f64 = (0..n_frames).map(|frame_idx| (value(frame_idx) - mean).powi(2)).sum();
    (squares / n_frames.saturating_sub(1).max(1) as f64 + VARIANCE_OFFSET).sqrt()
}

/// Raises what lies more than `range_db` below the largest of `features`, which are natural logarithms of energies.
/// What is no number stays as it is.
fn clip(features: &mut [f32], range_db: u32) {
    let range = f64::from(range_db) / 10.0 * std::f64::consts::LN_10;
    let largest = features.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let floor = (f64::from(largest) - range) as f32;
    for feature in features {
        if *feature < floor {
            *feature = floor;
        }
    }
}

/// Appends the rows of `features`, `(n_frames, n_mels)`, to `out` as `(n_mels, n_frames)` and returns
/// `n_frames`. Allocates only what `out` grows by.
///
/// # Errors
/// [`ShapeError`] if `features` does not hold whole rows; `out` is then unchanged.
pub fn to_mel_major(features: &[f32], n_mels: usize, out: &mut Vec<f32>) -> Result<usize, ShapeError> {
    let n_frames = n_frames(features, n_mels)?;
    out.reserve(features.len());
    for mel_idx in 0..n_mels {
        out.extend(features[mel_idx.min(features.len())..].iter().step_by(n_mels));
    }
    Ok(n_frames)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_signal::noise;
    use proptest::prelude::*;

    /// Kaldi's rule, word for word: a window around the frame, moved inwards where it leaves the features.
    fn kaldi_sliding(row: &[f32], width: usize) -> Vec<f32> {
        let n_frames = row.len() as i64;
        (0..n_frames)
            .map(|frame| {
                let mut start = frame - width as i64 / 2;
                let mut end = start + width as i64;
                if start < 0 {
                    end -= start;
                    start = 0;
                }
                if end > n_frames {
                    start -= end - n_frames;
                    end = n_frames;
                    start = start.max(0);
                }
                let span = &row[start as usize..end as usize];
                let mean = span.iter().map(|&x| f64::from(x)).sum::<f64>() / span.len() as f64;
                (f64::from(row[frame as usize]) - mean) as f32
            })
            .collect()
    }

    proptest! {
        #[test]
        fn sliding_means_follow_kaldi_in_both_layouts(
            n_mels in 1usize..5,
            n_frames in 0usize..90,
            frames in 1usize..120,
        ) {
            let rows = noise(n_mels * n_frames, 10.0, 17);
            let mut turned = Vec::new();
            prop_assert_eq!(to_mel_major(&rows, n_mels, &mut turned).unwrap(), n_frames);
            let expected: Vec<f32> = if n_frames == 0 {
                Vec::new()
            } else {
                turned.chunks(n_frames).flat_map(|row| kaldi_sliding(row, frames)).collect()
            };
            let how = MeanNormalisation::Sliding { frames };
            let mut by_frames = rows;
            subtract_mean(&mut by_frames, n_mels, Layout::FrameMajor, how).unwrap();
            subtract_mean(&mut turned, n_mels, Layout::MelMajor, how).unwrap();
            let mut back = Vec::new();
            to_mel_major(&by_frames, n_mels, &mut back).unwrap();
            prop_assert_eq!(&back, &turned);
            for (got, expected) in turned.iter().zip(&expected) {
                prop_assert!((got - expected).abs() < 1e-5, "{got} is not {expected}");
            }
        }
    }

    #[test]
    fn the_window_mean_is_gone_and_none_changes_nothing() {
        let rows = noise(80 * 150, 10.0, 23);
        let mut same = rows.clone();
        subtract_mean(&mut same, 80, Layout::FrameMajor, MeanNormalisation::None).unwrap();
        assert_eq!(same, rows);
        let mut centred = rows.clone();
        subtract_mean(&mut centred, 80, Layout::FrameMajor, MeanNormalisation::Window).unwrap();
        for mel_idx in 0..80 {
            let mean: f32 = centred[mel_idx..].iter().step_by(80).sum::<f32>() / 150.0;
            assert!(mean.abs() < 1e-5);
        }
        assert!((centred[1] - rows[1] - (centred[81] - rows[81])).abs() < 1e-5);
    }

    #[test]
    fn what_is_far_below_the_largest_is_raised_before_the_mean_is_taken() {
        let ten_db = std::f32::consts::LN_10;
        let mut rows = vec![0.0, -ten_db, -2.0 * ten_db, -30.0 * ten_db, f32::NAN, 0.0];
        clip(&mut rows, 20);
        assert_eq!(rows[..4], [0.0, -ten_db, -2.0 * ten_db, -2.0 * ten_db]);
        assert!(rows[4].is_nan() && rows[5] == 0.0);
        let mut rows = vec![0.0, -9.0 * ten_db];
        let how = MeanNormalisation::ClippedWindow { range_db: 40 };
        subtract_mean(&mut rows, 1, Layout::FrameMajor, how).unwrap();
        assert!((rows[0] - 2.0 * ten_db).abs() < 1e-5 && (rows[1] + 2.0 * ten_db).abs() < 1e-5, "{rows:?}");
        clip(&mut [], 20);
    }

    #[test]
    fn a_standardised_window_has_mean_zero_and_unbiased_variance_one() {
        let n_frames = 150;
        let mut rows = noise(3 * n_frames, 10.0, 29);
        for row in rows.chunks_mut(3) {
            // Another level and spread in each channel, and one that is constant.
            row[1] = 40.0 - 7.0 * row[1];
            row[2] = -15.9424;
        }
        let mut turned = Vec::new();
        to_mel_major(&rows, 3, &mut turned).unwrap();
        let how = MeanNormalisation::StandardisedWindow;
        subtract_mean(&mut rows, 3, Layout::FrameMajor, how).unwrap();
        subtract_mean(&mut turned, 3, Layout::MelMajor, how).unwrap();
        let mut back = Vec::new();
        to_mel_major(&rows, 3, &mut back).unwrap();
        assert_eq!(back, turned);
        for channel in turned.chunks(n_frames).take(2) {
            let sum: f64 = channel.iter().map(|&v| f64::from(v)).sum();
            let squares: f64 = channel.iter().map(|&v| f64::from(v).powi(2)).sum();
            assert!(
                sum.abs() < 1e-4 && (squares / (n_frames - 1) as f64 - 1.0).abs() < 1e-5,
                "{sum}, {squares}"
            );
        }
        assert!(turned[2 * n_frames..].iter().all(|&v| v.abs() < 1e-2), "a constant channel stays small");
        let mut single = [3.0, -4.0];
        subtract_mean(&mut single, 2, Layout::FrameMajor, how).unwrap();
        assert_eq!(single, [0.0, 0.0]);
    }

    #[test]
    fn broken_rows_are_refused() {
        let mut features = vec![1.0; 81];
        let how = MeanNormalisation::Window;
        let fault = subtract_mean(&mut features, 80, Layout::FrameMajor, how).unwrap_err();
        assert_eq!(
            fault.to_string(),
            "length of the features (81) must be a multiple of the number of mel bands (80), at least 1"
        );
        assert!(subtract_mean(&mut features, 0, Layout::FrameMajor, how).is_err());
        assert!(to_mel_major(&features, 80, &mut Vec::new()).is_err());
        assert_eq!(features, vec![1.0; 81]);
    }
}
