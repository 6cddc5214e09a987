//! Cloud Hypervisor on KVM (`vmm/src/igvm/igvm_loader.rs`).

use super::Profile;
use super::igvm::{Empty, Large, Order, Rules, Vps};

/// The row.
pub const PROFILE: Profile = Profile {
    igvm: Some(&IGVM),
    ..Profile::new("cloud-hypervisor-kvm", "Cloud Hypervisor on KVM, from an IGVM file")
};

/// Its launch of IGVM files.
pub const IGVM: Rules = Rules {
    order: Order::File,
    empty: Empty::Zero,
    large: Large::First,
    whole_areas: true,
    skips_shared: false,
    vps: Vps::Kvm(&super::qemu::SEV),
};
