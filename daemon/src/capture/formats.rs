//! What a capture device can deliver, in short: its channels and rates.

use cpal::SupportedStreamConfigRange;
use cpal::traits::DeviceTrait;

use super::device::choose;

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

#[cfg(test)]
mod tests {
    use cpal::{SampleFormat, SupportedBufferSize};

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
}
