//! Cloud Hypervisor on the Microsoft hypervisor (`vmm/src/igvm/igvm_loader.rs`).

use super::Profile;
use super::igvm::{Empty, Large, Order, Rules, Vps};

/// The row.
pub const PROFILE: Profile = Profile {
    igvm: Some(&IGVM),
    ..Profile::new("cloud-hypervisor-mshv", "Cloud Hypervisor on MSHV, from an IGVM file")
};

/// Its launch of IGVM files.
pub const IGVM: Rules = Rules {
    order: Order::Address,
    empty: Empty::Normal,
    large: Large::First,
    whole_areas: false,
    skips_shared: false,
    vps: Vps::File,
};
