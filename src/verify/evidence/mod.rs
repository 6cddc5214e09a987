//! Evidence: what a TEE reported of one launch, whatever form it came in.

mod json;
mod replay;
mod snp;
mod tdx;

pub use replay::{Replayed, replay};

use anyhow::{Context as _, bail};

use super::inspect::Facts;
use crate::format::eventlog::Log;
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
}

/// One file of evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// A report, quote or document.
    Evidence(Box<Evidence>),
    /// An event log alone.
    Log(Log),
}

/// A form of evidence.
struct Form {
    is: fn(&[u8]) -> bool,
    parse: fn(&[u8]) -> anyhow::Result<Piece>,
}

const FORMS: &[Form] = &[
    Form { is: crate::format::snp_report::is_report, parse: snp::report },
    Form { is: crate::format::tdx_quote::is_quote, parse: tdx::quote },
    Form { is: crate::format::tdx_quote::is_report, parse: tdx::report },
    Form { is: crate::format::hcl_report::is_wrapped, parse: snp::wrapped },
    Form { is: is_log, parse: |bytes| Ok(Piece::Log(Log::parse(bytes)?)) },
    Form { is: json::is_json, parse: json::parse },
];

/// True for JSON that carries a report.
pub fn is_json_evidence(bytes: &[u8]) -> bool {
    json::is_json(bytes) && json::has_report(bytes)
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
            "this is no evidence of a known form: SEV-SNP report, TDX quote or TDREPORT (raw, \
             wrapped by Azure, or in JSON), TCG2 or CCEL event log"
        );
    };
    (form.parse)(bytes)
}

/// Puts the files of one launch together: one report, and perhaps the log that belongs to it.
///
/// # Errors
/// No report among the pieces, or more than one of a kind.
pub fn join(pieces: Vec<Piece>) -> anyhow::Result<Evidence> {
    let (mut evidence, mut logs) = (Vec::new(), Vec::new());
    for piece in pieces {
        match piece {
            Piece::Evidence(one) => evidence.push(*one),
            Piece::Log(log) => logs.push(log),
        }
    }
    let count = evidence.len();
    let mut joined = evidence.pop().context("an event log needs the report that it belongs to")?;
    if count > 1 || logs.len() + usize::from(joined.log.is_some()) > 1 {
        bail!("give the evidence of one launch: one report, and at most one event log");
    }
    joined.log = joined.log.or_else(|| logs.pop());
    Ok(joined)
}

#[cfg(test)]
mod tests;
