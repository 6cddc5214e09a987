//! QEMU on KVM, with VMs created by `KVM_SEV_ES_INIT`: `legacy-vm-type=on`, or kernels before 6.10,
//! AMD's own SNP trees among them.

use super::sev::Launch;
use super::{Profile, qemu};

/// The row.
pub const PROFILE: Profile = Profile {
    sev: Some(&SEV),
    ..Profile::new("qemu-legacy-vm", "QEMU with legacy-vm-type=on, or on KVM before Linux 6.10")
};

/// As [`qemu::SEV`], but KVM leaves the FPU's state out of the VMSA.
pub const SEV: Launch = Launch { fpu: (0, 0), ..qemu::SEV };
