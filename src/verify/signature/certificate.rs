//! X.509 certificates (RFC 5280), as far as the chains of evidence need them: keys on P-256, P-384 and
//! RSA, one issuer above the other, dates.

use anyhow::{Context as _, Result, bail, ensure};
use num_bigint::BigUint;
use p256::ecdsa::signature::Verifier as _;
use p256::pkcs8::DecodePublicKey as _;
use x509_cert::der::asn1::{ObjectIdentifier, UintRef};
use x509_cert::der::{Decode as _, Encode as _, Header, Reader as _, SliceReader};

use super::pss;
use crate::digest::Sha256;
use crate::format::pem;

/// id-RSASSA-PSS, RFC 4055.
const RSASSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
/// ecdsa-with-SHA256 and ecdsa-with-SHA384, RFC 5758.
const ECDSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");

/// A certificate.
#[derive(Debug, Clone)]
pub(super) struct Certificate {
    inner: x509_cert::Certificate,
    /// The bytes that its signature covers.
    signed: Vec<u8>,
    digest: Sha256,
}

impl Certificate {
    /// The certificate in `der`.
    pub(super) fn parse(der: &[u8]) -> Result<Self> {
        let inner = x509_cert::Certificate::from_der(der)
            .map_err(|error| anyhow::anyhow!("no X.509 certificate: {error}"))?;
        let signed = || -> x509_cert::der::Result<Vec<u8>> {
            let mut reader = SliceReader::new(der)?;
            Header::decode(&mut reader)?;
            Ok(reader.tlv_bytes()?.to_vec())
        };
        let signed = signed().map_err(|error| anyhow::anyhow!("no X.509 certificate: {error}"))?;
        Ok(Self { inner, signed, digest: Sha256::of(der) })
    }

    /// Every certificate in `bytes`: PEM, one DER, or several DER behind each other.
    pub(super) fn parse_all(bytes: &[u8]) -> Result<Vec<Self>> {
        if pem::is_pem(bytes) {
            let blocks = pem::blocks(bytes)?;
            let certificates = blocks.iter().filter(|block| block.label == "CERTIFICATE");
            return certificates.map(|block| Self::parse(&block.bytes)).collect();
        }
        let mut found = Vec::new();
        let mut reader = SliceReader::new(bytes).map_err(|error| anyhow::anyhow!("{error}"))?;
        while !reader.is_finished() {
            let one = reader.tlv_bytes();
            found.push(Self::parse(one.map_err(|error| anyhow::anyhow!("no DER: {error}"))?)?);
        }
        Ok(found)
    }

    /// Its subject's common name, or the whole subject where it has none.
    pub(super) fn subject(&self) -> String {
        let subject = self.inner.tbs_certificate.subject.to_string();
        let common = subject.split(',').find_map(|part| part.trim().strip_prefix("CN="));
        common.map_or_else(|| subject.clone(), str::to_string)
    }

    /// True if its issuer is the subject of `other`.
    pub(super) fn names_issuer(&self, other: &Self) -> bool {
        self.inner.tbs_certificate.issuer == other.inner.tbs_certificate.subject
    }

    /// SHA-256 of the whole certificate (DER).
    pub(super) fn digest(&self) -> Sha256 {
        self.digest
    }

    /// SHA-256 of its public key (SubjectPublicKeyInfo, DER).
    pub(super) fn key_digest(&self) -> Result<Sha256> {
        Ok(Sha256::of(&self.key_der()?))
    }

    fn key_der(&self) -> Result<Vec<u8>> {
        let info = &self.inner.tbs_certificate.subject_public_key_info;
        info.to_der().map_err(|error| anyhow::anyhow!("its key has no DER form: {error}"))
    }

    /// Its key on P-256.
    pub(super) fn p256(&self) -> Result<p256::ecdsa::VerifyingKey> {
        p256::ecdsa::VerifyingKey::from_public_key_der(&self.key_der()?)
            .ok()
            .with_context(|| format!("the key of {} is not on P-256", self.subject()))
    }

    /// Its key on P-384.
    pub(super) fn p384(&self) -> Result<p384::ecdsa::VerifyingKey> {
        p384::ecdsa::VerifyingKey::from_public_key_der(&self.key_der()?)
            .ok()
            .with_context(|| format!("the key of {} is not on P-384", self.subject()))
    }

    /// Its RSA key: PKCS #1 RSAPublicKey in the bits of the key.
    fn rsa(&self) -> Result<pss::Key> {
        let bits = &self.inner.tbs_certificate.subject_public_key_info.subject_public_key;
        let parse = || -> x509_cert::der::Result<pss::Key> {
            let mut reader = SliceReader::new(bits.raw_bytes())?;
            reader.sequence(|inner| {
                let number = |n: UintRef<'_>| BigUint::from_bytes_be(n.as_bytes());
                let modulus = number(inner.decode()?);
                Ok(pss::Key { modulus, exponent: number(inner.decode()?) })
            })
        };
        parse().ok().with_context(|| format!("the key of {} is no RSA key", self.subject()))
    }

    /// That `issuer` signed it.
    pub(super) fn signed_by(&self, issuer: &Self) -> Result<()> {
        let names = || format!("{} is not signed by {}", self.subject(), issuer.subject());
        ensure!(self.names_issuer(issuer), "{}: it names another issuer", names());
        let signature = self.inner.signature.raw_bytes();
        let good = match self.inner.signature_algorithm.oid {
            RSASSA_PSS => issuer.rsa()?.verifies(&self.signed, signature),
            ECDSA_SHA256 => p256::ecdsa::DerSignature::try_from(signature)
                .is_ok_and(|s| issuer.p256().is_ok_and(|key| key.verify(&self.signed, &s).is_ok())),
            ECDSA_SHA384 => p384::ecdsa::DerSignature::try_from(signature)
                .is_ok_and(|s| issuer.p384().is_ok_and(|key| key.verify(&self.signed, &s).is_ok())),
            other => bail!("{} is signed by algorithm {other}, which is not known", self.subject()),
        };
        ensure!(good, "{}", names());
        Ok(())
    }

    /// What is wrong with its dates at `now` (seconds since 1970), if anything.
    pub(super) fn dates(&self, now: u64) -> Option<String> {
        let validity = &self.inner.tbs_certificate.validity;
        let (from, to) = (validity.not_before, validity.not_after);
        let name = self.subject();
        if now > to.to_unix_duration().as_secs() {
            return Some(format!("the certificate {name} expired on {to}"));
        }
        let early = now < from.to_unix_duration().as_secs();
        early.then(|| format!("the certificate {name} holds only from {from} on"))
    }

    /// The value of its extension `oid`.
    pub(super) fn extension(&self, oid: &str) -> Option<&[u8]> {
        let oid = ObjectIdentifier::new(oid).ok()?;
        let extensions = self.inner.tbs_certificate.extensions.as_ref()?;
        let found = extensions.iter().find(|extension| extension.extn_id == oid)?;
        Some(found.extn_value.as_bytes())
    }
}
