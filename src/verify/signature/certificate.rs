//! X.509 certificates and lists of revoked ones (RFC 5280), as far as the chains of evidence need them:
//! keys on P-256, P-384 and RSA, one issuer above the other, dates.

use anyhow::{Context as _, Result, bail, ensure};
use num_bigint::BigUint;
use p256::ecdsa::signature::Verifier as _;
use p256::pkcs8::DecodePublicKey as _;
use x509_cert::crl::CertificateList;
use x509_cert::der::asn1::{ObjectIdentifier, UintRef};
use x509_cert::der::{Decode as _, Encode as _, Header, Reader as _, SliceReader};
use x509_cert::ext::pkix::BasicConstraints;
use x509_cert::time::Time;

use super::pss;
use crate::digest::Sha256;

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
        let signed =
            signed_part(der).map_err(|error| anyhow::anyhow!("no X.509 certificate: {error}"))?;
        Ok(Self { inner, signed, digest: Sha256::of(der) })
    }

    /// Its subject's common name, or the whole subject where it has none.
    pub(super) fn subject(&self) -> String {
        common_name(&self.inner.tbs_certificate.subject.to_string())
    }

    /// The same of its issuer.
    pub(super) fn issuer(&self) -> String {
        common_name(&self.inner.tbs_certificate.issuer.to_string())
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

    /// That `issuer` signed it, and may.
    pub(super) fn signed_by(&self, issuer: &Self) -> Result<()> {
        let names = || format!("{} is not signed by {}", self.subject(), issuer.subject());
        ensure!(self.names_issuer(issuer), "{}: it names another issuer", names());
        ensure!(
            issuer.is_authority(),
            "{} is no authority: it must sign nothing",
            issuer.subject()
        );
        let algorithm = self.inner.signature_algorithm.oid;
        let signature = self.inner.signature.raw_bytes();
        ensure!(issuer.verifies(algorithm, &self.signed, signature)?, "{}", names());
        Ok(())
    }

    /// Basic constraints (RFC 5280, 4.2.1.9): it may sign certificates.
    fn is_authority(&self) -> bool {
        let value = self.extension("2.5.29.19");
        value.and_then(|der| BasicConstraints::from_der(der).ok()).is_some_and(|basic| basic.ca)
    }

    /// Whether `signature` is of `signed` by its key.
    fn verifies(
        &self,
        algorithm: ObjectIdentifier,
        signed: &[u8],
        signature: &[u8],
    ) -> Result<bool> {
        Ok(match algorithm {
            RSASSA_PSS => self.rsa()?.verifies(signed, signature),
            ECDSA_SHA256 => p256::ecdsa::DerSignature::try_from(signature)
                .is_ok_and(|s| self.p256().is_ok_and(|key| key.verify(signed, &s).is_ok())),
            ECDSA_SHA384 => p384::ecdsa::DerSignature::try_from(signature)
                .is_ok_and(|s| self.p384().is_ok_and(|key| key.verify(signed, &s).is_ok())),
            other => bail!("a signature of {} is by algorithm {other}, not known", self.subject()),
        })
    }

    /// What is wrong with its dates at `now` (seconds since 1970), if anything.
    pub(super) fn dates(&self, now: u64) -> Option<String> {
        let validity = &self.inner.tbs_certificate.validity;
        let name = format!("the certificate {}", self.subject());
        period(&name, validity.not_before, Some(validity.not_after), now)
    }

    /// The value of its extension `oid`.
    pub(super) fn extension(&self, oid: &str) -> Option<&[u8]> {
        let oid = ObjectIdentifier::new(oid).ok()?;
        let extensions = self.inner.tbs_certificate.extensions.as_ref()?;
        let found = extensions.iter().find(|extension| extension.extn_id == oid)?;
        Some(found.extn_value.as_bytes())
    }
}

/// The bytes that the signature of a certificate or list covers: the first element in it (RFC 5280,
/// 4.1.1 and 5.1.1).
fn signed_part(der: &[u8]) -> x509_cert::der::Result<Vec<u8>> {
    let mut reader = SliceReader::new(der)?;
    Header::decode(&mut reader)?;
    Ok(reader.tlv_bytes()?.to_vec())
}

fn common_name(name: &str) -> String {
    let common = name.split(',').find_map(|part| part.trim().strip_prefix("CN="));
    common.unwrap_or(name).to_string()
}

/// What is wrong with a period at `now`, if anything.
fn period(what: &str, from: Time, to: Option<Time>, now: u64) -> Option<String> {
    match to.filter(|to| now > to.to_unix_duration().as_secs()) {
        Some(to) => Some(format!("{what} expired on {to}")),
        None => (now < from.to_unix_duration().as_secs())
            .then(|| format!("{what} holds only from {from} on")),
    }
}

/// A list of revoked certificates.
#[derive(Debug, Clone)]
pub(super) struct List {
    inner: CertificateList,
    signed: Vec<u8>,
}

impl List {
    /// The list in `der`.
    pub(super) fn parse(der: &[u8]) -> Result<Self> {
        let wrong = |error| anyhow::anyhow!("no list of revoked certificates: {error}");
        let inner = CertificateList::from_der(der).map_err(wrong)?;
        Ok(Self { inner, signed: signed_part(der).map_err(wrong)? })
    }

    /// True if `issuer` is who it says it is of.
    pub(super) fn names_issuer(&self, issuer: &Certificate) -> bool {
        self.inner.tbs_cert_list.issuer == issuer.inner.tbs_certificate.subject
    }

    /// That `issuer` signed it.
    pub(super) fn signed_by(&self, issuer: &Certificate) -> Result<()> {
        let (algorithm, signature) = (&self.inner.signature_algorithm, &self.inner.signature);
        let good = issuer.verifies(algorithm.oid, &self.signed, signature.raw_bytes())?;
        let name = issuer.subject();
        ensure!(good, "the list of revoked certificates of {name} is not signed by it");
        Ok(())
    }

    /// What is wrong with its dates at `now`, if anything.
    pub(super) fn dates(&self, now: u64) -> Option<String> {
        let list = &self.inner.tbs_cert_list;
        let issuer = common_name(&list.issuer.to_string());
        let name = format!("the list of revoked certificates of {issuer}");
        period(&name, list.this_update, list.next_update, now)
    }

    /// When it was made.
    pub(super) fn date(&self) -> String {
        self.inner.tbs_cert_list.this_update.to_string()
    }

    /// True if it names `certificate`.
    pub(super) fn revokes(&self, certificate: &Certificate) -> bool {
        let serial = &certificate.inner.tbs_certificate.serial_number;
        let mut revoked = self.inner.tbs_cert_list.revoked_certificates.iter().flatten();
        revoked.any(|one| one.serial_number == *serial)
    }
}
