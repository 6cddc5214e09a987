//! RSASSA-PSS with SHA-384, as AMD signs certificates: RFC 8017 sections 8.1.2 and 9.1.2, MGF1 of
//! appendix B.2.1. Only verification, of public data, so nothing here need be constant in time.

use num_bigint::BigUint;

use crate::digest::Sha384;

/// Bytes of salt, as in AMD 57230 (VCEK certificate interface) section 2.
const SALT: usize = Sha384::WIDTH;

/// An RSA public key.
pub(super) struct Key {
    pub(super) modulus: BigUint,
    pub(super) exponent: BigUint,
}

impl Key {
    /// Whether `signature` is of `message` by this key.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let bits = self.modulus.bits();
        let length = usize::try_from(bits.div_ceil(8)).unwrap_or(usize::MAX);
        let number = BigUint::from_bytes_be(signature);
        // Beyond 16384 bits nobody signs, and an exponent of more than 64 bits only costs time.
        let sane = (1024..=16384).contains(&bits) && (2..=64).contains(&self.exponent.bits());
        if !sane || signature.len() != length || number >= self.modulus {
            return false;
        }
        let encoded = number.modpow(&self.exponent, &self.modulus).to_bytes_be();
        let Some(padding) = length.checked_sub(encoded.len()) else { return false };
        let encoded = [vec![0; padding], encoded].concat();
        // The encoded message is one bit shorter than the modulus.
        let wanted = usize::try_from((bits - 1).div_ceil(8)).unwrap_or(usize::MAX);
        let (leading, encoded) = encoded.split_at(length - wanted);
        let unused = u32::try_from(8 * wanted as u64 - (bits - 1)).unwrap_or(0);
        leading.iter().all(|byte| *byte == 0) && is_encoding(message, encoded, unused)
    }
}

/// EMSA-PSS-VERIFY; the first `unused` bits of the encoding are clear.
fn is_encoding(message: &[u8], encoded: &[u8], unused: u32) -> bool {
    const HASH: usize = Sha384::WIDTH;
    let Some(start) = encoded.len().checked_sub(HASH + 1) else { return false };
    let (masked, rest) = encoded.split_at(start);
    let (hash, trailer) = rest.split_at(HASH);
    let clear = 0xff_u8.checked_shr(unused).unwrap_or(0);
    if trailer != [0xbc] || masked.first().is_none_or(|byte| byte & !clear != 0) {
        return false;
    }
    let mut block: Vec<u8> =
        masked.iter().zip(mask(hash, masked.len())).map(|(a, b)| a ^ b).collect();
    block[0] &= clear;
    let Some(salt) = block.len().checked_sub(SALT) else { return false };
    let Some((one, zeros)) = block[..salt].split_last() else { return false };
    if *one != 1 || zeros.iter().any(|byte| *byte != 0) {
        return false;
    }
    let digest = Sha384::of(message);
    hash == &Sha384::of_parts([&[0; 8][..], &digest.0, &block[salt..]]).0[..]
}

/// MGF1 with SHA-384.
fn mask(seed: &[u8], length: usize) -> Vec<u8> {
    let block = |counter: u32| Sha384::of_parts([seed, &counter.to_be_bytes()]).0;
    (0u32..).flat_map(block).take(length).collect()
}
