//! SEV-SNP attestation reports, in words.

use super::Facts;
use crate::digest::hex;
use crate::format::snp_report::{self, Report, Tcb};

pub(super) fn inspect(bytes: &[u8]) -> anyhow::Result<Facts> {
    let report = snp_report::parse(bytes)?;
    let table = bytes.get(snp_report::SIZE..).unwrap_or_default();
    let certificates = snp_report::certificates(table)?;
    let names: Vec<_> = certificates.iter().map(|certificate| certificate.name()).collect();
    Ok(facts(&report).with("certificates", names).with("warnings", warnings(&report)))
}

/// All that a report says.
pub(crate) fn facts(report: &Report) -> Facts {
    let turin = report.is_turin();
    let cpuid = report.cpuid.map(|[family, model, stepping]| {
        format!("family {family:#x}, model {model:#x}, stepping {stepping:#x}")
    });
    let version = |[major, minor, build]: [u8; 3]| format!("{major}.{minor}.{build}");
    Facts::default()
        .with("version", report.version)
        .with_bytes("measurement", &report.measurement)
        .with("policy", policy(report.policy))
        .with("vmpl", vmpl(report.vmpl))
        .with_bytes("report_data", &report.report_data)
        .with_bytes("host_data", &report.host_data)
        .with_bytes("id_key_digest", &report.id_key_digest)
        .with_bytes("author_key_digest", &report.author_key_digest)
        .with_bytes("family_id", &report.family_id)
        .with_bytes("image_id", &report.image_id)
        .with("guest_svn", report.guest_svn)
        .with("platform_info", platform(report.platform_info))
        .with_some("processor", cpuid)
        .with("firmware", version(report.current))
        .with("firmware_committed", version(report.committed))
        .with("tcb_current", tcb(report.current_tcb, turin))
        .with("tcb_reported", tcb(report.reported_tcb, turin))
        .with("tcb_committed", tcb(report.committed_tcb, turin))
        .with("tcb_launch", tcb(report.launch_tcb, turin))
        .with_some("mitigations_launch", report.launch_mit_vector.map(|v| format!("{v:#x}")))
        .with_some("mitigations_current", report.current_mit_vector.map(|v| format!("{v:#x}")))
        .with_bytes("chip_id", &report.chip_id)
        .with_bytes("report_id", &report.report_id)
        .with("signing_key", signing_key(report.signing_key()))
        .with("signature", "not checked here")
}

/// What a verifier should not accept without a thought.
pub(crate) fn warnings(report: &Report) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut warn = |when: bool, text: &str| {
        if when {
            warnings.push(text.to_string());
        }
    };
    let policy = report.policy;
    warn(policy & DEBUG != 0, "policy allows debugging: the host can read the guest's memory");
    warn(policy & MIGRATE_MA != 0, "policy allows a migration agent to move the guest");
    warn(report.vmpl == u32::MAX, "the host asked for this report, not the guest");
    warn(report.signature_algo != 1, "the signature's algorithm is not ECDSA P-384 with SHA-384");
    warn(report.signing_key() == 7, "the report is not signed");
    warn(report.measurement == [0; 48], "the measurement is zero");
    warn(
        report.reported_tcb != report.current_tcb,
        "the reported TCB differs from the current one: the platform was updated and the host \
         still signs with the old key",
    );
    warnings
}

const MIGRATE_MA: u64 = 1 << 18;
const DEBUG: u64 = 1 << 19;

/// GUEST_POLICY: AMD 56860 section 4.3.
pub(crate) fn policy(policy: u64) -> Facts {
    let bit = |n: u32| policy >> n & 1 == 1;
    Facts::default()
        .with("value", format!("{policy:#x}"))
        .with("minimum_abi", format!("{}.{}", policy >> 8 & 0xff, policy & 0xff))
        .with("smt_allowed", bit(16))
        .with("migration_agent_allowed", bit(18))
        .with("debug_allowed", bit(19))
        .with("single_socket_required", bit(20))
        .with("cxl_allowed", bit(21))
        .with("aes_256_xts_required", bit(22))
        .with("rapl_disabled_required", bit(23))
        .with("ciphertext_hiding_required", bit(24))
        .with("page_swap_disabled", bit(25))
}

/// PLATFORM_INFO: AMD 56860, table «PLATFORM_INFO Field».
fn platform(info: u64) -> Facts {
    let bit = |n: u32| info >> n & 1 == 1;
    Facts::default()
        .with("value", format!("{info:#x}"))
        .with("smt", bit(0))
        .with("transparent_sme", bit(1))
        .with("ecc", bit(2))
        .with("rapl_disabled", bit(3))
        .with("ciphertext_hiding", bit(4))
        .with("alias_check_complete", bit(5))
        .with("trusted_io", bit(7))
}

fn tcb(tcb: Tcb, turin: bool) -> String {
    let parts = tcb.parts(turin);
    let parts: Vec<_> = parts.iter().map(|(name, value)| format!("{name} {value}")).collect();
    format!("{} ({})", parts.join(", "), hex(&tcb.0))
}

fn vmpl(vmpl: u32) -> String {
    match vmpl {
        u32::MAX => "none: asked for by the host".to_string(),
        level => level.to_string(),
    }
}

fn signing_key(key: u64) -> String {
    match key {
        0 => "VCEK (the chip's own)".to_string(),
        1 => "VLEK (the cloud's)".to_string(),
        7 => "none".to_string(),
        other => format!("reserved value {other}"),
    }
}
