//! `diarized devices`: lists the capture devices, and listens to one to see whether it works.

#[cfg(feature = "microphone")]
use std::time::Duration;

#[cfg(feature = "microphone")]
use crate::capture::{CaptureParams, ProbeReport, list_devices, probe};
use crate::cli::exit;

const EXAMPLES: &str = "\
Examples:
  diarized devices                     every capture device; * marks the default one
  diarized devices --json              one JSON object a line: name, description, default
  diarized devices --probe             listen to the default device for 5 s: level, pace, losses
  diarized devices --probe hw:CARD=0,DEV=0 --seconds 2

Give a name to `diarized serve` as capture.device.";

/// Arguments of `diarized devices`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Listen to this device (`default` if none is named) and tell its level, its pace and what was lost.
    #[arg(long, value_name = "DEVICE", num_args = 0..=1, default_missing_value = "default")]
    probe: Option<String>,

    /// How long to listen, in seconds.
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
        print_report(&device, &report, args.json);
        return Ok(if report.n_frames == 0 { exit::FAILURE } else { exit::OK });
    }
    let mut devices = list_devices()?;
    devices.sort_by_key(|device| !device.is_default);
    if args.json {
        for device in devices {
            let (name, description) = (device.name, device.description);
            let line =
                serde_json::json!({"name": name, "description": description, "default": device.is_default});
            println!("{line}");
        }
        return Ok(exit::OK);
    }
    if devices.is_empty() {
        println!("no capture device: connect a microphone, or start PulseAudio or PipeWire");
    }
    let width = devices.iter().map(|device| device.name.chars().count()).max().unwrap_or(0);
    for device in devices {
        let mark = if device.is_default { '*' } else { ' ' };
        println!("{mark} {:width$}  {}", device.name, device.description);
    }
    Ok(exit::OK)
}

/// Runs the command in a build that cannot capture.
///
/// # Errors
/// Always.
#[cfg(not(feature = "microphone"))]
pub fn run(_args: Args) -> anyhow::Result<u8> {
    anyhow::bail!("this build captures no microphone: build it with the feature `microphone`")
}

#[cfg(feature = "microphone")]
fn print_report(device: &str, report: &ProbeReport, json: bool) {
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
        println!("{line}");
        return;
    }
    if report.n_frames == 0 {
        println!("{device}: opened, but nothing came");
        return;
    }
    println!("{device}: {} Hz, {} channels", report.format.sample_rate_hz, report.format.n_channels);
    println!("  level    {:.1} dBFS, peak {:.1} dBFS", report.level_dbfs, report.peak_dbfs);
    println!(
        "  pace     {:.2} % of what the clock expects, over {:.1} s; first audio after {:.2} s",
        100.0 * report.pace(),
        report.listened.as_secs_f64(),
        report.start_latency.as_secs_f64()
    );
    println!("  losses   {} overruns, {} times away", report.n_xruns, report.n_losses);
    if report.peak_dbfs < -90.0 {
        println!("  silence: is the microphone muted?");
    } else if report.peak_dbfs > -0.1 {
        println!("  clipped: turn the gain down");
    }
}
