//! Encryption of single values: XChaCha20-Poly1305 with a random nonce, bound to the place that the value is stored.

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};

use super::key::{KEY_BYTES, Key};

/// Bytes of the nonce that stand before the ciphertext. So long that a random one never comes twice.
const NONCE_BYTES: usize = 24;

/// Seals and opens with one key.
pub(crate) struct Seal(XChaCha20Poly1305);

impl Seal {
    pub(crate) fn new(key: &Key) -> Self {
        let bytes: &[u8; KEY_BYTES] = &key.bytes;
        Self(XChaCha20Poly1305::new(bytes.into()))
    }

    /// Nonce and ciphertext of `plain`, which opens only with the same `place`.
    pub(crate) fn seal(&self, plain: &[u8], place: &str) -> Vec<u8> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).expect("the operating system has a source of randomness");
        let payload = Payload { msg: plain, aad: place.as_bytes() };
        let sealed = self.0.encrypt(&XNonce::from(nonce), payload).expect("a value is far below 256 GB");
        [nonce.as_slice(), &sealed].concat()
    }

    /// What was sealed; `None` for another key, another place or a changed value.
    pub(crate) fn open(&self, sealed: &[u8], place: &str) -> Option<Vec<u8>> {
        let (nonce, ciphertext) = sealed.split_first_chunk::<NONCE_BYTES>()?;
        let payload = Payload { msg: ciphertext, aad: place.as_bytes() };
        self.0.decrypt(&XNonce::from(*nonce), payload).ok()
    }
}
