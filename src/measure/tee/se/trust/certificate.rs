//! A certificate with the bytes that its signature covers.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use x509_cert::Certificate;
use x509_cert::der::asn1::{BitString, ObjectIdentifier};
use x509_cert::der::oid::AssociatedOid;
use x509_cert::der::{self, Decode, Reader as _, SliceReader};
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, KeyUsage, KeyUsages, SubjectKeyIdentifier,
};
use x509_cert::name::Name;
use x509_cert::spki::AlgorithmIdentifierOwned;
use x509_cert::time::Time;

use super::name::label;
use super::{Result, refused, signature};
use crate::format;

/// What is common to certificates and revocation lists (RFC 5280, 4.1.1 and 5.1.1): something that
/// is signed, the algorithm, the signature.
#[derive(Debug, Clone)]
pub(super) struct Envelope {
    pub(super) signed: Vec<u8>,
    pub(super) algorithm: AlgorithmIdentifierOwned,
    pub(super) signature: BitString,
}

impl Envelope {
    pub(super) fn parse(bytes: &[u8]) -> der::Result<Self> {
        let mut reader = SliceReader::new(bytes)?;
        let envelope = reader.sequence(|reader| {
            let signed = reader.tlv_bytes()?.to_vec();
            let algorithm = AlgorithmIdentifierOwned::decode(reader)?;
            Ok(Self { signed, algorithm, signature: BitString::decode(reader)? })
        })?;
        reader.finish(envelope)
    }
}

/// The error for bytes that are not `what`.
pub(super) fn broken(what: &'static str, expected: &str, error: &der::Error) -> format::Error {
    let offset = error.position().and_then(|at| usize::try_from(u32::from(at)).ok());
    let (found, expected) = (error.kind().to_string(), expected.to_string());
    format::Error::Value { what, offset: offset.unwrap_or(0), found, expected }
}

/// A certificate.
#[derive(Debug, Clone)]
pub(super) struct Certified {
    pub(super) certificate: Certificate,
    envelope: Envelope,
}

/// Critical extensions that the checks here honour or that do not restrict them.
const KNOWN: [&str; 7] = [
    "2.5.29.14", // subject key identifier
    "2.5.29.15", // key usage
    "2.5.29.17", // subject alternative name
    "2.5.29.19", // basic constraints
    "2.5.29.31", // CRL distribution points
    "2.5.29.35", // authority key identifier
    "2.5.29.37", // extended key usage
];

impl Certified {
    pub(super) fn parse(bytes: &[u8]) -> format::Result<Self> {
        let expected = "an X.509 certificate, PEM or DER";
        let wrong = |error| broken("certificate", expected, &error);
        let certificate = Certificate::from_der(bytes).map_err(wrong)?;
        Ok(Self { certificate, envelope: Envelope::parse(bytes).map_err(wrong)? })
    }

    pub(super) fn subject(&self) -> &Name {
        &self.certificate.tbs_certificate.subject
    }

    /// What messages call it.
    pub(super) fn name(&self) -> String {
        label(self.subject())
    }

    pub(super) fn issuer(&self) -> &Name {
        &self.certificate.tbs_certificate.issuer
    }

    /// An extension, if it is there and reads.
    pub(super) fn extension<T: for<'a> Decode<'a> + AssociatedOid>(&self) -> Option<T> {
        let extensions = self.certificate.tbs_certificate.extensions.iter().flatten();
        let mut own = extensions.filter(|extension| extension.extn_id == T::OID);
        own.next().and_then(|extension| T::from_der(extension.extn_value.as_bytes()).ok())
    }

    /// The certificate is in its period, and asks for nothing that is not understood.
    pub(super) fn valid_at(&self, what: &str, at: u64) -> Result<()> {
        let tbs = &self.certificate.tbs_certificate;
        in_period(what, (tbs.validity.not_before, Some(tbs.validity.not_after)), at)?;
        let unknown = |id: &ObjectIdentifier| !KNOWN.contains(&id.to_string().as_str());
        let mut critical = tbs.extensions.iter().flatten().filter(|one| one.critical);
        match critical.find(|one| unknown(&one.extn_id)) {
            Some(one) => {
                refused(what, format!("its critical extension {} is unknown", one.extn_id))
            }
            None => Ok(()),
        }
    }

    /// `issuer` signed it, and is the key that it says.
    pub(super) fn issued_by(&self, what: &str, issuer: &Self) -> Result<()> {
        if let Some(said) = self.extension::<AuthorityKeyIdentifier>() {
            issuer.is_key(what, &said)?;
        }
        issuer.signed(what, &self.envelope)
    }

    /// The key of this certificate is the one that an authority key identifier names.
    pub(super) fn is_key(&self, what: &str, said: &AuthorityKeyIdentifier) -> Result<()> {
        let own = self.extension::<SubjectKeyIdentifier>();
        if let (Some(said), Some(own)) = (&said.key_identifier, own)
            && *said != own.0
        {
            return refused(what, format!("it names another key of {} as issuer", self.name()));
        }
        let serial = &self.certificate.tbs_certificate.serial_number;
        match &said.authority_cert_serial_number {
            Some(said) if said != serial => {
                refused(what, format!("it names another certificate of {}", self.name()))
            }
            _ => Ok(()),
        }
    }

    /// The key of this certificate made the signature.
    pub(super) fn signed(&self, what: &str, envelope: &Envelope) -> Result<()> {
        let key = &self.certificate.tbs_certificate.subject_public_key_info;
        let by = |why| super::Error::Refused { what: what.into(), why };
        signature::check(key, envelope).map_err(|why| by(format!("{why} (by {})", self.name())))
    }

    /// True if its key may be used so; without a statement it may.
    pub(super) fn may(&self, usage: KeyUsages) -> bool {
        self.extension::<KeyUsage>().is_none_or(|stated| stated.0.contains(usage))
    }

    /// Basic constraints, if it is a CA.
    pub(super) fn authority(&self) -> Option<BasicConstraints> {
        self.extension::<BasicConstraints>().filter(|constraints| constraints.ca)
    }
}

/// `at` lies in a period; a period without end never begins.
pub(super) fn in_period(what: &str, period: (Time, Option<Time>), at: u64) -> Result<()> {
    let (from, Some(until)) = period else {
        return refused(what, "it does not say until when it is valid");
    };
    if at < from.to_unix_duration().as_secs() {
        return refused(what, format!("it is valid only from {from} on"));
    }
    if at >= until.to_unix_duration().as_secs() {
        return refused(what, format!("it has expired: it was valid until {until}"));
    }
    Ok(())
}
