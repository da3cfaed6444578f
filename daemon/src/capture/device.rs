//! Devices through cpal: list them, find one by name, choose a format, open it with the callback.

use std::time::Duration;

use cpal::traits::{DeviceTrait, HostTrait, StreamTrait};
use cpal::{
    BufferSize, FromSample, InputCallbackInfo, SampleFormat, SizedSample, StreamConfig, SupportedBufferSize,
    SupportedStreamConfigRange,
};

use super::formats::DeviceFormats;
use super::messages::SystemMessages;
use super::ring::{BlockReader, BlockTimes, BlockWriter, FaultWriter, block_ring};
use super::supervise::{Opened, Opener};
use super::{CaptureError, CaptureFormat, CaptureParams};

/// Length of a block that is asked of the device. ALSA gets a buffer of two blocks, so this is also the time that the
/// callback's thread may be late before the device overruns: 40 ms are a small part of the second within which a label
/// is due, and enough for a machine that is busy with inference.
const BLOCK_MS: u32 = 40;
/// How long the audio system may wait for an event before it looks at the device's state by itself.
const POLL_TIMEOUT: Duration = Duration::from_millis(500);
/// What the resampler behind the capture takes.
const RATES_HZ: std::ops::RangeInclusive<u32> = 8_000..=48_000;
const N_CHANNELS_MAX: u16 = 8;
/// Rates in the order in which they are chosen: the native ones of nearly all hardware first.
const RATES_PREFERRED_HZ: [u32; 3] = [48_000, 44_100, 16_000];

/// ALSA's plugins that it announces like devices, although they need a device behind them or give silence unpaced.
const NO_DEVICES: [&str; 7] = ["null", "lavrate", "samplerate", "speex", "speexrate", "upmix", "vdownmix"];

/// A capture device of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceInfo {
    /// The name by which it is chosen; on ALSA the name of a PCM such as `hw:CARD=0,DEV=0`.
    pub name: String,
    /// What the system calls it, in one line.
    pub description: String,
    /// Whether it is what `default` means.
    pub is_default: bool,
    /// What it delivers; `None` if it cannot be opened now.
    pub formats: Option<DeviceFormats>,
}

/// The capture devices of this machine; an empty list where there is none. Each is opened for a moment to learn its
/// formats.
///
/// # Errors
/// [`CaptureError::Unavailable`] if there is no sound system at all.
pub fn list_devices() -> Result<Vec<DeviceInfo>, CaptureError> {
    let _messages = SystemMessages::collect();
    let host = cpal::default_host();
    let default = host.default_input_device().and_then(|device| name_of(&device));
    let devices = host.input_devices().map_err(|source| CaptureError::from_cpal("default", source))?;
    let info = |device| {
        let info = info_of(&device, default.as_deref())?;
        Some(DeviceInfo { formats: DeviceFormats::of(&device), ..info })
    };
    Ok(devices.filter_map(info).collect())
}

fn name_of(device: &cpal::Device) -> Option<String> {
    device.id().ok().map(|id| id.id().to_owned())
}

/// All but the formats, for which the device would have to be opened.
fn info_of(device: &cpal::Device, default: Option<&str>) -> Option<DeviceInfo> {
    let name = name_of(device).filter(|name| !NO_DEVICES.contains(&name.as_str()))?;
    let description = device.description().map_or_else(|_| name.clone(), |d| d.name().to_owned());
    let is_default = default == Some(&*name);
    Some(DeviceInfo { name, description, is_default, formats: None })
}

/// The device of this name: the default one for `default`, else by name, else by description, capitals ignored.
fn find(host: &cpal::Host, wanted: &str) -> Result<cpal::Device, CaptureError> {
    let _messages = SystemMessages::collect();
    if wanted == "default" {
        return host
            .default_input_device()
            .ok_or_else(|| CaptureError::from_cpal(wanted, cpal::ErrorKind::DeviceNotAvailable.into()));
    }
    let devices: Vec<_> = host
        .input_devices()
        .map_err(|source| CaptureError::from_cpal(wanted, source))?
        .filter_map(|device| info_of(&device, None).map(|info| (info, device)))
        .collect();
    let by_name = devices.iter().find(|(info, _)| info.name == wanted);
    let by_description = || devices.iter().find(|(info, _)| info.description.eq_ignore_ascii_case(wanted));
    match by_name.or_else(by_description) {
        Some((_, device)) => Ok(device.clone()),
        None => Err(CaptureError::UnknownDevice {
            got: wanted.to_owned(),
            available: std::iter::once("default".to_owned())
                .chain(devices.into_iter().map(|(info, _)| info.name).filter(|name| name != "default"))
                .collect(),
        }),
    }
}

/// The callback that cpal runs on its audio thread: copies the block into the ring and returns.
pub fn input_callback<T>(mut writer: BlockWriter) -> impl FnMut(&[T], &InputCallbackInfo) + Send + 'static
where
    T: SizedSample,
    f32: FromSample<T>,
{
    move |interleaved, info| {
        let times = info.timestamp();
        writer.write(
            interleaved,
            BlockTimes {
                callback_ns: times.callback.as_nanos() as u64,
                capture_ns: times.capture.as_nanos() as u64,
            },
        );
    }
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

/// Opens the device that the parameters name, as often as it is lost.
pub(super) struct CpalOpener {
    params: CaptureParams,
}

impl CpalOpener {
    pub(super) fn new(params: CaptureParams) -> Self {
        Self { params }
    }

    fn build(
        &self,
        device: &cpal::Device,
        choice: Choice,
        buffer_size: BufferSize,
    ) -> Result<(cpal::Stream, BlockReader), cpal::Error> {
        let (writer, faults, reader) = block_ring(choice.format, self.params.buffer_ms);
        let config = StreamConfig {
            channels: choice.format.n_channels,
            sample_rate: choice.format.sample_rate_hz,
            buffer_size,
        };
        let stream = match choice.sample_format {
            SampleFormat::I8 => build_as::<i8>(device, config, writer, faults),
            SampleFormat::I16 => build_as::<i16>(device, config, writer, faults),
            SampleFormat::I24 => build_as::<cpal::I24>(device, config, writer, faults),
            SampleFormat::I32 => build_as::<i32>(device, config, writer, faults),
            SampleFormat::I64 => build_as::<i64>(device, config, writer, faults),
            SampleFormat::U8 => build_as::<u8>(device, config, writer, faults),
            SampleFormat::U16 => build_as::<u16>(device, config, writer, faults),
            SampleFormat::U24 => build_as::<cpal::U24>(device, config, writer, faults),
            SampleFormat::U32 => build_as::<u32>(device, config, writer, faults),
            SampleFormat::U64 => build_as::<u64>(device, config, writer, faults),
            SampleFormat::F32 => build_as::<f32>(device, config, writer, faults),
            SampleFormat::F64 => build_as::<f64>(device, config, writer, faults),
            _ => Err(cpal::ErrorKind::UnsupportedConfig.into()),
        }?;
        stream.play()?;
        Ok((stream, reader))
    }
}

impl Opener for CpalOpener {
    type Stream = cpal::Stream;

    /// A host of its own each time, because ALSA reads its configuration, and with it the cards, only with the first.
    fn open(&mut self, wanted: Option<CaptureFormat>) -> Result<Opened<cpal::Stream>, CaptureError> {
        let name = &self.params.device;
        let failed = |source| CaptureError::from_cpal(name, source);
        let host = cpal::default_host();
        let device = find(&host, name)?;
        let ranges: Vec<_> = device.supported_input_configs().map_err(failed)?.collect();
        let choice =
            choose(&ranges, self.params.n_channels_min, wanted).ok_or_else(|| CaptureError::Format {
                device: name.clone(),
                n_channels_min: self.params.n_channels_min,
                got: describe(&ranges),
            })?;
        // Some drivers refuse every explicit size although they announce a range.
        let (stream, reader) = self
            .build(&device, choice, choice.buffer_size)
            .or_else(|_| self.build(&device, choice, BufferSize::Default))
            .map_err(failed)?;
        Ok(Opened { stream, format: choice.format, reader })
    }

    fn device(&self) -> &str {
        &self.params.device
    }
}

fn build_as<T>(
    device: &cpal::Device,
    config: StreamConfig,
    writer: BlockWriter,
    mut faults: FaultWriter,
) -> Result<cpal::Stream, cpal::Error>
where
    T: SizedSample,
    f32: FromSample<T>,
{
    let on_fault = move |fault| faults.report(fault);
    device.build_input_stream(config, input_callback::<T>(writer), on_fault, Some(POLL_TIMEOUT))
}

/// The formats of a device for a person to read: `1 ch 96000 Hz f32, …`, each channel count once.
fn describe(ranges: &[SupportedStreamConfigRange]) -> String {
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

    #[test]
    fn an_unknown_device_is_told_with_those_that_there_are() {
        let Err(CaptureError::UnknownDevice { got, available }) =
            find(&cpal::default_host(), "no such microphone").map(|_| ())
        else {
            panic!("no device has this name");
        };
        assert_eq!(got, "no such microphone");
        assert_eq!(available.first().map(String::as_str), Some("default"));
    }
}
