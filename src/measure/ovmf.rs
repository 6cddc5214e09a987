//! An OVMF as the SEV family launches it: what it brings along, and what a person should know
//! before relying on its digest.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use memchr::memmem;

use super::vmm::sev::Launch;
use super::vmm::{Effect, Epoch, Profile, profile};
use super::{Error, Guest, Machine, Result, linux};
use crate::digest::Sha384;
use crate::format;
use crate::format::fv::Volume;
use crate::format::ovmf::{Kind, RESET_BLOCK, SevMetadata, has_table, lone_reset_block, table_end};
use crate::measure::kernel_hashes::{HashTable, VERIFIER};
use crate::measure::page::PAGE_SIZE;

/// A firmware by what a launch needs of it, where the image is not at hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Precomputed {
    /// SNP launch digest after the pages of the firmware: the part `firmware`.
    pub digest: Sha384,
    /// Its metadata.
    pub metadata: SevMetadata,
}

/// The firmware of `guest` for the TEE called `tee`, whole.
///
/// # Errors
/// It is missing, empty, or not a whole number of pages.
pub fn image<'a>(tee: &'static str, guest: &Guest<'a>) -> Result<&'a [u8]> {
    let image = guest.firmware.ok_or_else(|| Error::Missing {
        tee,
        what: "a firmware",
        why: "it is the first thing that is measured; give --firmware OVMF.fd".to_string(),
    })?;
    if image.is_empty() || !image.len().is_multiple_of(PAGE_SIZE) || image.len() >> 32 != 0 {
        let expected = "a positive multiple of 4096 bytes, as every flash image has".to_string();
        let (what, found) = ("size of the file", image.len().to_string());
        return Err(input(format::Error::Value { what, offset: 0, found, expected }));
    }
    Ok(image)
}

/// The metadata of the firmware.
///
/// # Errors
/// It is malformed.
pub fn metadata(image: &[u8]) -> Result<SevMetadata> {
    SevMetadata::parse(image).map_err(input)
}

fn input(error: format::Error) -> Error {
    Error::Input { input: "firmware", error }
}

/// Where application processors start, which is measured.
///
/// # Errors
/// The firmware does not say.
pub fn reset(guest: &Guest<'_>, metadata: &SevMetadata) -> Result<u32> {
    metadata.reset.ok_or_else(|| {
        let at = guest.firmware.map(|image| format!(" that ends at {:#x}", table_end(image)));
        let why = format!(
            "its table{} has no entry {RESET_BLOCK}, which says where application processors \
             start, and is measured",
            at.unwrap_or_default()
        );
        input(format::Error::Missing { what: "SEV-ES reset block", why })
    })
}

/// The hashes that the VMM puts into the guest, as far as the firmware has a place for them.
pub fn hashes(tee: &str, guest: &Guest<'_>, metadata: &SevMetadata) -> Option<HashTable> {
    takes_hashes(tee, metadata).then(|| HashTable::of(guest)).flatten()
}

fn takes_hashes(tee: &str, metadata: &SevMetadata) -> bool {
    let area = metadata.hash_table.is_some_and(|area| area.size as usize >= HashTable::SIZE);
    area && (tee != "sev-snp" || metadata.section(Kind::KernelHashes).is_some())
}

/// How the VMM of `machine` launches a guest of `tee`, at the versions stated.
///
/// # Errors
/// It does not, or not at these versions.
pub fn launch(tee: &'static str, machine: &Machine) -> Result<&'static Launch> {
    let profile = profile_of(machine)?;
    if let Some(epoch) = profile.lacks(tee, machine, Effect::Launches) {
        return Err(too_early(tee, machine, epoch));
    }
    let launch = profile.sev.ok_or_else(|| Error::Unsupported {
        what: format!("a firmware under `{}`", machine.vmm),
        why: "it launches IGVM files; give --igvm".to_string(),
    })?;
    let legacy = profile.lacks(tee, machine, Effect::FpuState).is_some();
    Ok(if legacy { &super::vmm::qemu_legacy_vm::SEV } else { launch })
}

/// The row of the VMM of `machine`.
///
/// # Errors
/// There is none.
pub fn profile_of(machine: &Machine) -> Result<&'static Profile> {
    profile(&machine.vmm.name).ok_or_else(|| Error::Unsupported {
        what: format!("the VMM `{}`", machine.vmm.name),
        why: "it has no row in the table of VMMs".to_string(),
    })
}

/// Why a launch at the versions of `machine` does not exist.
pub fn too_early(tee: &str, machine: &Machine, epoch: &Epoch) -> Error {
    let since: Vec<_> = epoch.since.iter().map(ToString::to_string).collect();
    let what = format!("{tee} under `{}` at the versions stated", machine.vmm);
    let why = format!("since {}: {} ({})", since.join("."), epoch.what, epoch.source);
    Error::Unsupported { what, why }
}

/// Doubts about `guest` under `tee` on any machine, each a sentence with its consequence.
pub fn doubts(tee: &str, guest: &Guest<'_>, metadata: &SevMetadata) -> Vec<String> {
    let mut doubts = Vec::new();
    if guest.known.is_some() {
        return doubts;
    }
    let kernel = guest.kernel.is_some();
    if kernel && !takes_hashes(tee, metadata) {
        doubts.push(
            "the kernel is not covered by the digest: the firmware has no place for its hash \
             (QEMU refuses kernel-hashes=on); take a firmware for direct boot, as OVMF.amdsev.fd"
                .to_string(),
        );
    } else if kernel && guest.firmware.is_some_and(|image| !verifies(guest, image)) {
        doubts.push(
            "the kernel's hash is measured, but this firmware does not compare the kernel with \
             it: any kernel boots under the same digest (a generic OVMF since edk2-stable202511); \
             take a firmware for direct boot, as OVMF.amdsev.fd"
                .to_string(),
        );
    }
    if !kernel && (guest.initrd.is_some() || guest.cmdline.is_some()) {
        doubts.push(
            "initrd and command line are measured only beside a kernel: they are left out"
                .to_string(),
        );
    }
    if tee == "sev-snp" && metadata.sections.is_empty() {
        doubts.push(
            "the firmware has no SEV metadata, so no page for secrets or CPUID: QEMU refuses to \
             start an SNP guest with it"
                .to_string(),
        );
    }
    if tee != "sev" && metadata.reset == Some(0) {
        doubts.push(
            "the firmware's reset address for application processors is 0: QEMU refuses it"
                .to_string(),
        );
    }
    if guest.firmware.is_some_and(|image| !has_table(image) && !has_lone_block(image)) {
        doubts.push("the firmware is no OVMF that knows SEV: it has no GUIDed table".into());
    }
    for (first, second) in metadata.overlaps() {
        doubts.push(format!(
            "the firmware's sections {} at {:#x} and {} at {:#x} overlap: no launch can take both",
            first.kind.name(),
            first.gpa,
            second.kind.name(),
            second.gpa
        ));
    }
    doubts.extend(linux::doubts(guest));
    doubts
}

fn has_lone_block(image: &[u8]) -> bool {
    lone_reset_block(image).is_ok_and(|block| block.is_some())
}

/// What QEMU refuses about the flash: SNP guests start by `-bios` alone, which takes multiples of
/// 64 KiB (QEMU `hw/i386/pc_sysfw.c`, `hw/i386/x86-common.c`).
pub fn flash_doubts(tee: &str, guest: &Guest<'_>, machine: &Machine) -> Vec<String> {
    let mut doubts = Vec::new();
    if guest.known.is_some() || !machine.vmm.name.starts_with("qemu") {
        return doubts;
    }
    let uneven = guest.firmware.is_some_and(|image| !image.len().is_multiple_of(64 << 10));
    if tee == "sev-snp" && uneven {
        doubts.push(
            "the firmware is not a multiple of 64 KiB, as the CODE half of a flash split is: \
             QEMU starts SNP guests by -bios alone, which refuses it; take the whole OVMF.fd"
                .to_string(),
        );
    }
    if tee == "sev-snp" && guest.vars.is_some() {
        doubts.push(
            "a variable store beside the firmware: QEMU starts SNP guests by -bios alone and \
             refuses a flash split"
                .to_string(),
        );
    }
    doubts
}

/// Doubts about one machine.
pub fn machine_doubts(machine: &Machine) -> Vec<String> {
    let model = machine.cpu.as_ref().and_then(|cpu| super::cpu::model(&cpu.name));
    let missing = model.filter(|m| machine.vmm.name == "qemu" && machine.vmm.before(m.since));
    let warning = missing.map(|model| {
        let since: Vec<_> = model.since.iter().map(ToString::to_string).collect();
        let (name, vmm) = (model.name, &machine.vmm);
        format!("`{name}` is a CPU model of QEMU {}, perhaps not yet of {vmm}", since.join("."))
    });
    warning.into_iter().chain(gce_doubt(machine)).collect()
}

/// GCE launches VMSAs at the last page of the product's address space.
fn gce_doubt(machine: &Machine) -> Option<String> {
    (machine.vmm.name == "gce" && machine.cpu.is_none()).then(|| {
        "the VMSA's address is that of Milan, since no CPU is stated; GCE's guests on later CPUs \
         have another digest: give --cpu EPYC-Genoa"
            .to_string()
    })
}

/// True if the firmware contains code that compares the loaded kernel with the table of hashes. One
/// whose volumes cannot be read has not shown that it does.
fn verifies(guest: &Guest<'_>, image: &[u8]) -> bool {
    has_verifier(image) || guest.facts(image).is_ok_and(|facts| facts.verifies)
}

/// True if one of `volumes` contains such code.
pub(super) fn verifier_in(volumes: &[Volume<'_>]) -> bool {
    volumes.iter().any(|volume| has_verifier(&volume.bytes))
}

/// The GUIDs of the table's entries stand in it.
fn has_verifier(bytes: &[u8]) -> bool {
    VERIFIER.iter().all(|guid| memmem::find(bytes, &guid.0).is_some())
}
