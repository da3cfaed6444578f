//! The results as Markdown tables or as one JSON object.

use std::fmt::Write as _;

use diarized_config::Config;
use serde_json::{Value, json};

use super::audio::BenchAudio;
use super::load::{Figures as LoadFigures, Run};
use super::machine::Machine;
use super::memory::Figures as MemoryFigures;
use super::single::Figures as SingleFigures;
use super::spread::Spread;

/// The figures of one stream on one thread.
pub(super) fn single(
    machine: &Machine,
    audio: &BenchAudio,
    config: &Config,
    figures: &SingleFigures,
    memory: &MemoryFigures,
    json: bool,
) -> String {
    if json {
        let object_of = json!({"single": figures, "memory": memory});
        return object(machine, audio, config, &figures.model, object_of);
    }
    let mut out = head(machine, audio, config, &figures.model);
    let _ = writeln!(
        out,
        "One thread, {} of audio: {} segments, {} speakers.\n",
        length(figures.audio_s),
        figures.n_segments,
        figures.n_speakers
    );
    table(&mut out, ["real-time factor", "s for a second of audio", ""], &factor_rows(figures));
    let mut rows = vec![timed("a second of audio", "ms", figures.second_ms)];
    for window in &figures.windows {
        let name = format!("one window of {:.2} s", window.n_frames as f64 / 100.0);
        rows.push(timed(&name, "ms", window.ms));
    }
    rows.push(timed("onset of speech to first label, audio heard", "s", figures.onset_to_label_s));
    rows.push(timed("change of speaker to its label, audio heard", "s", figures.change_to_label_s));
    table(&mut out, ["", "number", "median", "p95", "p99", "largest"], &rows);
    let _ = writeln!(
        out,
        "Loading the model took {:.2} s, the last pass at the end of the stream {:.0} ms.\n",
        figures.model_load_s, figures.last_pass_ms
    );
    table(&mut out, ["resident memory", "MB"], &memory_rows(memory));
    out
}

fn factor_rows(figures: &SingleFigures) -> Vec<[String; 3]> {
    let rtf = figures.rtf;
    let mut rows = vec![
        ["whole path".to_owned(), factor(rtf.total), per_core(rtf.total)],
        ["– the network".to_owned(), factor(rtf.embedder), share(rtf.embedder, rtf.total)],
        ["– all else".to_owned(), factor(rtf.rest), share(rtf.rest, rtf.total)],
    ];
    let stages = figures.stage_rtf;
    for (name, value) in [
        ("speech detection, alone", stages.speech_detection),
        ("log-mel features, alone", stages.log_mel),
        ("windows, clustering, labels (what is left)", stages.labelling),
        ("decoding the recording, alone", stages.decode),
        ("48 kHz stereo to 16 kHz mono, alone", stages.resample_48k_stereo),
    ] {
        rows.push([name.to_owned(), factor(value), String::new()]);
    }
    if let Some(processor) = rtf.processor {
        rows.push(["whole path, processor time".to_owned(), factor(processor), busy(processor, rtf.total)]);
    }
    rows
}

fn memory_rows(memory: &MemoryFigures) -> Vec<[String; 2]> {
    let of = |bytes: Option<u64>| bytes.map_or("not known".to_owned(), |bytes| megabytes(bytes as f64));
    let sessions = &memory.sessions;
    let (first, last) = (memory.stream.points.first(), memory.stream.points.last());
    let most = memory.stream.points.iter().map(|point| point.resident_bytes).max();
    let session = format!("each of {} sessions after {} of audio", sessions.n, length(sessions.audio_s));
    let growth = memory.stream.growth_bytes_per_hour;
    let mut rows = vec![
        ["before the model is loaded".to_owned(), of(memory.before_model_bytes)],
        ["with the model, before any audio (base)".to_owned(), of(memory.base_bytes)],
        [session, of(sessions.each_bytes)],
        ["before the stream".to_owned(), of(first.map(|point| point.resident_bytes))],
        ["at its end".to_owned(), of(last.map(|point| point.resident_bytes))],
        ["most on the way".to_owned(), of(most)],
    ];
    if memory.stream.points.len() > 2 {
        let growth = format!("{:+.2}", growth / 1e6);
        rows.push(["growth an hour, by its second half".to_owned(), growth]);
    }
    rows
}

/// The figures of a server under load.
pub(super) fn load(
    machine: &Machine,
    audio: &BenchAudio,
    config: &Config,
    figures: &LoadFigures,
    json: bool,
) -> String {
    if json {
        return object(machine, audio, config, &figures.model, json!({"load": figures}));
    }
    let mut out = head(machine, audio, config, &figures.model);
    let cores = match &figures.server_cores {
        Some(cores) => format!("core {cores}"),
        None => "all cores, which the clients use too".to_owned(),
    };
    let _ = writeln!(out, "Live sessions over WebSocket in real time; the server on {cores}.\n");
    let runs: Vec<_> = figures.runs.iter().map(run_row).collect();
    let heads = [
        "sessions",
        "onset to label, p50 s",
        "p99 s",
        "lag, p50 s",
        "p99 s",
        "lag_s max",
        "CPU s a session-second",
        "cores busy",
        "MB a session",
        "windows/s",
        "failed",
    ];
    table(&mut out, heads, &runs);
    let best = match (figures.limit_s, &figures.best) {
        (Some(limit_s), Some(best)) => {
            let _ = writeln!(
                out,
                "Most sessions with a lag p99 below {limit_s} s, to a sixteenth: **{}**.\n",
                best.n_sessions
            );
            best
        }
        (Some(limit_s), None) => {
            let _ = writeln!(out, "No number of sessions held a lag p99 below {limit_s} s.\n");
            return out;
        }
        (None, Some(best)) => best,
        (None, None) => return out,
    };
    threads(&mut out, best);
    for fault in best.faults.iter().take(5) {
        let _ = writeln!(out, "a client failed: {fault}");
    }
    out
}

fn threads(out: &mut String, best: &Run) {
    let total = best.cpu_per_session_second.unwrap_or(0.0);
    let rows: Vec<_> = best
        .cpu_by_thread
        .iter()
        .map(|(kind, s)| [kind.clone(), format!("{s:.4}"), share(*s, total)])
        .collect();
    if !rows.is_empty() {
        let _ = writeln!(out, "Where the time goes with {} sessions:\n", best.n_sessions);
        table(out, ["threads of the server", "CPU s a session-second", ""], &rows);
    }
}

fn run_row(run: &Run) -> [String; 11] {
    let of = |value: Option<f64>, digits: usize| value.map_or("?".to_owned(), |v| format!("{v:.digits$}"));
    [
        run.n_sessions.to_string(),
        format!("{:.2}", run.onset_to_label_s.median),
        format!("{:.2}", run.onset_to_label_s.p99),
        format!("{:.3}", run.lag_s.median),
        format!("{:.3}", run.lag_s.p99),
        format!("{:.2}", run.server_lag_s_max),
        of(run.cpu_per_session_second, 4),
        of(run.cores_busy, 2),
        of(run.bytes_per_session.map(|bytes| bytes as f64 / 1e6), 2),
        format!("{:.1}", run.windows_per_s),
        run.faults.len().to_string(),
    ]
}

/// The object that `--json` prints: where and with what, then the figures.
fn object(machine: &Machine, audio: &BenchAudio, config: &Config, model: &str, figures: Value) -> String {
    let mut object = json!({
        "machine": machine,
        "model": model,
        "audio": {"name": audio.name, "round_s": audio.length_s()},
        "window_ms": config.diarization.window_ms,
        "step_ms": config.diarization.step_ms,
    });
    if let (Value::Object(object), Value::Object(figures)) = (&mut object, figures) {
        object.extend(figures);
    }
    format!("{object:#}\n")
}

fn head(machine: &Machine, audio: &BenchAudio, config: &Config, model: &str) -> String {
    let debug = match machine.build {
        "debug" => " **These are figures of a debug build, which say nothing of the release build.**",
        _ => "",
    };
    format!(
        "diarized {}, {} build; model {model}; {}, {} cores, {}.{debug}\n\
         Windows of {} ms every {} ms; {}, looped every {:.0} s.\n\n",
        machine.version,
        machine.build,
        machine.cpu,
        machine.n_cores,
        machine.system,
        config.diarization.window_ms,
        config.diarization.step_ms,
        audio.name,
        audio.length_s(),
    )
}

/// One row of times.
fn timed(name: &str, unit: &str, spread: Spread) -> [String; 6] {
    let figure = |value: f64| format!("{value:.2} {unit}");
    [
        name.to_owned(),
        spread.n.to_string(),
        figure(spread.median),
        figure(spread.p95),
        figure(spread.p99),
        figure(spread.max),
    ]
}

fn factor(value: f64) -> String {
    format!("{value:.5}")
}

fn share(part: f64, whole: f64) -> String {
    if whole > 0.0 { format!("{:.1} %", 100.0 * part / whole) } else { String::new() }
}

fn per_core(rtf: f64) -> String {
    if rtf > 0.0 { format!("{:.0} times real time", 1.0 / rtf) } else { String::new() }
}

/// Whether other processes used the machine meanwhile.
fn busy(processor: f64, wall: f64) -> String {
    let is_busy = processor < 0.9 * wall;
    if is_busy { "the machine was busy: trust this one".to_owned() } else { String::new() }
}

fn megabytes(bytes: f64) -> String {
    format!("{:.2}", bytes / 1e6)
}

fn length(seconds: f64) -> String {
    match seconds {
        s if s >= 7200.0 => format!("{:.1} h", s / 3600.0),
        s if s >= 120.0 => format!("{:.1} min", s / 60.0),
        s => format!("{s:.1} s"),
    }
}

/// A Markdown table whose columns stand under each other in a terminal, too; the first is set left, the others right.
fn table<const N: usize>(out: &mut String, heads: [&str; N], rows: &[[String; N]]) {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([heads[column].chars().count(), 3]).max().unwrap_or(3)
    };
    let mut line = |cells: [&str; N]| {
        for (column, cell) in cells.iter().enumerate() {
            let width = width(column);
            let _ =
                if column == 0 { write!(out, "| {cell:<width$} ") } else { write!(out, "| {cell:>width$} ") };
        }
        out.push_str("|\n");
    };
    line(heads);
    let rules: [String; N] = std::array::from_fn(|column| {
        let dashes = "-".repeat(width(column) - usize::from(column > 0));
        if column == 0 { dashes } else { dashes + ":" }
    });
    line(std::array::from_fn(|column| &*rules[column]));
    for row in rows {
        line(std::array::from_fn(|column| &*row[column]));
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_markdown_that_can_be_read() {
        let mut out = String::new();
        let rows = [["whole path".to_owned(), "0.04".to_owned()], ["rest".to_owned(), "10.00".to_owned()]];
        table(&mut out, ["stage", "factor"], &rows);
        let expected = "\
| stage      | factor |
| ---------- | -----: |
| whole path |   0.04 |
| rest       |  10.00 |

";
        assert_eq!(out, expected);
    }

    #[test]
    fn lengths_and_shares_are_short() {
        assert_eq!([10.0, 300.0, 10_800.0].map(length), ["10.0 s", "5.0 min", "3.0 h"]);
        assert_eq!((share(1.0, 4.0), share(1.0, 0.0)), ("25.0 %".to_owned(), String::new()));
        assert_eq!(per_core(0.05), "20 times real time");
        assert_eq!(busy(0.05, 0.05), "");
        assert!(busy(0.02, 0.05).contains("busy"));
    }
}
