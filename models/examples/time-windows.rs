//! Times single windows on request, for `scripts/compare-engines` and `scripts/check-aarch64`: one engine of several that
//! take turns.
//!
//! Usage: time-windows [--in-tract] FOLDER N_FRAMES… — FOLDER holds `N.f32` for each length: the features `(n_mels, N)` of a
//! window, row-major, 32-bit little-endian. It prints `ready` after the load. Then it reads requests, one a line:
//! `time N COUNT` prints the nanoseconds of each of COUNT windows after one that is not counted; `embed N` prints the
//! embedding.

use std::collections::BTreeMap;
use std::error::Error;
use std::hint::black_box;
use std::io::{BufRead, Write};
use std::path::Path;
use std::time::Instant;

use diarized_models::{Embedder, Engine, ModelSource};

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1).peekable();
    let in_tract = arguments.next_if_eq("--in-tract").is_some();
    let engine = if in_tract { Engine::Tract } else { Engine::Best };
    let folder = arguments.next().ok_or("usage: time-windows [--in-tract] FOLDER N_FRAMES…")?;
    let lengths = arguments.map(|n| n.parse()).collect::<Result<Vec<usize>, _>>()?;
    let windows = lengths
        .iter()
        .map(|&n| Ok((n, floats(&Path::new(&folder).join(format!("{n}.f32")))?)))
        .collect::<Outcome<BTreeMap<_, _>>>()?;
    let embedder = Embedder::load_in(engine, &ModelSource::Builtin, &lengths)?;
    answer("ready")?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let n_frames = words.get(1).ok_or("a request is `time N COUNT` or `embed N`")?.parse()?;
        let features = windows.get(&n_frames).ok_or("the length was not among the arguments")?;
        match words[..] {
            ["time", _, count] => answer(&time(&embedder, features, n_frames, count.parse()?)?)?,
            ["embed", _] => answer(&joined(embedder.embed(features, n_frames)?.as_slice()))?,
            _ => return Err("a request is `time N COUNT` or `embed N`".into()),
        }
    }
    Ok(())
}

fn time(embedder: &Embedder, features: &[f32], n_frames: usize, count: usize) -> Outcome<String> {
    embedder.embed(features, n_frames)?;
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let began = Instant::now();
        black_box(embedder.embed(black_box(features), n_frames)?);
        times.push(began.elapsed().as_nanos());
    }
    Ok(joined(&times))
}

fn joined<T: ToString>(values: &[T]) -> String {
    values.iter().map(T::to_string).collect::<Vec<_>>().join(" ")
}

/// Writes a line with one system call, which an emulator counts up to.
fn answer(line: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes())?;
    out.flush()
}

fn floats(path: &Path) -> Outcome<Vec<f32>> {
    let bytes = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
}
