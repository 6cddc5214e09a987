//! Signatures of certificates and lists: RSA (PKCS #1 v1.5 and PSS) and ECDSA.
//!
//! What offers fewer than 112 bits of security is refused, as s390-tools does (OpenSSL's security
//! level 2): RSA below 2048 bits, SHA-1.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use num_bigint::BigUint;
use p384::ecdsa::signature::hazmat::PrehashVerifier as _;
use x509_cert::der::asn1::{ObjectIdentifier, UintRef};
use x509_cert::der::{Encode as _, Reader as _, SliceReader};
use x509_cert::spki::SubjectPublicKeyInfoOwned;

use super::certificate::Envelope;
use super::pss;
use crate::digest::{Sha256, Sha384, Sha512};

/// A hash by its identifier (RFC 8017 appendix B.1) and its `DigestInfo` (section 9.2, note 1).
struct Hash {
    id: &'static str,
    of: fn(&[u8]) -> Vec<u8>,
    info: &'static [u8],
}

const SHA256: Hash = Hash {
    id: "2.16.840.1.101.3.4.2.1",
    of: |bytes| Sha256::of(bytes).0.to_vec(),
    info: b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20",
};
const SHA384: Hash = Hash {
    id: "2.16.840.1.101.3.4.2.2",
    of: |bytes| Sha384::of(bytes).0.to_vec(),
    info: b"\x30\x41\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\x04\x30",
};
const SHA512: Hash = Hash {
    id: "2.16.840.1.101.3.4.2.3",
    of: |bytes| Sha512::of(bytes).0.to_vec(),
    info: b"\x30\x51\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\x04\x40",
};

/// The algorithms by object identifier (RFC 8017 appendix C, RFC 5758 section 3.2).
const RSA: [(&str, Hash); 3] = [
    ("1.2.840.113549.1.1.11", SHA256),
    ("1.2.840.113549.1.1.12", SHA384),
    ("1.2.840.113549.1.1.13", SHA512),
];
const ECDSA: [(&str, Hash); 3] = [
    ("1.2.840.10045.4.3.2", SHA256),
    ("1.2.840.10045.4.3.3", SHA384),
    ("1.2.840.10045.4.3.4", SHA512),
];
/// `secp384r1` and `secp521r1` (RFC 5480 section 2.1.1.1).
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");

/// Checks that `key` signed what `envelope` holds; else says why not.
pub(super) fn check(key: &SubjectPublicKeyInfoOwned, envelope: &Envelope) -> Result<(), String> {
    let id = envelope.algorithm.oid.to_string();
    let signature = envelope.signature.raw_bytes();
    let hash = |known: &'static [(&str, Hash); 3]| known.iter().find(|(own, _)| *own == id);
    if let Some((_, hash)) = hash(const { &RSA }) {
        return rsa(key, hash, &envelope.signed, signature);
    }
    if let Some((_, hash)) = hash(const { &ECDSA }) {
        return ecdsa(key, &(hash.of)(&envelope.signed), signature);
    }
    if id == pss::PSS {
        return rsa_pss(key, envelope, signature);
    }
    Err(format!("its signature algorithm {id} is not RSA or ECDSA with SHA-256, -384 or -512"))
}

const WRONG: &str = "its signature is wrong";

/// RSASSA-PKCS1-v1_5 (RFC 8017, section 8.2.2).
fn rsa(
    key: &SubjectPublicKeyInfoOwned,
    hash: &Hash,
    signed: &[u8],
    signature: &[u8],
) -> Result<(), String> {
    let (modulus, exponent) = rsa_key(key)?;
    let width = usize::try_from(modulus.bits().div_ceil(8)).unwrap_or(0);
    let opened = BigUint::from_bytes_be(signature).modpow(&exponent, &modulus).to_bytes_be();
    let tail = [&[0], hash.info, &(hash.of)(signed)].concat();
    // 0 1 ff … ff 0 DigestInfo; the leading zero is lost in a number.
    let filling = width.saturating_sub(tail.len() + 2);
    let expected = [&[1][..], &alloc::vec![0xff; filling], &tail].concat();
    let fits = signature.len() == width && opened == expected;
    if fits { Ok(()) } else { Err(WRONG.to_string()) }
}

fn rsa_pss(
    key: &SubjectPublicKeyInfoOwned,
    envelope: &Envelope,
    signature: &[u8],
) -> Result<(), String> {
    let stated = pss::Parameters::of(&envelope.algorithm);
    let hashes = [SHA256, SHA384, SHA512];
    let known = stated.and_then(|stated| {
        let id = stated.hash.to_string();
        hashes.into_iter().find(|hash| hash.id == id).map(|hash| (hash.of, stated.salt))
    });
    let (hash, salt) = known
        .ok_or("its RSASSA-PSS is not that of SHA-256, -384 or -512, with MGF1 of the same")?;
    let good = pss::verifies(&rsa_key(key)?, hash, salt, &hash(&envelope.signed), signature);
    if good { Ok(()) } else { Err(WRONG.to_string()) }
}

/// Modulus and exponent of an RSA key (RFC 8017 appendix A.1.1).
fn rsa_key(key: &SubjectPublicKeyInfoOwned) -> Result<(BigUint, BigUint), String> {
    let pair = SliceReader::new(key.subject_public_key.raw_bytes()).and_then(|mut reader| {
        reader.sequence(|reader| {
            let number = |number: UintRef<'_>| BigUint::from_bytes_be(number.as_bytes());
            Ok((number(reader.decode()?), number(reader.decode()?)))
        })
    });
    let (modulus, exponent) = pair.map_err(|_| "its issuer's key is not of RSA")?;
    if !(2048..=16384).contains(&modulus.bits()) {
        return Err(format!("an RSA key has 2048 to 16384 bits, not {}", modulus.bits()));
    }
    Ok((modulus, exponent))
}

fn ecdsa(key: &SubjectPublicKeyInfoOwned, digest: &[u8], signature: &[u8]) -> Result<(), String> {
    let curve = key.algorithm.parameters.as_ref().and_then(|any| any.to_der().ok());
    let is = |id: ObjectIdentifier| curve.is_some() && id.to_der().ok() == curve;
    let point = key.subject_public_key.raw_bytes();
    let verified = if is(P384) {
        p384::ecdsa::VerifyingKey::from_sec1_bytes(point).and_then(|key| {
            key.verify_prehash(digest, &p384::ecdsa::Signature::from_der(signature)?)
        })
    } else if is(P521) {
        p521::ecdsa::VerifyingKey::from_sec1_bytes(point).and_then(|key| {
            key.verify_prehash(digest, &p521::ecdsa::Signature::from_der(signature)?)
        })
    } else {
        return Err("its issuer's key is not on P-384 or P-521".to_string());
    };
    verified.map_err(|_| WRONG.to_string())
}
