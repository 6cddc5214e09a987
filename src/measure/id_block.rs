//! ID blocks: made, signed and checked. Signatures are deterministic (RFC 6979), so the same guest
//! and key give the same bytes everywhere. `docs/measure/id-block.md`.
//!
//! ```
//! use guestsmith::digest::Sha384;
//! use guestsmith::measure::id_block::{Signed, assemble, block, key_digest, payload, policy, qemu};
//! use p384::ecdsa::SigningKey;
//!
//! let key = SigningKey::from_slice(&[1; 48])?;
//! let block = block(Sha384::of(b"the measurement"), policy("smt,abi=1.55")?);
//! // Here or elsewhere: what is signed are the block's 96 bytes.
//! let auth = assemble(&block, &Signed::by(&key, payload(&block)), None)?;
//! assert!(qemu(&block, &auth).starts_with("policy=0x30137,id-block="));
//! assert_eq!(key_digest(&auth.id_key).to_string().len(), 96);
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use p384::ecdsa::signature::{Signer as _, Verifier as _};
use p384::ecdsa::{Signature as Ecdsa, SigningKey, VerifyingKey};
use zerocopy::{FromZeros as _, IntoBytes as _};

use super::{Error, Result};
use crate::digest::Sha384;
use crate::format::id_block::{IdAuth, IdBlock, PublicKey, Signature};

/// Bits of the guest policy by name (AMD 56860, table 9); below them stand the least minor and
/// major versions of the firmware's ABI.
pub const POLICY: &[(u8, &str)] = &[
    (16, "smt"),
    (17, "reserved-one"),
    (18, "migrate-ma"),
    (19, "debug"),
    (20, "single-socket"),
    (21, "cxl"),
    (22, "aes-256-xts"),
    (23, "rapl-dis"),
    (24, "ciphertext-hiding"),
    (25, "page-swap-disable"),
];

/// The bit that every policy must have.
const RESERVED_ONE: u64 = 1 << 17;

/// The policy that `text` states: a number, or names separated by commas, with `abi=1.55` for the
/// least version of the ABI. The bit that must be 1 is, for names.
///
/// # Errors
/// A name that no bit has, or a number without the bit that must be 1.
pub fn policy(text: &str) -> Result<u64> {
    let wrong = |found: &str| {
        let names: Vec<_> = POLICY.iter().map(|(_, name)| *name).collect();
        let expected =
            format!("a number with bit 17 set, or names: abi=1.55, {}", names.join(", "));
        Error::Setting { name: "policy".to_string(), found: found.to_string(), expected }
    };
    let number = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    if let Some(number) = number {
        return if number & RESERVED_ONE == 0 { Err(wrong(text)) } else { Ok(number) };
    }
    let mut bits = text.split(',').map(|word| word_bits(word).ok_or_else(|| wrong(word)));
    bits.try_fold(RESERVED_ONE, |all, bits| Ok(all | bits?))
}

fn word_bits(word: &str) -> Option<u64> {
    if let Some(version) = word.strip_prefix("abi=") {
        let (major, minor) = version.split_once('.')?;
        return Some(
            u64::from(major.parse::<u8>().ok()?) << 8 | u64::from(minor.parse::<u8>().ok()?),
        );
    }
    let numbered = || word.strip_prefix("bit-")?.parse::<u8>().ok().filter(|bit| *bit >= 16);
    let bit = POLICY.iter().find(|(_, name)| *name == word).map(|(bit, _)| *bit);
    1_u64.checked_shl(bit.or_else(numbered)?.into())
}

/// The names of a policy's bits, in order; bits without a name by their number.
pub fn policy_names(policy: u64) -> Vec<String> {
    let mut names = Vec::new();
    let (major, minor) = (policy >> 8 & 0xff, policy & 0xff);
    if (major, minor) != (0, 0) {
        names.push(format!("abi={major}.{minor}"));
    }
    for bit in (16..64).filter(|bit| policy >> bit & 1 == 1) {
        let known = POLICY.iter().find(|(number, _)| *number == bit).map(|(_, name)| *name);
        names.push(known.map_or_else(|| format!("bit-{bit}"), str::to_string));
    }
    names
}

/// An ID block for a guest with the launch digest `ld`, without family, image and version.
pub fn block(ld: Sha384, policy: u64) -> IdBlock {
    IdBlock { ld: ld.0, version: 1.into(), policy: policy.into(), ..IdBlock::new_zeroed() }
}

/// A key as the firmware wants it.
pub fn public_key(key: &VerifyingKey) -> PublicKey {
    let point = key.to_encoded_point(false);
    let number = |bytes: Option<&[u8]>| little_endian(bytes.unwrap_or_default());
    let (qx, qy) = (number(point.x().map(AsRef::as_ref)), number(point.y().map(AsRef::as_ref)));
    PublicKey { curve: 2.into(), qx, qy, reserved: [0; 880] }
}

/// A signature as the firmware wants it.
fn signature(signature: &Ecdsa) -> Signature {
    let (r, s) = signature.split_bytes();
    Signature { r: little_endian(&r), s: little_endian(&s), reserved: [0; 368] }
}

fn little_endian(big: &[u8]) -> [u8; 72] {
    let mut little = [0; 72];
    little.iter_mut().zip(big.iter().rev()).for_each(|(to, from)| *to = *from);
    little
}

/// The digest of a key that reports show: ID_KEY_DIGEST, AUTHOR_KEY_DIGEST.
pub fn key_digest(key: &PublicKey) -> Sha384 {
    Sha384::of(key.as_bytes())
}

/// What must be signed elsewhere: the ID block by the ID key, or the ID key by the author key.
pub fn payload(block: &IdBlock) -> &[u8] {
    block.as_bytes()
}

/// Authentication of `block` by the ID key's owner, and of that key by its author if there is one.
pub fn sign(block: &IdBlock, id_key: &SigningKey, author_key: Option<&SigningKey>) -> IdAuth {
    let id = Signed::by(id_key, payload(block));
    let public = public_key(&id.key);
    authentication(&id, author_key.map(|key| Signed::by(key, public.as_bytes())).as_ref())
}

fn authentication(id: &Signed, author: Option<&Signed>) -> IdAuth {
    let mut auth = IdAuth::new_zeroed();
    auth.id_key_algo = 1.into();
    auth.id_key = public_key(&id.key);
    auth.id_block_sig = signature(&id.signature);
    if let Some(author) = author {
        auth.auth_key_algo = 1.into();
        auth.author_key = public_key(&author.key);
        auth.id_key_sig = signature(&author.signature);
    }
    auth
}

/// A key and the signature that it made, out of our sight.
#[derive(Debug, Clone)]
pub struct Signed {
    /// The public key.
    pub key: VerifyingKey,
    /// Its signature.
    pub signature: Ecdsa,
}

impl Signed {
    /// `bytes` signed by `key`, deterministically (RFC 6979).
    pub fn by(key: &SigningKey, bytes: &[u8]) -> Self {
        Self { key: *key.verifying_key(), signature: key.sign(bytes) }
    }
}

/// As [`sign`], from signatures made elsewhere: by the ID key over [`payload`], and by the author
/// key over the ID key's 0x404 bytes.
///
/// # Errors
/// A signature that does not fit its key and what it should cover.
pub fn assemble(block: &IdBlock, id: &Signed, author: Option<&Signed>) -> Result<IdAuth> {
    verify(id, block.as_bytes(), "the ID block")?;
    if let Some(author) = author {
        verify(author, public_key(&id.key).as_bytes(), "the ID key")?;
    }
    Ok(authentication(id, author))
}

fn verify(signed: &Signed, bytes: &[u8], what: &str) -> Result<()> {
    signed.key.verify(bytes, &signed.signature).map_err(|_| Error::Setting {
        name: format!("signature of {what}"),
        found: "another one".to_string(),
        expected: format!("one by the given key over the {} bytes of {what}", bytes.len()),
    })
}

/// The properties of QEMU's `sev-snp-guest` object that hand over an ID block.
pub fn qemu(block: &IdBlock, auth: &IdAuth) -> String {
    let base64 = |bytes: &[u8]| crate::digest::base64(bytes);
    let author = if auth.auth_key_algo.get() == 0 { "" } else { ",author-key-enabled=on" };
    format!(
        "policy={:#x},id-block={},id-auth={}{author}",
        block.policy.get(),
        base64(block.as_bytes()),
        base64(auth.as_bytes())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> SigningKey {
        SigningKey::from_slice(&[byte; 48]).expect("a scalar")
    }

    #[test]
    fn policies_by_name_and_number() {
        assert_eq!(policy("0x30000"), Ok(0x3_0000));
        assert_eq!(policy("smt"), Ok(0x3_0000));
        assert_eq!(policy("abi=1.55,smt,debug"), Ok(0xb_0137));
        assert_eq!(policy_names(0xb_0137), ["abi=1.55", "smt", "reserved-one", "debug"]);
        assert_eq!(policy_names(1 << 40), ["bit-40"]);
        assert_eq!(policy("smt,bit-40"), Ok(0x3_0000 | 1 << 40));
        for wrong in ["0x10000", "smt,dbg", "", "abi=1", "abi=256.0", "bit-64", "bit-3"] {
            assert!(policy(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn signatures_are_deterministic_and_checked() {
        let block = block(Sha384::of(b"guest"), 0x3_0000);
        let auth = sign(&block, &key(1), Some(&key(2)));
        assert_eq!(auth, sign(&block, &key(1), Some(&key(2))));
        let signed = |by: u8, bytes: &[u8]| Signed::by(&key(by), bytes);
        let (id, author) = (signed(1, payload(&block)), signed(2, auth.id_key.as_bytes()));
        assert_eq!(assemble(&block, &id, Some(&author)), Ok(auth));
        let altered = IdBlock { guest_svn: 1.into(), ..block };
        let error = assemble(&altered, &id, None).expect_err("another block").to_string();
        assert!(error.contains("over the 96 bytes of the ID block"), "{error}");
        assert!(assemble(&block, &id, Some(&id)).is_err());
    }

    #[test]
    fn numbers_are_little_endian_and_of_fixed_width() {
        let public = public_key(key(1).verifying_key());
        let point = key(1).verifying_key().to_encoded_point(false);
        let x: Vec<u8> = point.x().expect("x").iter().rev().copied().collect();
        assert_eq!((&public.qx[..48], &public.qx[48..]), (&x[..], &[0; 24][..]));
        assert_eq!(public.as_bytes()[..4], [2, 0, 0, 0]);
    }
}
