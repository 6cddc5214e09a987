//! The hash of a realm, and its digests in registers of 64 bytes.

use alloc::vec::Vec;

use crate::digest::{Sha256, Sha384, Sha512};

/// Bytes of a measurement register; shorter hashes are padded with zeros.
pub(super) const WIDTH: usize = 64;

/// Hash algorithm of a realm (`RmiHashAlgorithm`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Hash {
    /// SHA-256.
    Sha256 = 0,
    /// SHA-512.
    Sha512 = 1,
    /// SHA-384, from RMM 2.0.
    Sha384 = 2,
}

impl Hash {
    /// Digest of `parts`, as wide as the algorithm's.
    pub fn of(self, parts: &[&[u8]]) -> Vec<u8> {
        let parts = parts.iter().copied();
        match self {
            Self::Sha256 => Sha256::of_parts(parts).0.to_vec(),
            Self::Sha384 => Sha384::of_parts(parts).0.to_vec(),
            Self::Sha512 => Sha512::of_parts(parts).0.to_vec(),
        }
    }

    /// Bytes of a digest.
    pub fn width(self) -> usize {
        match self {
            Self::Sha256 => Sha256::WIDTH,
            Self::Sha384 => Sha384::WIDTH,
            Self::Sha512 => Sha512::WIDTH,
        }
    }
}

/// `digest`, left-justified in a register.
pub(super) fn padded(digest: &[u8]) -> [u8; WIDTH] {
    let mut padded = [0; WIDTH];
    padded.iter_mut().zip(digest).for_each(|(to, from)| *to = *from);
    padded
}
