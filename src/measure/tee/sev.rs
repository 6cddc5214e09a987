//! SEV: one SHA-256 over all that was launched (AMD 55766, SEV API, section 6.5 LAUNCH_MEASURE,
//! GCTX.LD). `docs/measure/sev.md`.

use alloc::vec;
use alloc::vec::Vec;

use zerocopy::IntoBytes as _;

use crate::digest::{Prefix256, Sha256};
use crate::format::ovmf::{SevMetadata, has_table};
use crate::measure::guest::{CMDLINE, FIRMWARE, INITRD, KERNEL, VARS};
use crate::measure::machine::{CPU, CPU_SIGNATURE, VCPUS};
use crate::measure::vmm::HOST_KERNEL;
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
    let digest = prefix(guest, image, &metadata, TEE.name).digest([]);
    let doubts = ovmf::doubts(TEE.name, guest, &metadata);
    let one = |machine| {
        ovmf::launch(TEE.name, machine)?;
        Ok(measurement(digest, doubts.clone()))
    };
    machines.iter().map(one).collect()
}

/// SHA-256 of firmware and table of hashes, as far as QEMU launches them before any VMSA.
pub(super) fn prefix(
    guest: &Guest<'_>,
    image: &[u8],
    metadata: &SevMetadata,
    tee: &str,
) -> Prefix256 {
    let prefix = guest.prefix(image);
    match ovmf::hashes(tee, guest, metadata) {
        Some(table) => prefix.and(table.as_bytes()),
        None => prefix,
    }
}

pub(super) fn measurement(digest: Sha256, warnings: Vec<alloc::string::String>) -> Measurement {
    Measurement {
        registers: vec![Register::new("launch_digest", digest)],
        warnings,
        confidence: Confidence::ToolsAgree,
        ..Measurement::default()
    }
}
