//! Host keys, and the header key wrapped for them.

use alloc::format;
use alloc::string::ToString as _;
use alloc::vec::Vec;

use aes_gcm::aead::AeadInPlace as _;
use aes_gcm::{Aes256Gcm, KeyInit as _};
use p521::elliptic_curve::sec1::ToEncodedPoint as _;
use p521::{PublicKey, SecretKey};
use x509_cert::Certificate;
use x509_cert::der::{Decode as _, Encode as _};

use crate::digest::Sha256;
use crate::format::se_header::Slot;
use crate::format::{Error, Result, pem};

/// Bytes that each coordinate of a key is filled to.
const FIELD: usize = 80;

/// A host's public key, from its host-key document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKey {
    key: PublicKey,
    /// SHA-256 of X and Y, each filled to 80 bytes: how the host finds its slot.
    pub phkh: Sha256,
}

impl HostKey {
    /// Reads a host-key document: an X.509 certificate, PEM or DER, whose key is on P-521.
    ///
    /// # Errors
    /// Not a certificate, or a key on another curve.
    pub fn parse(document: &[u8]) -> Result<Self> {
        let certificate = certificate(document)?;
        let info = certificate.tbs_certificate.subject_public_key_info;
        let curve = info.algorithm.parameters.as_ref().and_then(|any| any.to_der().ok());
        if curve.as_deref() != Some(&SECP521R1) {
            let known = [(&PRIME256V1[..], "P-256"), (&SECP384R1[..], "P-384")];
            let name = known.iter().find(|(der, _)| curve.as_deref() == Some(*der));
            let found =
                name.map_or(format!("algorithm {}", info.algorithm.oid), |(_, n)| n.to_string());
            let expected = "an elliptic-curve key on P-521 (secp521r1)".to_string();
            return Err(Error::Value {
                what: "key of the host-key document",
                offset: 0,
                found,
                expected,
            });
        }
        let point = info.subject_public_key.raw_bytes();
        let key = PublicKey::from_sec1_bytes(point).map_err(|_| Error::Value {
            what: "key of the host-key document",
            offset: 0,
            found: "a point that is not on the curve".to_string(),
            expected: "a point of P-521".to_string(),
        })?;
        Ok(Self::of(key))
    }

    pub(super) fn of(key: PublicKey) -> Self {
        let phkh = Sha256::of(&coordinates(&key));
        Self { key, phkh }
    }

    /// The slot that gives this host the header key: AES-256-GCM without nonce under the shared
    /// secret, hashed once as ANSI X9.63 has it.
    pub(super) fn slot(&self, customer: &SecretKey, header_key: &[u8; 32]) -> Slot {
        let shared = p521::ecdh::diffie_hellman(customer.to_nonzero_scalar(), self.key.as_affine());
        let counter = 1_u32.to_be_bytes();
        let key = Sha256::of_parts([shared.raw_secret_bytes().as_slice(), &counter]);
        let mut slot = Slot { phkh: self.phkh.0, wrapped: *header_key, tag: [0; 16] };
        // Encryption of 32 bytes cannot fail: GCM's limit is 64 GiB.
        let tag = Aes256Gcm::new(&key.0.into()).encrypt_in_place_detached(
            &[0; 12].into(),
            &[],
            &mut slot.wrapped,
        );
        slot.tag = tag.map(Into::into).unwrap_or_default();
        slot
    }
}

/// DER of the object identifiers of the curves (RFC 5480 section 2.1.1.1).
const SECP521R1: [u8; 7] = [6, 5, 0x2b, 0x81, 4, 0, 0x23];
const SECP384R1: [u8; 7] = [6, 5, 0x2b, 0x81, 4, 0, 0x22];
const PRIME256V1: [u8; 10] = [6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];

/// The certificate in `document`.
pub(super) fn certificate(document: &[u8]) -> Result<Certificate> {
    let der = match pem::is_pem(document) {
        true => pem::first(document, "CERTIFICATE")?,
        false => document.to_vec(),
    };
    Certificate::from_der(&der).map_err(|error| Error::Value {
        what: "certificate",
        offset: 0,
        found: error.to_string(),
        expected: "an X.509 certificate, PEM or DER".to_string(),
    })
}

/// X and Y of a key, each filled to 80 bytes from the left.
pub(super) fn coordinates(key: &PublicKey) -> [u8; 2 * FIELD] {
    let point = key.to_encoded_point(false);
    let mut filled = [0; 2 * FIELD];
    for (half, coordinate) in filled.chunks_mut(FIELD).zip([point.x(), point.y()]) {
        let coordinate: Vec<u8> = coordinate.map(|c| c.to_vec()).unwrap_or_default();
        let lead = FIELD.saturating_sub(coordinate.len());
        half.iter_mut().skip(lead).zip(&coordinate).for_each(|(to, from)| *to = *from);
    }
    filled
}
