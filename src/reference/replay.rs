//! Registers against the events behind them: RTMR1 of one build beside the events of another is no set.

use std::collections::BTreeMap;

use super::{Error, Machine, Result};
use crate::digest::{hex, unhex};
use crate::format::eventlog::Algorithm;

/// By which algorithm registers of `machine` are extended, each from zeros: TDX (TDX module ABI,
/// TDG.MR.RTMR.EXTEND), Nitro (NSM's PCRs) and the bank of a virtual TPM (TPM 2.0 library, part 1,
/// section 17.2). Others have no events, or extend by a hash that the document does not name.
fn algorithm(machine: &Machine) -> Option<Algorithm> {
    match machine.tee.as_str() {
        "tdx" | "nitro" => Some(Algorithm::Sha384),
        "vtpm" => match machine.settings.get("bank") {
            Some(bank) => Algorithm::of_name(bank),
            None => Some(Algorithm::Sha256),
        },
        _ => None,
    }
}

/// Checks that every register that has events is what they give.
///
/// # Errors
/// The first register that is something else.
pub(super) fn check(machine: &Machine) -> Result<()> {
    let Some(algorithm) = algorithm(machine) else { return Ok(()) };
    let mut replayed: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    for event in &machine.events {
        let digest = unhex(&event.digest).unwrap_or_default();
        if digest.len() != algorithm.width() {
            return Err(Error::Value {
                what: format!("{}: event {}", machine.label(), event.what),
                expected: format!("{} hexadecimal digits", 2 * algorithm.width()),
                found: format!("`{}`", event.digest),
            });
        }
        let value = replayed.entry(&event.register).or_insert_with(|| vec![0; algorithm.width()]);
        *value = algorithm.extend(value, &digest);
    }
    for (register, value) in replayed {
        let given = machine.registers.get(register).filter(|given| **given != hex(&value));
        if let Some(given) = given {
            return Err(Error::Conflict {
                what: format!("{}: {register}", machine.label()),
                first: format!("{given} as stated"),
                second: format!("{} by its events", hex(&value)),
                why: "values of two builds are mixed, or one was changed",
            });
        }
    }
    Ok(())
}
