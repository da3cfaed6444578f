//! The daemon: all threads, sockets, files, clocks and devices of `diarized` live here.

pub mod cli;
mod commands;
