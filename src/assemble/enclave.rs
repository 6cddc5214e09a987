//! The signature in a Nitro enclave image, as AWS's library writes it
//! (`aws-nitro-enclaves-image-format`, `src/utils/eif_signer.rs`): one COSE_Sign1 over PCR 0.
//!
//! Whoever holds the key signs; nothing here sees it.

use std::borrow::Cow;

use anyhow::{Context as _, Result, ensure};
use ciborium::Value;
use p384::pkcs8::der::{Decode as _, Encode as _};
use x509_cert::Certificate;

use crate::digest::Sha384;
use crate::format::eif::{Image, Kind, Section};
use crate::format::pem;
use crate::measure::tee::nitro::Parts;

/// Who signs.
pub struct Signer<'a> {
    /// Certificate of the key, PEM: PCR 8 measures it.
    pub certificate: &'a [u8],
    /// The public key, SubjectPublicKeyInfo as DER.
    pub public: Vec<u8>,
    /// COSE's number of the algorithm: -7 for P-256, -35 for P-384.
    pub algorithm: i64,
    /// The signature of these bytes: R and S.
    pub sign: &'a dyn Fn(&[u8]) -> Vec<u8>,
}

/// The enclave image `file` with a signature.
///
/// # Errors
/// Not an unsigned image, or the certificate is not of the key.
pub fn signed(file: &[u8], signer: &Signer<'_>) -> Result<Vec<u8>> {
    let mut image = Image::parse(file)?;
    ensure!(image.of_kind(Kind::Signature).next().is_none(), "the image is signed already");
    let der = pem::first(signer.certificate, "CERTIFICATE").context("signing certificate")?;
    let certificate = Certificate::from_der(&der).context("signing certificate")?;
    let key = certificate.tbs_certificate.subject_public_key_info.to_der();
    ensure!(key? == signer.public, "the signing certificate is of another key");
    let pcr0 = pcr0(&image)?;
    let data = Cow::Owned(section(&pcr0, signer)?);
    image.sections.push(Section { kind: Kind::Signature, data });
    Ok(image.write()?)
}

fn pcr0(image: &Image<'_>) -> Result<Sha384> {
    let events = Parts::of(image)?.events();
    let first = events.iter().find(|event| event.register == "pcr0");
    Ok(Sha384::ZERO.extend(&first.context("no PCR 0")?.digest))
}

/// `[{"signing_certificate": […], "signature": […]}]`
fn section(pcr0: &Sha384, signer: &Signer<'_>) -> Result<Vec<u8>> {
    let payload = Value::Map(vec![
        ("register_index".into(), 0.into()),
        ("register_value".into(), numbers(&pcr0.0)),
    ]);
    let payload = Value::Bytes(encode(&payload)?);
    let protected = Value::Map(vec![(1.into(), signer.algorithm.into())]);
    let protected = Value::Bytes(encode(&protected)?);
    // Sig_structure (RFC 9052 section 4.4).
    let signed = Value::Array(vec![
        "Signature1".into(),
        protected.clone(),
        Value::Bytes(Vec::new()),
        payload.clone(),
    ]);
    let signature = Value::Bytes((signer.sign)(&encode(&signed)?));
    let cose = Value::Array(vec![protected, Value::Map(Vec::new()), payload, signature]);
    let entry = Value::Map(vec![
        ("signing_certificate".into(), numbers(signer.certificate)),
        ("signature".into(), numbers(&encode(&cose)?)),
    ]);
    encode(&Value::Array(vec![entry]))
}

/// Bytes as an array of numbers: what serde makes of a vector.
fn numbers(bytes: &[u8]) -> Value {
    Value::Array(bytes.iter().map(|byte| (*byte).into()).collect())
}

fn encode(value: &Value) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes)?;
    Ok(bytes)
}
