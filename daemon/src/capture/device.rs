//! Devices through cpal: list them, find one by name, open it with the callback.

use std::time::Duration;

use cpal::traits::{DeviceTrait, HostTrait, StreamTrait};
use cpal::{BufferSize, FromSample, InputCallbackInfo, SampleFormat, SizedSample, StreamConfig};

use super::error::CaptureError;
use super::formats::{Choice, DeviceFormats, choose, describe};
use super::handle::Capture;
use super::messages::SystemMessages;
use super::ring::{BlockReader, BlockTimes, BlockWriter, FaultWriter, block_ring};
use super::sink::{CaptureFormat, CaptureParams, CaptureSink};
use super::supervise::{self, Opened, Opener};

/// How long the audio system may wait for an event before it looks at the device's state by itself.
const POLL_TIMEOUT: Duration = Duration::from_millis(500);

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

impl Capture {
    /// Opens the device and captures it into `sink` on a thread of its own. Returns once audio may come.
    ///
    /// # Errors
    /// Any failure to open the device now; `sink` has then received nothing. A later loss of the device is no error: the
    /// sink gets a gap, and the device is reopened until it is back.
    pub fn start(params: CaptureParams, sink: impl CaptureSink) -> Result<Self, CaptureError> {
        supervise::spawn(CpalOpener::new(params), sink, supervise::Timing::default())
    }
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

#[cfg(test)]
mod tests {
    use super::*;

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
