//! What the daemon sends by itself: the real binary with Debian's mosquitto, and with a web server that misbehaves.

#[path = "../common/mod.rs"]
mod common;
mod mqtt;
mod server;
mod webhook;
