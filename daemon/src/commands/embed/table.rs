//! Output of `diarized embed`: NumPy's `.npy` with a list of ids beside it, or JSON lines.

use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::whole_file::WholeFile;

/// Length of the `.npy` header: fixed, so that the number of rows can be filled in at the end. A multiple of 64, as
/// the format asks for.
const NPY_HEADER_BYTES: usize = 128;

/// One row: an utterance, or one window of it.
#[derive(Debug, Serialize)]
pub(super) struct Row<'a> {
    pub(super) id: &'a str,
    /// Start and end in seconds from the start of the audio file.
    pub(super) start: f64,
    pub(super) end: f64,
    pub(super) embedding: &'a [f32],
    /// The speaker token of a segment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) speaker: Option<u32>,
}

pub(super) enum Table {
    /// Rows in `npy`, and one line `id start end` a row in `ids`.
    Npy {
        npy: BufWriter<Inner>,
        ids: BufWriter<Inner>,
        n_rows: usize,
        dim: usize,
    },
    JsonFile(BufWriter<Inner>),
    JsonStdout,
}

/// A whole file as a writer.
pub(super) struct Inner(WholeFile);

impl Write for Inner {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.file().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.file().flush()
    }
}

impl Table {
    /// Begins a table at `path`: `.npy`, or JSON lines for any other name; standard output without a path.
    pub(super) fn create(path: Option<&Path>, dim: usize) -> io::Result<Self> {
        let begin = |path: &Path| Ok::<_, io::Error>(BufWriter::new(Inner(WholeFile::create(path)?)));
        match path {
            None => Ok(Self::JsonStdout),
            Some(path) if path.extension().is_some_and(|extension| extension == "npy") => {
                let mut npy = begin(path)?;
                npy.write_all(&npy_header(0, dim))?;
                Ok(Self::Npy { npy, ids: begin(&ids_path(path))?, n_rows: 0, dim })
            }
            Some(path) => Ok(Self::JsonFile(begin(path)?)),
        }
    }

    pub(super) fn write(&mut self, row: &Row<'_>) -> io::Result<()> {
        match self {
            Self::Npy { npy, ids, n_rows, .. } => {
                for value in row.embedding {
                    npy.write_all(&value.to_le_bytes())?;
                }
                *n_rows += 1;
                // As in RTTM: what is split at white space keeps its three fields.
                let id: String = row.id.chars().map(|c| if c.is_whitespace() { '_' } else { c }).collect();
                writeln!(ids, "{id} {} {}", row.start, row.end)
            }
            Self::JsonFile(file) => write_json(file, row),
            Self::JsonStdout => write_json(&mut io::stdout().lock(), row),
        }
    }

    /// Puts the files in their places.
    pub(super) fn finish(self) -> io::Result<()> {
        let whole = |file: BufWriter<Inner>| file.into_inner().map_err(io::IntoInnerError::into_error);
        match self {
            Self::Npy { npy, ids, n_rows, dim } => {
                let (mut npy, ids) = (whole(npy)?.0, whole(ids)?.0);
                npy.file().seek(SeekFrom::Start(0))?;
                npy.file().write_all(&npy_header(n_rows, dim))?;
                npy.commit()?;
                ids.commit()
            }
            Self::JsonFile(file) => whole(file)?.0.commit(),
            Self::JsonStdout => io::stdout().flush(),
        }
    }
}

/// `voices.npy` has its ids in `voices.ids`.
pub(super) fn ids_path(npy: &Path) -> PathBuf {
    npy.with_extension("ids")
}

fn write_json(out: &mut impl Write, row: &Row<'_>) -> io::Result<()> {
    let line = serde_json::to_string(row).map_err(io::Error::other)?;
    writeln!(out, "{line}")
}

/// Header of version 1.0 of the format, for rows of `f32`, little endian, in C order.
fn npy_header(n_rows: usize, dim: usize) -> [u8; NPY_HEADER_BYTES] {
    let mut header = [b' '; NPY_HEADER_BYTES];
    header[..8].copy_from_slice(b"\x93NUMPY\x01\x00");
    let n_text = u16::try_from(NPY_HEADER_BYTES - 10).expect("the header is short");
    header[8..10].copy_from_slice(&n_text.to_le_bytes());
    let text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({n_rows}, {dim}), }}");
    header[10..10 + text.len()].copy_from_slice(text.as_bytes());
    header[NPY_HEADER_BYTES - 1] = b'\n';
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_npy_file_holds_header_rows_and_ids() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("voices.npy");
        let mut table = Table::create(Some(&path), 2).unwrap();
        for (id, embedding) in [("a", [1.0, -0.5]), ("b", [0.25, 2.0]), ("c d", [0.0, 3.5])] {
            table.write(&Row { id, start: 0.0, end: 1.5, embedding: &embedding, speaker: None }).unwrap();
        }
        assert!(!path.exists(), "nothing is at its place before the end");
        table.finish().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        // The header as `numpy.lib.format` writes it, padded.
        assert!(bytes.starts_with(
            b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }  "
        ));
        assert_eq!(bytes[127], b'\n');
        let values: Vec<f32> =
            bytes[128..].chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        assert_eq!(values, [1.0, -0.5, 0.25, 2.0, 0.0, 3.5]);
        assert_eq!(std::fs::read_to_string(ids_path(&path)).unwrap(), "a 0 1.5\nb 0 1.5\nc_d 0 1.5\n");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn the_header_has_room_for_any_number_of_rows() {
        let header = npy_header(usize::MAX, 4096);
        assert_eq!((header.len() % 64, header[NPY_HEADER_BYTES - 1]), (0, b'\n'));
    }
}
