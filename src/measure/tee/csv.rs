//! Hygon CSV of the first generation: the launch digest of a guest under Dragonball.
//! `docs/measure/csv.md`.
//!
//! One SM3 over what the VMM loads before the launch, in its order: boot firmware volume,
//! configuration firmware volume, kernel, command line, TD HOB, each filled with zeros.

use alloc::format;
use alloc::string::ToString as _;
use alloc::vec::Vec;

use crate::digest::Sm3;
use crate::measure::guest::{CMDLINE, KERNEL};
use crate::measure::machine::Kind;
use crate::measure::{Confidence, Error, File, Guest, Machine, Measurement, Register, Result};
use crate::measure::{Setting, Tee};

/// The row of Hygon CSV.
pub const CSV: Tee = Tee {
    name: "csv",
    about: "Hygon CSV, first generation, under Dragonball (from published source code only)",
    vmms: &["dragonball"],
    takes: &[GENERATION],
    reads: &[BFV, CFV, KERNEL, CMDLINE, TD_HOB],
    registers: &["measure"],
    expect,
};

const GENERATION: Setting = Setting {
    name: "generation",
    about: "Generation of the technology (default csv); how later ones measure is not public",
    kind: Kind::Choice(&["csv", "csv2", "csv3"]),
};
const BFV: File = File { name: "bfv", about: "Boot firmware volume, as it is loaded" };
const CFV: File = File { name: "cfv", about: "Configuration firmware volume, as it is loaded" };
const TD_HOB: File = File { name: "td-hob", about: "Hand-off blocks that the VMM writes" };

/// Bytes that each part is filled to a multiple of, or, where it has a place of its own, to.
const KERNEL_ALIGNMENT: usize = 16;
const CMDLINE_SIZE: usize = 4096;
const TD_HOB_SIZE: usize = 128 * 1024;

fn expect(guest: &Guest<'_>, machines: &[Machine]) -> Result<Vec<Measurement>> {
    machines.iter().map(|machine| one(guest, machine)).collect()
}

fn one(guest: &Guest<'_>, machine: &Machine) -> Result<Measurement> {
    if let Some(later @ ("csv2" | "csv3")) = machine.text(GENERATION.name) {
        return Err(Error::Unsupported {
            what: format!("the generation {later}"),
            why: "Hygon has not published how it measures a guest".to_string(),
        });
    }
    let part = |name: &'static str| {
        let why = format!("every part is measured; give --{name}");
        guest.file(name).ok_or(Error::Missing { tee: CSV.name, what: name, why })
    };
    let kernel = part(KERNEL.name)?;
    let digest = Sm3::of_parts([
        part(BFV.name)?,
        part(CFV.name)?,
        &filled(kernel, "kernel", kernel.len().next_multiple_of(KERNEL_ALIGNMENT))?,
        &filled(part(CMDLINE.name)?, "cmdline", CMDLINE_SIZE)?,
        &filled(part(TD_HOB.name)?, "td-hob", TD_HOB_SIZE)?,
    ]);
    let doubt = "one source alone describes this computation, and no hardware has confirmed it";
    Ok(Measurement {
        registers: [Register::new("measure", digest)].to_vec(),
        warnings: [doubt.to_string()].to_vec(),
        confidence: Confidence::Source,
        ..Measurement::default()
    })
}

fn filled(part: &[u8], name: &str, size: usize) -> Result<Vec<u8>> {
    if part.len() > size {
        return Err(Error::Setting {
            name: name.to_string(),
            found: format!("{} bytes", part.len()),
            expected: format!("at most {size} bytes"),
        });
    }
    let mut filled = part.to_vec();
    filled.resize(size, 0);
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest<'a>(hob: &'a [u8]) -> Guest<'a> {
        let others = [("bfv", &b"bfv"[..]), ("cfv", b"cfv"), ("td-hob", hob)].to_vec();
        Guest { kernel: Some(b"kernel"), cmdline: Some("quiet"), others, ..Guest::default() }
    }

    // `openssl dgst -sm3` over the parts, filled with zeros by a script.
    #[test]
    fn all_parts_are_measured_in_order() {
        let found = one(&guest(b"hob"), &Machine::default()).expect("measured");
        let expected = "dc01243bcf7244acc4c6d1adfa39e228b82620e1d2bec7dd087241bfa080df8d";
        assert_eq!(crate::digest::hex(&found.registers[0].value), expected);
        assert_eq!(found.confidence, Confidence::Source);
    }

    #[test]
    fn what_is_not_public_or_missing_or_too_large_is_refused() {
        let mut machine = Machine::default();
        let later = crate::measure::Value::Text("csv3".to_string());
        machine.settings.insert("generation".to_string(), later);
        let error = one(&guest(b""), &machine).unwrap_err().to_string();
        assert!(error.contains("Hygon has not published"), "{error}");
        let error = one(&Guest::default(), &Machine::default()).unwrap_err().to_string();
        assert!(error.starts_with("csv needs kernel: every part is measured"), "{error}");
        let large = alloc::vec![0; TD_HOB_SIZE + 1];
        let error = one(&guest(&large), &Machine::default()).unwrap_err().to_string();
        assert!(error.contains("td-hob: expected at most 131072 bytes"), "{error}");
    }
}
