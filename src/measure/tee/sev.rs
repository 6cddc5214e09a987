//! SEV: one SHA-256 over all that was launched (AMD 55766, SEV API, section 6.5 LAUNCH_MEASURE,
//! GCTX.LD). `docs/measure/sev.md`.

use alloc::vec;
use alloc::vec::Vec;

use zerocopy::IntoBytes as _;

use crate::digest::Sha256;
use crate::format::ovmf::{SevMetadata, has_table};
use crate::measure::guest::{CMDLINE, FIRMWARE, INITRD, KERNEL, VARS};
use crate::measure::machine::{CPU, CPU_SIGNATURE, VCPUS};
use crate::measure::vmm::{HOST_KERNEL, sev};
use crate::measure::{Confidence, Guest, Machine, Measurement, Register, Result, Tee, ovmf};

/// The row.
pub const TEE: Tee = Tee {
    name: "sev",
    about: "AMD SEV: memory encryption",
    vmms: &["qemu", "qemu-legacy-vm"],
    takes: &[VCPUS, CPU, CPU_SIGNATURE, HOST_KERNEL],
    reads: &[FIRMWARE, VARS, KERNEL, INITRD, CMDLINE],
    registers: &["launch_digest"],
    expect,
};

/// Registers of vCPUs are not measured, so all machines report the same.
fn expect(guest: &Guest<'_>, machines: &[Machine]) -> Result<Vec<Measurement>> {
    let image = ovmf::image(TEE.name, guest)?;
    // A firmware from before the table can be launched, without a kernel.
    let metadata = match has_table(image) || guest.kernel.is_some() {
        true => ovmf::metadata(image)?,
        false => SevMetadata::default(),
    };
    let digest = digest(guest, image, &metadata, TEE.name, &[]);
    let one = |machine| {
        ovmf::launch(TEE.name, machine)?;
        Ok(measurement(digest, ovmf::doubts(TEE.name, guest, &metadata)))
    };
    machines.iter().map(one).collect()
}

/// SHA-256 of firmware, table of hashes and VMSAs, in the order in which QEMU launches them.
pub(super) fn digest(
    guest: &Guest<'_>,
    image: &[u8],
    metadata: &SevMetadata,
    tee: &str,
    vmsas: &[Vec<u8>],
) -> Sha256 {
    let hashes = ovmf::hashes(tee, guest, metadata);
    let hashes = hashes.as_ref().map(|table| table.as_bytes());
    let vmsas = vmsas.iter().map(Vec::as_slice);
    Sha256::of_parts([image].into_iter().chain(hashes).chain(vmsas))
}

pub(super) fn measurement(digest: Sha256, warnings: Vec<alloc::string::String>) -> Measurement {
    Measurement {
        registers: vec![Register::new("launch_digest", digest)],
        warnings,
        confidence: Confidence::ToolsAgree,
        ..Measurement::default()
    }
}

/// Bytes of the VMSAs of `machine`.
pub(super) fn vmsas(
    launch: &sev::Launch,
    machine: &Machine,
    (eip, features): (u32, u64),
) -> Vec<Vec<u8>> {
    let cpu = machine.cpu.as_ref();
    let count = machine.vcpus.unwrap_or(1);
    (0..count).map(|index| sev::bytes(&launch.vmsa(index, eip, features, cpu))).collect()
}
