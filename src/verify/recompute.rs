//! Do the reference values follow from the artifacts? Every machine measured again.

use crate::measure::{self, Guest};
use crate::reference::{Document, Machine};
use crate::verify::explain;

/// What became of the machines of a document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recomputed {
    /// Machines whose registers follow from the artifacts.
    pub same: usize,
    /// Registers that don't: machine, register, value in the document, value computed.
    pub other: Vec<String>,
    /// Machines that could not be measured, with the reason.
    pub unknown: Vec<String>,
}

/// Measures every machine of `document` from its files.
pub fn recompute<'a>(
    document: &Document,
    guest: &dyn Fn(&Machine) -> Option<Guest<'a>>,
) -> Recomputed {
    let mut found = Recomputed::default();
    for machine in &document.machines {
        match one(machine, guest) {
            Err(why) => found.unknown.push(format!("{}: {why}", machine.label())),
            Ok(other) if other.is_empty() => found.same += 1,
            Ok(other) => found.other.extend(other),
        }
    }
    found
}

fn one<'a>(
    machine: &Machine,
    guest: &dyn Fn(&Machine) -> Option<Guest<'a>>,
) -> Result<Vec<String>, String> {
    let tee = measure::tee(&machine.tee).map_err(|error| error.to_string())?;
    let launched = explain::machine(tee, machine).ok_or("its settings are not known here")?;
    let guest = guest(machine).ok_or("its files are not in the bundle")?;
    let measured = (tee.expect)(&read_by(tee, guest), &[launched]);
    let measured = measured.map_err(|error| error.to_string())?;
    let registers = measured.first().map(|one| one.registers.as_slice()).unwrap_or_default();
    let computed = |name: &str| {
        registers.iter().find(|r| r.name == name).map(|r| crate::digest::hex(&r.value))
    };
    let told = |(name, value): (&String, &String)| match computed(name) {
        Some(same) if same == *value => None,
        Some(other) => {
            Some(format!("{}: {name} is {value}, the artifacts give {other}", machine.label()))
        }
        None => Some(format!("{}: {name} does not follow from the artifacts", machine.label())),
    };
    Ok(machine.registers.iter().filter_map(told).collect())
}

/// Of the files of a build those that the TEE reads; others it would refuse or leave out.
fn read_by<'a>(tee: &measure::Tee, guest: Guest<'a>) -> Guest<'a> {
    let reads = |name: &str| tee.reads.iter().any(|file| file.name == name);
    Guest {
        firmware: guest.firmware.filter(|_| reads("firmware")),
        kernel: guest.kernel.filter(|_| reads("kernel")),
        initrd: guest.initrd.filter(|_| reads("initrd")),
        cmdline: guest.cmdline.filter(|_| reads("cmdline") && guest.kernel.is_some()),
        ..guest
    }
}
