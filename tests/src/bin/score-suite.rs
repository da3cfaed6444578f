//! Labels folders of recordings with the real binary and prints how right the labels are, and how early.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Parser;
use diarized::audio_file::AudioFile;
use diarized_models::scoring::{FileScore, TotalScore};
use diarized_tests::labelling::Labelling;
use diarized_tests::peers::{Peer, PeerFolder};
use diarized_tests::recordings::{Reference, name_of, recordings};
use diarized_tests::suite::{Measured, Returns, measure, parse_events};

/// Runs `diarized label --events` over folders of recordings with their references and prints a table:
/// DER with its parts at collar 0 and 0.25 s with overlap scored, as first emitted, 5 s later, and at the end, and
/// beside them the same of labels that other diarizers made.
#[derive(Debug, Parser)]
struct Args {
    #[command(flatten)]
    labelling: Labelling,
    /// Also keep each recording's events in this folder.
    #[arg(long, value_name = "DIR")]
    keep_events: Option<PathBuf>,
    /// Score events kept before instead of running the binary.
    #[arg(long, value_name = "DIR", conflicts_with = "keep_events")]
    events: Option<PathBuf>,
    /// Also score the labels that another diarizer left as RECORDING.rttm in this folder, as they stand at the end.
    /// May be given again, with the same name for a further folder of the same peer.
    #[arg(long = "peer", value_name = "NAME=DIR")]
    peers: Vec<PeerFolder>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let peers = Peer::from_folders(&args.peers);
    let mut folders = Vec::new();
    for folder in &args.labelling.folders {
        let files = recordings(folder)?;
        // Missing labels are reported now and not after an hour of labelling.
        for (audio, peer) in files.iter().flat_map(|audio| peers.iter().map(move |peer| (audio, peer))) {
            peer.turns(&name_of(audio)?)?;
        }
        folders.push((folder, files));
    }
    let mut groups: Vec<(String, Vec<Measured>)> = Vec::new();
    for (folder, recordings) in folders {
        let name =
            folder.file_name().map_or_else(|| folder.display().to_string(), |n| n.to_string_lossy().into());
        let mut files = Vec::new();
        for audio in recordings {
            eprintln!("{}", audio.display());
            files.push(score(&args, &peers, &audio).with_context(|| audio.display().to_string())?);
        }
        groups.push((name, files));
    }
    let mut text = String::new();
    for (name, files) in &groups {
        table(&mut text, name, files);
    }
    if groups.len() > 1 {
        let all: Vec<Measured> = groups.iter().flat_map(|(_, files)| files.clone()).collect();
        summary(&mut text, "all groups", &all);
    }
    print!("{text}");
    Ok(())
}

fn score(args: &Args, peers: &[Peer], audio: &Path) -> anyhow::Result<Measured> {
    let name = name_of(audio)?;
    let kept = |folder: &Path| folder.join(format!("{name}.jsonl"));
    let events = match &args.events {
        Some(folder) => std::fs::read_to_string(kept(folder)).context("no events kept of it")?,
        None => args.labelling.events_of(audio)?,
    };
    if let Some(folder) = &args.keep_events {
        std::fs::create_dir_all(folder)?;
        std::fs::write(kept(folder), &events)?;
    }
    let reference = Reference::beside(audio)?;
    let duration = AudioFile::open(audio)?.duration().context("the file does not tell its length")?;
    let events = parse_events(&events)?;
    let mut measured = measure(&name, &events, &reference, duration.as_secs_f64());
    measured.peers = peers
        .iter()
        .map(|peer| peer.score(&name, &reference.turns, reference.uem.as_deref()))
        .collect::<anyhow::Result<_>>()?;
    Ok(measured)
}

const VIEWS: [&str; 3] = ["first", "+5 s", "end"];

/// What a recording has a row for: (view or peer, scores with collar 0, with collar 0.25 s).
fn rows(file: &Measured) -> Vec<(&str, &FileScore, &FileScore)> {
    let views = VIEWS.iter().enumerate().map(|(idx, view)| (*view, &file.strict[idx], &file.collared[idx]));
    let peers = file.peers.iter().map(|peer| (peer.name.as_str(), &peer.strict, &peer.collared));
    views.chain(peers).collect()
}

/// Width of the column of views and peers.
fn view_width(files: &[Measured]) -> usize {
    files.iter().flat_map(rows).map(|(view, ..)| view.chars().count()).max().unwrap_or(0).max(5)
}

fn table(text: &mut String, group: &str, files: &[Measured]) {
    let width = files.iter().map(|f| f.name.len()).max().unwrap_or(0).max(9);
    let view_width = view_width(files);
    let _ = writeln!(text, "## {group}: {} recordings\n", files.len());
    let _ = writeln!(
        text,
        "{:width$}  {:view_width$}  DER c0    miss     f.a.    conf.   DER c.25  miss     f.a.    conf.   speakers  rev/min",
        "recording", "view"
    );
    for file in files {
        for (idx, (view, strict, collared)) in rows(file).into_iter().enumerate() {
            let speakers = format!("{}/{}", strict.n_hypothesis_speakers, strict.n_reference_speakers);
            let _ =
                write!(text, "{:width$}  {view:view_width$}", if idx == 0 { file.name.as_str() } else { "" });
            let _ = write!(text, "{}  {}  {speakers:>8}", parts(strict), parts(collared));
            if idx == 0 {
                let _ = write!(text, "  {:7.2}", file.n_revisions as f64 * 60.0 / file.duration_s);
            }
            text.push('\n');
        }
    }
    text.push('\n');
    summary(text, group, files);
}

fn parts(score: &FileScore) -> String {
    total_parts(&[score].into_iter().collect())
}

fn total_parts(score: &TotalScore) -> String {
    let percent = |part| 100.0 * score.der.share(part);
    let (miss, fa, confusion) = (score.der.missed, score.der.false_alarm, score.der.confusion);
    format!(
        "  {:6.2}  {:6.2}  {:6.2}  {:6.2}",
        100.0 * score.der.rate(),
        percent(miss),
        percent(fa),
        percent(confusion)
    )
}

fn summary(text: &mut String, group: &str, files: &[Measured]) {
    let view_width = view_width(files);
    let _ = writeln!(text, "### total of {group}\n");
    let _ = writeln!(
        text,
        "{:view_width$}  DER c0    miss     f.a.    conf.   DER c.25  miss     f.a.    conf.   count exact  mean error",
        "view"
    );
    let of_files: Vec<_> = files.iter().map(rows).collect();
    for (idx, (view, ..)) in of_files.first().into_iter().flatten().enumerate() {
        let strict: TotalScore = of_files.iter().map(|rows| rows[idx].1).collect();
        let collared: TotalScore = of_files.iter().map(|rows| rows[idx].2).collect();
        let exact = format!("{}/{}", strict.n_exact_counts, strict.n_recordings);
        let (a, b) = (total_parts(&strict), total_parts(&collared));
        let _ = writeln!(text, "{view:view_width$}{a}  {b}  {exact:>11}  {:10.2}", strict.mean_count_error());
    }
    let minutes: f64 = files.iter().map(|file| file.duration_s / 60.0).sum();
    let revisions: usize = files.iter().map(|file| file.n_revisions).sum();
    let mut delays: Vec<f64> = files.iter().flat_map(|file| file.label_delays_s.clone()).collect();
    delays.sort_by(f64::total_cmp);
    let at =
        |share: f64| delays.get(((delays.len() as f64 * share) as usize).min(delays.len().saturating_sub(1)));
    let returns: Returns = files.iter().map(|file| file.returns).sum();
    let by_count = by_speakers(files);
    let _ = writeln!(
        text,
        "\nrevisions a minute before the last pass: {:.2}",
        revisions as f64 / minutes.max(1e-9)
    );
    let n_right = files.iter().filter(|file| file.standing_count_error == 0).count();
    let _ = writeln!(
        text,
        "speaker count exact as the stream ends, before the last pass: {n_right}/{}",
        files.len()
    );
    if let (Some(median), Some(late)) = (at(0.5), at(0.9)) {
        let _ = writeln!(
            text,
            "a new speaker's own label: after {median:.1} s of audio (median), {late:.1} s (90 %)"
        );
    }
    let _ = writeln!(text, "returns after 60 s or more that kept their label: {returns}");
    let _ = writeln!(text, "DER at the end, collar 0.25 s, by number of speakers: {by_count}\n");
}

fn by_speakers(files: &[Measured]) -> String {
    let mut by_count: BTreeMap<usize, Vec<&FileScore>> = BTreeMap::new();
    for file in files {
        let score = &file.collared[2];
        by_count.entry(score.n_reference_speakers).or_default().push(score);
    }
    let rate = |(n, scores): (usize, Vec<&FileScore>)| {
        let total: TotalScore = scores.into_iter().collect();
        format!("{n}: {:.1} %", 100.0 * total.der.rate())
    };
    by_count.into_iter().map(rate).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use diarized_models::rttm::Nanos;
    use diarized_models::scoring::Turn;

    #[test]
    fn a_peer_has_a_row_in_the_same_tables() {
        let folder = tempfile::tempdir().unwrap();
        let turns = vec![Turn::new(Nanos(0), Nanos::from_seconds(10.0), "A")];
        let reference = Reference { turns, uem: None };
        let peer = format!("offline-peer={}", folder.path().display()).parse().unwrap();
        let peers = Peer::from_folders(&[peer]);
        let mut files = Vec::new();
        for (name, labelled_s) in [("x", 3.0), ("y", 10.0)] {
            let line = format!("SPEAKER {name} 1 0.0 {labelled_s} <NA> <NA> P1 <NA> <NA>\n");
            std::fs::write(folder.path().join(format!("{name}.rttm")), line).unwrap();
            let mut measured = measure(name, &[], &reference, 10.0);
            measured.peers.push(peers[0].score(name, &reference.turns, None).unwrap());
            files.push(measured);
        }
        let mut text = String::new();
        table(&mut text, "group", &files);
        let words: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        let rows: Vec<_> = words.iter().filter(|row| row.first() == Some(&"offline-peer")).collect();
        let at = |row: usize, column: usize| rows[row][column];
        // Of 10 s 7 are missed in x and none in y: 70, 0, and 35 % in all; ours has no labels and misses 100 %.
        assert_eq!(rows.len(), 3, "{text}");
        assert_eq!([at(0, 1), at(0, 2), at(0, 9)], ["70.00", "70.00", "1/1"], "{text}");
        assert_eq!([at(1, 1), at(1, 5)], ["0.00", "0.00"], "{text}");
        assert_eq!([at(2, 1), at(2, 9), at(2, 10)], ["35.00", "2/2", "0.00"], "{text}");
        let ends = words.iter().filter(|row| row.contains(&"end") && row.contains(&"100.00")).count();
        assert_eq!(ends, 3, "{text}");
        // Figures stand below their heading although the name is longer than those of the views.
        let heading = text.lines().find_map(|line| line.find("DER c0")).unwrap();
        let row = text.lines().find(|line| line.contains("offline-peer")).unwrap();
        assert_eq!(&row[heading..heading + 6], " 70.00", "{text}");
    }
}
