//! Secrets of clients: from the operating system's random numbers, stored as hashes, compared in constant time.

use std::fmt;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// What is kept of a secret: its SHA-256. The secrets themselves are random and long, so no slow hash is needed.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// The hash of a secret.
    #[must_use]
    pub fn of(secret: &str) -> Self {
        Self(Sha256::digest(secret.as_bytes()).into())
    }

    /// Whether `secret` matches; the time of the comparison does not depend on the secret.
    #[must_use]
    pub fn fits(&self, secret: &str) -> bool {
        self.0.ct_eq(&Self::of(secret).0).into()
    }

    /// Reads 64 hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        Some(Self(bytes))
    }
}

impl fmt::Display for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for SecretHash {
    /// Even a hash has no business in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash")
    }
}

/// `n_bytes` of the operating system's randomness in hexadecimal.
#[must_use]
pub fn random_hex(n_bytes: usize) -> String {
    let mut bytes = vec![0; n_bytes];
    getrandom::fill(&mut bytes).expect("the operating system has a source of randomness");
    hex::encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_secret_fits_its_hash() {
        let secret = random_hex(16);
        let hash = SecretHash::of(&secret);
        assert!(hash.fits(&secret));
        for wrong in ["", "x", &secret[1..], &format!("{secret}0"), &random_hex(16)] {
            assert!(!hash.fits(wrong));
        }
        assert_eq!(SecretHash::parse(&hash.to_string()), Some(hash.clone()));
        assert!(!format!("{hash:?}").contains(&hash.to_string()[..8]));
    }

    #[test]
    fn a_hash_is_64_hexadecimal_digits() {
        // FIPS 180-4, the message "abc".
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(SecretHash::of("abc").to_string(), abc);
        for bad in ["", &abc[1..], &abc.replace('b', "x"), &format!("{abc}0")] {
            assert_eq!(SecretHash::parse(bad), None);
        }
    }
}
