//! The signature in an enclave image: an array of COSE_Sign1 (RFC 9052) with their certificates, the
//! first of them over PCR 0 (`aws-nitro-enclaves-image-format`, `src/utils/eif_signer.rs`).

use alloc::format;
use alloc::string::ToString as _;
use alloc::vec::Vec;

use p384::ecdsa::signature::hazmat::PrehashVerifier as _;
use x509_cert::Certificate;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode as _, Encode as _};

use crate::digest::{Sha256, Sha384, Sha512};
use crate::format::cbor::Decoder;
use crate::format::{Error, Result, pem};

/// Identifiers of COSE (RFC 9053 section 2.1) with the curve that AWS's signer pairs each with (RFC
/// 5480 section 2.1.1.1).
const ALGORITHMS: [(i64, ObjectIdentifier); 3] = [
    (-7, ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7")),
    (-35, ObjectIdentifier::new_unwrap("1.3.132.0.34")),
    (-36, ObjectIdentifier::new_unwrap("1.3.132.0.35")),
];

/// One signature of a section.
pub(super) struct Signature {
    /// The certificate, DER.
    pub(super) certificate: Vec<u8>,
    cose: Vec<u8>,
}

impl Signature {
    /// The first of the signatures in a signature section: an array of maps whose
    /// `signing_certificate` is PEM, written as an array of numbers or as a byte string.
    pub(super) fn parse(section: &[u8]) -> Result<Self> {
        let mut decoder = Decoder::new(section);
        decoder.array()?;
        let (mut certificate, mut cose) = (None, Vec::new());
        for _ in 0..decoder.map()? {
            match decoder.text()? {
                "signing_certificate" => {
                    certificate = Some(pem::first(&decoder.bytes()?, "CERTIFICATE")?);
                }
                "signature" => cose = decoder.bytes()?,
                _ => decoder.skip()?,
            }
        }
        let why = "the signature section of the EIF names none".to_string();
        let what = "signing_certificate";
        let certificate = certificate.ok_or(Error::Missing { what, why })?;
        Ok(Self { certificate, cose })
    }

    /// Checks that the key of the certificate has signed `pcr0`. Who vouches for the certificate is
    /// another question: PCR 8 measures it.
    pub(super) fn check(&self, pcr0: &Sha384) -> Result<()> {
        let mut decoder = Decoder::new(&self.cose);
        let parts = decoder.array()?;
        let protected = decoder.bytes()?;
        decoder.skip()?;
        let (payload, signature) = (decoder.bytes()?, decoder.bytes()?);
        let mut header = Decoder::new(&protected);
        let algorithm = match (header.map()?, header.integer()?) {
            (1.., 1) => header.integer()?,
            _ => 0,
        };
        if parts != 4 || signed_register(&payload)? != (0, pcr0.0.to_vec()) {
            return Err(wrong("another PCR 0", "the PCR 0 of this image"));
        }
        let signed = [&b"\x84\x6aSignature1"[..], &string(&protected), &[0x40], &string(&payload)];
        self.verified(algorithm, &signed.concat(), &signature)
    }

    fn verified(&self, algorithm: i64, signed: &[u8], signature: &[u8]) -> Result<()> {
        let certificate = Certificate::from_der(&self.certificate);
        let certificate = certificate.map_err(|error| wrong(&error.to_string(), "X.509"))?;
        let key = certificate.tbs_certificate.subject_public_key_info;
        let curve = key.algorithm.parameters.and_then(|any| any.to_der().ok());
        let known = ALGORITHMS.iter().find(|(id, _)| *id == algorithm);
        if known.is_none_or(|(_, curve_of)| curve_of.to_der().ok() != curve) {
            let expected = "ES256, ES384 or ES512 (-7, -35, -36) on the curve of its own";
            return Err(wrong(&format!("algorithm {algorithm}"), expected));
        }
        let point = key.subject_public_key.raw_bytes();
        let good = match algorithm {
            -7 => p256::ecdsa::VerifyingKey::from_sec1_bytes(point).and_then(|key| {
                let signature = p256::ecdsa::Signature::from_slice(signature)?;
                key.verify_prehash(&Sha256::of(signed).0, &signature)
            }),
            -35 => p384::ecdsa::VerifyingKey::from_sec1_bytes(point).and_then(|key| {
                let signature = p384::ecdsa::Signature::from_slice(signature)?;
                key.verify_prehash(&Sha384::of(signed).0, &signature)
            }),
            _ => p521::ecdsa::VerifyingKey::from_sec1_bytes(point).and_then(|key| {
                let signature = p521::ecdsa::Signature::from_slice(signature)?;
                key.verify_prehash(&Sha512::of(signed).0, &signature)
            }),
        };
        good.map_err(|_| wrong("a wrong one", "one by the key of its certificate"))
    }
}

/// Number and value of the register that a payload vouches for.
fn signed_register(payload: &[u8]) -> Result<(i64, Vec<u8>)> {
    let mut decoder = Decoder::new(payload);
    let (mut index, mut value) = (-1, Vec::new());
    for _ in 0..decoder.map()? {
        match decoder.text()? {
            "register_index" => index = decoder.integer()?,
            "register_value" => value = decoder.bytes()?,
            _ => decoder.skip()?,
        }
    }
    Ok((index, value))
}

/// A byte string of CBOR.
fn string(bytes: &[u8]) -> Vec<u8> {
    let mut encoded = match u16::try_from(bytes.len()).map(u16::to_be_bytes) {
        Ok([0, short @ 0..=23]) => alloc::vec![0x40 | short],
        Ok([0, short]) => alloc::vec![0x58, short],
        Ok([high, low]) => alloc::vec![0x59, high, low],
        Err(_) => [&[0x5b][..], &(bytes.len() as u64).to_be_bytes()].concat(),
    };
    encoded.extend_from_slice(bytes);
    encoded
}

fn wrong(found: &str, expected: &str) -> Error {
    let (found, expected) = (found.to_string(), expected.to_string());
    Error::Value { what: "signature in the EIF's signature section", offset: 0, found, expected }
}
