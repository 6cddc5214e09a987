//! Keys: read from a file or a descriptor, used, never shown. Ed25519, P-256, P-384 in PKCS #8 (PEM).

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, anyhow, bail};
use ed25519_dalek::Signer as _;
use p256::pkcs8::{DecodePrivateKey as _, DecodePublicKey as _, EncodePublicKey as _};

use crate::digest::Sha256;
use crate::reference::cose::Algorithm;

/// Longest secret that is read.
const LIMIT: u64 = 64 << 10;

/// Reads a secret from `place`: the path of a file that only its owner (and perhaps a group) can
/// read, or `fd:N`, a descriptor that the caller left open.
///
/// # Errors
/// It cannot be read, or everybody can.
pub fn secret_bytes(place: &str) -> Result<Vec<u8>> {
    let path = match place.strip_prefix("fd:").map(str::parse::<u32>) {
        Some(Ok(number)) => PathBuf::from(format!("/proc/self/fd/{number}")),
        Some(Err(_)) => bail!("`{place}` is no descriptor: write fd:3"),
        None => PathBuf::from(place),
    };
    let mut file = File::open(&path).with_context(|| format!("cannot open {place}"))?;
    let metadata = file.metadata().with_context(|| format!("cannot look at {place}"))?;
    if metadata.is_file() && metadata.mode() & 0o007 != 0 {
        let mode = metadata.mode() & 0o777;
        bail!(
            "{place} can be used by everybody (mode {mode:03o}): chmod 600, and think of a new key"
        );
    }
    let mut bytes = Vec::new();
    let read = file.by_ref().take(LIMIT).read_to_end(&mut bytes);
    read.map_err(|error| anyhow!("cannot read {place}: {}", error.kind()))?;
    Ok(bytes)
}

/// A secret that is text, as [`secret_bytes`] reads it.
///
/// # Errors
/// As there, or it is no text.
pub fn secret(place: &str) -> Result<String> {
    String::from_utf8(secret_bytes(place)?).map_err(|_| anyhow!("{place} is no text"))
}

/// Fresh random bytes of the kernel, for a seed that nobody keeps.
///
/// # Errors
/// The kernel gives none.
pub fn fresh() -> Result<[u8; 32]> {
    let mut bytes = [0; 32];
    let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.context("cannot read /dev/urandom")?;
    Ok(bytes)
}

/// A private key.
pub enum Key {
    /// Ed25519 (RFC 8032).
    Ed25519(Box<ed25519_dalek::SigningKey>),
    /// ECDSA on P-256 with SHA-256, deterministic (RFC 6979).
    P256(Box<p256::ecdsa::SigningKey>),
    /// ECDSA on P-384 with SHA-384, deterministic (RFC 6979).
    P384(Box<p384::ecdsa::SigningKey>),
}

/// Shows which key it is, never the key.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {:?}", self.algorithm())
    }
}

impl Key {
    /// The key at `place` (see [`secret`]).
    ///
    /// # Errors
    /// It cannot be read, or is no key of a kind that is known.
    pub fn load(place: &str) -> Result<Self> {
        Self::from_pem(&secret(place)?).with_context(|| format!("{place} is no key"))
    }

    /// The key in a PKCS #8 PEM text.
    ///
    /// # Errors
    /// The text holds no Ed25519, P-256 or P-384 key.
    pub fn from_pem(pem: &str) -> Result<Self> {
        if let Ok(key) = ed25519_dalek::SigningKey::from_pkcs8_pem(pem) {
            return Ok(Self::Ed25519(Box::new(key)));
        }
        if let Ok(key) = p256::ecdsa::SigningKey::from_pkcs8_pem(pem) {
            return Ok(Self::P256(Box::new(key)));
        }
        if let Ok(key) = p384::ecdsa::SigningKey::from_pkcs8_pem(pem) {
            return Ok(Self::P384(Box::new(key)));
        }
        bail!(
            "expected an unencrypted PKCS #8 key (BEGIN PRIVATE KEY), Ed25519, P-256 or P-384: \
             openssl genpkey -algorithm ed25519"
        )
    }

    /// Its algorithm, by the names of COSE.
    pub fn algorithm(&self) -> Algorithm {
        match self {
            Self::Ed25519(_) => Algorithm::EdDsa,
            Self::P256(_) => Algorithm::Es256,
            Self::P384(_) => Algorithm::Es384,
        }
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        match self {
            Self::Ed25519(key) => PublicKey::Ed25519(key.verifying_key()),
            Self::P256(key) => PublicKey::P256(*key.verifying_key()),
            Self::P384(key) => PublicKey::P384(*key.verifying_key()),
        }
    }

    /// A signature of fixed width: R and S, or Ed25519's 64 bytes (for JOSE and COSE).
    pub fn sign(&self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Ed25519(key) => key.sign(bytes).to_vec(),
            Self::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(bytes);
                signature.to_vec()
            }
            Self::P384(key) => {
                let signature: p384::ecdsa::Signature = key.sign(bytes);
                signature.to_vec()
            }
        }
    }

    /// A signature as openssl and cosign write it: ASN.1 for ECDSA.
    pub fn sign_der(&self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Ed25519(_) => self.sign(bytes),
            Self::P256(key) => {
                let signature: p256::ecdsa::DerSignature = key.sign(bytes);
                signature.as_bytes().to_vec()
            }
            Self::P384(key) => {
                let signature: p384::ecdsa::DerSignature = key.sign(bytes);
                signature.as_bytes().to_vec()
            }
        }
    }
}

/// A public key.
#[derive(Debug, Clone)]
pub enum PublicKey {
    /// Ed25519.
    Ed25519(ed25519_dalek::VerifyingKey),
    /// P-256.
    P256(p256::ecdsa::VerifyingKey),
    /// P-384.
    P384(p384::ecdsa::VerifyingKey),
}

impl PublicKey {
    /// The key in a SubjectPublicKeyInfo PEM text.
    ///
    /// # Errors
    /// The text holds no Ed25519, P-256 or P-384 key.
    pub fn from_pem(pem: &str) -> Result<Self> {
        if let Ok(key) = ed25519_dalek::VerifyingKey::from_public_key_pem(pem) {
            return Ok(Self::Ed25519(key));
        }
        if let Ok(key) = p256::ecdsa::VerifyingKey::from_public_key_pem(pem) {
            return Ok(Self::P256(key));
        }
        if let Ok(key) = p384::ecdsa::VerifyingKey::from_public_key_pem(pem) {
            return Ok(Self::P384(key));
        }
        bail!("expected a public key (BEGIN PUBLIC KEY), Ed25519, P-256 or P-384")
    }

    /// The key as PEM text.
    ///
    /// # Errors
    /// It has no PEM form.
    pub fn to_pem(&self) -> Result<String> {
        let ending = p256::pkcs8::LineEnding::LF;
        Ok(match self {
            Self::Ed25519(key) => key.to_public_key_pem(ending)?,
            Self::P256(key) => key.to_public_key_pem(ending)?,
            Self::P384(key) => key.to_public_key_pem(ending)?,
        })
    }

    /// Its name: SHA-256 of the PEM form.
    ///
    /// # Errors
    /// It has no PEM form.
    pub fn id(&self) -> Result<String> {
        Ok(format!("sha256:{}", Sha256::of(self.to_pem()?.as_bytes())))
    }

    /// Whether `signature`, as [`Key::sign_der`] writes it, is of `bytes` by this key.
    pub fn verifies_der(&self, bytes: &[u8], signature: &[u8]) -> bool {
        use ed25519_dalek::Verifier as _;
        match self {
            Self::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(bytes, &signature).is_ok()),
            Self::P256(key) => p256::ecdsa::DerSignature::try_from(signature)
                .is_ok_and(|signature| key.verify(bytes, &signature).is_ok()),
            Self::P384(key) => p384::ecdsa::DerSignature::try_from(signature)
                .is_ok_and(|signature| key.verify(bytes, &signature).is_ok()),
        }
    }
}
