//! `diarized devices`: lists the capture devices, and probes one.

#[cfg(feature = "microphone")]
use std::time::Duration;

#[cfg(feature = "microphone")]
use crate::capture::{CaptureParams, DeviceInfo, ProbeReport, list_devices, probe};
#[cfg(feature = "microphone")]
use crate::exit;
#[cfg(feature = "microphone")]
use crate::output::write_stdout;

const EXAMPLES: &str = "\
Examples:
  diarized devices                     every capture device with its formats; * marks the default one
  diarized devices --json              one JSON object a line: name, description, default, channels,
                                       sample_rates_hz (ranges); the last two are null if it cannot be opened
  diarized devices --probe             capture the default device for 5 s: level, pace, losses
  diarized devices --probe hw:CARD=0,DEV=0 --seconds 2

Give a name to `diarized serve` as capture.device.";

/// Arguments of `diarized devices`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Capture this device (`default` without a name) and report its level, its pace and lost audio.
    #[arg(long, value_name = "DEVICE", num_args = 0..=1, default_missing_value = "default")]
    probe: Option<String>,

    /// Length of the probe, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0, requires = "probe", value_parser = parse_seconds)]
    seconds: f64,

    /// Print JSON, one line a device.
    #[arg(long)]
    json: bool,
}

fn parse_seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.1..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("expected a number from 0.1 to 3600".to_owned()),
    }
}

/// Runs the command and gives the exit code: a failure if a probed device gave nothing.
///
/// # Errors
/// A device that cannot be found or opened, or a build without capture.
#[cfg(feature = "microphone")]
pub fn run(args: Args) -> anyhow::Result<u8> {
    if let Some(device) = args.probe {
        let params = CaptureParams { device: device.clone(), ..CaptureParams::default() };
        let report = probe(params, Duration::from_secs_f64(args.seconds))?;
        write_stdout(&report_text(&device, &report, args.json))?;
        return Ok(if report.n_frames == 0 { exit::FAILURE } else { exit::OK });
    }
    let mut devices = list_devices()?;
    devices.sort_by_key(|device| !device.is_default);
    write_stdout(&if args.json { devices.iter().map(json_line).collect() } else { table(&devices) })?;
    Ok(exit::OK)
}

/// A device as one line of JSON.
#[cfg(feature = "microphone")]
fn json_line(device: &DeviceInfo) -> String {
    let formats = device.formats.as_ref();
    let line = serde_json::json!({
        "name": device.name,
        "description": device.description,
        "default": device.is_default,
        "channels": formats.map(|formats| &formats.n_channels),
        "sample_rates_hz": formats.map(|formats| &formats.rates_hz),
    });
    format!("{line}\n")
}

/// Devices for a person, two lines each.
#[cfg(feature = "microphone")]
fn table(devices: &[DeviceInfo]) -> String {
    if devices.is_empty() {
        return "no capture device: connect a microphone, or start PulseAudio or PipeWire\n".to_owned();
    }
    let width = devices.iter().map(|device| device.name.chars().count()).max().unwrap_or(0);
    let lines = devices.iter().map(|device| {
        let mark = if device.is_default { '*' } else { ' ' };
        let formats = match &device.formats {
            Some(formats) => formats.to_string(),
            None => "cannot be opened now: in use, or nothing is connected".to_owned(),
        };
        format!("{mark} {:width$}  {}\n  {:width$}  {formats}\n", device.name, device.description, "")
    });
    lines.collect()
}

/// Runs the command in a build that cannot capture.
///
/// # Errors
/// Always.
#[cfg(not(feature = "microphone"))]
pub fn run(_args: Args) -> anyhow::Result<u8> {
    anyhow::bail!("this build captures no microphone: build it with the feature `microphone`")
}

/// Result of a probe.
#[cfg(feature = "microphone")]
fn report_text(device: &str, report: &ProbeReport, json: bool) -> String {
    if json {
        let line = serde_json::json!({
            "device": device,
            "sample_rate_hz": report.format.sample_rate_hz,
            "n_channels": report.format.n_channels,
            "n_frames": report.n_frames,
            "start_latency_s": report.start_latency.as_secs_f64(),
            "listened_s": report.listened.as_secs_f64(),
            "pace": report.pace(),
            "level_dbfs": report.level_dbfs,
            "peak_dbfs": report.peak_dbfs,
            "gaps_s": report.n_gap_samples as f64 / f64::from(diarized_dsp::clock::SAMPLE_RATE_HZ),
            "n_xruns": report.n_xruns,
            "n_losses": report.n_losses,
        });
        return format!("{line}\n");
    }
    if report.n_frames == 0 {
        return format!("{device}: opened, but nothing came\n");
    }
    let mut text = format!(
        "{device}: {} Hz, {} channels
  level    {:.1} dBFS, peak {:.1} dBFS
  pace     {:.2} % of what the clock expects, over {:.1} s; first audio after {:.2} s
  losses   {} overruns, {} times away\n",
        report.format.sample_rate_hz,
        report.format.n_channels,
        report.level_dbfs,
        report.peak_dbfs,
        100.0 * report.pace(),
        report.listened.as_secs_f64(),
        report.start_latency.as_secs_f64(),
        report.n_xruns,
        report.n_losses,
    );
    if report.peak_dbfs < -90.0 {
        text.push_str("  silence: is the microphone muted?\n");
    } else if report.peak_dbfs > -0.1 {
        text.push_str("  clipped: turn the gain down\n");
    }
    text
}
