//! SEV-SNP reports, raw or wrapped by Azure.

use anyhow::bail;

use super::{Evidence, Piece, tdx};
use crate::digest::{Sha256, hex};
use crate::format::{hcl_report, snp_report};
use crate::verify::inspect::{self, Fact};
use crate::verify::signature::Signed;

pub(super) fn report(bytes: &[u8]) -> anyhow::Result<Piece> {
    let report = snp_report::parse(bytes)?;
    let (own, table) = bytes.split_at(snp_report::SIZE);
    let certificates = snp_report::certificates(table).unwrap_or_default();
    let known = certificates.iter().filter(|certificate| certificate.is_known());
    let certificates = known.map(|certificate| certificate.der.to_vec()).collect();
    Ok(Piece::of(Evidence {
        tee: "sev-snp",
        form: "SEV-SNP attestation report",
        registers: [("measurement".to_string(), report.measurement.to_vec())].into(),
        facts: inspect::snp::facts(&report),
        warnings: inspect::snp::warnings(&report),
        log: None,
        signed: Signed::Snp { report: own.to_vec(), certificates },
    }))
}

pub(super) fn wrapped(bytes: &[u8]) -> anyhow::Result<Piece> {
    let wrapped = hcl_report::parse(bytes)?;
    let piece = match wrapped.kind {
        2 => report(wrapped.hardware),
        4 => tdx::report(wrapped.hardware),
        other => bail!("the wrapped hardware report is of type {other}; known are 2 and 4"),
    };
    let Piece::Evidence(mut all) = piece? else { bail!("the wrapping holds no report") };
    for evidence in &mut all {
        let bound = evidence.facts.get("report_data") == Some(&bound(wrapped.claims));
        evidence.facts = std::mem::take(&mut evidence.facts).with("claims_bound", bound);
        if !bound {
            let text = "the paravisor's claims are not those that the report is bound to: the \
                        keys in them prove nothing";
            evidence.warnings.push(text.to_string());
        }
    }
    Ok(Piece::Evidence(all))
}

/// REPORTDATA of a report that is bound to `claims`: their SHA-256, zeros behind it.
fn bound(claims: &[u8]) -> Fact {
    let mut data = Sha256::of(claims).0.to_vec();
    data.resize(64, 0);
    hex(&data).into()
}
