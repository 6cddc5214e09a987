//! Keys and signatures of ID blocks, as people keep them in files.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, anyhow};
use p384::SecretKey;
use p384::ecdsa::{Signature, SigningKey, VerifyingKey};
use p384::pkcs8::{DecodePrivateKey as _, DecodePublicKey as _};

use crate::cli::failure::Failure;

/// A private key in PKCS #8 or in the older form of SEC 1. What it holds is in no message.
pub(super) fn signing_key(path: &Path) -> Result<SigningKey, Failure> {
    let text = pem(path)?;
    let key =
        SecretKey::from_pkcs8_pem(&text).ok().or_else(|| SecretKey::from_sec1_pem(&text).ok());
    let what = || anyhow!("{} holds no private P-384 key in PEM", path.display());
    let hint = "make one: openssl ecparam -name secp384r1 -genkey -noout -out id.pem";
    key.map(SigningKey::from).ok_or_else(|| Failure::input(what()).hint(hint))
}

/// A public key in PEM.
pub(super) fn verifying_key(path: &Path) -> Result<VerifyingKey, Failure> {
    let what = || anyhow!("{} holds no public P-384 key in PEM", path.display());
    let hint = "make one: openssl ec -in id.pem -pubout -out id.pub";
    VerifyingKey::from_public_key_pem(&pem(path)?).map_err(|_| Failure::input(what()).hint(hint))
}

/// A signature: DER, as `openssl dgst -sign` writes it, or R and S of 48 bytes each, big-endian, as
/// hardware modules and PKCS #11 do.
pub(super) fn signature(path: &Path) -> Result<Signature, Failure> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let raw = || Signature::from_slice(&bytes).ok();
    Signature::from_der(&bytes).ok().or_else(raw).ok_or_else(|| {
        let what = "holds no signature of P-384, in DER or as 96 bytes";
        Failure::input(anyhow!("{} {what}", path.display()))
    })
}

fn pem(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
