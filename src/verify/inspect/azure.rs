//! Reports as Azure's paravisor wraps them.

use anyhow::bail;

use super::{Facts, snp, tdx};
use crate::digest::Sha256;
use crate::format::hcl_report;
use crate::format::{snp_report, tdx_quote};

pub(super) fn inspect(bytes: &[u8]) -> anyhow::Result<Facts> {
    let wrapped = hcl_report::parse(bytes)?;
    let (name, report, data) = match wrapped.kind {
        2 => {
            let report = snp_report::parse(wrapped.hardware)?;
            let warnings = snp::warnings(&report);
            let facts = snp::facts(&report).with("warnings", warnings);
            ("sev_snp_report", facts, report.report_data)
        }
        4 => {
            let report = tdx_quote::parse_report(wrapped.hardware)?;
            let facts = tdx::facts(&report.td).with("warnings", tdx::warnings(&report.td));
            ("tdreport", facts, report.td.report_data)
        }
        other => bail!("the hardware report is of type {other}; known are 2 (SEV-SNP) and 4 (TDX)"),
    };
    let bound = data[..32] == Sha256::of(wrapped.claims).0;
    let claims = String::from_utf8_lossy(wrapped.claims).into_owned();
    Ok(Facts::default()
        .with("version", wrapped.version)
        .with("claims_bound_to_report", bound)
        .with(name, report)
        .with("claims", claims))
}
