//! From the signing key up to a root.

use alloc::format;

use x509_cert::ext::pkix::KeyUsages;

use super::certificate::Certified;
use super::list::{self, List};
use super::name::{label, same};
use super::{Result, refused};

/// Certificates between the signing key and the root, at most (`SECURITY_CHAIN_MAX_LEN`).
const INTERMEDIATES: usize = 2;

/// Checks the chain of `signer` through `others` to one of `roots`, everything valid `at` that date
/// and not revoked.
pub(super) fn check(
    signer: &Certified,
    others: &[Certified],
    roots: &[Certified],
    lists: &[List],
    at: u64,
) -> Result<()> {
    let (mut current, mut above) = (signer, 0);
    loop {
        let what = current.name();
        current.valid_at(&what, at)?;
        let issuer = issuer(current, others, roots)?;
        authority(issuer, above)?;
        current.issued_by(&what, issuer)?;
        let own = lists.iter().filter(|list| same(list.issuer(), issuer.subject()));
        list::check(&what, current, issuer, own, at)?;
        if same(current.subject(), current.issuer()) {
            return Ok(());
        }
        if !is_among(issuer, roots) {
            above += 1;
        }
        if above > INTERMEDIATES {
            return refused(
                &what,
                format!("more than {INTERMEDIATES} stand between it and a root"),
            );
        }
        current = issuer;
    }
}

fn is_among(one: &Certified, all: &[Certified]) -> bool {
    all.iter().any(|other| other.certificate == one.certificate)
}

/// The issuer of `certificate`: a root if one has the name, else one of `others`.
fn issuer<'a>(
    certificate: &Certified,
    others: &'a [Certified],
    roots: &'a [Certified],
) -> Result<&'a Certified> {
    let wanted = certificate.issuer();
    let self_signed = same(certificate.subject(), wanted);
    let others = others.iter().filter(|_| !self_signed);
    let named = roots.iter().chain(others).filter(|one| same(one.subject(), wanted));
    let mut named = named.filter(|one| certificate.issued_by("", one).is_ok());
    let why = match self_signed {
        true => "it is a root, and none that you trust".into(),
        false => format!("no certificate of its issuer {} was given that signed it", label(wanted)),
    };
    named.next().map_or_else(|| refused(certificate.name(), why), Ok)
}

/// `issuer` may issue, with `below` intermediates under it.
fn authority(issuer: &Certified, below: usize) -> Result<()> {
    let Some(constraints) = issuer.authority() else {
        return refused(issuer.name(), "it issued a certificate and is no CA");
    };
    let least = constraints.path_len_constraint.map(usize::from);
    if least.is_some_and(|most| below > most) {
        return refused(issuer.name(), "its path length allows no further intermediate");
    }
    if !issuer.may(KeyUsages::KeyCertSign) {
        return refused(issuer.name(), "its key must sign no certificates");
    }
    Ok(())
}
