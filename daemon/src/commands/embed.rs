//! `diarized embed`: speaker embeddings of audio files or of a Kaldi list.

mod table;

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use diarized_dsp::{ChannelSelect, SAMPLE_RATE_HZ};
use diarized_models::segmentation::FoundSegment;
use diarized_models::{Embedder, ModelSource, Segmentation};
use indicatif::{ProgressBar, ProgressStyle};

use super::config_args::{ConfigArgs, FlagValue};
use super::input_args::{ClipSourceArgs, TrackArgs};
use crate::audio_file::{AudioFileError, MonoFile};
use crate::batch_embedder::BatchEmbedder;
use crate::channel_choice::channel_select;
use crate::error_chain::error_chain;
use crate::exit;
use crate::interrupt::on_interrupt;
use crate::kaldi::{Utterance, read_utterances};
use crate::segmenting::find_segments;
use crate::threads::n_threads;
use table::{Row, Table, ids_path};

const EXAMPLES: &str = "\
Examples:
  diarized embed anna.wav bob.flac                       one JSON object for each file on standard output
  diarized embed -o voices.npy *.wav                     voices.npy (n, dim) as f32, ids in voices.ids
  diarized embed --window-ms 1500 --step-ms 250 talk.wav sliding windows
  diarized embed --segmenter DIR talk.wav                one object for each segment that a segmentation model finds
  diarized embed --scp wav.scp --segments segments -o voices.npy

An embedding is a vector of length 1; the cosine of two is their inner product. Ids are file names without folder \
and extension, or the names of the lists. Each line of voices.ids is `id start end`, times in seconds from the start \
of the audio file; white space in an id is written as `_`. Ctrl-C writes the embeddings computed so far.

Exit codes: 0 all done, 2 wrong usage, 3 some inputs could not be embedded, 66 none could, 73 the output cannot be written, \
78 wrong configuration, 130 interrupted.";

/// Arguments of `diarized embed`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Audio files, each one utterance.
    #[arg(value_name = "FILE", required_unless_present = "scp", conflicts_with = "scp")]
    files: Vec<PathBuf>,

    /// Kaldi list of recordings: `id path` a line. A relative path is searched from the working folder, the folder of the
    /// list and the folder above it.
    #[arg(long, value_name = "WAV.SCP")]
    scp: Option<PathBuf>,

    /// Kaldi list of the utterances in them: `id recording start end` a line, in seconds.
    #[arg(long, value_name = "SEGMENTS", requires = "scp")]
    segments: Option<PathBuf>,

    /// Base folder of relative paths in --scp.
    #[arg(long, value_name = "DIR", requires = "scp")]
    root: Option<PathBuf>,

    /// Embed sliding windows of this length in ms (tens from 100) instead of whole utterances.
    #[arg(long, value_name = "MS", value_parser = window_ms)]
    window_ms: Option<usize>,

    /// Hop: time between the starts of two windows, in ms (tens from 10).
    #[arg(long, value_name = "MS", default_value = "250", requires = "window_ms", value_parser = step_ms)]
    step_ms: usize,

    /// Folder of a segmentation model: embed each segment that it finds, in place of utterances or windows.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["scp", "window_ms", "model"])]
    segmenter: Option<PathBuf>,

    /// Output: NAME.npy with the ids in NAME.ids; any other name gives JSON lines [default: JSON lines on standard
    /// output].
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,

    #[command(flatten)]
    clips: ClipSourceArgs,

    /// Number of threads; 0 is one per core [default: inference.threads].
    #[arg(long, value_name = "N")]
    threads: Option<String>,

    /// Hide progress.
    #[arg(short, long)]
    quiet: bool,

    #[command(flatten)]
    config: ConfigArgs,
}

fn window_ms(text: &str) -> Result<usize, String> {
    tens_of_ms(text, 100)
}

fn step_ms(text: &str) -> Result<usize, String> {
    tens_of_ms(text, 10)
}

fn tens_of_ms(text: &str, least: usize) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(ms) if (least..=60_000).contains(&ms) && ms.is_multiple_of(10) => Ok(ms),
        _ => Err(format!("expected a multiple of 10 from {least} to 60000")),
    }
}

/// Runs the command and gives the exit code.
///
/// # Errors
/// A list or the model cannot be read, or the system gives no thread.
pub fn run(args: Args) -> anyhow::Result<u8> {
    let [model, channel] = args.clips.flags();
    let flags: [FlagValue; 3] = [model, channel, ("--threads", "inference.threads", args.threads.clone())];
    let config = match args.config.load(&flags) {
        Ok(loaded) => loaded.config,
        Err(code) => return Ok(code),
    };
    let utterances = match &args.scp {
        Some(scp) => read_utterances(scp, args.segments.as_deref(), args.root.as_deref())?,
        None => args.files.iter().map(|path| utterance_of(path)).collect(),
    };
    let windows = args.window_ms.map(|ms| Windows { length: ms / 10, step: args.step_ms / 10 });
    let model = Model::load(args.segmenter.as_deref(), config.model.path.clone(), windows)?;
    let bar = progress(!args.quiet && io::stderr().is_terminal(), utterances.len());
    let stop = {
        let bar = bar.clone();
        let notice = "diarized: interrupted; Ctrl-C again ends at once";
        on_interrupt(move || bar.suspend(|| eprintln!("{notice}")))?
    };
    let table = match Table::create(args.output.as_deref(), model.embedding_dim()) {
        Ok(table) => table,
        Err(error) => return Ok(cannot_write(args.output.as_deref(), &error)),
    };
    let job = Job {
        groups: by_file(&utterances),
        model,
        windows,
        channel: channel_select(config.audio.channel),
        track: args.clips.track,
        n_threads: n_threads(config.inference.threads),
        stop,
    };
    let (n_done, written) = job.run(table, &bar)?;
    bar.finish_and_clear();
    if let Err(error) = written {
        return Ok(cannot_write(args.output.as_deref(), &error));
    }
    if job.stop.load(Ordering::Relaxed) {
        return Ok(exit::INTERRUPTED);
    }
    Ok(match n_done {
        n if n == utterances.len() => exit::OK,
        0 => exit::NO_INPUT,
        _ => exit::PARTIAL,
    })
}

fn utterance_of(path: &Path) -> Utterance {
    let id = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    Utterance { id, path: path.to_owned(), span_s: None }
}

fn cannot_write(path: Option<&Path>, error: &io::Error) -> u8 {
    // The reader of standard output has closed it: no error to report.
    if error.kind() != io::ErrorKind::BrokenPipe {
        let place = match path {
            Some(path) if path.extension().is_some_and(|extension| extension == "npy") => {
                format!("{} and {}", path.display(), ids_path(path).display())
            }
            Some(path) => path.display().to_string(),
            None => "standard output".to_owned(),
        };
        eprintln!("diarized: cannot write {place}: {error}");
    }
    exit::CANNOT_WRITE
}

fn progress(is_shown: bool, n_utterances: usize) -> ProgressBar {
    if !is_shown {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("[{bar:40}] {pos} of {len} utterances, {per_sec}, {eta} left")
        .expect("the template is a constant");
    ProgressBar::new(n_utterances as u64).with_style(style.progress_chars("=> "))
}

/// Lengths in frames of 10 ms.
#[derive(Debug, Clone, Copy)]
struct Windows {
    length: usize,
    step: usize,
}

/// Runs of utterances of one file, so that each file is decoded once where the list is in its order.
fn by_file(utterances: &[Utterance]) -> Vec<&[Utterance]> {
    utterances.chunk_by(|a, b| a.path == b.path).collect()
}

/// What an utterance gave: rows as (start, end, embedding, speaker token of a segment), or why there are none.
type Rows = Result<Vec<(f64, f64, Box<[f32]>, Option<u32>)>, String>;

/// What computes embeddings.
enum Model {
    Voice(Arc<Embedder>),
    Segmentation(Box<Segmentation>),
}

impl Model {
    fn load(
        segmenter: Option<&Path>,
        voice: Option<PathBuf>,
        windows: Option<Windows>,
    ) -> anyhow::Result<Self> {
        if let Some(folder) = segmenter {
            return Ok(Self::Segmentation(Box::new(Segmentation::load(folder)?)));
        }
        let source = voice.map_or(ModelSource::Builtin, ModelSource::Folder);
        let plans: Vec<usize> = windows.iter().map(|windows| windows.length).collect();
        Ok(Self::Voice(Arc::new(Embedder::load(&source, &plans)?)))
    }

    fn embedding_dim(&self) -> usize {
        match self {
            Self::Voice(embedder) => embedder.card().embedding_dim,
            Self::Segmentation(model) => model.embedding_dim(),
        }
    }
}

/// A thread's own means.
enum Worker<'a> {
    Voice(Box<BatchEmbedder>),
    Segmentation(&'a Segmentation),
}

struct Job<'a> {
    groups: Vec<&'a [Utterance]>,
    model: Model,
    windows: Option<Windows>,
    channel: ChannelSelect,
    track: TrackArgs,
    n_threads: usize,
    /// Set by an interrupt, and once the output cannot be written.
    stop: Arc<AtomicBool>,
}

impl Job<'_> {
    /// Embeds all groups, several at a time, and writes them in their order. Gives the number of utterances that
    /// were embedded, and whether all could be written.
    fn run(&self, mut table: Table, bar: &ProgressBar) -> anyhow::Result<(usize, io::Result<()>)> {
        let n_threads = self.n_threads.clamp(1, self.groups.len().max(1));
        let next = AtomicUsize::new(0);
        let (sender, receiver) = crossbeam_channel::bounded::<(usize, Vec<Rows>)>(n_threads);
        std::thread::scope(|scope| {
            for n in 0..n_threads {
                let (next, sender) = (&next, sender.clone());
                std::thread::Builder::new().name(format!("embed {n}")).spawn_scoped(scope, move || {
                    let mut worker = match &self.model {
                        Model::Voice(embedder) => {
                            Worker::Voice(Box::new(BatchEmbedder::new(Arc::clone(embedder))))
                        }
                        Model::Segmentation(model) => Worker::Segmentation(model),
                    };
                    loop {
                        let idx = next.fetch_add(1, Ordering::Relaxed);
                        if idx >= self.groups.len() || self.stop.load(Ordering::Relaxed) {
                            break;
                        }
                        if sender.send((idx, self.rows_of(self.groups[idx], &mut worker))).is_err() {
                            break;
                        }
                    }
                })?;
            }
            drop(sender);
            let (mut n_done, mut next_idx, mut waiting) = (0, 0, BTreeMap::new());
            let mut written = Ok(());
            for (idx, rows) in receiver {
                waiting.insert(idx, rows);
                while let Some(rows) = waiting.remove(&next_idx) {
                    let group = self.groups[next_idx];
                    next_idx += 1;
                    bar.inc(group.len() as u64);
                    if written.is_ok() {
                        written = write_group(&mut table, group, rows, bar, &mut n_done);
                        if written.is_err() {
                            self.stop.store(true, Ordering::Relaxed);
                        }
                    }
                }
            }
            // Without a single row a table is of no use, and what is at its place stays.
            let written = written.and_then(|()| if n_done > 0 { table.finish() } else { Ok(()) });
            Ok((n_done, written))
        })
    }

    fn rows_of(&self, group: &[Utterance], worker: &mut Worker<'_>) -> Vec<Rows> {
        match worker {
            Worker::Voice(embedder) => self.embed_group(group, embedder),
            // The same file more than once is a group.
            Worker::Segmentation(model) => group.iter().map(|of| self.segments(&of.path, model)).collect(),
        }
    }

    fn segments(&self, path: &Path, model: &Segmentation) -> Rows {
        let open = || MonoFile::new(self.track.open(path)?, self.channel);
        let mut file = open().map_err(|error| error.to_string())?;
        let (found, ..) =
            find_segments(&mut file, model, &self.stop, &mut |_| {}).map_err(|error| error_chain(&error))?;
        let row = |segment: &FoundSegment| {
            let (start, end) = (segment.range.start().seconds(), segment.range.end().seconds());
            (start, end, segment.embedding.as_slice().into(), Some(segment.speaker))
        };
        Ok(found.segments.iter().map(row).collect())
    }

    fn embed_group(&self, group: &[Utterance], embedder: &mut BatchEmbedder) -> Vec<Rows> {
        let samples = match self.load(&group[0].path) {
            Ok(samples) => samples,
            Err(error) => {
                // One line for the file, not one an utterance.
                let first = std::iter::once(Err(error.to_string()));
                return first.chain(group[1..].iter().map(|_| Err(String::new()))).collect();
            }
        };
        group.iter().map(|utterance| self.embed(utterance, &samples, embedder)).collect()
    }

    fn load(&self, path: &Path) -> Result<Vec<f32>, AudioFileError> {
        let mut file = MonoFile::new(self.track.open(path)?, self.channel)?;
        let mut samples = Vec::new();
        while file.read(&mut samples)? {}
        Ok(samples)
    }

    fn embed(&self, utterance: &Utterance, file: &[f32], embedder: &mut BatchEmbedder) -> Rows {
        let samples = utterance.of(file).map_err(|error| error.to_string())?;
        let start_s = utterance.span_s.map_or(0.0, |(start_s, _)| start_s);
        let length_s = samples.len() as f64 / f64::from(SAMPLE_RATE_HZ);
        let rows = match self.windows {
            None => embedder
                .whole(samples)
                .map(|embedding| vec![(start_s, start_s + length_s, embedding.as_slice().into(), None)]),
            Some(windows) => embedder.windows(samples, windows.length, windows.step).map(|windows| {
                let row = |(range, embedding): (diarized_dsp::SampleRange, diarized_models::Embedding)| {
                    let (start, end) = (range.start().seconds(), range.end().seconds());
                    (start_s + start, start_s + end, embedding.as_slice().into(), None)
                };
                windows.into_iter().map(row).collect()
            }),
        };
        rows.map_err(|error| format!("{}: {}: {error}", utterance.path.display(), utterance.id))
    }
}

fn write_group(
    table: &mut Table,
    group: &[Utterance],
    rows: Vec<Rows>,
    bar: &ProgressBar,
    n_done: &mut usize,
) -> io::Result<()> {
    for (utterance, rows) in group.iter().zip(rows) {
        match rows {
            Ok(rows) => {
                *n_done += 1;
                for (start, end, embedding, speaker) in rows {
                    table.write(&Row { id: &utterance.id, start, end, embedding: &embedding, speaker })?;
                }
            }
            Err(message) if message.is_empty() => {}
            Err(message) => bar.suspend(|| eprintln!("diarized: {message}")),
        }
    }
    Ok(())
}
