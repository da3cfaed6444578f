//! What is wrong with a header.

use std::io::{self, ErrorKind};

use crate::audio_file::error::Fault;

pub(super) fn read_fault(source: io::Error) -> Fault {
    match source.kind() {
        ErrorKind::UnexpectedEof => damaged("its header ends early"),
        _ => Fault::Read { source },
    }
}

pub(super) fn damaged(reason: &str) -> Fault {
    Fault::Damaged { reason: reason.to_owned() }
}
