//! TDX quotes and TDREPORTs.

use super::{Evidence, Piece};
use crate::format::tdx_quote::{self, Td};
use crate::verify::inspect;
use crate::verify::signature::Signed;

pub(super) fn quote(bytes: &[u8]) -> anyhow::Result<Piece> {
    let quote = tdx_quote::parse(bytes)?;
    let signed = Signed::Intel(bytes.to_vec());
    Ok(Piece::of(evidence(&quote.td, "TDX quote", signed)))
}

pub(super) fn report(bytes: &[u8]) -> anyhow::Result<Piece> {
    // Azure keeps more room for a report than a TDREPORT fills.
    let bytes = bytes.get(..tdx_quote::TDREPORT_SIZE).unwrap_or(bytes);
    let report = tdx_quote::parse_report(bytes)?;
    let why = "a TDREPORT carries a MAC that only the machine it comes from can check";
    let mut evidence = evidence(&report.td, "TDREPORT", Signed::Unsigned(why));
    if !report.is_consistent {
        let text = "the digests in the TDREPORT are not those of its parts: it was altered";
        evidence.warnings.push(text.to_string());
    }
    Ok(Piece::of(evidence))
}

fn evidence(td: &Td, form: &'static str, signed: Signed) -> Evidence {
    let rtmr = td.rtmr.iter().zip(0..).map(|(value, n)| (format!("rtmr{n}"), value.to_vec()));
    let fixed = [
        ("mrtd", td.mr_td),
        ("mrconfigid", td.mr_config_id),
        ("mrowner", td.mr_owner),
        ("mrownerconfig", td.mr_owner_config),
    ];
    let fixed = fixed.map(|(name, value)| (name.to_string(), value.to_vec()));
    Evidence {
        tee: "tdx",
        form,
        registers: rtmr.chain(fixed).collect(),
        facts: inspect::tdx::facts(td),
        warnings: inspect::tdx::warnings(td),
        log: None,
        signed,
    }
}
