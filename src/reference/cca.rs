//! Endorsements of Arm CCA realms for the verifier of CoCo trustee: member `realm` of the store that
//! veraison's rust-ccatoken reads (`src/store/realmrefvalue.rs`). The platform's part belongs to
//! whoever makes the platform.

use serde_json::{Value, json};

use super::emitter::pretty;
use super::{Document, Emitted, Emitter, Error, Machine, Result};

/// The row of this form.
pub(super) const EMITTER: Emitter = Emitter {
    name: "cca-store",
    about: "realm endorsements for trustee's CCA verifier",
    file: "rvstore.json",
    media_type: "application/json",
    make: |document, _| emit(document),
};

/// Hexadecimal digits of a realm's personalization value (RMM 1.0, realm parameters: 64 bytes).
const RPV_DIGITS: usize = 2 * 64;

fn emit(document: &Document) -> Result<Emitted> {
    let realms: Vec<_> = document.of_tee("cca").map(realm).collect::<Result<_>>()?;
    if realms.is_empty() {
        let why = "the store holds Arm CCA realms, and this document has no `cca` machine";
        return Err(Error::Empty { what: "realms".into(), why: why.into() });
    }
    let warning = "`platform` is empty: take the platform's endorsements from its maker";
    let content = pretty(&json!({"platform": [], "realm": realms}))?;
    Ok(Emitted { content, warnings: vec![warning.to_string()] })
}

/// One good state. Measurements are as wide as the realm's hash: the store compares them whole with
/// the token's. A register that nothing extends stays zero.
fn realm(machine: &Machine) -> Result<Value> {
    let rim = machine.registers.get("rim").ok_or_else(|| Error::Empty {
        what: format!("`rim` of {}", machine.label()),
        why: "a realm is known by its initial measurement".to_string(),
    })?;
    let hash = if rim.len() == 64 { "sha-256" } else { "sha-512" };
    let or_zero = |name: &str, digits: usize| {
        machine.registers.get(name).cloned().unwrap_or_else(|| "0".repeat(digits))
    };
    let rems = ["rem0", "rem1", "rem2", "rem3"].map(|rem| or_zero(rem, rim.len()));
    Ok(json!({
        "initial-measurement": rim,
        "rak-hash-algorithm": hash,
        "extensible-measurements": rems,
        "personalization-value": or_zero("rpv", RPV_DIGITS),
    }))
}
