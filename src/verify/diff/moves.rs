//! Which registers move because of which change: measured, by putting one input of the new build
//! after the other in the place of the old one; and, without builds, by what each TEE measures.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::measure::{self, Guest, Tee};
use crate::reference::{Document, Machine};
use crate::verify::explain;

/// An input that changed, and the registers that hold something else because of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Cause {
    /// The input: `kernel`, `cmdline`.
    pub input: String,
    /// The TEE.
    pub tee: String,
    /// Machines that it holds for.
    pub machines: usize,
    /// Registers.
    pub registers: Vec<String>,
}

/// Inputs of a guest that a build makes.
const INPUTS: &[&str] = &["firmware", "kernel", "initrd", "cmdline"];

/// A build: its document and the files of each of its machines.
pub struct Build<'a> {
    /// The canonical document.
    pub document: &'a Document,
    /// Files of a machine.
    pub guest: &'a dyn Fn(&Machine) -> Option<Guest<'a>>,
}

/// The same machine, before and after.
type Pair<'a> = (&'a Machine, &'a Machine);

/// Measures the machines of both builds with one input of the new one at a time.
pub fn causes(before: &Build<'_>, after: &Build<'_>) -> Vec<Cause> {
    let mut found: BTreeMap<(String, String, Vec<String>), usize> = BTreeMap::new();
    let mut groups: BTreeMap<(&str, Option<&str>), Vec<Pair<'_>>> = BTreeMap::new();
    for machine in &before.document.machines {
        let same = |other: &&Machine| other.label() == machine.label();
        if let Some(other) = after.document.machines.iter().find(same) {
            let key = (machine.tee.as_str(), machine.firmware.as_deref());
            groups.entry(key).or_default().push((machine, other));
        }
    }
    for ((name, _), pairs) in groups {
        let Ok(tee) = measure::tee(name) else { continue };
        let guests = || Some(((before.guest)(pairs[0].0)?, (after.guest)(pairs[0].1)?));
        let Some((old, new)) = guests() else { continue };
        for input in INPUTS.iter().filter(|input| old.file(input) != new.file(input)) {
            for registers in moved(tee, &replaced(&old, &new, input), &pairs) {
                *found.entry(((*input).into(), name.into(), registers)).or_default() += 1;
            }
        }
    }
    let cause = |((input, tee, registers), machines)| Cause { input, tee, machines, registers };
    found.into_iter().map(cause).collect()
}

/// `old` with the file `input` of `new`.
fn replaced<'a>(old: &Guest<'a>, new: &Guest<'a>, input: &str) -> Guest<'a> {
    let mut guest = old.clone();
    match guest.place(input) {
        Some(place) => *place = new.file(input),
        None => guest.cmdline = new.cmdline,
    }
    guest
}

/// For each machine the registers of `guest` that are not those that its document has.
fn moved(tee: &Tee, guest: &Guest<'_>, pairs: &[Pair<'_>]) -> Vec<Vec<String>> {
    let machines: Vec<_> = pairs.iter().filter_map(|(old, _)| explain::machine(tee, old)).collect();
    let Ok(measured) = (tee.expect)(guest, &machines) else { return Vec::new() };
    let names = |(found, (old, _)): (&measure::Measurement, &Pair<'_>)| {
        let other = |r: &&measure::Register| {
            old.registers.get(&r.name).is_some_and(|v| *v != crate::digest::hex(&r.value))
        };
        found.registers.iter().filter(other).map(|r| r.name.clone()).collect::<Vec<_>>()
    };
    let all = measured.iter().zip(pairs).map(names);
    all.filter(|registers| !registers.is_empty()).collect()
}

/// What each TEE measures of an input: TEE, input, registers (`docs/measure/`).
const MEASURES: &[(&str, &str, &str)] = &[
    ("sev-snp", "firmware kernel initrd cmdline igvm", "measurement"),
    ("sev", "firmware kernel initrd cmdline", "launch_digest"),
    ("sev-es", "firmware kernel initrd cmdline", "launch_digest"),
    ("tdx", "firmware", "mrtd rtmr0"),
    ("tdx", "kernel", "rtmr1"),
    ("tdx", "uki", "rtmr1 rtmr2"),
    ("tdx", "initrd cmdline", "rtmr2"),
    ("vtpm", "firmware", "pcr0 pcr1 pcr7"),
    ("vtpm", "kernel", "pcr4"),
    ("vtpm", "uki", "pcr4 pcr9 pcr11"),
    ("vtpm", "initrd", "pcr9"),
    // Of a unified kernel image PCR 12 holds what the command line has from outside it.
    ("vtpm", "cmdline", "pcr9 pcr12"),
    ("nitro", "enclave-image", "pcr0 pcr1 pcr2"),
    ("nitro", "kernel cmdline", "pcr0 pcr1"),
    ("nitro", "initrd", "pcr0"),
    ("se", "se-image kernel initrd cmdline", "tag"),
    ("cca", "firmware kernel initrd cmdline", "rim"),
    ("sgx", "sgx-enclave", "mrenclave"),
];

/// What moves when one of `inputs` changes, for all TEEs or for `tees`.
pub fn expected(inputs: &BTreeSet<String>, tees: Option<&BTreeSet<String>>) -> Vec<Cause> {
    let mut found = Vec::new();
    for (tee, measured, registers) in MEASURES {
        if tees.is_some_and(|tees| !tees.contains(*tee)) {
            continue;
        }
        for input in measured.split(' ').filter(|input| inputs.contains(*input)) {
            found.push(Cause {
                input: input.to_string(),
                tee: (*tee).to_string(),
                machines: 0,
                registers: registers.split(' ').map(str::to_string).collect(),
            });
        }
    }
    found.sort();
    found
}
