//! Formats of a capture device, and the choice among them.

use cpal::traits::DeviceTrait;
use cpal::{BufferSize, SampleFormat, SupportedBufferSize, SupportedStreamConfigRange};

use super::sink::CaptureFormat;

/// Length of a block that is asked of the device. ALSA gets a buffer of two blocks, so this is also the time that the
/// callback's thread may be late before the device overruns: 40 ms are a small part of the second within which a label
/// is due, and enough for a machine that is busy with inference.
const BLOCK_MS: u32 = 40;
/// What the resampler behind the capture takes.
const RATES_HZ: std::ops::RangeInclusive<u32> = 8_000..=48_000;
const N_CHANNELS_MAX: u16 = 8;
/// Rates in the order in which they are chosen: the native ones of nearly all hardware first.
const RATES_PREFERRED_HZ: [u32; 3] = [48_000, 44_100, 16_000];

/// Channels and rates of a device, over all its sample formats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceFormats {
    /// Channel counts, ascending, each once.
    pub n_channels: Vec<u16>,
    /// Ranges of rates in Hz, both ends included, ascending; ranges that meet are one.
    pub rates_hz: Vec<(u32, u32)>,
    /// Whether one of its formats can be captured.
    pub is_usable: bool,
}

impl DeviceFormats {
    /// Asks the device, which opens it for a moment; `None` if it cannot be opened now.
    pub(super) fn of(device: &cpal::Device) -> Option<Self> {
        let ranges: Vec<_> = device.supported_input_configs().ok()?.collect();
        Some(Self::from_ranges(&ranges))
    }

    fn from_ranges(ranges: &[SupportedStreamConfigRange]) -> Self {
        let mut n_channels: Vec<u16> = ranges.iter().map(SupportedStreamConfigRange::channels).collect();
        n_channels.sort_unstable();
        n_channels.dedup();
        let mut rates: Vec<_> = ranges.iter().map(|r| (r.min_sample_rate(), r.max_sample_rate())).collect();
        rates.sort_unstable();
        let mut rates_hz: Vec<(u32, u32)> = Vec::new();
        for (low, high) in rates {
            match rates_hz.last_mut() {
                Some(last) if low <= last.1 => last.1 = last.1.max(high),
                _ => rates_hz.push((low, high)),
            }
        }
        Self { n_channels, rates_hz, is_usable: choose(ranges, 1, None).is_some() }
    }
}

impl std::fmt::Display for DeviceFormats {
    /// As `1-2 channels, 44100, 48000 Hz`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Some(first), Some(last)) = (self.n_channels.first(), self.n_channels.last()) else {
            return f.write_str("no format");
        };
        let is_run = usize::from(last - first) + 1 == self.n_channels.len();
        let channels = match (first == last, is_run) {
            (true, _) => first.to_string(),
            (false, true) => format!("{first}-{last}"),
            (false, false) => join(self.n_channels.iter().map(u16::to_string)),
        };
        let plural = if channels == "1" { "" } else { "s" };
        let range = |(low, high): &(u32, u32)| match low == high {
            true => low.to_string(),
            false => format!("{low}-{high}"),
        };
        write!(f, "{channels} channel{plural}, {} Hz", join(self.rates_hz.iter().map(range)))?;
        if self.is_usable { Ok(()) } else { f.write_str(" (none that can be captured)") }
    }
}

fn join(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}

/// A format that a device can be opened with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) format: CaptureFormat,
    pub(super) sample_format: SampleFormat,
    pub(super) buffer_size: BufferSize,
}

fn is_pcm(format: SampleFormat) -> bool {
    format.is_int() || format.is_uint() || format.is_float()
}

/// The best format among `ranges`: `wanted` where it is among them, so that a device which comes back continues as it
/// was; else what the device prefers, at a rate and with channels that can be used.
pub(super) fn choose(
    ranges: &[SupportedStreamConfigRange],
    n_channels_min: u16,
    wanted: Option<CaptureFormat>,
) -> Option<Choice> {
    let usable = |range: &&SupportedStreamConfigRange| {
        is_pcm(range.sample_format())
            && (n_channels_min.max(1)..=N_CHANNELS_MAX).contains(&range.channels())
            && range.min_sample_rate() <= *RATES_HZ.end()
            && range.max_sample_rate() >= *RATES_HZ.start()
    };
    let holds = |range: &&SupportedStreamConfigRange, format: CaptureFormat| {
        range.channels() == format.n_channels && range.contains_rate(format.sample_rate_hz)
    };
    let best = |ranges: &mut dyn Iterator<Item = &SupportedStreamConfigRange>| {
        ranges.max_by(|a, b| a.cmp_default_heuristics(b)).copied()
    };
    let again = wanted.and_then(|format| {
        let range = best(&mut ranges.iter().filter(usable).filter(|range| holds(range, format)))?;
        Some((range, format))
    });
    let (range, format) = again.or_else(|| {
        let range = best(&mut ranges.iter().filter(usable))?;
        let preferred = RATES_PREFERRED_HZ.into_iter().find(|rate| range.contains_rate(*rate));
        let sample_rate_hz = preferred.unwrap_or(range.max_sample_rate().min(*RATES_HZ.end()));
        Some((range, CaptureFormat { sample_rate_hz, n_channels: range.channels() }))
    })?;
    let n_frames = format.sample_rate_hz * BLOCK_MS / 1000;
    let buffer_size = match *range.buffer_size() {
        SupportedBufferSize::Range { min, max } if min <= max => BufferSize::Fixed(n_frames.clamp(min, max)),
        _ => BufferSize::Default,
    };
    Some(Choice { format, sample_format: range.sample_format(), buffer_size })
}

/// The formats of a device for a person to read: `1 ch 96000 Hz f32, …`, each channel count once.
pub(super) fn describe(ranges: &[SupportedStreamConfigRange]) -> String {
    let mut parts: Vec<String> = Vec::new();
    for range in ranges {
        let (low, high) = (range.min_sample_rate(), range.max_sample_rate());
        let rates = if low == high { low.to_string() } else { format!("{low}-{high}") };
        let part = format!("{} ch {rates} Hz {}", range.channels(), range.sample_format());
        if !parts.contains(&part) {
            parts.push(part);
        }
    }
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formats(ranges: &[(u16, u32, u32)]) -> DeviceFormats {
        let range = |&(n_channels, low, high): &(u16, u32, u32)| {
            let size = SupportedBufferSize::Unknown;
            SupportedStreamConfigRange::new(n_channels, low, high, size, SampleFormat::F32)
        };
        DeviceFormats::from_ranges(&ranges.iter().map(range).collect::<Vec<_>>())
    }

    #[test]
    fn formats_are_told_in_short() {
        let text = |ranges: &[(u16, u32, u32)]| formats(ranges).to_string();
        assert_eq!(text(&[(1, 16_000, 16_000)]), "1 channel, 16000 Hz");
        assert_eq!(
            text(&[(2, 48_000, 48_000), (1, 44_100, 44_100), (1, 48_000, 48_000)]),
            "1-2 channels, 44100, 48000 Hz"
        );
        assert_eq!(text(&[(1, 4_000, 48_000), (2, 8_000, 192_000)]), "1-2 channels, 4000-192000 Hz");
        assert_eq!(text(&[(2, 44_100, 44_100), (6, 44_100, 44_100)]), "2, 6 channels, 44100 Hz");
        assert_eq!(text(&[(2, 96_000, 96_000)]), "2 channels, 96000 Hz (none that can be captured)");
        assert_eq!(text(&[]), "no format");
    }

    fn range(n_channels: u16, rates_hz: (u32, u32), format: SampleFormat) -> SupportedStreamConfigRange {
        let size = SupportedBufferSize::Range { min: 64, max: 1024 };
        SupportedStreamConfigRange::new(n_channels, rates_hz.0, rates_hz.1, size, format)
    }

    fn format(sample_rate_hz: u32, n_channels: u16) -> CaptureFormat {
        CaptureFormat { sample_rate_hz, n_channels }
    }

    #[test]
    fn the_devices_favourite_is_chosen_at_a_rate_that_can_be_used() {
        let plug =
            [range(1, (4000, 192_000), SampleFormat::I16), range(2, (4000, 192_000), SampleFormat::F32)];
        let choice = choose(&plug, 1, None).unwrap();
        assert_eq!((choice.format, choice.sample_format), (format(48_000, 2), SampleFormat::F32));
        assert_eq!(choice.buffer_size, BufferSize::Fixed(1024), "1920 frames lie over the device's 1024");

        let headset = [range(1, (16_000, 16_000), SampleFormat::I16)];
        assert_eq!(choose(&headset, 1, None).unwrap().format, format(16_000, 1));
        let odd = [range(1, (11_025, 22_050), SampleFormat::I32)];
        assert_eq!(choose(&odd, 1, None).unwrap().format, format(16_000, 1));
        let odder = [range(1, (8_000, 11_025), SampleFormat::I32)];
        assert_eq!(choose(&odder, 1, None).unwrap().format, format(11_025, 1));
    }

    #[test]
    fn what_cannot_be_used_is_not_chosen() {
        let studio = [range(2, (96_000, 192_000), SampleFormat::F32)];
        assert_eq!(choose(&studio, 1, None), None);
        let wide = [range(32, (48_000, 48_000), SampleFormat::F32)];
        assert_eq!(choose(&wide, 1, None), None);
        let bits = [range(2, (48_000, 48_000), SampleFormat::DsdU8)];
        assert_eq!(choose(&bits, 1, None), None);
        assert_eq!(choose(&[], 1, None), None);
        assert_eq!(describe(&studio), "2 ch 96000-192000 Hz f32");
    }

    #[test]
    fn a_channel_that_is_asked_for_exists() {
        let array =
            [range(2, (48_000, 48_000), SampleFormat::F32), range(4, (48_000, 48_000), SampleFormat::I16)];
        assert_eq!(choose(&array, 3, None).unwrap().format.n_channels, 4);
        assert_eq!(choose(&array, 5, None), None);
    }

    #[test]
    fn a_device_that_comes_back_keeps_its_format_if_it_can() {
        let plug = [range(1, (8000, 48_000), SampleFormat::I16), range(2, (8000, 48_000), SampleFormat::F32)];
        let before = format(44_100, 1);
        assert_eq!(choose(&plug, 1, Some(before)).unwrap().format, before);
        let other = [range(2, (48_000, 48_000), SampleFormat::F32)];
        assert_eq!(choose(&other, 1, Some(before)).unwrap().format, format(48_000, 2));
    }
}
