//! Seam 2: one extend of a run-time register.
//!
//! Firmware, boot loader and kernel extend registers event by event; the same sequence, mapped to
//! other registers, gives TDX RTMRs and TPM PCRs. [`Step`] is an event before that map, with its
//! digests in all banks; [`Event`] is what comes out.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec;
use alloc::vec::Vec;

use super::Register;
use crate::format::eventlog::{Algorithm, kind_name};

/// One extend step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Register that is extended: `rtmr1`, `pcr4`, ….
    pub register: String,
    /// Type, by its TCG name: `EV_EFI_BOOT_SERVICES_APPLICATION`.
    pub kind: String,
    /// Digest that is extended, as wide as the register.
    pub digest: Vec<u8>,
    /// What was measured, in words.
    pub what: String,
}

/// An event of a boot, before a TEE maps it to its registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// PCR, by the TCG PC Client Platform Firmware Profile.
    pub pcr: u32,
    /// Type, a constant of [`crate::format::eventlog`].
    pub kind: u32,
    /// What was measured, in words.
    pub what: String,
    /// Its digests.
    pub digests: Digests,
}

/// Digests of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Digests {
    /// By bank.
    Known(BTreeMap<Algorithm, Vec<u8>>),
    /// They cannot be told beforehand; why, and what would help.
    Unknown(String),
}

/// Makes steps with digests in the banks that are asked for.
#[derive(Debug, Clone)]
pub struct Banks(Vec<Algorithm>);

impl Banks {
    /// These banks.
    pub fn new(mut algorithms: Vec<Algorithm>) -> Self {
        algorithms.sort();
        algorithms.dedup();
        Self(algorithms)
    }

    /// Digests of the concatenation of `parts`.
    pub fn digests(&self, parts: &[&[u8]]) -> Digests {
        let digest = |bank: &Algorithm| (*bank, bank.digest(parts.iter().copied()));
        Digests::Known(self.0.iter().map(digest).collect())
    }

    /// An event that hashes `bytes`.
    pub fn step(&self, pcr: u32, kind: u32, what: impl Into<String>, bytes: &[u8]) -> Step {
        Step { pcr, kind, what: what.into(), digests: self.digests(&[bytes]) }
    }
}

impl Step {
    /// An event whose digests cannot be told, and why.
    pub fn unknown(pcr: u32, kind: u32, what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { pcr, kind, what: what.into(), digests: Digests::Unknown(why.into()) }
    }

    /// The digest by `bank`, if it is known.
    pub fn digest(&self, bank: Algorithm) -> Option<&[u8]> {
        match &self.digests {
            Digests::Known(digests) => digests.get(&bank).map(Vec::as_slice),
            Digests::Unknown(_) => None,
        }
    }
}

/// Registers after a sequence of steps.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Folded {
    /// Registers in the order asked for; one with an unknown event is left out.
    pub registers: Vec<Register>,
    /// Every known event of the registers asked for, in order.
    pub events: Vec<Event>,
    /// Why registers are left out.
    pub warnings: Vec<String>,
}

/// Folds `steps` into the registers called `names`. `register` maps a step to a register's name;
/// steps that it maps to none, or to a register not asked for, are passed over.
pub fn fold(
    steps: &[Step],
    bank: Algorithm,
    names: &[&str],
    register: impl Fn(&Step) -> Option<String>,
) -> Folded {
    let mut values: BTreeMap<String, Option<Vec<u8>>> =
        names.iter().map(|name| (name.to_string(), Some(vec![0; bank.width()]))).collect();
    let mut folded = Folded::default();
    for step in steps {
        let Some(name) = register(step) else { continue };
        let Some(value) = values.get_mut(&name) else { continue };
        match step.digest(bank) {
            Some(digest) => {
                *value = value.take().map(|value| bank.extend(&value, digest));
                let (kind, digest) = (kind_name(step.kind), digest.to_vec());
                let what = step.what.clone();
                folded.events.push(Event { register: name, kind, digest, what });
            }
            None => {
                *value = None;
                let Digests::Unknown(why) = &step.digests else { continue };
                let event = format!("{} ({})", kind_name(step.kind), step.what);
                folded
                    .warnings
                    .push(format!("{name} is left out: its event {event} is unknown: {why}"));
            }
        }
    }
    for name in names {
        if let Some(Some(value)) = values.remove(*name) {
            folded.registers.push(Register::new(name, value));
        }
    }
    folded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::eventlog::{EV_EFI_ACTION, EV_SEPARATOR};

    #[test]
    fn a_register_with_an_unknown_event_is_left_out_with_its_reason() {
        let banks = Banks::new(vec![Algorithm::Sha256]);
        let steps = [
            banks.step(4, EV_SEPARATOR, "separator", &[0; 4]),
            Step::unknown(1, EV_EFI_ACTION, "tables", "give them"),
            banks.step(1, EV_SEPARATOR, "separator", &[0; 4]),
        ];
        let register = |step: &Step| Some(format!("pcr{}", step.pcr));
        let folded = fold(&steps, Algorithm::Sha256, &["pcr1", "pcr4", "pcr5"], register);
        let names: Vec<_> = folded.registers.iter().map(|r| r.name.as_str()).collect();
        assert_eq!(names, ["pcr4", "pcr5"]);
        assert_eq!(folded.events.len(), 2);
        assert!(folded.warnings[0].starts_with("pcr1 is left out: its event EV_EFI_ACTION"));
        let separator = Algorithm::Sha256.digest([&[0; 4][..]]);
        let value = Algorithm::Sha256.extend(&[0; 32], &separator);
        assert_eq!(folded.registers[0].value, value);
        assert_eq!(folded.registers[1].value, [0; 32]);
    }
}
