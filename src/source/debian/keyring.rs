//! Keys that archives sign with, and what the keys themselves say about when they may be used.

use anyhow::{Context as _, Result, bail};
use pgp::composed::{Deserializable as _, SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::Signature;
use pgp::types::{KeyDetails, PublicParams, Tag};

use super::date::Time;

/// Debian's keys, so that nothing need be installed.
const DEBIAN: &[u8] = include_bytes!("../../../keys/debian-archive.asc");

/// RSA keys below this are refused (NIST SP 800-131A revision 2, section 3).
const RSA_BITS: usize = 2048;

/// Public keys.
pub struct Keyring {
    pub(super) keys: Vec<SignedPublicKey>,
}

/// When a key may be used, by its latest sound self-signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) from: Time,
    pub(super) until: Option<Time>,
}

impl Validity {
    /// When both hold.
    pub(super) fn and(self, other: Self) -> Self {
        let until = [self.until, other.until].into_iter().flatten().min();
        Self { from: self.from.max(other.from), until }
    }
}

impl Keyring {
    /// Debian's archive keys.
    ///
    /// # Errors
    /// Never: they are part of the program.
    pub fn debian() -> Result<Self> {
        Self::parse(DEBIAN).context("the keys of this guestsmith")
    }

    /// The public keys in `bytes`, armored or not.
    ///
    /// # Errors
    /// They are no keys.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let what = "no OpenPGP public keys, neither armored nor binary";
        let (keys, _) = SignedPublicKey::from_reader_many(bytes).context(what)?;
        let keys = keys.collect::<Result<Vec<_>, _>>().context(what)?;
        if keys.is_empty() {
            bail!(what);
        }
        Ok(Self { keys })
    }
}

/// Digests that a signature may use. MD5, SHA-1 and RIPEMD-160 are broken or too short.
pub(super) fn is_strong(hash: Option<HashAlgorithm>) -> bool {
    use HashAlgorithm::{Sha3_256, Sha3_512, Sha256, Sha384, Sha512};
    hash.is_some_and(|hash| [Sha256, Sha384, Sha512, Sha3_256, Sha3_512].contains(&hash))
}

/// What is wrong with the kind or size of a key.
pub(super) fn weakness(key: &impl KeyDetails) -> Option<String> {
    use rsa_bits as bits;
    match key.public_params() {
        PublicParams::RSA(_) if bits(key) < RSA_BITS => Some(format!("{} bits RSA", bits(key))),
        PublicParams::RSA(_)
        | PublicParams::ECDSA(_)
        | PublicParams::EdDSALegacy(_)
        | PublicParams::Ed25519(_)
        | PublicParams::Ed448(_) => None,
        _ => Some(format!("a {:?} key", key.algorithm())),
    }
}

/// Bits of an RSA modulus: what its serialized form begins with (RFC 9580 section 5.5.5.1).
fn rsa_bits(key: &impl KeyDetails) -> usize {
    use pgp::ser::Serialize as _;
    let bytes = key.public_params().to_bytes().unwrap_or_default();
    bytes.first_chunk::<2>().map_or(0, |bits| usize::from(u16::from_be_bytes(*bits)))
}

/// Whether the owner of a primary key has revoked it.
pub(super) fn is_revoked(key: &SignedPublicKey) -> bool {
    let by_itself = |signature: &Signature| signature.verify_key(&key.primary_key).is_ok();
    key.details.revocation_signatures.iter().any(by_itself)
}

/// Whether the owner of a subkey's primary key has revoked the subkey.
pub(super) fn is_subkey_revoked(key: &SignedPublicKey, subkey: &SignedPublicSubKey) -> bool {
    use pgp::packet::SignatureType::SubkeyRevocation;
    let revocations = subkey.signatures.iter().filter(|s| s.typ() == Some(SubkeyRevocation));
    revocations.into_iter().any(|s| s.verify_subkey_binding(&key.primary_key, &subkey.key).is_ok())
}

/// When a primary key may be used, or none where nothing sound says that it may sign.
pub(super) fn primary_validity(key: &SignedPublicKey) -> Option<Validity> {
    let primary = &key.primary_key;
    let direct = key.details.direct_signatures.iter().filter(|s| s.verify_key(primary).is_ok());
    let certified = key.details.users.iter().flat_map(|user| {
        let sound =
            move |s: &&Signature| s.verify_certification(primary, Tag::UserId, &user.id).is_ok();
        user.signatures.iter().filter(sound)
    });
    // A direct signature may name nothing but who else may revoke; the earlier end counts.
    let kinds = [latest(direct), latest(certified)].into_iter().flatten();
    kinds.map(|signature| of_key(primary, signature)).reduce(|a, b| a.and(b))
}

/// When a subkey may be used to sign, or none where nothing sound says that it may: its binding
/// must be signed by the primary key and, for a signing key, the other way round too (RFC 9580
/// section 5.2.1.8).
pub(super) fn subkey_validity(
    key: &SignedPublicKey,
    subkey: &SignedPublicSubKey,
) -> Option<Validity> {
    let sound = |binding: &&Signature| {
        let back = binding.embedded_signature();
        binding.verify_subkey_binding(&key.primary_key, &subkey.key).is_ok()
            && binding.key_flags().sign()
            && back.is_some_and(|back| {
                back.verify_primary_key_binding(&subkey.key, &key.primary_key).is_ok()
            })
    };
    latest(subkey.signatures.iter().filter(sound)).map(|signature| of_key(&subkey.key, signature))
}

fn latest<'a>(signatures: impl Iterator<Item = &'a Signature>) -> Option<&'a Signature> {
    let strong = signatures.filter(|signature| is_strong(signature.hash_alg()));
    strong.max_by_key(|signature| signature.created().map_or(0, |created| created.as_secs()))
}

/// RFC 9580 section 5.2.3.13: the expiration counts from the key's creation; 0 is never.
fn of_key(key: &impl KeyDetails, signature: &Signature) -> Validity {
    let from = Time(key.created_at().as_secs().into());
    let lasts = signature.key_expiration_time().map(|time| u64::from(time.as_secs()));
    Validity { from, until: lasts.filter(|lasts| *lasts > 0).map(|lasts| Time(from.0 + lasts)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debians_keys_are_sound_and_known_by_their_fingerprints() {
        let keyring = Keyring::debian().expect("keys");
        let known: Vec<_> = keyring
            .keys
            .iter()
            .map(|key| {
                assert!(!is_revoked(key) && weakness(&key.primary_key).is_none());
                let until = primary_validity(key).and_then(|validity| validity.until);
                let signing = key.public_subkeys.iter().filter_map(|s| subkey_validity(key, s));
                let subkeys = signing.count();
                let until = until.expect("Debian's keys expire").to_string();
                format!("{:X} {until} {subkeys}", key.fingerprint())
            })
            .collect();
        // gpg --show-keys of debian-archive-keyring 2025.1.
        insta::assert_snapshot!(known.join("\n"));
    }

    #[test]
    fn what_is_no_keyring_is_refused() {
        for wrong in [&b""[..], b"garbage", b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n"] {
            assert!(Keyring::parse(wrong).is_err());
        }
    }
}
