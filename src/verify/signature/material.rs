//! What a chain is checked with: certificates and lists of revoked ones, out of files of any form.

use anyhow::Result;
use x509_cert::der::{Reader as _, SliceReader};

use super::Signature;
use super::certificate::{Certificate, List};
use crate::format::{pem, snp_report};

/// Certificates and lists at hand.
#[derive(Debug, Default)]
pub(super) struct Material {
    /// Certificates, in the order in which they were given.
    pub(super) certificates: Vec<Certificate>,
    lists: Vec<List>,
}

impl Material {
    /// What is in `files`: PEM, DER (one or several behind each other), or the table that
    /// configfs-tsm shows as `auxblob`, with either in it.
    pub(super) fn of<'a>(files: impl Iterator<Item = &'a [u8]>) -> Result<Self> {
        let mut found = Self::default();
        for bytes in files {
            let table = snp_report::certificates(bytes).unwrap_or_default();
            let known = table.iter().filter(|entry| !entry.der.is_empty() && entry.is_known());
            let inside: Vec<_> = known.map(|entry| entry.der).collect();
            match inside.is_empty() {
                true => found.add(bytes)?,
                false => inside.into_iter().try_for_each(|entry| found.add(entry))?,
            }
        }
        Ok(found)
    }

    /// True if there is nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.certificates.is_empty() && self.lists.is_empty()
    }

    fn add(&mut self, bytes: &[u8]) -> Result<()> {
        if pem::is_pem(bytes) {
            for block in pem::blocks(bytes)? {
                match block.label {
                    "CERTIFICATE" => self.certificates.push(Certificate::parse(&block.bytes)?),
                    "X509 CRL" => self.lists.push(List::parse(&block.bytes)?),
                    _ => {}
                }
            }
            return Ok(());
        }
        let wrong = |error| anyhow::anyhow!("no DER: {error}");
        let mut reader = SliceReader::new(bytes).map_err(wrong)?;
        while !reader.is_finished() {
            let one = reader.tlv_bytes().map_err(wrong)?;
            match (Certificate::parse(one), List::parse(one)) {
                (Ok(certificate), _) => self.certificates.push(certificate),
                (Err(_), Ok(list)) => self.lists.push(list),
                (Err(error), Err(_)) => return Err(error),
            }
        }
        Ok(())
    }

    /// The certificate that signed `lower`, by name; of several, the one whose key did.
    pub(super) fn issuer<'a>(&'a self, lower: &Certificate) -> Option<&'a Certificate> {
        let named = || self.certificates.iter().filter(|other| lower.names_issuer(other));
        named().find(|other| lower.signed_by(other).is_ok()).or_else(|| named().next())
    }

    /// Whether one of `links` (the lower, and who signed it) was revoked, as far as lists are at hand.
    pub(super) fn revocation(
        &self,
        links: &[(&Certificate, &Certificate)],
        now: u64,
        found: &mut Signature,
    ) {
        if self.lists.is_empty() {
            return found.open("revocation: no list was given");
        }
        for (lower, upper) in links {
            let (name, by) = (lower.subject(), upper.subject());
            let named = || self.lists.iter().filter(|list| list.names_issuer(upper));
            let signed = named().find(|list| list.signed_by(upper).is_ok());
            let Some(list) = signed.or_else(|| named().next()) else {
                found.open(format!("revocation of {name}: no list of {by} was given"));
                continue;
            };
            match (list.signed_by(upper), list.revokes(lower)) {
                (Err(error), _) => found.bad(format!("{error:#}")),
                (Ok(()), true) => found.bad(format!("{name} was revoked by {by}")),
                (Ok(()), false) => {
                    found.fits(format!(
                        "{name} is not on {by}'s list of revoked ones of {}",
                        list.date()
                    ));
                }
            }
            list.dates(now).into_iter().for_each(|problem| found.expired(problem));
        }
    }
}
