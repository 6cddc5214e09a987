//! SEV-ES: as SEV, with the registers of every vCPU behind the rest (AMD 55766, SEV API, section
//! 6.5 and LAUNCH_UPDATE_VMSA). `docs/measure/sev-es.md`.

use alloc::string::ToString as _;
use alloc::vec::Vec;

use super::{sev, snp};
use crate::measure::guest::{CMDLINE, FIRMWARE, INITRD, KERNEL, VARS};
use crate::measure::machine::{CPU, CPU_SIGNATURE, VCPUS};
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

/// Bit 5 of the SEV features.
const DEBUG_SWAP: u64 = 1 << 5;

fn expect(guest: &Guest<'_>, machines: &[Machine]) -> Result<Vec<Measurement>> {
    let image = ovmf::image(TEE.name, guest)?;
    let metadata = ovmf::metadata(image)?;
    let eip = ovmf::reset(TEE.name, &metadata)?;
    let doubts = ovmf::doubts(TEE.name, guest, &metadata);
    let one = |machine: &Machine| {
        let launch = ovmf::launch(TEE.name, machine)?;
        snp::vcpus(TEE.name, machine)?;
        snp::cpu(TEE.name, launch, machine)?;
        let vmsas = sev::vmsas(launch, machine, (eip, features(machine)?));
        let digest = sev::digest(guest, image, &metadata, TEE.name, &vmsas);
        let mut warnings = doubts.clone();
        warnings.extend(ovmf::machine_doubts(machine));
        warnings.extend(legacy_doubt(launch.fpu == (0, 0), machine));
        Ok(sev::measurement(digest, warnings))
    };
    machines.iter().map(one).collect()
}

/// The features as stated, else as the host's kernel sets them.
fn features(machine: &Machine) -> Result<u64> {
    let debug_swap = |effect| matches!(effect, Effect::DebugSwap(_));
    let profile = ovmf::profile_of(machine)?;
    let default = match machine.version(HOST_KERNEL.name) {
        Some(_) => profile.epoch(TEE.name, machine, debug_swap).map(|epoch| epoch.effect),
        None => None,
    };
    let default = if default == Some(Effect::DebugSwap(true)) { DEBUG_SWAP } else { 0 };
    Ok(machine.number(snp::GUEST_FEATURES.name).unwrap_or(default))
}

/// Which of two launches QEMU takes is a property of the machine that nothing else shows.
fn legacy_doubt(legacy: bool, machine: &Machine) -> Option<alloc::string::String> {
    let stated = machine.vmm.version.is_some() || machine.version(HOST_KERNEL.name).is_some();
    (!legacy && !stated).then(|| {
        "the digest holds for legacy-vm-type=off on Linux 6.10 or later; QEMU's default `auto` \
         launches SEV-ES guests the old way: measure those with --vmm qemu-legacy-vm"
            .to_string()
    })
}
