//! Hyper-V and OpenVMM (crate `igvm` 0.5.0, `measurement::generate_snp_measurement`).

use super::Profile;
use super::igvm::{Empty, Large, Order, Rules, Vps};

/// The row.
pub const PROFILE: Profile =
    Profile { igvm: Some(&IGVM), ..Profile::new("hyperv", "Hyper-V and OpenVMM") };

/// Its launch of IGVM files.
pub const IGVM: Rules = Rules {
    order: Order::File,
    empty: Empty::Normal,
    large: Large::First,
    whole_areas: true,
    skips_shared: true,
    vps: Vps::File,
};
