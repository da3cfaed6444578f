//! The daemon: all threads, sockets, files, clocks and devices of `diarized` live here.

// `println!` panics where standard output is closed or full: commands use `output::write_stdout`.
#![warn(clippy::print_stdout)]

pub mod access;
pub mod asr;
pub mod audio_file;
pub mod batch_embedder;
mod byte_stream;
#[cfg(feature = "microphone")]
pub mod capture;
pub mod channel_choice;
pub mod cli;
pub mod client;
pub mod cluster;
pub mod commands;
pub mod deepgram;
pub mod engine;
pub mod error_chain;
pub mod exit;
pub mod guest;
pub mod hub;
pub mod interrupt;
pub mod kaldi;
pub mod labelling;
pub mod metrics;
pub mod outgoing;
pub mod output;
pub mod pcm;
pub mod percentile;
pub mod private_file;
pub mod protocol;
pub mod rate;
pub mod recording;
pub mod secret;
pub mod segmenting;
pub mod server;
pub mod session;
pub mod sources;
pub mod storage;
pub mod tenants;
pub mod threads;
pub mod voices;
pub mod vosk;
pub mod whole_file;
pub mod wyoming;
