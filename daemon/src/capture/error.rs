//! Errors of capture; each message names the remedy.

/// Why a device cannot be captured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// No device has this name.
    #[error("there is no capture device {got:?}; there are: {}", list(available))]
    UnknownDevice {
        /// The name that was asked for.
        got: String,
        /// Names of the devices that there are.
        available: Vec<String>,
    },
    /// The device, or the sound system as a whole, is not there. With no sound card even the default device is so.
    #[error(
        "the capture device {device:?} cannot be opened; connect a microphone, start PulseAudio or PipeWire, choose \
         another device (`diarized devices` lists them), or serve without a microphone"
    )]
    Unavailable {
        /// The device that was asked for.
        device: String,
        /// Error of the sound system.
        #[source]
        source: cpal::Error,
    },
    /// Another program holds the device.
    #[error("the capture device {device:?} is in use by another program; end it, or choose another device")]
    Busy {
        /// The device that was asked for.
        device: String,
        /// Error of the sound system.
        #[source]
        source: cpal::Error,
    },
    /// This user may not use the device.
    #[error(
        "this user may not use the capture device {device:?}; on Linux, adding the user to the group `audio` helps"
    )]
    Denied {
        /// The device that was asked for.
        device: String,
        /// Error of the sound system.
        #[source]
        source: cpal::Error,
    },
    /// The device has no format that can be used.
    #[error(
        "the capture device {device:?} has no usable format: expected 8 to 48 kHz and {n_channels_min} to 8 channels, \
         got {got}"
    )]
    Format {
        /// The device that was asked for.
        device: String,
        /// Channels that were asked for.
        n_channels_min: u16,
        /// The formats that the device has.
        got: String,
    },
    /// The operating system gave no thread.
    #[error("the capture thread cannot be started")]
    Spawn(#[source] std::io::Error),
    /// A panic on the capture thread: a defect of this program.
    #[error("the capture thread panicked")]
    Panicked,
}

impl CaptureError {
    /// Classifies an error of the sound system by the user's possible action.
    pub(super) fn from_cpal(device: &str, source: cpal::Error) -> Self {
        let device = device.to_owned();
        match source.kind() {
            cpal::ErrorKind::DeviceBusy => Self::Busy { device, source },
            cpal::ErrorKind::PermissionDenied => Self::Denied { device, source },
            _ => Self::Unavailable { device, source },
        }
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_say_what_to_do() {
        let unknown = CaptureError::UnknownDevice { got: "Mic".to_owned(), available: vec![] };
        assert_eq!(unknown.to_string(), "there is no capture device \"Mic\"; there are: none");
        let absent = CaptureError::from_cpal("default", cpal::ErrorKind::DeviceNotAvailable.into());
        assert!(absent.to_string().contains("connect a microphone"), "{absent}");
        let busy = CaptureError::from_cpal("default", cpal::ErrorKind::DeviceBusy.into());
        assert!(matches!(busy, CaptureError::Busy { .. }));
    }
}
