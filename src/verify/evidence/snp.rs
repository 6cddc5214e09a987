//! SEV-SNP reports, raw or wrapped by Azure.

use anyhow::bail;

use super::{Evidence, Piece, tdx};
use crate::format::{hcl_report, snp_report};
use crate::verify::inspect;

pub(super) fn report(bytes: &[u8]) -> anyhow::Result<Piece> {
    let report = snp_report::parse(bytes)?;
    Ok(Piece::Evidence(Box::new(Evidence {
        tee: "sev-snp",
        form: "SEV-SNP attestation report",
        registers: [("measurement".to_string(), report.measurement.to_vec())].into(),
        facts: inspect::snp::facts(&report),
        warnings: inspect::snp::warnings(&report),
        log: None,
    })))
}

pub(super) fn wrapped(bytes: &[u8]) -> anyhow::Result<Piece> {
    let wrapped = hcl_report::parse(bytes)?;
    match wrapped.kind {
        2 => report(wrapped.hardware),
        4 => tdx::report(wrapped.hardware),
        other => bail!("the wrapped hardware report is of type {other}; known are 2 and 4"),
    }
}
