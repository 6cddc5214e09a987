//! Signatures of evidence, offline: certificates and collateral are given or come with the evidence,
//! roots are known by the digests of their keys. What was not checked is said beside what was.

mod certificate;
mod intel;
mod material;
mod nitro;
mod pss;
mod snp;

use std::fmt;

use serde::Serialize;

use crate::format::snp_report;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Everything from the signature to the maker's root was checked and fits.
    Good,
    /// The same, but a certificate or collateral is not valid at this time.
    Expired,
    /// The signature is not what it must be, or leads to nobody's root: the evidence proves nothing.
    Bad,
    /// It was not checked, or not up to the maker's root.
    NotChecked,
}

/// What was found out about the signature of evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Signature {
    /// How it ended.
    pub verdict: Verdict,
    /// What was checked and fits, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub checked: Vec<String>,
    /// What does not fit.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    /// What a verifier would check as well, and was not checked here, with the reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_checked: Vec<String>,
}

impl Signature {
    /// Nothing was checked.
    pub fn unchecked(why: impl Into<String>) -> Self {
        let (checked, problems) = (Vec::new(), Vec::new());
        Self { verdict: Verdict::NotChecked, checked, problems, not_checked: vec![why.into()] }
    }

    fn begun() -> Self {
        Self { verdict: Verdict::Good, ..Self::unchecked("") }.without_reasons()
    }

    fn without_reasons(mut self) -> Self {
        self.not_checked.clear();
        self
    }

    fn fits(&mut self, what: impl Into<String>) {
        self.checked.push(what.into());
    }

    fn bad(&mut self, what: impl fmt::Display) {
        self.verdict = Verdict::Bad;
        self.problems.push(what.to_string());
    }

    /// A date that is over, or not yet come.
    fn expired(&mut self, what: String) {
        if self.verdict == Verdict::Good {
            self.verdict = Verdict::Expired;
        }
        self.problems.push(what);
    }

    fn open(&mut self, what: impl Into<String>) {
        self.not_checked.push(what.into());
    }

    /// The chain ends before the maker's root: whatever fits so far, anybody could have made it.
    fn incomplete(&mut self, what: impl Into<String>) {
        if self.verdict != Verdict::Bad {
            self.verdict = Verdict::NotChecked;
        }
        self.open(what);
    }

    /// That `result` is good, which `what` says.
    fn check(&mut self, what: &str, result: anyhow::Result<()>) {
        match result {
            Ok(()) => self.fits(what),
            Err(error) => self.bad(format!("{error:#}")),
        }
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.verdict {
            Verdict::Good if self.not_checked.is_empty() => "good",
            Verdict::Good => "good, as far as it was checked",
            Verdict::Expired => "fits, but is not valid at this time",
            Verdict::Bad => "BAD: the evidence proves nothing",
            Verdict::NotChecked => {
                "not checked: what follows holds only if the evidence is genuine"
            }
        })?;
        let lists = [
            ("checked", &self.checked),
            ("problem", &self.problems),
            ("not checked", &self.not_checked),
        ];
        for (word, list) in lists {
            list.iter().try_for_each(|line| write!(f, "\n  {word}: {line}"))?;
        }
        Ok(())
    }
}

/// What a signature is checked with.
#[derive(Debug, Clone, Default)]
pub struct Means {
    /// Certificates and lists of revoked ones, each file as it is: PEM, DER, or the table that
    /// configfs-tsm shows as `auxblob`.
    pub certificates: Vec<Vec<u8>>,
    /// Collateral of a TDX quote (`QuoteCollateralV3`, JSON).
    pub collateral: Option<Vec<u8>>,
    /// The time that counts, in seconds since 1970.
    pub now: u64,
}

/// True for bytes that [`Means::certificates`] takes: PEM with a certificate or a list of revoked ones,
/// a host's table of them, DER.
pub fn is_certificates(bytes: &[u8]) -> bool {
    const BEGIN: [&str; 2] = ["-----BEGIN CERTIFICATE-", "-----BEGIN X509 CRL-"];
    let text = BEGIN.iter().any(|begin| memchr::memmem::find(bytes, begin.as_bytes()).is_some());
    let table = || snp_report::certificates(bytes).unwrap_or_default();
    let der = || material::Material::of([bytes].into_iter()).is_ok_and(|found| !found.is_empty());
    text || table().iter().any(snp_report::Certificate::is_known) || der()
}

/// What is signed, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signed {
    /// By nobody that could be asked, with the reason.
    Unsigned(&'static str),
    /// A SEV-SNP report, with the certificates that came with it.
    Snp {
        /// The report.
        report: Vec<u8>,
        /// Certificates, DER.
        certificates: Vec<Vec<u8>>,
    },
    /// A quote of TDX or SGX.
    Intel(Vec<u8>),
    /// A document of a Nitro enclave.
    Nitro(Vec<u8>),
}

/// Checks what can be checked with `means`.
pub fn check(signed: &Signed, means: &Means) -> Signature {
    match signed {
        Signed::Unsigned(why) => Signature::unchecked(*why),
        Signed::Snp { report, certificates } => snp::check(report, certificates, means),
        Signed::Intel(quote) => intel::check(quote, means),
        Signed::Nitro(document) => nitro::check(document, means),
    }
}

#[cfg(test)]
mod tests;
