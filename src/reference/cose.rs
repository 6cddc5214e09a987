//! COSE_Sign1 (RFC 9052 section 4.2) around a CoRIM: draft-ietf-rats-corim-10 section 4.2.
//!
//! Pure: [`to_be_signed`] gives the bytes, whoever holds the key signs them, [`signed`] puts the
//! signature in place.

use ciborium::Value;

use super::Result;
use super::cbor::{encode, map, tag};

/// Tag of COSE_Sign1.
const SIGN1: u64 = 18;

/// Signature algorithms, by their COSE numbers (IANA COSE Algorithms).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// EdDSA with Ed25519.
    EdDsa,
    /// ECDSA with P-256 and SHA-256.
    Es256,
    /// ECDSA with P-384 and SHA-384.
    Es384,
}

impl Algorithm {
    fn number(self) -> i64 {
        match self {
            Self::EdDsa => -8,
            Self::Es256 => -7,
            Self::Es384 => -35,
        }
    }
}

/// The protected header: algorithm, content type, key identifier, and who signed.
fn protected(algorithm: Algorithm, signer: &str) -> Result<Vec<u8>> {
    let meta = encode(&map([(0, map([(0, signer.into())]))]))?; // corim-meta-map: signer: name
    encode(&map([
        (1, algorithm.number().into()),
        (3, "application/rim+cbor".into()),
        (4, Value::Bytes(signer.as_bytes().to_vec())), // key identifier, which earlier drafts ask for
        (8, Value::Bytes(meta)),
    ]))
}

/// `Sig_structure` (RFC 9052 section 4.4): the bytes that are signed.
///
/// # Errors
/// The structure has no CBOR form.
pub fn to_be_signed(algorithm: Algorithm, signer: &str, corim: &[u8]) -> Result<Vec<u8>> {
    encode(&Value::Array(vec![
        "Signature1".into(),
        Value::Bytes(protected(algorithm, signer)?),
        Value::Bytes(Vec::new()),
        Value::Bytes(corim.to_vec()),
    ]))
}

/// The signed CoRIM.
///
/// # Errors
/// The structure has no CBOR form.
pub fn signed(
    algorithm: Algorithm,
    signer: &str,
    corim: &[u8],
    signature: &[u8],
) -> Result<Vec<u8>> {
    encode(&tag(
        SIGN1,
        Value::Array(vec![
            Value::Bytes(protected(algorithm, signer)?),
            Value::Map(Vec::new()),
            Value::Bytes(corim.to_vec()),
            Value::Bytes(signature.to_vec()),
        ]),
    ))
}
