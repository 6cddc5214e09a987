//! SEV-ES: as SEV, with the registers of every vCPU behind the rest (AMD 55766, SEV API, section
//! 6.5 and LAUNCH_UPDATE_VMSA). `docs/measure/sev-es.md`.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString as _};
use alloc::vec;
use alloc::vec::Vec;

use super::{sev, snp};
use crate::digest::Prefix256;
use crate::format::ovmf::SevMetadata;
use crate::measure::guest::{CMDLINE, FIRMWARE, INITRD, KERNEL, VARS};
use crate::measure::machine::{CPU, CPU_SIGNATURE, VCPUS};
use crate::measure::vmm::sev::bytes;
use crate::measure::vmm::{Effect, HOST_KERNEL};
use crate::measure::{Guest, Machine, Measurement, Result, Tee, ovmf};

/// The row.
pub const TEE: Tee = Tee {
    name: "sev-es",
    about: "AMD SEV-ES: encrypted registers as well",
    vmms: &["qemu", "qemu-legacy-vm"],
    takes: &[VCPUS, CPU, CPU_SIGNATURE, snp::GUEST_FEATURES, HOST_KERNEL],
    reads: &[FIRMWARE, VARS, KERNEL, INITRD, CMDLINE],
    registers: &["launch_digest"],
    expect,
};

/// Bits 0 and 5 of the SEV features.
const SNP_ACTIVE: u64 = 1;
const DEBUG_SWAP: u64 = 1 << 5;

fn expect(guest: &Guest<'_>, machines: &[Machine]) -> Result<Vec<Measurement>> {
    let image = ovmf::image(TEE.name, guest)?;
    let metadata = ovmf::metadata(image)?;
    let doubts = ovmf::doubts(TEE.name, guest, &metadata);
    let prefix = sev::prefix(guest, image, &metadata, TEE.name);
    let mut chains: BTreeMap<[Vec<u8>; 2], Vec<Prefix256>> = BTreeMap::new();
    let one = |machine: &Machine| {
        let pages = pages(guest, &metadata, machine)?;
        let mut warnings = doubts.clone();
        warnings.extend(ovmf::flash_doubts(TEE.name, guest, machine));
        warnings.extend(ovmf::machine_doubts(machine));
        warnings.extend(legacy_doubt(ovmf::launch(TEE.name, machine)?.fpu == (0, 0)));
        warnings.extend(snp_doubt(machine));
        let vcpus = snp::vcpus(TEE.name, machine)? as usize;
        let chain = chains.entry(pages.clone()).or_insert_with(|| vec![prefix.clone()]);
        continue_to(chain, &pages, vcpus);
        Ok(sev::measurement(chain[vcpus].clone().digest([]), warnings))
    };
    machines.iter().map(one).collect()
}

/// Continues `chain`, which holds what was hashed before the VMSAs and after each of them, to `vcpus`.
fn continue_to(chain: &mut Vec<Prefix256>, [first, other]: &[Vec<u8>; 2], vcpus: usize) {
    while let Some(last) = chain.last().filter(|_| chain.len() <= vcpus) {
        let page = if chain.len() == 1 { first } else { other };
        chain.push(last.clone().and(page));
    }
}

/// VMSAs of the first and of every other vCPU.
fn pages(guest: &Guest<'_>, metadata: &SevMetadata, machine: &Machine) -> Result<[Vec<u8>; 2]> {
    let launch = ovmf::launch(TEE.name, machine)?;
    let eip = ovmf::reset(guest, metadata)?;
    let cpu = snp::cpu(TEE.name, launch, machine)?;
    let features = features(machine)?;
    Ok([0, 1].map(|index| bytes(&launch.vmsa(index, eip, features, cpu))))
}

/// The pages of `vcpus` vCPUs in order.
fn every([first, other]: &[Vec<u8>; 2], vcpus: u32) -> impl Iterator<Item = &[u8]> {
    let others = core::iter::repeat_n(other.as_slice(), vcpus as usize - 1);
    [first.as_slice()].into_iter().chain(others)
}

/// The VMSA of every vCPU of `guest` on `machine` in order, as they are measured.
///
/// # Errors
/// As for the digest.
pub fn vmsas(guest: &Guest<'_>, machine: &Machine) -> Result<Vec<Vec<u8>>> {
    let metadata = ovmf::metadata(ovmf::image(TEE.name, guest)?)?;
    let pages = pages(guest, &metadata, machine)?;
    Ok(every(&pages, snp::vcpus(TEE.name, machine)?).map(<[u8]>::to_vec).collect())
}

/// The features as stated, else as the host's kernel sets them. SNPActive is none of SEV-ES.
fn features(machine: &Machine) -> Result<u64> {
    let debug_swap = |effect| matches!(effect, Effect::DebugSwap(_));
    let profile = ovmf::profile_of(machine)?;
    let default = match machine.version(HOST_KERNEL.name) {
        Some(_) => profile.epoch(TEE.name, machine, debug_swap).map(|epoch| epoch.effect),
        None => None,
    };
    let default = if default == Some(Effect::DebugSwap(true)) { DEBUG_SWAP } else { 0 };
    let stated = machine.number(snp::GUEST_FEATURES.name);
    Ok(stated.map_or(default, |features| features & !SNP_ACTIVE))
}

fn snp_doubt(machine: &Machine) -> Option<String> {
    let stated = machine.number(snp::GUEST_FEATURES.name)?;
    (stated & SNP_ACTIVE != 0).then(|| {
        "the SEV feature SNPActive (0x1) is left out: it is none of a SEV-ES guest".to_string()
    })
}

/// Which of two launches QEMU takes is a property of the machine that no version shows.
fn legacy_doubt(legacy: bool) -> Option<String> {
    (!legacy).then(|| {
        "the digest holds for legacy-vm-type=off on Linux 6.10 or later; QEMU's default `auto` \
         launches SEV-ES guests the old way: measure those with --vmm qemu-legacy-vm"
            .to_string()
    })
}
