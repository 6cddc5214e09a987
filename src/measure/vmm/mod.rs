//! Which pages and events each VMM brings, in which order, one file per VMM.

pub mod cloud_hypervisor_kvm;
pub mod cloud_hypervisor_mshv;
pub mod ec2;
pub mod ec2_legacy;
pub mod file_order;
pub mod gce;
pub mod hyperv;
pub mod igvm;
pub mod qemu;
pub mod qemu_legacy_vm;
pub mod realm;
pub mod sev;
pub mod svsm;
pub mod tdvf;
pub mod vanadium;

use super::machine::Kind;
use super::{Machine, Setting};

/// A VMM: one file, one row in [`VMMS`]. What it does for a family of TEEs is a field of its own,
/// absent where it does not launch them.
#[derive(Debug, Clone, Copy)]
pub struct Profile {
    /// Name on the command line and in recipes: `qemu`.
    pub name: &'static str,
    /// One line for help and docs.
    pub about: &'static str,
    /// Known changes of what it measures, oldest first.
    pub epochs: &'static [Epoch],
    /// How it launches SEV, SEV-ES and SEV-SNP guests.
    pub sev: Option<&'static sev::Launch>,
    /// How it launches IGVM files as SEV-SNP guests.
    pub igvm: Option<&'static igvm::Rules>,
}

/// A version from which a VMM, or the kernel below it, measures something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epoch {
    /// Whose version counts.
    pub component: Component,
    /// The first version with the change, as numbers.
    pub since: &'static [u32],
    /// TEEs that it concerns.
    pub tees: &'static [&'static str],
    /// What it does to the measurement.
    pub effect: Effect,
    /// What changed, in words.
    pub what: &'static str,
    /// Where that stands: commit, file, release notes.
    pub source: &'static str,
}

/// Whose version an [`Epoch`] speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Component {
    /// The VMM: `qemu@10.1`.
    Vmm,
    /// Linux on the host: the setting `host-kernel`.
    HostKernel,
    /// edk2, as year and month of its stable release. Nobody states it: the image says it all.
    Firmware,
}

/// What an [`Epoch`] does to the measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The TEE can be launched at all.
    Launches,
    /// Kernel, initrd and command line can be measured.
    KernelHashes,
    /// The launch can come from an IGVM file.
    Igvm,
    /// The FPU's state at reset is part of the measured registers.
    FpuState,
    /// The default of the SEV feature DebugSwap.
    DebugSwap(bool),
    /// What an input says by itself: a firmware's table of sections, the VMM's name.
    ByInput,
}

impl Profile {
    /// A row that launches nothing yet: the base of every row.
    pub const fn new(name: &'static str, about: &'static str) -> Self {
        Self { name, about, epochs: &[], sev: None, igvm: None }
    }
}

impl Profile {
    /// The last change of a kind that the versions of `machine` have; none where all of them came
    /// later. A version that was not stated is the newest.
    pub fn epoch(
        &self,
        tee: &str,
        machine: &Machine,
        kind: fn(Effect) -> bool,
    ) -> Option<&'static Epoch> {
        let of_kind = |epoch: &&Epoch| epoch.tees.contains(&tee) && kind(epoch.effect);
        self.epochs.iter().filter(of_kind).rfind(|epoch| epoch.reached(machine))
    }

    /// The first change of a kind that the versions of `machine` lack.
    pub fn lacks(&self, tee: &str, machine: &Machine, effect: Effect) -> Option<&'static Epoch> {
        let of_kind = |epoch: &&Epoch| epoch.tees.contains(&tee) && epoch.effect == effect;
        self.epochs.iter().filter(of_kind).find(|epoch| !epoch.reached(machine))
    }
}

impl Epoch {
    fn reached(&self, machine: &Machine) -> bool {
        let stated = match self.component {
            Component::Vmm => machine.vmm.version.as_deref(),
            Component::HostKernel => machine.version(HOST_KERNEL.name),
            Component::Firmware => None,
        };
        stated.is_none_or(|version| version >= self.since)
    }
}

/// Version of Linux on the host.
pub const HOST_KERNEL: Setting = Setting {
    name: "host-kernel",
    about: "Linux on the host, where it is not a recent one: 6.8",
    kind: Kind::Version,
};

/// Every VMM, in the order of the docs.
pub const VMMS: &[Profile] = &[
    qemu::PROFILE,
    qemu_legacy_vm::PROFILE,
    ec2::PROFILE,
    ec2_legacy::PROFILE,
    gce::PROFILE,
    file_order::PROFILE,
    vanadium::PROFILE,
    hyperv::PROFILE,
    cloud_hypervisor_kvm::PROFILE,
    cloud_hypervisor_mshv::PROFILE,
];

/// The VMM called `name`.
pub fn profile(name: &str) -> Option<&'static Profile> {
    VMMS.iter().find(|profile| profile.name == name)
}
