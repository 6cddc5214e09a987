//! Whether a host-key document comes from IBM: by certificates, revocation lists and a date, all of
//! them the caller's; nothing is fetched.
//!
//! The rules are those of s390-tools (`rust/pv/src/verify.rs`, `verify/helper.rs`): the key that
//! signs host-key documents is known by its name, is no CA, and stands under a chain of at most two
//! intermediates that ends in a root; everything in the chain, and the document, is valid at the
//! date and on no revocation list, and every issuer has such a list.

mod certificate;
mod chain;
mod list;
mod name;
mod pss;
mod signature;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use certificate::Certified;
use list::List;
use name::{is_signing_key, label, same_but_for_locality};

use crate::format::pem;

/// Why a document, or what vouches for it, is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file is not what it should be.
    #[error("{input}: {error}")]
    Input {
        /// Which: `certificate 2`.
        input: String,
        /// What is wrong, and where.
        error: crate::format::Error,
    },
    /// The file is read, and must not be relied on.
    #[error("{what} is not to be trusted: {why}")]
    Refused {
        /// What: `host-key document`, or the subject of a certificate.
        what: String,
        /// The rule that it breaks.
        why: String,
    },
    /// Something is missing without which nothing can be said.
    #[error("no {what}: {why}")]
    Missing {
        /// The missing part.
        what: &'static str,
        /// What was looked at, and what to give.
        why: String,
    },
}

/// Result of a check.
pub type Result<T> = core::result::Result<T, Error>;

fn refused<T>(what: impl ToString, why: impl ToString) -> Result<T> {
    Err(Error::Refused { what: what.to_string(), why: why.to_string() })
}

/// What vouches for host-key documents: files, PEM (also several in one) or DER.
#[derive(Debug, Clone, Copy, Default)]
pub struct Material<'a> {
    /// The signing key and the intermediates above it.
    pub certificates: &'a [Vec<u8>],
    /// Revocation lists of all issuers; those in the files of `certificates` and `roots` count too.
    pub lists: &'a [Vec<u8>],
    /// Roots that are trusted.
    pub roots: &'a [Vec<u8>],
    /// The date by which validity is judged, seconds since 1970.
    pub at: u64,
}

/// A signing key that was found good, with the lists by which its documents are checked.
pub struct Trust {
    signer: Certified,
    lists: Vec<List>,
    at: u64,
}

impl Trust {
    /// Checks the signing key's own chain.
    ///
    /// # Errors
    /// A file is unreadable, there is not exactly one signing key, or its chain breaks a rule.
    pub fn new(material: &Material<'_>) -> Result<Self> {
        let certificates = read_all("certificate", material.certificates, CERTIFICATE)?;
        let roots = read_all("root", material.roots, CERTIFICATE)?;
        let mut lists = read_all("revocation list", material.lists, REVOCATION_LIST)?;
        for (named, files) in [("certificate", material.certificates), ("root", material.roots)] {
            lists.extend(embedded(named, files)?);
        }
        if roots.is_empty() {
            let why = "give the root that you trust; the system's own are often in \
                       /etc/ssl/certs/ca-certificates.crt";
            return Err(Error::Missing { what: "root certificate", why: why.to_string() });
        }
        let signs = |one: &Certified| is_signing_key(one.subject());
        let (mut signers, chain): (Vec<_>, Vec<_>) = certificates.into_iter().partition(signs);
        let signer = match (signers.pop(), signers.len()) {
            (Some(signer), 0) => signer,
            (None, _) => {
                let why = format!(
                    "none of the {} certificates has the name of an IBM Z host-key signing key",
                    chain.len()
                );
                return Err(Error::Missing { what: "signing key", why });
            }
            (Some(_), more) => {
                return refused(
                    "the set of certificates",
                    format!(
                        "{} of them are signing keys; give the one that signed the documents",
                        more + 1
                    ),
                );
            }
        };
        chain::check(&signer, &chain, &roots, &lists, material.at)?;
        Ok(Self { signer, lists, at: material.at })
    }

    /// Checks one host-key document.
    ///
    /// # Errors
    /// It is no certificate, or breaks a rule.
    pub fn check(&self, document: &[u8]) -> Result<()> {
        const WHAT: &str = "the host-key document";
        let host = read_all(WHAT, &[document.to_vec()], CERTIFICATE)?;
        let [host] = &host[..] else {
            return refused(WHAT, format!("it holds {} certificates", host.len()));
        };
        if !same_but_for_locality(host.issuer(), self.signer.subject()) {
            return refused(
                WHAT,
                format!(
                    "its issuer is {}, the signing key is {}",
                    label(host.issuer()),
                    self.signer.name()
                ),
            );
        }
        host.valid_at(WHAT, self.at)?;
        host.issued_by(WHAT, &self.signer)?;
        let own = |list: &&List| same_but_for_locality(list.issuer(), self.signer.subject());
        list::check(WHAT, host, &self.signer, self.lists.iter().filter(own), self.at)
    }
}

/// A PEM label with the reader of what stands under it.
type Kind<T> = (&'static str, fn(&[u8]) -> crate::format::Result<T>);

const CERTIFICATE: Kind<Certified> = ("CERTIFICATE", Certified::parse);
const REVOCATION_LIST: Kind<List> = ("X509 CRL", List::parse);

/// What all `files` hold: at least one each.
fn read_all<T>(named: &str, files: &[Vec<u8>], kind: Kind<T>) -> Result<Vec<T>> {
    let mut all = Vec::new();
    for (number, file) in (1..).zip(files) {
        let input = || match files.len() {
            1 => named.to_string(),
            _ => format!("{named} {number}"),
        };
        let found = match pem::is_pem(file) {
            true => blocks(file, kind),
            false => kind.1(file).map(|one| [one].into()),
        };
        let found: Vec<T> = found.map_err(|error| Error::Input { input: input(), error })?;
        if found.is_empty() {
            let why = format!("{} holds no `{}` in its PEM text", input(), kind.0);
            return Err(Error::Missing { what: "usable block", why });
        }
        all.extend(found);
    }
    Ok(all)
}

/// Revocation lists that stand behind the certificates in PEM files.
fn embedded(named: &str, files: &[Vec<u8>]) -> Result<Vec<List>> {
    let mut all = Vec::new();
    for file in files.iter().filter(|file| pem::is_pem(file)) {
        let found = blocks(file, REVOCATION_LIST);
        all.extend(found.map_err(|error| Error::Input { input: named.to_string(), error })?);
    }
    Ok(all)
}

fn blocks<T>(file: &[u8], (label, parse): Kind<T>) -> crate::format::Result<Vec<T>> {
    let blocks = pem::blocks(file)?;
    blocks.iter().filter(|block| block.label == label).map(|block| parse(&block.bytes)).collect()
}

/// Seconds since 1970 of a date (`2026-11-25`) or a time in UTC (`2026-11-25T12:00:00Z`).
pub fn date(text: &str) -> Option<u64> {
    let whole = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        _ => text.to_string(),
    };
    let time: x509_cert::der::DateTime = whole.parse().ok()?;
    Some(time.unix_duration().as_secs())
}
