//! Claims in JSON: what a verifier or a tool says that a TEE reported. Trustee's EAR tokens (JWT), its
//! claims of each TEE, AMD's report as the `sev` crate writes it, this tool's own documents.

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::Value;

use super::{Evidence, Piece};
use crate::digest::unhex;
use crate::reference::compare::Registers;
use crate::verify::inspect::Facts;
use crate::verify::signature::Signed;

/// Names of registers in claims, of trustee, Intel's and Microsoft's verifiers and of tools: TEE,
/// claim, register, bytes. Where one name is of several TEEs, the width tells.
const NAMES: &[(&str, &str, &str, &[usize])] = &[
    ("sev-snp", "measurement", "measurement", &[48]),
    ("sev-snp", "launch_measurement", "measurement", &[48]),
    ("sev-snp", "snp_launch_measurement", "measurement", &[48]),
    ("sev-es", "launch_digest", "launch_digest", &[32]),
    ("sev-snp", "x-ms-sevsnpvm-launchmeasurement", "measurement", &[48]),
    ("tdx", "mr_td", "mrtd", &[48]),
    ("tdx", "mrtd", "mrtd", &[48]),
    ("tdx", "rtmr_0", "rtmr0", &[48]),
    ("tdx", "rtmr_1", "rtmr1", &[48]),
    ("tdx", "rtmr_2", "rtmr2", &[48]),
    ("tdx", "rtmr_3", "rtmr3", &[48]),
    ("tdx", "rtmr0", "rtmr0", &[48]),
    ("tdx", "rtmr1", "rtmr1", &[48]),
    ("tdx", "rtmr2", "rtmr2", &[48]),
    ("tdx", "rtmr3", "rtmr3", &[48]),
    ("tdx", "tdx_mrtd", "mrtd", &[48]),
    ("tdx", "tdx_rtmr0", "rtmr0", &[48]),
    ("tdx", "tdx_rtmr1", "rtmr1", &[48]),
    ("tdx", "tdx_rtmr2", "rtmr2", &[48]),
    ("tdx", "tdx_rtmr3", "rtmr3", &[48]),
    ("tdx", "tdx_mrconfigid", "mrconfigid", &[48]),
    ("tdx", "mr_config_id", "mrconfigid", &[48]),
    ("tdx", "mrconfigid", "mrconfigid", &[48]),
    ("tdx", "mr_owner", "mrowner", &[48]),
    ("tdx", "mr_owner_config", "mrownerconfig", &[48]),
    ("sgx", "mr_enclave", "mrenclave", &[32]),
    ("sgx", "mrenclave", "mrenclave", &[32]),
    ("sgx", "sgx_mrenclave", "mrenclave", &[32]),
    ("sgx", "x-ms-sgx-mrenclave", "mrenclave", &[32]),
    ("sgx", "mr_signer", "mrsigner", &[32]),
    ("sgx", "mrsigner", "mrsigner", &[32]),
    ("se", "image_phkh", "image_phkh", &[32]),
    ("se", "attestation_phkh", "attestation_phkh", &[32]),
    ("se", "tag", "tag", &[16]),
    ("cca", "cca-realm-initial-measurement", "rim", &[32, 64]),
    ("cca", "cca_realm_initial_measurement", "rim", &[32, 64]),
    ("csv", "measure", "measure", &[32]),
];

/// Levels of claims within claims that are followed.
const MAX_DEPTH: usize = 24;

/// Three parts of base64url with dots between, the first an object: a JSON web token (RFC 7519).
pub(super) fn is_token(bytes: &[u8]) -> bool {
    let bytes = bytes.trim_ascii();
    bytes.starts_with(b"eyJ") && bytes.iter().filter(|byte| **byte == b'.').count() == 2
}

/// The claims of a token.
pub(super) fn token(bytes: &[u8]) -> anyhow::Result<Piece> {
    let text = std::str::from_utf8(bytes.trim_ascii()).context("the token is no text")?;
    let payload = text.split('.').nth(1).unwrap_or_default();
    let payload = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('='));
    let payload = payload.context("the token's payload is not base64url")?;
    let value: Value = serde_json::from_slice(&payload).context("the token holds no JSON")?;
    let why = "a token is the word of the verifier that signed it, whose key is not known here";
    read(&value, "attestation token (EAR)", why)
}

/// The claims of a JSON document.
pub(super) fn document(value: &Value) -> anyhow::Result<Piece> {
    read(value, "claims in JSON", "claims without the report that they come from are unsigned")
}

fn read(value: &Value, form: &'static str, why: &'static str) -> anyhow::Result<Piece> {
    if value["machines"].as_array().is_some_and(|machines| machines.len() > 1) {
        bail!("the document is of several machines; evidence is of one launch");
    }
    let stated = value["machines"][0]["tee"].as_str().or(value["tee"].as_str());
    let mut found = Vec::new();
    walk(value, "", MAX_DEPTH, &mut found);
    // Identities of Intel's quoting enclave name its signer, and are no evidence.
    let enclave = found.iter().any(|(_, name, _)| name == "mrenclave");
    found.retain(|(tee, _, _)| *tee != "sgx" || enclave);
    // PCRs of 48 bytes may be those of a Nitro enclave.
    let wide = |(tee, _, value): &&Claim| *tee == "vtpm" && value.len() == 48;
    let nitro: Vec<_> = found.iter().filter(wide).cloned().collect();
    found.extend(nitro.into_iter().map(|(_, name, value)| ("nitro", name, value)));
    // What may be of either is first taken for a virtual TPM's.
    let mut tees: Vec<_> = found.iter().map(|(tee, _, _)| *tee).collect();
    tees.sort_unstable_by_key(|tee| (*tee == "nitro", *tee));
    tees.dedup();
    let known = |name: &str| crate::measure::TEES.iter().find(|tee| tee.name == name);
    let pieces: Vec<_> = tees
        .into_iter()
        .map(|tee| {
            let own = found.iter().filter(|(of, _, _)| *of == tee);
            let registers: Registers = own.map(|(_, n, v)| (n.clone(), v.clone())).collect();
            let tee = match stated.and_then(known) {
                Some(stated) if registers.keys().all(|r| is_of(stated.registers, r)) => stated.name,
                _ => tee,
            };
            Evidence {
                tee,
                form,
                registers,
                facts: Facts::of_json(value),
                warnings: Vec::new(),
                log: None,
                signed: Signed::Unsigned(why),
            }
        })
        .collect();
    match pieces.is_empty() {
        true => {
            bail!("the JSON names no register of any TEE that is known (measurement, mr_td, …)")
        }
        false => Ok(Piece::Evidence(pieces)),
    }
}

fn is_of(registers: &[&str], name: &str) -> bool {
    registers.is_empty() || registers.contains(&name)
}

/// The PCRs in evidence of Azure or trustee: a list of values beside the quote of a TPM.
pub(super) fn pcrs(value: &Value) -> anyhow::Result<Piece> {
    let quotes = [&value["quote"]["pcrs"], &value["tpm_quote"]["pcrs"]];
    let list = quotes.iter().find_map(|list| list.as_array()).context("no PCRs")?;
    let values = list.iter().map(bytes).enumerate();
    let registers = values.map(|(number, value)| Some((format!("pcr{number}"), value?)));
    let registers: Option<Registers> = registers.collect();
    Ok(Piece::of(Evidence {
        tee: "vtpm",
        form: "PCRs of a TPM in JSON",
        registers: registers.context("a PCR is no list of bytes")?,
        facts: Facts::default(),
        warnings: Vec::new(),
        log: None,
        signed: Signed::Unsigned("the quote of the TPM is not checked here"),
    }))
}

type Claim = (&'static str, String, Vec<u8>);

/// Every claim with the name and width of a register; `section` is the claim around it.
fn walk(value: &Value, section: &str, depth: usize, found: &mut Vec<Claim>) {
    let Some(deeper) = depth.checked_sub(1) else { return };
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match claim(section, name, value) {
                    Some(claim) => found.push(claim),
                    None => walk(value, name, deeper, found),
                }
            }
        }
        Value::Array(items) if items.first().is_none_or(|item| !item.is_number()) => {
            items.iter().for_each(|item| walk(item, section, deeper, found));
        }
        _ => {}
    }
}

fn claim(section: &str, name: &str, value: &Value) -> Option<Claim> {
    let lower = name.to_ascii_lowercase();
    // Claims of Secure Execution are also met with their section in the name.
    let bare = lower.rsplit('.').next().unwrap_or(&lower);
    let row = NAMES.iter().find(|(tee, claim, _, _)| {
        *claim == bare && (!matches!(*claim, "tag" | "measure") || section == *tee || lower != bare)
    });
    if let Some((tee, _, register, widths)) = row {
        let bytes = bytes(value).filter(|bytes| widths.contains(&bytes.len()))?;
        return Some((*tee, (*register).to_string(), bytes));
    }
    let number: u32 = bare.strip_prefix("pcr")?.parse().ok().filter(|n| *n < 24)?;
    let bytes = bytes(value).filter(|bytes| [20, 32, 48, 64].contains(&bytes.len()))?;
    Some(("vtpm", format!("pcr{number}"), bytes))
}

/// Bytes as JSON carries them: hexadecimal, base64 of any kind, or a list of numbers.
pub(super) fn bytes(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::String(text) => {
            let text = text.trim();
            let bare = text.trim_end_matches('=');
            let base64 =
                || STANDARD_NO_PAD.decode(bare).or_else(|_| URL_SAFE_NO_PAD.decode(bare)).ok();
            let hex = text.strip_prefix("0x").unwrap_or(text);
            unhex(hex).ok().filter(|bytes| !bytes.is_empty()).or_else(base64)
        }
        Value::Array(items) => items.iter().map(|item| u8::try_from(item.as_u64()?).ok()).collect(),
        _ => None,
    }
}
