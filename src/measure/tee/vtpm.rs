//! A virtual TPM: PCRs 0 to 15 as OVMF, systemd-stub and Linux extend them. `docs/measure/vtpm.md`.

use alloc::format;
use alloc::string::ToString as _;
use alloc::vec;
use alloc::vec::Vec;

use crate::format::eventlog::{Algorithm, EV_EVENT_TAG};
use crate::measure::event::{self, Digests, Step};
use crate::measure::guest::{CMDLINE, DISK, FIRMWARE, INITRD, KERNEL, VARS};
use crate::measure::initdata::{self, INITDATA};
use crate::measure::machine::{Kind, MEMORY, Setting, VCPUS};
use crate::measure::uefi::{Boot, NO_BOOT_SECRET, Trust};
use crate::measure::{Confidence, Error, File, Guest, Machine, Measurement, Result, Tee, linux};

/// Files of fw_cfg: ACPI tables, boot order and SMBIOS, for one machine or several.
pub const ACPI: File = File {
    name: "acpi",
    about: "fw_cfg files of the VMM: a directory, or a bundle of several machines'",
};

/// The bank of the PCRs.
const BANK: Setting = Setting {
    name: "bank",
    about: "Banks, one result each: sha1, sha256, sha384, sha512 or sm3 (sha256 where not given)",
    kind: Kind::Choice(&["sha1", "sha256", "sha384", "sha512", "sm3"]),
};

/// The release of edk2 that the firmware was made of.
pub const EPOCH: Setting = Setting {
    name: "firmware-epoch",
    about: "edk2-stable release whose event layout the firmware has, where its volumes mislead",
    kind: Kind::Choice(crate::measure::uefi::EPOCHS),
};

/// Boot phases of systemd.
pub const PHASE: Setting = Setting {
    name: "phase",
    about: "Boot phases of systemd up to which PCR 11 is extended: enter-initrd:leave-initrd",
    kind: Kind::Text,
};

/// The row of the table of TEEs.
pub const VTPM: Tee = Tee {
    name: "vtpm",
    about: "virtual TPM: PCRs of measured boot",
    vmms: &["qemu"],
    takes: &[VCPUS, MEMORY, BANK, EPOCH, PHASE, NO_BOOT_SECRET],
    reads: &[FIRMWARE, VARS, KERNEL, INITRD, CMDLINE, DISK, ACPI, INITDATA],
    registers: PCRS,
    expect,
};

/// PCRs that firmware and boot loaders extend.
const PCRS: &[&str] = &[
    "pcr0", "pcr1", "pcr2", "pcr3", "pcr4", "pcr5", "pcr6", "pcr7", "pcr8", "pcr9", "pcr10",
    "pcr11", "pcr12", "pcr13", "pcr14", "pcr15",
];

fn expect(guest: &Guest<'_>, machines: &[Machine]) -> Result<Vec<Measurement>> {
    let banks = machines.iter().map(bank).collect();
    let mut boots: Vec<(Option<&str>, Boot<'_>)> = Vec::new();
    let mut found = Vec::new();
    for machine in machines {
        let epoch = machine.text(EPOCH.name);
        let known = boots.iter().position(|(known, _)| *known == epoch);
        let index = match known {
            Some(index) => index,
            None => {
                let trust = Trust::default();
                boots.push((epoch, Boot::new(guest, epoch, Vec::clone(&banks), trust)?));
                boots.len() - 1
            }
        };
        let Some((_, boot)) = boots.get_mut(index) else { continue };
        let mut steps = boot.steps(machine)?;
        steps.extend(bound(guest, bank(machine))?);
        let register = |step: &Step| Some(format!("pcr{}", step.pcr));
        let folded = event::fold(&steps, bank(machine), PCRS, register);
        let mut warnings = notes(boot);
        warnings.extend(folded.warnings);
        warnings.extend(linux::doubts(guest).into_iter().chain(boot.doubt("PCR 9", machine)));
        found.push(Measurement {
            registers: folded.registers,
            parts: vec![],
            events: folded.events,
            warnings,
            confidence: Confidence::VtpmBoot,
            epoch: Some(boot.firmware.epoch_name()),
            ..Measurement::default()
        });
    }
    Ok(found)
}

/// PCR 8, which the attestation agent of Confidential Containers extends by initdata's digest, in
/// the bank of SHA-256 alone (guest-components `attester/src/az_snp_vtpm`, `…/tpm`).
fn bound(guest: &Guest<'_>, bank: Algorithm) -> Result<Option<Step>> {
    let Some(text) = guest.file(INITDATA.name) else { return Ok(None) };
    let digest = initdata::digest(text)?;
    if digest.len() != Algorithm::Sha256.width() {
        let what = "initdata of another algorithm than sha256".to_string();
        let why = "PCR 8 of the bank of SHA-256 is extended by it as it is".to_string();
        return Err(Error::Unsupported { what, why });
    }
    let digests = Digests::Known([(Algorithm::Sha256, digest)].into());
    let what = "initdata, by the attestation agent".to_string();
    let step = Step { pcr: 8, kind: EV_EVENT_TAG, what, digests };
    Ok((bank == Algorithm::Sha256).then_some(step))
}

fn bank(machine: &Machine) -> Algorithm {
    machine.text(BANK.name).and_then(Algorithm::of_name).unwrap_or(Algorithm::Sha256)
}

/// What a person should know of the firmware's reading.
fn notes(boot: &Boot<'_>) -> Vec<alloc::string::String> {
    let version = &boot.firmware.facts.version;
    match version.is_empty() {
        true => vec![
            "the firmware carries no version text; PCR 0 is computed with an empty one".to_string(),
        ],
        false => vec![],
    }
}
