//! QEMU on KVM, with VMs created by `KVM_SEV_INIT2` (Linux 6.10 and later).

use super::igvm::{Empty, Large, Order, Rules, Vps};
use super::sev::{self, Launch, Memory, Rdx};
use super::{Component, Effect, Epoch, Profile};

/// The row.
pub const PROFILE: Profile = Profile {
    epochs: EPOCHS,
    sev: Some(&SEV),
    igvm: Some(&IGVM),
    ..Profile::new("qemu", "QEMU on KVM; encrypted AMD guests as of Linux 6.10")
};

/// Registers as `target/i386/cpu.c` resets them and KVM's `sev_es_sync_vmsa` copies them.
pub const SEV: Launch = Launch {
    cs: [0x9b, 0x9b],
    ss: 0x93,
    tr: 0x8b,
    rdx: Rdx::Signature,
    fpu: sev::FPU_AT_RESET,
    g_pat: sev::PAT_AT_RESET,
    memory: Memory::Zero,
    cpuid_last: false,
    vmsa_gpa: sev::last_page_of_48_bits,
};

/// IGVM files since QEMU 10.1 (`backends/igvm.c`). SEV features come from the file.
pub const IGVM: Rules = Rules {
    order: Order::Queued,
    empty: Empty::Normal,
    large: Large::Whole,
    whole_areas: true,
    skips_shared: false,
    vps: Vps::Kvm(&SEV),
};

/// Changes of QEMU and of KVM below it that move a digest.
const EPOCHS: &[Epoch] = &[
    Epoch {
        component: Component::Vmm,
        since: &[6, 2],
        tees: &["sev", "sev-es"],
        effect: Effect::KernelHashes,
        what: "kernel-hashes=on measures kernel, initrd and command line",
        source: "QEMU 6.2 target/i386/sev.c, sev_add_kernel_loader_hashes",
    },
    Epoch {
        component: Component::Vmm,
        since: &[9, 1],
        tees: &["sev-snp"],
        effect: Effect::Launches,
        what: "the object sev-snp-guest",
        source: "QEMU 9.1 qapi/qom.json, SevSnpGuestProperties",
    },
    Epoch {
        component: Component::Vmm,
        since: &[9, 1],
        tees: &["sev-es"],
        effect: Effect::FpuState,
        what: "legacy-vm-type=off creates VMs by KVM_SEV_INIT2, which syncs the FPU's state",
        source: "QEMU 9.1 qapi/qom.json, SevGuestProperties: legacy-vm-type",
    },
    Epoch {
        component: Component::Vmm,
        since: &[9, 2],
        tees: &["sev-es"],
        effect: Effect::ByInput,
        what: "legacy-vm-type defaults to auto, which launches the old way: qemu-legacy-vm",
        source: "QEMU 9.2 target/i386/sev.c, sev_guest_instance_init; qapi/qom.json",
    },
    Epoch {
        component: Component::Vmm,
        since: &[10, 1],
        tees: &["sev-snp"],
        effect: Effect::Igvm,
        what: "igvm-cfg: the launch comes from an IGVM file, SEV features included",
        source: "QEMU 10.1 backends/igvm.c",
    },
    Epoch {
        component: Component::HostKernel,
        since: &[6, 6],
        tees: &["sev-es"],
        effect: Effect::DebugSwap(true),
        what: "DebugSwap is on wherever the CPU has it",
        source: "Linux d1f85fbe836e (KVM: SEV: Enable data breakpoints in SEV-ES)",
    },
    Epoch {
        component: Component::HostKernel,
        since: &[6, 6, 22],
        tees: &["sev-es"],
        effect: Effect::DebugSwap(false),
        what: "DebugSwap is off again, in the stable branch",
        source: "Linux 5abf6dceb066 (SEV: disable SEV-ES DebugSwap by default), 6.6.22",
    },
    Epoch {
        component: Component::HostKernel,
        since: &[6, 7],
        tees: &["sev-es"],
        effect: Effect::DebugSwap(true),
        what: "DebugSwap is on wherever the CPU has it",
        source: "Linux d1f85fbe836e, as in 6.6",
    },
    Epoch {
        component: Component::HostKernel,
        since: &[6, 7, 10],
        tees: &["sev-es"],
        effect: Effect::DebugSwap(false),
        what: "DebugSwap is off again, in the stable branch",
        source: "Linux 5abf6dceb066, 6.7.10",
    },
    Epoch {
        component: Component::HostKernel,
        since: &[6, 8],
        tees: &["sev-es"],
        effect: Effect::DebugSwap(false),
        what: "DebugSwap is off unless the VMM asks for it",
        source: "Linux 5abf6dceb066; KVM_SEV_INIT2 (4f5defae7089) leaves it to the VMM",
    },
    Epoch {
        component: Component::HostKernel,
        since: &[6, 10],
        tees: &["sev-es"],
        effect: Effect::FpuState,
        what: "KVM_SEV_INIT2 syncs the FPU's state into the VMSA",
        source: "Linux 4f5defae7089 and the FPU patches beside it, sev_es_sync_vmsa",
    },
    Epoch {
        component: Component::HostKernel,
        since: &[6, 11],
        tees: &["sev-snp"],
        effect: Effect::Launches,
        what: "KVM launches SEV-SNP guests (earlier: trees of AMD, see qemu-legacy-vm)",
        source: "Linux 6.11 arch/x86/kvm/svm/sev.c, KVM_SEV_SNP_LAUNCH_START",
    },
    Epoch {
        component: Component::Firmware,
        since: &[2024, 2],
        tees: &["sev-snp"],
        effect: Effect::ByInput,
        what: "the section kernel-hashes: direct boot can be measured",
        source: "edk2 9eec96bd4f, OvmfPkg/AmdSev",
    },
    Epoch {
        component: Component::Firmware,
        since: &[2024, 5],
        tees: &["sev-snp"],
        effect: Effect::ByInput,
        what: "the section svsm-calling-area, which tools of then refuse",
        source: "edk2 5a67a2efa7, OvmfPkg/ResetVector",
    },
    Epoch {
        component: Component::Firmware,
        since: &[2024, 11],
        tees: &["sev-snp"],
        effect: Effect::ByInput,
        what: "the section kernel-hashes is the last one of the table",
        source: "edk2 5c63e22a9f, OvmfSevMetadata",
    },
    Epoch {
        component: Component::Firmware,
        since: &[2025, 11],
        tees: &["sev", "sev-es", "sev-snp"],
        effect: Effect::ByInput,
        what: "generic builds have areas for hashes and secrets, and verify nothing",
        source: "edk2 4b1711d431, 313004a57f, e566e1e536",
    },
];
