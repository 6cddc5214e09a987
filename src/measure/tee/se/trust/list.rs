//! Revocation lists (RFC 5280, section 5).

use alloc::format;
use alloc::string::ToString as _;
use alloc::vec::Vec;

use x509_cert::crl::CertificateList;
use x509_cert::der::Decode as _;
use x509_cert::der::oid::AssociatedOid as _;
use x509_cert::ext::pkix::{AuthorityKeyIdentifier, KeyUsages};
use x509_cert::name::Name;

use super::certificate::{Certified, Envelope, broken, in_period};
use super::{Error, Result, refused};
use crate::format;

/// A revocation list.
#[derive(Debug, Clone)]
pub(super) struct List {
    list: CertificateList,
    envelope: Envelope,
}

impl List {
    pub(super) fn parse(bytes: &[u8]) -> format::Result<Self> {
        let wrong = |error| broken("revocation list", "an X.509 CRL, PEM or DER", &error);
        let list = CertificateList::from_der(bytes).map_err(wrong)?;
        Ok(Self { list, envelope: Envelope::parse(bytes).map_err(wrong)? })
    }

    pub(super) fn issuer(&self) -> &Name {
        &self.list.tbs_cert_list.issuer
    }

    /// The list is `issuer`'s, whole, and in its period.
    fn usable(&self, issuer: &Certified, at: u64) -> Result<()> {
        const WHAT: &str = "the revocation list";
        let tbs = &self.list.tbs_cert_list;
        in_period(WHAT, (tbs.this_update, tbs.next_update), at)?;
        // The signing key is no CA: it signs its list without saying that it may.
        if issuer.authority().is_some() && !issuer.may(KeyUsages::CRLSign) {
            return refused(WHAT, format!("{} must sign no lists", issuer.name()));
        }
        let extensions = tbs.crl_extensions.iter().flatten();
        for extension in extensions {
            if extension.extn_id == AuthorityKeyIdentifier::OID {
                let said = AuthorityKeyIdentifier::from_der(extension.extn_value.as_bytes());
                said.ok().map_or(Ok(()), |said| issuer.is_key(WHAT, &said))?;
            } else if extension.critical {
                let id = extension.extn_id;
                return refused(WHAT, format!("its critical extension {id} is unknown"));
            }
        }
        issuer.signed(WHAT, &self.envelope)
    }

    fn revokes(&self, certificate: &Certified) -> bool {
        let serial = &certificate.certificate.tbs_certificate.serial_number;
        let mut revoked = self.list.tbs_cert_list.revoked_certificates.iter().flatten();
        revoked.any(|one| one.serial_number == *serial)
    }
}

/// `certificate` is on none of the usable ones of `lists`, and there is a usable one.
pub(super) fn check<'a>(
    what: &str,
    certificate: &Certified,
    issuer: &Certified,
    lists: impl Iterator<Item = &'a List>,
    at: u64,
) -> Result<()> {
    let (mut usable, mut reasons) = (0, Vec::new());
    for list in lists {
        match list.usable(issuer, at) {
            Err(error) => reasons.push(error.to_string()),
            Ok(()) if list.revokes(certificate) => {
                return refused(what, format!("it is revoked by {}", issuer.name()));
            }
            Ok(()) => usable += 1,
        }
    }
    if usable > 0 {
        return Ok(());
    }
    let found = match reasons.is_empty() {
        true => "none was given".to_string(),
        false => reasons.join("; "),
    };
    let why = format!("{what} could be revoked by {}: {found}", issuer.name());
    Err(Error::Missing { what: "usable revocation list", why })
}
