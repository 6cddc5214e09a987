//! TDX quotes and TDREPORTs, in words.

use super::Facts;
use crate::format::tdx_quote::{self, Td};

pub(super) fn inspect_quote(bytes: &[u8]) -> anyhow::Result<Facts> {
    let quote = tdx_quote::parse(bytes)?;
    let key = match quote.key_type {
        2 => "ECDSA P-256 with SHA-256".to_string(),
        3 => "ECDSA P-384 with SHA-384".to_string(),
        other => format!("type {other}"),
    };
    let certificates = quote.pem.map_or(0, |pem| pem.matches("BEGIN CERTIFICATE").count());
    Ok(Facts::default()
        .with("version", u32::from(quote.version))
        .with("td", facts(&quote.td))
        .with("attestation_key", key)
        .with("certificates", certificates)
        .with("signature", "not checked here")
        .with("warnings", warnings(&quote.td)))
}

pub(super) fn inspect_report(bytes: &[u8]) -> anyhow::Result<Facts> {
    let report = tdx_quote::parse_report(bytes)?;
    let mut warnings = warnings(&report.td);
    if !report.is_consistent {
        warnings.push("the digests in the report are not those of its parts".to_string());
    }
    Ok(Facts::default()
        .with("td", facts(&report.td))
        .with("consistent", report.is_consistent)
        .with("authentication", "by a MAC that only the same machine can check")
        .with("warnings", warnings))
}

/// All that a TD reports.
pub(crate) fn facts(td: &Td) -> Facts {
    let service = td.service.as_ref();
    Facts::default()
        .with_bytes("mrtd", &td.mr_td)
        .with_bytes("rtmr0", &td.rtmr[0])
        .with_bytes("rtmr1", &td.rtmr[1])
        .with_bytes("rtmr2", &td.rtmr[2])
        .with_bytes("rtmr3", &td.rtmr[3])
        .with_bytes("mrconfigid", &td.mr_config_id)
        .with_bytes("mrowner", &td.mr_owner)
        .with_bytes("mrownerconfig", &td.mr_owner_config)
        .with_bytes("report_data", &td.report_data)
        .with("attributes", bits(td.attributes, ATTRIBUTES))
        .with("xfam", bits(td.xfam, XFAM))
        .with_bytes("tee_tcb_svn", &td.tee_tcb_svn)
        .with_bytes("mrseam", &td.mr_seam)
        .with_bytes("mrsignerseam", &td.mr_signer_seam)
        .with_bytes("seam_attributes", &td.seam_attributes)
        .with_some("tee_tcb_svn_2", service.map(|(svn, _)| crate::digest::hex(svn)))
        .with_some("mrservicetd", service.map(|(_, mr)| crate::digest::hex(mr)))
}

/// What a verifier should not accept without a thought.
pub(crate) fn warnings(td: &Td) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut warn = |when: bool, text: &str| {
        if when {
            warnings.push(text.to_string());
        }
    };
    warn(td.attributes & 0xff != 0, "attributes: the TD is under debug, the host can read it");
    warn(td.attributes >> 28 & 1 == 0, "attributes: SEPT_VE_DISABLE is off (older Linux needs it)");
    warn(td.attributes >> 29 & 1 == 1, "attributes: the TD is migratable");
    warn(td.mr_signer_seam != [0; 48], "the TDX module is not signed by Intel");
    warn(td.seam_attributes != [0; 8], "the TDX module has attributes: it may be a debug build");
    warn(td.rtmr == [[0; 48]; 4], "all run-time registers are zero: nothing was measured at boot");
    warnings
}

/// ATTRIBUTES: Intel TDX Module ABI Specification 348551, table «TD ATTRIBUTES Definition».
const ATTRIBUTES: &[(u32, &str)] = &[
    (0, "DEBUG"),
    (4, "HGS_PLUS_PROF"),
    (5, "PERF_PROF"),
    (6, "PMT_PROF"),
    (16, "ICSSD"),
    (24, "LASS"),
    (28, "SEPT_VE_DISABLE"),
    (29, "MIGRATABLE"),
    (30, "PKS"),
    (31, "KL"),
    (62, "TPA"),
    (63, "PERFMON"),
];

/// XFAM: the layout of XCR0 and IA32_XSS, Intel SDM volume 1 section 13.1.
const XFAM: &[(u32, &str)] = &[
    (0, "x87"),
    (1, "SSE"),
    (2, "AVX"),
    (5, "AVX-512 opmask"),
    (6, "AVX-512 ZMM_Hi256"),
    (7, "AVX-512 Hi16_ZMM"),
    (8, "PT"),
    (9, "PKU"),
    (11, "CET user"),
    (12, "CET supervisor"),
    (14, "UINTR"),
    (15, "LBR"),
    (17, "AMX configuration"),
    (18, "AMX data"),
];

fn bits(value: u64, names: &[(u32, &str)]) -> String {
    let name = |n: u32| match names.iter().find(|(bit, _)| *bit == n) {
        Some((_, name)) => (*name).to_string(),
        None => format!("bit {n}"),
    };
    let set: Vec<_> = (0..64).filter(|n| value >> n & 1 == 1).map(name).collect();
    format!("{value:#x} ({})", set.join(", "))
}
