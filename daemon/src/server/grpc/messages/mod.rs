//! The messages of the services, written as in their descriptions below `daemon/proto`; a test holds them to these.

pub(super) mod diarized;
pub(super) mod voicepersonification;

#[cfg(test)]
mod tests;

/// All descriptions, for clients that ask the server. `protoc --include_imports --descriptor_set_out` makes them.
pub(super) const DESCRIPTION: &[u8] = include_bytes!("../../../../proto/description.bin");
