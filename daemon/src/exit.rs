//! Exit codes of the binary, after BSD's sysexits where one fits.

/// Everything asked for was done.
pub const OK: u8 = 0;
/// Something failed while running.
pub const FAILURE: u8 = 1;
/// The command line is wrong (clap's own code).
pub const USAGE: u8 = 2;
/// Some of the inputs could not be used; the others were done.
pub const PARTIAL: u8 = 3;
/// An input is missing, unreadable or not what it claims to be.
pub const NO_INPUT: u8 = 66;
/// An output cannot be written.
pub const CANNOT_WRITE: u8 = 73;
/// The configuration is wrong.
pub const CONFIG: u8 = 78;
/// Ended by Ctrl-C, after what was done so far was written.
pub const INTERRUPTED: u8 = 130;
