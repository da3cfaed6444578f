//! `diarized label`: who speaks when in audio files.

mod count;
mod doubt;
mod inputs;
mod outputs;
mod progress;

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use diarized_config::Config;
use diarized_models::Segmentation;
use diarized_models::segmentation::SpeakerLimits;

use super::config_args::{ConfigArgs, FlagValue};
use super::input_args::InputArgs;
use super::model_args::ModelArgs;
use crate::audio_file::{MonoFile, STDIN_NAME};
use crate::channel_choice::channel_select;
use crate::engine::LiveEngines;
use crate::error_chain::error_chain;
use crate::exit;
use crate::interrupt::on_interrupt;
use crate::labelling::{LabelError, Labelled, Progress, label_file};
use crate::output::{Labels, OutputFormat};
use crate::segmenting::segment_file;
use crate::session::EngineFactory;
use crate::threads::n_threads;
use inputs::Input;
use outputs::{Outputs, WriteError};
use progress::{Bars, FileBar};

const EXAMPLES: &str = "\
Examples:
  diarized label meeting.m4a                    a table in the terminal
  diarized label -f rttm -o labels/ *.wav       one labels/NAME.rttm for each file
  diarized label -o labels/ recordings/         the audio files of a folder and of those in it
  diarized label -o talk.srt talk.mp3           subtitles; the extension selects the format
  diarized label --speakers 2 call.wav          with a known number of speakers
  diarized label --second DIR talk.wav          with a second, larger voice model for the last pass
  diarized label --segmenter DIR talk.wav       with a segmentation model instead of the diarizer
  diarized label --count *.wav                  how many people speak, and how sure that is
  diarized label --events talk.wav              every event of a live session, one JSON object a line
  ffmpeg -i talk.mkv -f s16le -ar 16000 -ac 1 - | diarized label --raw pcm_s16le -

Files may be wav, flac, mp2, mp3, ogg, opus, m4a, aac, aiff, au, caf, mka or webm, at 8 to 192 kHz with 1 to 8 channels.
Times are in seconds from the start of the file. Each unusable file is reported in one line; the others \
are still labelled.

Exit codes: 0 all done, 2 wrong usage, 3 some files are unusable, 66 all are, 73 the output cannot be written, \
78 wrong configuration, 130 interrupted (the labels so far are written).";

/// Arguments of `diarized label`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Audio files, or folders of them, with the folders in these; `-` is standard input, a file of any kind or, with --raw, PCM without a header.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Format of the labels [default: the extension of --output, else a table on a terminal and rttm elsewhere].
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<OutputFormat>,

    /// Output: a file, or a folder with one file for each input [default: standard output]. A folder exists already, ends
    /// with `/`, or has no extension.
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,

    /// Write every event of a live session, one JSON object a line; `at` is the audio processed at that time, in
    /// seconds.
    #[arg(long, conflicts_with = "format")]
    events: bool,

    /// Write the number of speakers instead of labels, with the probability that it is right: a line for each file.
    #[arg(long, conflicts_with_all = ["format", "events", "speakers", "segmenter"])]
    count: bool,

    /// With --count: one JSON object a line, with `file`, `speakers`, `confidence` and `speech`, in seconds.
    #[arg(long, requires = "count")]
    json: bool,

    /// Channel of the files: `mix`, or a number counted from 0 [default: audio.channel].
    #[arg(long, value_name = "CHANNEL")]
    channel: Option<String>,

    /// Expected number of speakers [default: diarization.expected_speakers].
    #[arg(long, value_name = "N")]
    speakers: Option<String>,

    /// Maximum number of speakers [default: diarization.max_speakers].
    #[arg(long, value_name = "N")]
    max_speakers: Option<String>,

    /// Name enrolled people (voices.enabled).
    #[arg(long)]
    voices: bool,

    #[command(flatten)]
    model: ModelArgs,

    /// Folder of a second, larger voice model for the last pass and for the names of enrolled people [default: model.second].
    #[arg(long, value_name = "DIR")]
    second: Option<String>,

    /// Folder of a segmentation model, which labels instead of the diarizer: model.toml, encoder.onnx and decoder.onnx.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["voices", "model", "second", "window_ms", "step_ms"])]
    segmenter: Option<PathBuf>,

    /// Number of inference threads, and of files read at a time; 0 is one per core [default: inference.threads].
    #[arg(long, value_name = "N")]
    threads: Option<String>,

    #[command(flatten)]
    input: InputArgs,

    /// Hide progress and summary.
    #[arg(short, long)]
    quiet: bool,

    #[command(flatten)]
    config: ConfigArgs,
}

impl Args {
    /// Counts are JSON or a text to read; the extension of the output selects it, too.
    fn count_format(&self) -> OutputFormat {
        let by_name = self.output.as_deref().and_then(outputs::format_of);
        if self.json || by_name == Some(OutputFormat::Json) {
            OutputFormat::Json
        } else {
            OutputFormat::Table
        }
    }

    fn flags(&self) -> Vec<FlagValue> {
        let own = [
            ("--channel", "audio.channel", self.channel.clone()),
            ("--speakers", "diarization.expected_speakers", self.speakers.clone()),
            ("--max-speakers", "diarization.max_speakers", self.max_speakers.clone()),
            ("--voices", "voices.enabled", self.voices.then(|| "true".to_owned())),
            ("--threads", "inference.threads", self.threads.clone()),
            ("--second", "model.second", self.second.clone()),
        ];
        [&own[..], &self.model.flags()].concat()
    }
}

/// Runs the command and gives the exit code.
///
/// # Errors
/// The model cannot be loaded, or the system gives no thread.
pub fn run(args: Args) -> anyhow::Result<u8> {
    let files = inputs::files_of(&args.files);
    let format = if args.count { Some(args.count_format()) } else { args.format };
    let mut outputs = match Outputs::plan(&files, args.output.as_deref(), format, args.events) {
        Ok(outputs) => outputs,
        Err(error) => {
            eprintln!("diarized: {error}");
            return Ok(error.exit_code());
        }
    };
    if let Err(fault) = args.input.check(files.iter().map(|file| file.path.as_path())) {
        eprintln!("diarized: {fault}");
        return Ok(exit::USAGE);
    }
    let config = match args.config.load(&args.flags()) {
        Ok(loaded) => loaded.config,
        Err(code) => return Ok(code),
    };
    let labeller = Labeller::start(args.segmenter.as_deref(), &config)?;
    let bars = Bars::new(!args.quiet && std::io::stderr().is_terminal(), files.len());
    let stop = {
        let bars = bars.clone();
        on_interrupt(move || bars.line("diarized: interrupted; Ctrl-C again ends at once"))?
    };
    let job =
        Job { args: &args, files: &files, config: &config, labeller, outputs: &outputs, bars: &bars, stop };
    let tally = job.run()?;
    let written = match tally.write_error {
        Some(error) => Err(error),
        None => outputs.finish(tally.n_done > 0),
    };
    let write_failed = match written {
        Ok(()) => false,
        Err(error) => {
            if !error.is_closed_pipe() {
                bars.line(&format!("diarized: {error}"));
            }
            true
        }
    };
    bars.summary(tally.n_done);
    Ok(match (tally.is_interrupted, write_failed, tally.n_done, tally.n_failed) {
        (true, ..) => exit::INTERRUPTED,
        (_, true, ..) => exit::CANNOT_WRITE,
        (.., 0) => exit::OK,
        (_, _, 0, _) if tally.n_unwritten == tally.n_failed => exit::CANNOT_WRITE,
        (_, _, 0, _) => exit::NO_INPUT,
        _ => exit::PARTIAL,
    })
}

/// What became of the files.
#[derive(Debug, Default)]
struct Tally {
    n_done: usize,
    n_failed: usize,
    /// Failed files whose own output could not be written.
    n_unwritten: usize,
    is_interrupted: bool,
    /// The common output failed; further work is useless.
    write_error: Option<WriteError>,
}

/// What became of one file.
enum Outcome {
    /// Its labels, if they go to the common output.
    Done(Option<String>),
    Failed(String),
    Unwritten(String),
    /// Not started because of an interrupt.
    Skipped,
}

/// What labels the files.
enum Labeller {
    Diarizer(Arc<dyn EngineFactory>),
    Segmenter(Box<Segmentation>, SpeakerLimits),
}

impl Labeller {
    fn start(segmenter: Option<&Path>, config: &Config) -> anyhow::Result<Self> {
        let Some(folder) = segmenter else {
            return Ok(Self::Diarizer(Arc::new(LiveEngines::start(config)?.for_recordings()?)));
        };
        let limits = SpeakerLimits {
            expected: config.diarization.expected_speakers,
            max: config.diarization.max_speakers,
        };
        Ok(Self::Segmenter(Box::new(Segmentation::load(folder)?), limits))
    }

    fn label(
        &self,
        path: &Path,
        file: &mut MonoFile,
        stop: &AtomicBool,
        listener: impl FnMut(Progress<'_>),
    ) -> Result<Labelled, LabelError> {
        match self {
            Self::Diarizer(engines) => {
                let mut engine = engines.engine().map_err(|source| LabelError::Engine {
                    name: path.display().to_string(),
                    at: diarized_dsp::SampleIndex::ZERO,
                    source,
                })?;
                label_file(file, &mut *engine, stop, listener)
            }
            Self::Segmenter(model, limits) => segment_file(file, model, *limits, stop, listener),
        }
    }
}

struct Job<'a> {
    args: &'a Args,
    files: &'a [Input],
    config: &'a Config,
    labeller: Labeller,
    outputs: &'a Outputs,
    bars: &'a Bars,
    stop: Arc<AtomicBool>,
}

impl Job<'_> {
    /// Labels all files, several at a time; the common output is in the order of the files.
    fn run(&self) -> anyhow::Result<Tally> {
        let n_files = self.files.len();
        let n_threads = n_threads(self.config.inference.threads).min(n_files);
        let next = AtomicUsize::new(0);
        let (sender, receiver) = crossbeam_channel::bounded::<(usize, Outcome)>(n_threads);
        std::thread::scope(|scope| {
            for n in 0..n_threads {
                let (next, sender) = (&next, sender.clone());
                std::thread::Builder::new().name(format!("label {n}")).spawn_scoped(scope, move || {
                    loop {
                        let idx = next.fetch_add(1, Ordering::Relaxed);
                        if idx >= n_files || sender.send((idx, self.label(idx))).is_err() {
                            break;
                        }
                    }
                })?;
            }
            drop(sender);
            Ok(self.collect(&receiver))
        })
    }

    fn collect(&self, receiver: &crossbeam_channel::Receiver<(usize, Outcome)>) -> Tally {
        let mut tally = Tally::default();
        let mut waiting = BTreeMap::new();
        let mut next_idx = 0;
        for (idx, outcome) in receiver {
            self.bars.one_more();
            let text = match outcome {
                Outcome::Done(text) => {
                    tally.n_done += 1;
                    text
                }
                Outcome::Failed(message) => {
                    self.bars.line(&format!("diarized: {message}"));
                    tally.n_failed += 1;
                    None
                }
                Outcome::Unwritten(message) => {
                    self.bars.line(&format!("diarized: {message}"));
                    tally.n_failed += 1;
                    tally.n_unwritten += 1;
                    None
                }
                Outcome::Skipped => None,
            };
            waiting.insert(idx, text);
            while let Some(text) = waiting.remove(&next_idx) {
                next_idx += 1;
                let Some(text) = text.filter(|_| tally.write_error.is_none()) else { continue };
                if let Err(error) = self.bars.suspend(|| self.outputs.append(&text)) {
                    tally.write_error = Some(error);
                    self.stop.store(true, Ordering::Relaxed);
                }
            }
        }
        tally.is_interrupted = self.stop.load(Ordering::Relaxed) && tally.write_error.is_none();
        tally
    }

    fn label(&self, idx: usize) -> Outcome {
        let path = &self.files[idx].path;
        if self.stop.load(Ordering::Relaxed) {
            return Outcome::Skipped;
        }
        // Created before the work, so that an unwritable path is reported before it and not after.
        let own = match self.outputs.begin_own(path) {
            Ok(own) => own,
            Err(error) => return Outcome::Unwritten(error.to_string()),
        };
        let (labelled, events) = match self.label_path(idx, path) {
            Ok(done) => done,
            Err(error) => return Outcome::Failed(error_chain(&error)),
        };
        self.tell_problems(path, &labelled);
        let text = match events {
            Some(events) => events,
            None => {
                let recording = self.outputs.name(idx);
                let duration_s = labelled.heard.seconds();
                let labels = Labels { recording, state: &labelled.state, duration_s };
                match self.args.count {
                    true => count::line(&labels, self.outputs.format() == OutputFormat::Json),
                    false => labels.render(self.outputs.format()),
                }
            }
        };
        match own {
            None => Outcome::Done(Some(text)),
            Some(own) => match own.write(&text) {
                Ok(()) => Outcome::Done(None),
                Err(error) => Outcome::Unwritten(error.to_string()),
            },
        }
    }

    /// The labels, and the events as lines if requested.
    fn label_path(&self, idx: usize, path: &Path) -> Result<(Labelled, Option<String>), LabelError> {
        let audio = self.args.input.open_of_folder(path)?;
        let bar = self.bars.file(self.outputs.name(idx), audio.duration());
        let mut file = MonoFile::new(audio, channel_select(self.config.audio.channel))?;
        let recording = self.outputs.name(idx);
        let mut events = self.args.events.then(String::new);
        let listener = |progress: Progress<'_>| match progress {
            Progress::Processed(at) => bar.heard(at),
            Progress::Event(emitted, state) => {
                if let Some(events) = &mut events {
                    outputs::append_event(events, recording, emitted, state);
                }
            }
        };
        let labelled = self.labeller.label(path, &mut file, &self.stop, listener)?;
        FileBar::finish(bar, labelled.heard);
        Ok((labelled, events))
    }

    fn tell_problems(&self, path: &Path, labelled: &Labelled) {
        let name = match path.as_os_str() == STDIN_NAME {
            true => "standard input".to_owned(),
            false => path.display().to_string(),
        };
        for problem in &labelled.problems {
            self.bars.line(&format!("diarized: warning: {name}: {problem}"));
        }
        if let Some(doubt) = doubt::doubt(&labelled.state, self.config.diarization.expected_speakers) {
            self.bars.line(&format!("diarized: note: {name}: {doubt}"));
        }
        if labelled.is_interrupted {
            let heard_s = labelled.heard.seconds();
            self.bars.line(&format!("diarized: warning: {name}: interrupted; labelled up to {heard_s:.1} s"));
        }
    }
}
