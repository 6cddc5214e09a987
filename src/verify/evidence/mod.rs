//! Evidence: what a TEE reported of one launch, whatever form it came in.

mod claims;
mod cose;
mod json;
mod replay;
mod sgx;
mod snp;
mod tdx;
mod tpm;

pub use replay::{Replayed, replay};

use anyhow::{Context as _, bail};

use super::inspect::Facts;
use super::signature::{self, Signed};
use crate::format::eventlog::Log;
use crate::format::tpm_quote::{self, Quote};
use crate::format::{hcl_report, sgx_quote, snp_report, tdx_quote};
use crate::reference::compare::Registers;

/// What a TEE reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// The TEE, by its name on the command line.
    pub tee: &'static str,
    /// Its form, for people.
    pub form: &'static str,
    /// Registers by name, as reference values name them.
    pub registers: Registers,
    /// Everything else that it says.
    pub facts: Facts,
    /// What should not be accepted without a thought.
    pub warnings: Vec<String>,
    /// An event log that came with it.
    pub log: Option<Log>,
    /// What is signed, and by whom.
    pub signed: Signed,
}

impl Evidence {
    /// Registers that a person states, as another tool printed them.
    pub fn stated(tee: &'static str, registers: Registers) -> Self {
        Self {
            tee,
            form: "registers as stated",
            registers,
            facts: Facts::default(),
            warnings: Vec::new(),
            log: None,
            signed: Signed::Unsigned("registers without the report that they come from"),
        }
    }
}

/// One file of evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// A report, quote or document; several where one file speaks of several TEEs, as a hardware
    /// report beside the PCRs of a virtual TPM.
    Evidence(Vec<Evidence>),
    /// An event log alone.
    Log(Log),
    /// A quote of a TPM, which needs a log.
    Tpm(Quote),
    /// Certificates for the signature of a report, and lists of revoked ones.
    Certificates(Vec<u8>),
}

impl Piece {
    fn of(evidence: Evidence) -> Self {
        Self::Evidence(vec![evidence])
    }
}

/// A form of evidence.
struct Form {
    is: fn(&[u8]) -> bool,
    parse: fn(&[u8]) -> anyhow::Result<Piece>,
}

const FORMS: &[Form] = &[
    Form { is: tdx_quote::is_quote, parse: tdx::quote },
    Form { is: tdx_quote::is_report, parse: tdx::report },
    Form { is: sgx_quote::is_quote, parse: sgx::quote },
    Form { is: snp_report::is_report, parse: snp::report },
    Form { is: hcl_report::is_wrapped, parse: snp::wrapped },
    Form { is: is_log, parse: |bytes| Ok(Piece::Log(Log::parse(bytes)?)) },
    Form { is: tpm_quote::is_quote, parse: |bytes| Ok(Piece::Tpm(tpm_quote::parse(bytes)?)) },
    Form { is: cose::is_cose, parse: cose::parse },
    Form { is: claims::is_token, parse: claims::token },
    Form { is: json::is_json, parse: json::parse },
    Form { is: signature::is_certificates, parse: |bytes| Ok(Piece::Certificates(bytes.to_vec())) },
    Form { is: json::is_text, parse: json::text },
];

/// True for JSON that carries a report.
pub fn is_json_evidence(bytes: &[u8]) -> bool {
    json::is_json(bytes) && json::has_report(bytes)
}

/// True for text in base64 or hexadecimal that stands for a report or log.
pub fn is_encoded(bytes: &[u8]) -> bool {
    let known = |inner: &[u8]| FORMS.iter().any(|form| (form.is)(inner));
    json::is_text(bytes)
        && json::decoded(bytes).is_ok_and(|inner| !json::is_text(&inner) && known(&inner))
}

/// True for a COSE document of a Nitro enclave or a realm, and for a token of a verifier.
pub fn is_signed_claims(bytes: &[u8]) -> bool {
    cose::is_cose(bytes) || claims::is_token(bytes)
}

fn is_log(bytes: &[u8]) -> bool {
    super::inspect::recognise(bytes).is_some_and(|row| row.name == "event-log")
}

/// Reads one file of evidence, recognised by content.
///
/// # Errors
/// The form is not known, or the bytes break it.
pub fn parse(bytes: &[u8]) -> anyhow::Result<Piece> {
    let Some(form) = FORMS.iter().find(|form| (form.is)(bytes)) else {
        bail!(
            "this is no evidence of a known form: SEV-SNP report, TDX quote or TDREPORT, SGX quote \
             (raw, wrapped by Azure, in JSON, base64 or hexadecimal), TCG2 or CCEL event log, TPM \
             quote, Nitro document, CCA token, claims in JSON, EAR token, certificates"
        );
    };
    (form.parse)(bytes)
}

/// Puts the files of one launch together: one report, and perhaps the log that belongs to it. Of a
/// file that speaks of several TEEs, the first that `wanted` knows counts.
///
/// # Errors
/// No report among the pieces, or more than one of a kind.
pub fn join(pieces: Vec<Piece>, wanted: &dyn Fn(&str) -> bool) -> anyhow::Result<Evidence> {
    let (mut evidence, mut logs, mut quotes, mut given) = (vec![], vec![], vec![], vec![]);
    for piece in pieces {
        match piece {
            Piece::Evidence(some) => evidence.push(some),
            Piece::Log(log) => logs.push(log),
            Piece::Tpm(quote) => quotes.push(quote),
            Piece::Certificates(bytes) => given.push(bytes),
        }
    }
    if evidence.len() + quotes.len() > 1 || logs.len() > 1 {
        bail!("give the evidence of one launch: one report, and at most one event log");
    }
    if let Some(quote) = quotes.pop() {
        let log = logs.pop().context(
            "a TPM's quote holds a digest of its PCRs alone: give the event log as well",
        )?;
        return tpm::with_log(&quote, log);
    }
    let some = evidence.pop().context(match logs.is_empty() {
        true => "certificates alone are no evidence: give the report that they are for",
        false => "an event log needs the report that it belongs to",
    })?;
    let index = some.iter().position(|one| wanted(one.tee)).unwrap_or(0);
    let mut joined = some.into_iter().nth(index).context("no evidence in the file")?;
    if joined.log.is_some() && !logs.is_empty() {
        bail!("give the evidence of one launch: one report, and at most one event log");
    }
    joined.log = joined.log.or_else(|| logs.pop());
    match &mut joined.signed {
        Signed::Snp { certificates, .. } => certificates.extend(given),
        _ if given.is_empty() => {}
        _ => bail!(
            "certificates among the evidence are for reports of SEV-SNP; give these with --certificate"
        ),
    }
    Ok(joined)
}

#[cfg(test)]
mod tests;
